"""How many different things the objectives say, and which of them the gating listens to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from armorm.evaluate.audit.effects import spread_of
from armorm.evaluate.audit.figures import GatingAudit, Structure
from armorm.evaluate.heads_figures import gating_figures

UNUSED = 0.01
"""Weight that an objective must reach for one prompt at least to count as used."""

_SHOWN = 5


def correlations(scores: np.ndarray) -> np.ndarray:
    """Return the Pearson correlations of columns.

    Args:
        scores: Shape (n, k). Finite.

    Returns:
        Shape (k, k), ones on the diagonal; NaN in row and column of a constant one.
    """
    spreads = np.array([spread_of(column) for column in scores.T])
    centred = scores - scores.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = centred / np.where(spreads > 0, spreads, np.nan)
    matrix = np.clip(unit.T @ unit / len(scores), -1.0, 1.0)
    np.fill_diagonal(matrix, np.where(spreads > 0, 1.0, np.nan))
    return matrix


def effective_number(matrix: ArrayLike) -> float:
    """Return the participation ratio of the eigenvalues of a correlation matrix.

    (sum l)^2 / sum l^2 for eigenvalues l: k for k objectives that have nothing to do with
    each other, 1 when all are one. Without eigenvalues: the sum is the trace, the sum of
    squares that of all entries.

    Args:
        matrix: Shape (k, k). Symmetric; rows and columns of NaN are left out.

    Returns:
        From 1 to k; NaN where nothing is left.

    Raises:
        ValueError: the shape is not (k, k).

    Example:
        >>> effective_number([[1.0, 0.5], [0.5, 1.0]])
        1.6
    """
    full = np.asarray(matrix, dtype=np.float64)
    if full.ndim != 2 or full.shape[0] != full.shape[1]:
        raise ValueError(f"`matrix` must have shape (k, k); got {full.shape}")
    keep = np.isfinite(np.diagonal(full))
    kept = full[np.ix_(keep, keep)]
    return float(np.trace(kept) ** 2 / (kept**2).sum()) if kept.size else math.nan


def structure(
    before: np.ndarray, after: np.ndarray, *, objectives: Sequence[str], nuisances: Sequence[int]
) -> Structure:
    """Return how the objective scores hang together.

    Args:
        before: Shape (n, k). Objective scores.
        after: Shape (n, k). The same after debias.
        objectives: Names of the k objectives.
        nuisances: Positions of those that debias removes.

    Returns:
        Correlation matrices, effective numbers and the objectives that are most alike.
    """
    raw, debiased = correlations(before), correlations(after)
    for j in nuisances:  # removed whole: what is left of it is rounding
        debiased[j, :] = debiased[:, j] = np.nan
    alike = [
        (objectives[i], objectives[j], float(debiased[i, j]))
        for i in range(len(objectives))
        for j in range(i + 1, len(objectives))
        if math.isfinite(debiased[i, j])
    ]
    return Structure(
        objectives=tuple(objectives),
        before=_rows(raw),
        after=_rows(debiased),
        effective_before=effective_number(raw),
        effective_after=effective_number(debiased),
        most_alike=tuple(sorted(alike, key=lambda one: -one[2])[:_SHOWN]),
    )


def gating_audit(
    gating: np.ndarray,
    sources: Sequence[str],
    groups: Sequence[str],
    *,
    objectives: Sequence[str],
    nuisances: Sequence[int],
    beta: float,
) -> GatingAudit:
    """Return where the gating looks; a prompt with several rows of a source counts once.

    Args:
        gating: Shape (n, k). Weights of the objectives; rows add up to 1.
        sources: Source of each row.
        groups: Prompt of each row.
        objectives: Names of the k objectives.
        nuisances: Positions of those that debias removes.
        beta: Of the bundle.

    Returns:
        The figures.
    """
    first: dict[tuple[str, str], int] = {}
    for i, key in enumerate(zip(groups, sources, strict=True)):
        first.setdefault(key, i)
    rows = list(first.values())
    weights = np.asarray(gating, dtype=np.float64)[rows]
    logs = np.log(np.where(weights > 0, weights, 1.0))
    most = weights.max(axis=0)
    return GatingAudit(
        figures=gating_figures(
            weights, [sources[i] for i in rows], objectives=objectives, beta=beta
        ),
        n_prompts=len(set(groups)),
        effective=float(np.exp(-(weights * logs).sum(axis=1)).mean()),
        largest_spread=float(weights.std(axis=0).max()),
        unused=tuple(
            name
            for j, name in enumerate(objectives)
            if most[j] < UNUSED and j not in set(nuisances)
        ),
    )


def _rows(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """A matrix as values."""
    return tuple(tuple(float(v) for v in row) for row in matrix)
