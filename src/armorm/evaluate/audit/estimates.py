"""Figures with intervals where there are prompts enough, and alone where there are not."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import rankdata

from armorm.evaluate.bootstrap import (
    CountStatistic,
    Resampling,
    accuracy_interval,
    count_intervals,
    mean_of_counts,
)
from armorm.evaluate.groups import Grouping
from armorm.evaluate.interval import FEWEST_GROUPS, Interval, value_only
from armorm.evaluate.metrics import spearman
from armorm.evaluate.rank_counts import spearman_of_counts

ROUNDING = 2e-6
"""Relative to the largest value: two batches may score one conversation that far apart."""


def mean_interval(values: np.ndarray, grouping: Grouping, resampling: Resampling) -> Interval:
    """Return a mean over rows with its interval over prompts.

    Args:
        values: Shape (n,). Finite.
        grouping: Which prompt each row belongs to.
        resampling: How the interval is found.

    Returns:
        The mean, NaN without rows; below 20 prompts without an interval.
    """
    if grouping.n_groups < FEWEST_GROUPS:
        value = float(values.mean()) if values.size else math.nan
        return value_only(value, n_rows=grouping.n_rows, n_groups=grouping.n_groups)
    return count_intervals(mean_of_counts(values, grouping), grouping, resampling)[0]


def share_interval(hits: np.ndarray, grouping: Grouping, resampling: Resampling) -> Interval:
    """Return a share of rows with its interval over prompts; that of `accuracy_interval`.

    Args:
        hits: Shape (n,). 1 for a row that counts, 0 for one that does not, or between.
        grouping: Which prompt each row belongs to.
        resampling: How the interval is found.

    Returns:
        The share, NaN without rows; below 20 prompts without an interval.
    """
    if grouping.n_groups < FEWEST_GROUPS:
        return mean_interval(hits, grouping, resampling)
    return accuracy_interval(hits, grouping.index, level=resampling.level)


def spearman_interval(
    x: np.ndarray, y: np.ndarray, grouping: Grouping, resampling: Resampling
) -> Interval:
    """Return Spearman's correlation over all rows with its interval over prompts.

    Args:
        x: Shape (n,). Finite.
        y: Shape (n,). Finite.
        grouping: Which prompt each row belongs to.
        resampling: How the interval is found.

    Returns:
        The correlation, NaN where one side is constant; below 20 prompts without an interval.
    """
    value = spearman(x, y)
    if grouping.n_groups < FEWEST_GROUPS or not math.isfinite(value):
        return value_only(value, n_rows=grouping.n_rows, n_groups=grouping.n_groups)
    return count_intervals(spearman_of_counts(x, y, grouping), grouping, resampling)[0]


def within_interval(
    x: np.ndarray, y: np.ndarray, grouping: Grouping, resampling: Resampling
) -> Interval:
    """Return the rank correlation among the responses to one prompt, over all prompts.

    With a and b the ranks among the rows of a prompt, minus their mean, it is
    sum a b / sqrt(sum a^2 sum b^2) over all rows: what differs from prompt to prompt, such
    as how long an answer it asks for, has no part in it. A prompt with one response does
    not count.

    Args:
        x: Shape (n,). Finite.
        y: Shape (n,). Finite.
        grouping: Which prompt each row belongs to.
        resampling: How the interval is found.

    Returns:
        The correlation, NaN where one side is constant within every prompt; its counts are
        those of prompts with several responses.
    """
    keep = grouping.sizes[grouping.index] > 1
    kept = grouping.take(keep)
    a, b = (ranks_within(_settle(side[keep], kept), kept) for side in (x, y))
    products = np.stack([kept.sums(a * b), kept.sums(a * a), kept.sums(b * b)], axis=1)
    statistic = _correlation_of_sums(products)
    value = float(statistic(np.ones((1, kept.n_groups)))[0, 0])
    if kept.n_groups < FEWEST_GROUPS or not math.isfinite(value):
        return value_only(value, n_rows=kept.n_rows, n_groups=kept.n_groups)
    return count_intervals(statistic, kept, resampling)[0]


def ranks_within(values: np.ndarray, grouping: Grouping) -> np.ndarray:
    """Return the average rank of every row among those of its prompt, minus their mean.

    Args:
        values: Shape (n,). Finite.
        grouping: Which prompt each row belongs to.

    Returns:
        Shape (n,); sums to 0 over every prompt.

    Example:
        >>> two = Grouping(np.array([0, 0, 1, 1]), 2)
        >>> ranks_within(np.array([5.0, 7.0, 1.0, 1.0]), two).tolist()
        [-0.5, 0.5, 0.0, 0.0]
    """
    if not values.size:
        return np.zeros(0)
    # Ranks of all rows sorted by prompt first: within a prompt they are its own, shifted.
    dense = rankdata(values, method="dense").astype(np.float64)
    ranks = rankdata(grouping.index * (dense.max() + 1.0) + dense)
    return ranks - (grouping.sums(ranks) / grouping.sizes)[grouping.index]


def _settle(values: np.ndarray, grouping: Grouping) -> np.ndarray:
    """Make rows of a prompt equal that differ by rounding alone, so that they tie."""
    lowest, highest = np.full(grouping.n_groups, np.inf), np.full(grouping.n_groups, -np.inf)
    np.minimum.at(lowest, grouping.index, values)
    np.maximum.at(highest, grouping.index, values)
    alike = highest - lowest <= ROUNDING * np.abs(values).max(initial=0.0)
    return np.where(alike[grouping.index], lowest[grouping.index], values)


def _correlation_of_sums(products: np.ndarray) -> CountStatistic:
    """From sums of products by prompt, (g, 3), to the correlation by counts."""

    def statistic(counts: np.ndarray) -> np.ndarray:
        ab, aa, bb = (counts @ products).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.clip(ab / np.sqrt(aa * bb), -1.0, 1.0)[:, None]

    return statistic
