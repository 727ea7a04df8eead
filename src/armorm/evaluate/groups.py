"""Which rows belong to one prompt: the unit that is drawn when figures get intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Groups = Sequence[str] | Sequence[int] | np.ndarray
"""One prompt id a row."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which prompt each row belongs to."""

    index: np.ndarray
    """Shape (n,). Position of the row's prompt among the sorted prompts."""
    n_groups: int
    """Number of prompts."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.index.size)

    @property
    def sizes(self) -> np.ndarray:
        """Shape (g,). Number of rows of each prompt."""
        return np.bincount(self.index, minlength=self.n_groups).astype(np.float64)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the rows of each prompt, shape (g,)."""
        return np.bincount(self.index, weights=values, minlength=self.n_groups)

    def take(self, rows: np.ndarray) -> Grouping:
        """Return the grouping of some rows (a mask or indices); prompts without rows go."""
        index = np.unique(self.index[rows], return_inverse=True)[1]
        return Grouping(index, int(index.max(initial=-1)) + 1)


def group_rows(groups: Groups, *, n_rows: int) -> Grouping:
    """Return which prompt each row belongs to.

    Args:
        groups: Prompt id of each row.
        n_rows: Number of rows there must be.

    Returns:
        The grouping; it depends on the ids by their sorted order alone.

    Raises:
        ValueError: the number of ids is another, or they are not one a row.
    """
    ids = np.asarray(groups)
    if ids.ndim != 1 or ids.size != n_rows:
        raise ValueError(
            f"`groups` must name one prompt a row; got shape {ids.shape} for {n_rows} rows"
        )
    index = np.unique(ids, return_inverse=True)[1]
    return Grouping(index, int(index.max(initial=-1)) + 1)
