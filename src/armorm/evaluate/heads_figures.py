"""What debias removed and where the gating looks, summarised for a report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from armorm.evaluate.figures import DebiasFigures, GatingFigures


def gating_figures(
    gating: ArrayLike,
    sources: Sequence[str] | np.ndarray,
    *,
    objectives: Sequence[str],
    beta: float | None = None,
    steps: int | None = None,
) -> GatingFigures:
    """Return the mean weights over prompts, by source too, and their entropy.

    The largest possible entropy counts the objectives that get any weight at all: a
    gating that masks the nuisance cannot spread over it.

    Args:
        gating: Shape (n, k). Weights of the objectives for each prompt; rows add up to 1.
        sources: Source of each prompt.
        objectives: Names of the k objectives.
        beta: Multiplies the margin in the preference probability.
        steps: Optimiser steps of the shipped gating.

    Returns:
        The figures; sources sorted by name.

    Raises:
        ValueError: the shape is not (n, k); not one source a row; a row does not add up
            to 1 or has a negative weight.

    Example:
        >>> one = gating_figures([[0.5, 0.5], [1, 0]], ["x", "x"], objectives=["a", "b"])
        >>> one.mean, round(one.entropy_mean, 3), round(one.entropy_max, 3)
        ({'a': 0.75, 'b': 0.25}, 0.347, 0.693)
    """
    weights = np.asarray(gating, dtype=np.float64)
    k = len(objectives)
    if weights.ndim != 2 or weights.shape[1] != k or not weights.size:
        raise ValueError(
            f"`gating` must have shape (n, k) with k = {k} objectives; got {weights.shape}"
        )
    labels = np.asarray(sources)
    if labels.shape != (weights.shape[0],):
        raise ValueError(
            f"`sources` must name one source a row of `gating`; got shape {labels.shape} "
            f"for {weights.shape[0]} rows"
        )
    sums = weights.sum(axis=1)
    # Written so that NaN fails as well; 1e-4 allows for float32 and a stored table.
    at_fault = np.flatnonzero(~((np.abs(sums - 1.0) <= 1e-4) & (weights >= 0).all(axis=1)))
    if at_fault.size:
        row = int(at_fault[0])
        raise ValueError(
            "`gating` must have rows of non-negative weights that add up to 1; "
            f"row {row} adds up to {sums[row]:.6g}, its smallest weight is "
            f"{weights[row].min():.6g}"
        )
    logs = np.log(np.where(weights > 0, weights, 1.0))
    used = int((weights > 0).any(axis=0).sum())
    return GatingFigures(
        mean=_by_name(weights.mean(axis=0), objectives),
        by_source={
            source: _by_name(weights[labels == source].mean(axis=0), objectives)
            for source in sorted(set(labels.tolist()))
        },
        entropy_mean=abs(float(-(weights * logs).sum(axis=1).mean())),
        entropy_max=math.log(used),
        beta=beta,
        steps=steps,
    )


def debias_figures(
    penalties: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    *,
    objectives: Sequence[str],
    nuisances: Sequence[str],
    n_rows: int | None = None,
) -> DebiasFigures:
    """Return what debias removed, objective by objective.

    Args:
        penalties: Shape (k, m). Multiple of each of the m nuisances that is subtracted.
        before: Shape (k,). Spearman with the nuisance before debias.
        after: Shape (k,). The same after debias.
        objectives: Names of the k objectives.
        nuisances: Names of the m nuisances; those among the objectives are left out of
            the figures, since debias removes them whole.
        n_rows: Reference rows.

    Returns:
        The figures, objectives in the order given.

    Raises:
        ValueError: a shape does not follow from the names.
    """
    k, m = len(objectives), len(nuisances)
    tables = {"penalties": (penalties, (k, m)), "before": (before, (k,)), "after": (after, (k,))}
    arrays: dict[str, np.ndarray] = {}
    for name, (values, shape) in tables.items():
        arrays[name] = np.asarray(values, dtype=np.float64)
        if arrays[name].shape != shape:
            raise ValueError(f"`{name}` must have shape {shape}; got {arrays[name].shape}")
    kept = [j for j, name in enumerate(objectives) if name not in nuisances]
    names = [objectives[j] for j in kept]
    sizes = np.abs(arrays["after"][kept])
    return DebiasFigures(
        nuisances=tuple(nuisances),
        penalties={objectives[j]: _by_name(arrays["penalties"][j], nuisances) for j in kept},
        before=_by_name(arrays["before"][kept], names),
        after=_by_name(arrays["after"][kept], names),
        largest_after=float(sizes.max()) if sizes.size else math.nan,
        n_rows=n_rows,
    )


def _by_name(values: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """A row of numbers as a mapping from names."""
    return dict(zip(names, values.tolist(), strict=True))
