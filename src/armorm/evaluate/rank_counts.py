"""Spearman and R2 of rows drawn several times, for many resamples at once; private to the package.

Drawing a row c times is the same as weighing it by c. The rows are sorted once; every
resample then needs only cumulative sums of its counts, no sorting of its own.
"""

from __future__ import annotations

import numpy as np

from armorm.evaluate.bootstrap import CountStatistic
from armorm.evaluate.groups import Grouping


def spearman_of_counts(
    predicted: np.ndarray, rated: np.ndarray, grouping: Grouping
) -> CountStatistic:
    """Return Spearman's correlation as a function of how often each prompt was drawn.

    A block of tied rows that is drawn w times in all, behind e rows that come before it,
    has the average rank e + (w + 1) / 2; the mean of all ranks is (N + 1) / 2.

    Args:
        predicted: Shape (n,). Objective scores of the rated rows; finite.
        rated: Shape (n,). Ratings; finite.
        grouping: Which prompt each row belongs to.

    Returns:
        A function from counts (b, g) to correlations (b, 1); NaN without variance.
    """
    blocks = [_TieBlocks(predicted), _TieBlocks(rated)]

    def statistic(counts: np.ndarray) -> np.ndarray:
        rows = counts[:, grouping.index]
        middle = (rows.sum(axis=1, keepdims=True) + 1.0) / 2
        a, b = (block.ranks(rows) - middle for block in blocks)
        weighted = rows * a
        with np.errstate(invalid="ignore", divide="ignore"):
            variances = (weighted * a).sum(axis=1) * (rows * b * b).sum(axis=1)
            return ((weighted * b).sum(axis=1) / np.sqrt(variances))[:, None]

    return statistic


def r2_of_counts(predicted: np.ndarray, rated: np.ndarray, grouping: Grouping) -> CountStatistic:
    """Return R2 against the mean of the drawn rows as a function of the counts.

    Args:
        predicted: Shape (n,). Objective scores of the rated rows; finite.
        rated: Shape (n,). Ratings; finite.
        grouping: Which prompt each row belongs to.

    Returns:
        A function from counts (b, g) to R2 (b, 1); NaN without variance.
    """
    centred = rated - rated.mean()  # keeps the sum of squares free of cancellation
    columns = [(rated - predicted) ** 2, centred**2, centred, np.ones_like(rated)]
    sums = np.stack([grouping.sums(column) for column in columns], axis=1)
    # A resample of equal ratings leaves rounding errors, not 0, for the sum of squares.
    floor = 1e-12 * float((centred**2).mean())

    def statistic(counts: np.ndarray) -> np.ndarray:
        error, square, first, n = (counts @ sums).T
        with np.errstate(invalid="ignore", divide="ignore"):
            total = square - first**2 / n
            return np.where(total > floor * n, 1.0 - error / total, np.nan)[:, None]

    return statistic


class _TieBlocks:
    """The sorted order of one variable, in blocks of equal values."""

    def __init__(self, values: np.ndarray) -> None:
        """Sort once."""
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        starts = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self._starts = np.flatnonzero(starts)
        self._block = np.empty(values.size, dtype=np.int64)
        self._block[self._order] = np.cumsum(starts) - 1

    def ranks(self, rows: np.ndarray) -> np.ndarray:
        """Average rank of each row, shape (b, n), when row i is there rows[:, i] times."""
        sizes = np.add.reduceat(rows[:, self._order], self._starts, axis=1)
        before = np.cumsum(sizes, axis=1) - sizes
        return (before + (sizes + 1.0) / 2)[:, self._block]
