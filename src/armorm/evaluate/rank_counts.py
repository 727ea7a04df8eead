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
    x, y = _TieBlocks(predicted, grouping), _TieBlocks(rated, grouping)
    y_block = y.block_of_row[x.order]

    def statistic(counts: np.ndarray) -> np.ndarray:
        # Prompts and rows along the first axis: gathering whole lines is several times faster.
        drawn = np.ascontiguousarray(counts.T)
        rows, a, variance_a = x.ranks(drawn)
        _, b, variance_b = y.ranks(drawn)
        products = np.einsum("nb,nb,nb->b", rows, a[x.block_of_sorted], b[y_block])
        with np.errstate(invalid="ignore", divide="ignore"):
            return (products / np.sqrt(variance_a * variance_b))[:, None]

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

    def __init__(self, values: np.ndarray, grouping: Grouping) -> None:
        """Sort once."""
        self.order = np.argsort(values, kind="stable")
        """Shape (n,). Rows by increasing value."""
        ordered = values[self.order]
        starts = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self.block_of_sorted = np.cumsum(starts) - 1
        """Shape (n,). Block of each row in sorted order."""
        self.block_of_row = np.empty(values.size, dtype=np.int64)
        """Shape (n,). Block of each row in the order given."""
        self.block_of_row[self.order] = self.block_of_sorted
        self._starts = np.flatnonzero(starts)
        self._prompts = grouping.index[self.order]

    def ranks(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rank the rows of every resample.

        Args:
            drawn: Shape (g, b). How often each prompt is there.

        Returns:
            How often each row is there, in sorted order, (n, b); the average rank of each
            block minus the mean rank, (m, b); sum of squares of these over all rows, (b,).
        """
        rows = drawn[self._prompts]
        tied = self._starts.size < rows.shape[0]
        sizes = np.add.reduceat(rows, self._starts, axis=0) if tied else rows
        ends = np.cumsum(sizes, axis=0)
        ranks = ends - sizes / 2 - ends[-1] / 2  # (before + (w + 1) / 2) - (N + 1) / 2
        return rows, ranks, np.einsum("mb,mb,mb->b", sizes, ranks, ranks)
