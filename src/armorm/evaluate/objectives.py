"""Per-objective figures with intervals, from objective scores and ratings as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from armorm.evaluate.bootstrap import CountStatistic, Resampling, count_intervals
from armorm.evaluate.figures import ObjectiveFigures
from armorm.evaluate.groups import Grouping, Groups, group_rows
from armorm.evaluate.interval import FEWEST_GROUPS, Interval, value_only
from armorm.evaluate.metrics import r2, spearman
from armorm.evaluate.rank_counts import r2_of_counts, spearman_of_counts


@dataclass(frozen=True, slots=True)
class ObjectiveResults:
    """Figures of every objective and their mean."""

    objectives: tuple[ObjectiveFigures, ...]
    """One an objective, in the order given."""
    mean_spearman: Interval
    """Unweighted mean over the objectives whose correlation is defined."""


def evaluate_objectives(
    objective_scores: ArrayLike,
    ratings: ArrayLike,
    groups: Groups,
    *,
    objectives: Sequence[str],
    measured: Sequence[str] = (),
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> ObjectiveResults:
    """Return Spearman, R2 and RMSE of every objective, with intervals over prompts.

    Each objective is resampled over the prompts on which it is rated; the mean Spearman
    over all prompts at once, so that a prompt rated on several objectives is drawn for
    all of them together. An objective rated on fewer than 20 prompts gets its value
    without an interval. Costs n_resamples * n per objective, no Python loop over them.

    Args:
        objective_scores: Shape (n, k). Predicted normalised ratings; finite.
        ratings: Shape (n, k). Normalised ratings; NaN where not rated.
        groups: Prompt id of each row.
        objectives: Names of the k objectives.
        measured: Those that are measured from the text: marked, and no part of the mean.
        n_resamples: How often to draw; at least 100.
        level: Share of such intervals that contain the true value.
        seed: Seed of the draws.

    Returns:
        The figures; alpha, std and debias are left None for the caller to fill
        (`figures.model_copy(update=...)`).

    Raises:
        ValueError: the shapes differ or are not (n, k); a score is not finite; not one
            group a row or not one name an objective; as in `bootstrap_interval`.
    """
    scores, rated = _check_tables(objective_scores, ratings, objectives)
    resampling = Resampling(n_resamples, level, seed)
    grouping = group_rows(groups, n_rows=scores.shape[0])
    figures = tuple(
        _figures(name, scores[:, j], rated[:, j], grouping, resampling).model_copy(
            update={"is_measured": name in measured}
        )
        for j, name in enumerate(objectives)
    )
    judged = [j for j, name in enumerate(objectives) if name not in measured]
    mean = _mean_spearman(scores[:, judged], rated[:, judged], grouping, resampling)
    return ObjectiveResults(figures, mean)


def _figures(
    name: str,
    scores: np.ndarray,
    rated: np.ndarray,
    grouping: Grouping,
    resampling: Resampling,
) -> ObjectiveFigures:
    """Figures of one objective, over the prompts on which it is rated."""
    keep = ~np.isnan(rated)
    kept = grouping.take(keep)
    x, y = scores[keep], rated[keep]
    values = (spearman(x, y), r2(x, y)) if x.size else (math.nan, math.nan)
    statistics = (spearman_of_counts(x, y, kept), r2_of_counts(x, y, kept)) if x.size else ()
    # An undefined statistic and one on too few prompts come without an interval.
    if kept.n_groups < FEWEST_GROUPS or not all(math.isfinite(value) for value in values):
        intervals = [
            value_only(value, n_rows=kept.n_rows, n_groups=kept.n_groups) for value in values
        ]
    else:
        intervals = list(count_intervals(_side_by_side(statistics), kept, resampling))
    return ObjectiveFigures(
        name=name,
        n=kept.n_rows,
        spearman=intervals[0],
        r2=intervals[1],
        rmse=float(np.sqrt(((x - y) ** 2).mean())) if x.size else math.nan,
    )


def _mean_spearman(
    scores: np.ndarray, rated: np.ndarray, grouping: Grouping, resampling: Resampling
) -> Interval:
    """Mean over the objectives whose correlation is defined, over all rated prompts at once."""
    rows = np.flatnonzero(~np.isnan(rated).all(axis=1))
    kept = grouping.take(rows)
    scores, rated = scores[rows], rated[rows]
    values: list[float] = []
    statistics: list[CountStatistic] = []
    for j in range(scores.shape[1]):
        keep = ~np.isnan(rated[:, j])
        x, y = scores[keep, j], rated[keep, j]
        value = spearman(x, y) if x.size else math.nan
        if math.isfinite(value):
            values.append(value)
            # The prompts keep their numbers: the counts that come are those of all prompts.
            own = Grouping(kept.index[keep], kept.n_groups)
            statistics.append(spearman_of_counts(x, y, own))
    if not values or kept.n_groups < FEWEST_GROUPS:
        mean = float(np.mean(values)) if values else math.nan
        return value_only(mean, n_rows=kept.n_rows, n_groups=kept.n_groups)
    together = _side_by_side(statistics)
    return count_intervals(
        lambda counts: together(counts).mean(axis=1, keepdims=True), kept, resampling
    )[0]


def _side_by_side(statistics: Sequence[CountStatistic]) -> CountStatistic:
    """Several statistics of the same counts as one, a column each."""
    return lambda counts: np.concatenate([one(counts) for one in statistics], axis=1)


def _check_tables(
    objective_scores: ArrayLike, ratings: ArrayLike, objectives: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return both tables as float64, shapes and entries checked."""
    scores = np.asarray(objective_scores, dtype=np.float64)
    rated = np.asarray(ratings, dtype=np.float64)
    k = len(objectives)
    if scores.ndim != 2 or scores.shape[1] != k or not scores.size:
        raise ValueError(
            f"`objective_scores` must have shape (n, k) with k = {k} objectives; got {scores.shape}"
        )
    if rated.shape != scores.shape:
        raise ValueError(f"`ratings` must have shape {scores.shape}; got {rated.shape}")
    for name, table, bad in (
        ("objective_scores", scores, ~np.isfinite(scores)),
        ("ratings", rated, np.isinf(rated)),
    ):
        if bad.any():
            row, j = (int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"`{name}` must be finite{' or NaN' if name == 'ratings' else ''}; "
                f"{int(bad.sum())} of {table.size} entries are not, the first at row {row}, "
                f"objective {objectives[j]!r}"
            )
    return scores, rated
