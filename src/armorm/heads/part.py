"""Rows of one source and one set of rated objectives, in the smaller of two exact forms."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from armorm.heads.moments import Content, Moments, Rows, Scratch, concatenate


class Part:
    """Moments of the rows already summed, and fewer than d rows as they came.

    Below d rows the rows themselves are the smaller exact statistic, and they allow the
    n x n dual; summing them only when d have come keeps the cost of a sum in proportion.
    Moments that anyone else holds are copied before they are added to.
    """

    def __init__(self, moments: Moments | None = None, rows: Sequence[Rows] = ()) -> None:
        """Take contents in; the moments stay the caller's."""
        self._moments = moments
        self._rows = list(rows)
        self._shared = moments is not None

    @property
    def n(self) -> int:
        """Number of rows."""
        summed = 0 if self._moments is None else self._moments.n
        return summed + sum(rows.n for rows in self._rows)

    def add(
        self,
        features: Float[Tensor, "n d"],
        ratings: Float[Tensor, "m q"],
        scratch: Scratch,
        *,
        index: Int[np.ndarray, " m"] | None = None,
    ) -> None:
        """Take in rows, all or those of an index, and sum when there are d of them."""
        d, m = features.shape[1], len(ratings)
        if sum(rows.n for rows in self._rows) + m < d:
            kept = features.clone() if index is None else features[index]
            self._rows.append(Rows(kept, ratings))
            return
        if self._moments is None:
            self._moments = Moments.zero(d, ratings.shape[1])
        moments = self._own()
        if self._rows:
            earlier = concatenate(self._rows)
            moments.add_rows(earlier.features, earlier.ratings, scratch)
            self._rows = []
        moments.add_rows(features, ratings, scratch, index=index)

    def extend(self, other: Part, scratch: Scratch) -> None:
        """Take in all that another part holds, which does not change."""
        if other._moments is not None and self._moments is None:
            self._moments, self._shared, other._shared = other._moments, True, True
        elif other._moments is not None:
            self._own().add(other._moments)
        for rows in other._rows:
            self.add(rows.features, rows.ratings, scratch)

    def _own(self) -> Moments:
        """Moments that nobody else holds."""
        assert self._moments is not None
        if self._shared:
            self._moments, self._shared = self._moments.copy(), False
        return self._moments

    def contents(self) -> list[Content]:
        """Moments, where there are any, then rows, where there are any."""
        self._shared = True
        summed: list[Content] = [] if self._moments is None else [self._moments]
        return [*summed, concatenate(self._rows)] if self._rows else summed

    def copy(self) -> Part:
        """Copy that shares moments until one of the two is added to."""
        self._shared = True
        return Part(self._moments, self._rows)

    def select(self, columns: Sequence[int]) -> Part:
        """Copy with some of the rating columns, in this order."""
        moments = None if self._moments is None else self._moments.select(columns)
        return Part(moments, [rows.select(columns) for rows in self._rows])
