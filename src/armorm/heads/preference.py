"""Fixed weights and a black-box head from preference pairs: what a gating is measured against."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from armorm.heads.checks import check_finite, check_rows, check_shape, check_weights

_RIDGE = 1e-6  # of the fixed weights: bounds them where they separate all pairs

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class FixedWeights:
    """Weights of the objectives that are the same for every prompt."""

    weights: Tensor
    """Shape (k,), float32, at least 0, sum 1."""
    beta: float
    """sigmoid(beta * margin) is the probability that chosen is preferred; at least 0."""


@dataclass(frozen=True, slots=True)
class L2Path:
    """Validation loss of each l2 of a Bradley-Terry head, and the one chosen."""

    l2s: Tensor
    """Shape (a,), float64, ascending. The values that were tried."""
    losses: Tensor
    """Shape (a,), float64. Mean preference loss of held-out pairs, in nats."""
    chosen: float
    """The l2 of least loss; of equal ones, the largest."""
    at_edge: bool
    """True where the choice is the first or last of several values."""


def fit_fixed_weights(
    chosen_scores: Tensor, rejected_scores: Tensor, *, sample_weight: Tensor | None = None
) -> FixedWeights:
    """Find the best weights of the objectives that do not depend on the prompt.

    Minimise over v >= 0 the weighted mean of -log sigmoid(v . (chosen - rejected)) plus
    0.5e-6 ||v||^2, and split v into beta (its sum) and weights (v / beta). The small ridge
    makes the solution unique where scores are collinear or separate all pairs. Float64.

    Args:
        chosen_scores: Shape (p, k). Objective scores of the chosen responses.
        rejected_scores: Shape (p, k). The same of the rejected ones.
        sample_weight: Shape (p,), at least 0; None weighs all pairs alike.

    Returns:
        Weights and beta. Where no objective speaks for the chosen side, beta is 0, every
        weighting has the same loss, and the weights are uniform.

    Raises:
        ValueError: shapes that disagree; entries that are not finite; no pair; weights of
            pairs that are negative or all 0.

    Example:
        >>> chosen = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.2, 0.7]])
        >>> fit_fixed_weights(chosen, 1 - chosen).weights
        tensor([1., 0.])
    """
    difference = _difference("scores", chosen_scores, rejected_scores, "p k")
    share = _share(sample_weight, len(difference))
    k = difference.shape[1]

    def loss(v: Float[Array, " k"]) -> tuple[float, Float[Array, " k"]]:
        margin = difference @ v
        value = float(share @ np.logaddexp(0, -margin)) + 0.5 * _RIDGE * float(v @ v)
        return value, _RIDGE * v - difference.T @ (share * expit(-margin))

    found = minimize(
        loss,
        np.zeros(k),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * k,
        options={"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20},
    )
    beta = float(found.x.sum())
    if beta == 0:
        return FixedWeights(torch.full((k,), 1 / k), 0.0)
    return FixedWeights(torch.from_numpy(found.x / beta).float(), beta)


def fit_bradley_terry(
    chosen_features: Tensor,
    rejected_features: Tensor,
    *,
    l2: float,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """Fit a linear preference head on features, the black box without objectives.

    Minimise over w: sum_i s_i (-log sigmoid(w . (chosen_i - rejected_i))) + l2 / 2 ||w||^2,
    with s_i = 1 or the weights scaled to mean 1. No bias: it cancels in a pair. The solution
    lies in the span of the differences and is sought there, in float64, with exact
    second-order steps.

    Args:
        chosen_features: Shape (p, d). Features of the chosen responses.
        rejected_features: Shape (p, d). The same of the rejected ones.
        l2: Above 0; a larger one shrinks the head.
        sample_weight: Shape (p,), at least 0; None weighs all pairs alike.

    Returns:
        Weight, shape (d,), float32; the score of a response is features @ weight.

    Raises:
        ValueError: shapes that disagree; entries that are not finite; no pair; an l2 that is
            not above 0; weights of pairs that are negative or all 0.
    """
    difference = _difference("features", chosen_features, rejected_features, "p d")
    grid = _check_l2s(torch.tensor([l2]), name="l2")
    share = _share(sample_weight, len(difference)) * len(difference)
    basis, reduced = _span(difference)
    start = np.zeros(basis.shape[1])
    return torch.from_numpy(basis @ _solve(reduced, share, float(grid[0]), start)).float()


def choose_l2(
    chosen_features: Tensor,
    rejected_features: Tensor,
    *,
    folds: Tensor | Sequence[int],
    l2s: Tensor,
    sample_weight: Tensor | None = None,
) -> L2Path:
    """Choose the l2 of a Bradley-Terry head by its loss on pairs that were held out.

    Args:
        chosen_features: Shape (p, d). Features of the chosen responses.
        rejected_features: Shape (p, d). The same of the rejected ones.
        folds: Shape (p,), whole numbers. The fold of each pair; folds share no prompt.
        l2s: Shape (a,), ascending, above 0.
        sample_weight: Shape (p,), at least 0; None weighs all pairs alike.

    Returns:
        The losses and the choice.

    Raises:
        ValueError: as in `fit_bradley_terry`; fewer than two folds; values that are not
            ascending.
    """
    difference = _difference("features", chosen_features, rejected_features, "p d")
    grid = _check_l2s(l2s, name="l2s")
    share = _share(sample_weight, len(difference))
    fold = torch.as_tensor(folds)
    check_shape("folds", fold, "p", p=len(difference))
    names = fold.unique().tolist()
    if len(names) < 2:
        raise ValueError(f"`folds` must be at least 2; got {len(names)}")
    losses = np.zeros(len(grid))
    for name in names:
        held_out = (fold == name).numpy()
        weight = share[~held_out]
        weight = weight / weight.sum() * len(weight) if weight.any() else weight
        losses += _held_out(
            difference[~held_out], weight, difference[held_out], share[held_out], grid
        )
    last = len(grid) - 1
    best = last - int(np.argmin(losses[::-1]))
    at_edge = last > 0 and best in (0, last)
    return L2Path(torch.from_numpy(grid), torch.from_numpy(losses), float(grid[best]), at_edge)


def _held_out(
    train: Float[Array, "p d"],
    weight: Float[Array, " p"],
    test: Float[Array, "o d"],
    share: Float[Array, " o"],
    l2s: Float[Array, " a"],
) -> Float[Array, " a"]:
    """Loss of held-out pairs for each l2; from strong to weak, each starts at the last."""
    basis, reduced = _span(train)
    projected = test @ basis
    losses = np.zeros(len(l2s))
    b = np.zeros(basis.shape[1])
    for i in reversed(range(len(l2s))):
        b = _solve(reduced, weight, float(l2s[i]), b)
        losses[i] = share @ np.logaddexp(0, -(projected @ b))
    return losses


def _span(difference: Float[Array, "p d"]) -> tuple[Float[Array, "d r"], Float[Array, "p r"]]:
    """Orthonormal basis of the span of the rows, and the rows in it; cost p d min(p, d)."""
    p, d = difference.shape
    if p >= d:
        return np.eye(d), difference
    basis = np.linalg.qr(difference.T)[0]
    return basis, difference @ basis


def _solve(
    x: Float[Array, "p r"], weight: Float[Array, " p"], l2: float, start: Float[Array, " r"]
) -> Float[Array, " r"]:
    """Minimise the Bradley-Terry loss from a start; the gradient ends below 1e-8 of the first."""

    def loss(b: Float[Array, " r"]) -> tuple[float, Float[Array, " r"]]:
        margin = x @ b
        value = float(weight @ np.logaddexp(0, -margin)) + 0.5 * l2 * float(b @ b)
        return value, l2 * b - x.T @ (weight * expit(-margin))

    def curve(b: Float[Array, " r"], step: Float[Array, " r"]) -> Float[Array, " r"]:
        probability = expit(x @ b)
        return l2 * step + x.T @ (weight * probability * (1 - probability) * (x @ step))

    size = float(np.linalg.norm(loss(np.zeros_like(start))[1]))
    options = {"gtol": 1e-8 * max(size, 1e-12), "maxiter": 1000}
    return minimize(loss, start, jac=True, hessp=curve, method="trust-ncg", options=options).x


def _difference(name: str, chosen: Tensor, rejected: Tensor, axes: str) -> Float[Array, "p width"]:
    """Check the sides of the pairs and subtract them in float64."""
    letter = axes.split()[1]
    check_shape(f"chosen_{name}", chosen, axes)
    check_rows(f"chosen_{name}", chosen)
    sizes = {"p": len(chosen), letter: chosen.shape[1]}
    check_shape(f"rejected_{name}", rejected, axes, **sizes)
    check_finite(f"chosen_{name}", chosen)
    check_finite(f"rejected_{name}", rejected)
    first, second = (side.detach().to("cpu", torch.float64) for side in (chosen, rejected))
    return (first - second).numpy()


def _share(sample_weight: Tensor | None, p: int) -> Float[Array, " p"]:
    """Weights of the pairs, with sum 1."""
    if sample_weight is None:
        return np.full(p, 1 / p)
    check_weights("sample_weight", sample_weight, "p", p=p)
    weight = sample_weight.detach().to("cpu", torch.float64).numpy()
    return weight / weight.sum()


def _check_l2s(l2s: Tensor, *, name: str) -> Float[Array, " a"]:
    """Check that the values are above 0 and ascending."""
    check_shape(name, l2s, "a")
    check_rows(name, l2s)
    check_finite(name, l2s)
    grid = l2s.detach().to("cpu", torch.float64)
    if float(grid.min()) <= 0 or not bool((grid.diff() > 0).all()):
        must = "above 0" if name == "l2" else "above 0 and ascending"
        raise ValueError(f"`{name}` must be {must}; got {', '.join(f'{v:g}' for v in grid)}")
    return grid.numpy()
