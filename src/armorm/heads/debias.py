"""Penalties that leave no rank correlation between an objective and a nuisance.

Knows neither what the nuisance is called nor how its scores came about.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armorm.heads.checks import check_finite, check_indices, check_rows, check_shape

_CYCLES = 200  # passes over several nuisances; strongly correlated ones need the most
_LIMIT = 0.02  # what is promised on the reference rows; beyond it there is no debias
_LINEAR = 1e-5  # spread about a linear map of the nuisances, relative, that is only rounding

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Debias:
    """Matrix that takes the nuisances out: debiased scores = objective_scores @ matrix."""

    matrix: Tensor
    """Shape (k, k), float32. Identity with the row of each nuisance minus its penalties;
    the column of a nuisance is 0."""
    penalties: Tensor
    """Shape (k, m), float32. Multiple of each nuisance taken from each objective; 1 where
    a nuisance meets itself."""
    residual: Tensor
    """Shape (k, m), float64. Spearman correlation with each nuisance after debias, of the
    float32 scores that the matrix gives; NaN for the nuisances themselves."""
    before: Tensor
    """Shape (k, m), float64. Spearman correlation with each nuisance before debias."""
    nuisances: tuple[int, ...]
    """Indices of the m nuisances, in the order of the columns above."""

    @property
    def worst(self) -> float:
        """Largest |Spearman| that is left, over the objectives that are no nuisance."""
        left = self.residual[~self.residual.isnan()]
        return float(left.abs().max()) if len(left) else 0.0


def fit_debias(
    objective_scores: Tensor, *, nuisances: Sequence[int], tolerance: float = 0.002
) -> Debias:
    """Find the penalties at which each objective has no rank correlation with a nuisance.

    For objective j and nuisance v: solve Spearman(r_j - lambda r_v, r_v) = 0. The left side
    falls monotonically in lambda (a larger lambda can only swap two rows against the order
    of r_v), so bisection finds the root, which is any real number: an objective that falls
    with the nuisance has a negative penalty. Several nuisances are solved in turn until all
    correlations are small. Cost: about 15 sorts of n rows an objective and nuisance.

    Args:
        objective_scores: Shape (n, k). Objective scores of the reference rows; float32 is
            what is ranked.
        nuisances: Indices of the m objectives to take out, m >= 1.
        tolerance: |Spearman| at which the search ends. Scores with many ties may have
            no penalty as good; up to 0.02 is accepted and told in `residual`.

    Returns:
        The matrix, with what it leaves on these rows.

    Raises:
        ValueError: fewer than 3 rows; scores that are not finite or do not vary; an index
            of no objective; a tolerance outside (0, 0.02]; an objective that is a linear
            map of the nuisances or jumps over 0; nuisances too alike to take out together.

    Source:
        arXiv 2406.12845 section 3.2. The published script tries penalties from 0 to 0.95 and
        takes 1 where none will do; here any penalty is found, and none is an error.

    Example:
        >>> v = torch.linspace(-1, 1, 101)
        >>> fit = fit_debias(torch.stack([v**2 + 3 * v, v], 1), nuisances=[1])
        >>> round(float(fit.penalties[0, 0]), 3), fit.worst <= 0.002
        (3.0, True)
    """
    check_shape("objective_scores", objective_scores, "n k")
    check_rows("objective_scores", objective_scores, least=3)
    check_finite("objective_scores", objective_scores)
    chosen = tuple(nuisances)
    check_indices("nuisances", chosen, objective_scores.shape[1])
    if not chosen:
        raise ValueError("`nuisances` must name at least one objective; got none")
    if not 0 < tolerance <= _LIMIT:
        raise ValueError(f"`tolerance` must be above 0 and at most {_LIMIT}; got {tolerance:g}")
    scores = objective_scores.detach().to("cpu", torch.float32)
    _check_varies(scores)
    penalties = _penalties(scores.double().numpy(), chosen, tolerance)
    matrix = torch.eye(scores.shape[1])
    matrix[list(chosen)] -= penalties.T
    before = _correlations(scores, scores, chosen)
    residual = _correlations(scores @ matrix, scores, chosen)
    _check_residual(residual, penalties, chosen)
    return Debias(matrix, penalties, residual, before, chosen)


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation: Pearson's of the ranks, where ties share their average rank.

    Args:
        a: Shape (n,).
        b: Shape (n,).

    Returns:
        A number in [-1, 1]; NaN where it is undefined (fewer than 2 rows, or one side is
        constant), never 0.

    Raises:
        ValueError: shapes that disagree; entries that are not finite.

    Example:
        >>> spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0]))
        0.5
    """
    check_shape("a", a, "n")
    check_shape("b", b, "n", n=len(a))
    check_finite("a", a)
    check_finite("b", b)
    first, second = (x.detach().to("cpu", torch.float64).numpy() for x in (a, b))
    return _correlate(first, _ranks(second)) if len(a) > 1 else float("nan")


def _ranks(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """Average ranks about their mean; written out, as importing scipy.stats takes a second."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place] - (len(values) + 1) / 2


def _correlate(values: Float[Array, " n"], ranks: Float[Array, " n"]) -> float:
    """Spearman correlation with values whose centred ranks are known; NaN if undefined."""
    own = _ranks(values)
    norm = float(np.sqrt((own @ own) * (ranks @ ranks)))
    return float(np.clip(float(own @ ranks) / norm, -1.0, 1.0)) if norm > 0 else float("nan")


def _correlations(
    scores: Float[Tensor, "n k"], reference: Float[Tensor, "n k"], nuisances: tuple[int, ...]
) -> Float[Tensor, "k m"]:
    """Spearman of each column of the scores with each nuisance of the reference."""
    columns = [scores[:, j].double().numpy() for j in range(scores.shape[1])]
    found = torch.empty(scores.shape[1], len(nuisances), dtype=torch.float64)
    for m, v in enumerate(nuisances):
        ranks = _ranks(reference[:, v].double().numpy())
        rho = [_correlate(column, ranks) for column in columns]
        found[:, m] = torch.tensor(rho, dtype=torch.float64)
    return found


def _penalties(
    scores: Float[Array, "n k"], nuisances: tuple[int, ...], tolerance: float
) -> Float[Tensor, "k m"]:
    """Penalties of every objective, rounded to float32."""
    k, m = scores.shape[1], len(nuisances)
    biased = scores[:, list(nuisances)]
    penalties = np.zeros((k, m))
    for j in range(k):
        if j in nuisances:
            penalties[j, nuisances.index(j)] = 1.0
        else:
            start = _least_squares(scores[:, j], biased, j, nuisances)
            penalties[j] = _solve(scores[:, j], biased, start, tolerance)
    return torch.from_numpy(penalties).float()


def _least_squares(
    objective: Float[Array, " n"], biased: Float[Array, "n m"], j: int, nuisances: tuple[int, ...]
) -> Float[Array, " m"]:
    """Slopes of an objective on the nuisances, where the search starts."""
    x, y = biased - biased.mean(0), objective - objective.mean()
    slopes = np.linalg.lstsq(x, y, rcond=None)[0]
    spread = float(np.std(y - x @ slopes))
    size = np.abs(objective).max() + np.abs(biased).max(0) @ np.abs(slopes)
    if spread <= _LINEAR * float(np.std(y)) + float(size) * np.finfo(np.float32).eps:
        raise ValueError(
            f"`objective_scores` column {j} is a linear map of nuisance "
            f"{', '.join(map(str, nuisances))}: no penalty decorrelates them"
        )
    return slopes


def _solve(
    objective: Float[Array, " n"],
    biased: Float[Array, "n m"],
    start: Float[Array, " m"],
    tolerance: float,
) -> Float[Array, " m"]:
    """Penalties of one objective: the root for each nuisance in turn, until all are small."""
    penalties = start.copy()
    ranks = [_ranks(column) for column in biased.T]
    for _ in range(_CYCLES):
        for m, column in enumerate(biased.T):
            rest = objective - biased @ penalties + penalties[m] * column

            def rho(penalty: float, m: int = m, rest: Array = rest, v: Array = column) -> float:
                return _correlate(rest - penalty * v, ranks[m])

            width = float(np.std(rest) / np.std(column))
            penalties[m] = _root(rho, float(penalties[m]), width, tolerance / 2)
        left = objective - biased @ penalties
        if max(abs(_correlate(left, r)) for r in ranks) <= tolerance or len(ranks) == 1:
            break
    return penalties


def _root(rho: Callable[[float], float], start: float, width: float, tolerance: float) -> float:
    """Bisect a falling step function: where |rho| is within tolerance, or else least."""
    low = high = start
    at_low = at_high = rho(start)
    while at_low < -tolerance:
        high, at_high = low, at_low
        low, width = low - width, 2 * width
        at_low = rho(low)
    while at_high > tolerance:
        low, at_low = high, at_high
        high, width = high + width, 2 * width
        at_high = rho(high)
    while True:
        best, at_best = min(((low, at_low), (high, at_high)), key=lambda pair: abs(pair[1]))
        middle = (low + high) / 2
        # Float32 is what is kept: below its spacing the search would only follow rounding.
        if abs(at_best) <= tolerance or high - low <= 1e-7 * max(abs(low), abs(high), 1e-30):
            return best
        value = rho(middle)
        if value > 0:
            low, at_low = middle, value
        else:
            high, at_high = middle, value


def _check_varies(scores: Float[Tensor, "n k"]) -> None:
    """Raise where a column has one value only: its correlation is undefined."""
    for j in range(scores.shape[1]):
        if bool((scores[:, j] == scores[0, j]).all()):
            raise ValueError(
                f"`objective_scores` column {j} must vary; "
                f"all {len(scores)} entries are {float(scores[0, j]):g}"
            )


def _check_residual(
    residual: Float[Tensor, "k m"], penalties: Float[Tensor, "k m"], nuisances: tuple[int, ...]
) -> None:
    """Raise where the best penalties leave more than is promised."""
    for j in range(len(residual)):
        for m, v in enumerate(nuisances):
            if j not in nuisances and not abs(float(residual[j, m])) <= _LIMIT:
                raise ValueError(
                    f"`objective_scores` column {j} cannot be decorrelated from nuisance {v}: "
                    f"at the best penalty, {float(penalties[j, m]):g}, Spearman is "
                    f"{float(residual[j, m]):.3f}, beyond {_LIMIT}"
                )
