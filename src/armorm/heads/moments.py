"""Rows of features and ratings, and the centred sums that stand for them in least squares.

Knows neither objectives by name nor sources nor missing ratings: every row is complete.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from armorm.heads import blas

_CHUNK = 8192  # rows that are converted and summed at a time
_SCRATCH_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Rows:
    """Complete rows, in the precision in which they came."""

    features: Float[Tensor, "m d"]
    """Shape (m, d), on the CPU; converted exactly, to float64, when they are used."""
    ratings: Float[Tensor, "m q"]
    """Shape (m, q), float64, normalised."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.features)

    @property
    def d(self) -> int:
        """Feature width."""
        return self.features.shape[1]

    def select(self, columns: Sequence[int]) -> Rows:
        """Keep some of the rating columns, in this order."""
        return Rows(self.features, self.ratings[:, list(columns)])


class Scratch:
    """Memory for one chunk of rows in float64, used again and again.

    Fresh memory costs ten times the conversion, in page faults.
    """

    def __init__(self) -> None:
        self._flat = np.empty(0)

    def rows(self, m: int, width: int) -> Float[np.ndarray, "m w"]:
        """Give room for so many rows; what it holds is undefined."""
        if self._flat.size < m * width:
            self._flat = np.empty(m * width)
        return self._flat[: m * width].reshape(m, width)

    @staticmethod
    def limit(width: int) -> int:
        """Most rows that are taken at a time."""
        return max(1, min(_CHUNK, _SCRATCH_BYTES // (8 * width)))


class Moments:
    """What least squares needs of any number of rows, in float64, added to in place.

    A row is z = (x, y): features, then ratings. Products are about the mean, not about zero:
    a feature whose mean is a thousand times its spread then loses no digits, with or without
    an intercept.
    """

    def __init__(
        self,
        n: int,
        mean: Float[np.ndarray, " w"],
        xx: Float[np.ndarray, "d d"],
        zy: Float[np.ndarray, "w q"],
    ) -> None:
        """Take the sums of n rows.

        Args:
            n: Number of rows.
            mean: Shape (w,), w = d + q. Mean of z.
            xx: Shape (d, d), column-major. Centred X'X, of which only the upper triangle is
                kept; 0 below it. By itself, because BLAS is an eighth slower at d + q than
                at a d that its blocks divide.
            zy: Shape (w, q). Centred Z'Y: X'Y, then Y'Y.
        """
        self.d = len(xx)
        self.n = n
        self.mean = mean
        self.xx = xx
        self.zy = zy

    @classmethod
    def zero(cls, d: int, q: int) -> Moments:
        """Moments of no row."""
        return cls(0, np.zeros(d + q), blas.zeros(d), np.zeros((d + q, q)))

    def copy(self) -> Moments:
        """Copy everything."""
        return Moments(self.n, self.mean.copy(), self.xx.copy(order="F"), self.zy.copy())

    def select(self, columns: Sequence[int]) -> Moments:
        """Copy with some of the rating columns, in this order."""
        place = self._places(columns)
        zy = self.zy[np.ix_(place, list(columns))]
        return Moments(self.n, self.mean[place], self.xx.copy(order="F"), zy)

    def add(self, other: Moments, columns: Sequence[int] | None = None) -> None:
        """Add moments as if their rows had been summed together.

        Args:
            other: Moments of other rows, of the same width.
            columns: Rating columns of the other that are the columns here; None means all.

        Source:
            Chan, Golub, LeVeque 1979, the pairwise update of means and centred products.
        """
        keep = list(range(other.zy.shape[1]) if columns is None else columns)
        place = other._places(keep)
        self.xx += other.xx
        self.zy += other.zy[np.ix_(place, keep)]
        self._step(other.n, other.mean[place] - self.mean, 0.0)

    def _places(self, columns: Sequence[int]) -> list[int]:
        """Numbers of all features and some rating columns in z."""
        return [*range(self.d), *(self.d + c for c in columns)]

    def add_rows(
        self,
        features: Float[Tensor, "n d"],
        ratings: Float[Tensor, "m q"],
        scratch: Scratch,
        *,
        index: Int[np.ndarray, " m"] | None = None,
    ) -> None:
        """Add rows, chunk by chunk.

        Args:
            features: Shape (n, d).
            ratings: Shape (m, q), float64; of the rows of the index.
            scratch: Memory for a chunk.
            index: Rows of `features` that are meant; None means all.
        """
        m, limit = len(ratings), Scratch.limit(self.d)
        for start in range(0, m, limit):
            part = slice(start, min(start + limit, m))
            x = scratch.rows(part.stop - start, self.d)
            about = self.mean if self.n >= len(x) else np.zeros_like(self.mean)
            rows = features[part] if index is None else features
            keep = None if index is None else index[part]
            fill(x, rows, index=keep, about=about[: self.d])
            self._add_chunk(x, ratings[part].numpy() - about[self.d :], about)

    def _add_chunk(
        self,
        x: Float[np.ndarray, "m d"],
        y: Float[np.ndarray, "m q"],
        about: Float[np.ndarray, " w"],
    ) -> None:
        """Add rows that have a point taken off: the running mean, or zero. Overwrites them.

        The sum over the rows of (z - c)(z - c)' less m (mean - c)(mean - c)' is about their
        own mean for any c. The running mean as c saves a pass over the rows; it is as exact
        while it stands for as many rows as the chunk has, because what is taken off is then
        at most half of what that direction had.
        """
        m, d = len(x), self.d
        ones = np.ones((m, 1))
        if self.n < m:
            own = blas.product(x.T, ones)[:, 0] / m, y.mean(0)
            x -= own[0]
            y = y - own[1]
            about = about + np.concatenate(own)
        # The sums of the features come with their products: one pass over the rows for both.
        sums = blas.product(x.T, np.hstack([y, ones]))
        rest = np.concatenate([sums[:, -1] / m, y.mean(0)])
        blas.add_gram(self.xx, x)
        self.zy[:d] += sums[:, :-1]
        self.zy[d:] += y.T @ y
        step = about + rest - self.mean
        if about is self.mean:
            self._step(m, step, -float(m))  # here the step is the rest: one correction for two
            return
        self._add_outer(rest, -float(m))
        self._step(m, step, 0.0)

    def _add_outer(self, step: Float[np.ndarray, " w"], scale: float) -> None:
        """Add scale * step step' to the products."""
        blas.add_outer(self.xx, step[: self.d], scale)
        self.zy += scale * np.outer(step, step[self.d :])

    def _step(self, m: int, step: Float[np.ndarray, " w"], more: float) -> None:
        """Account for m more rows whose mean is a step away, their products being added.

        `more` is added to the scale of the correction.
        """
        n = self.n + m
        self._add_outer(step, self.n * m / n + more)
        self.mean = self.mean + step * (m / n)
        self.n = n

    def about_zero(self) -> None:
        """Turn the sums into those about zero, in place, as if the mean were zero."""
        self._add_outer(self.mean, float(self.n))
        self.mean = np.zeros_like(self.mean)


Content = Rows | Moments
"""Either form of the same facts."""


def fill(
    target: Float[np.ndarray, "m d"],
    features: Float[Tensor, "n d"],
    *,
    index: Int[np.ndarray, " m"] | None = None,
    about: Float[np.ndarray, " d"] | None = None,
) -> None:
    """Convert features, or those rows of them that an index names, into float64 memory.

    Args:
        target: Shape (m, d). Overwritten.
        features: Shape (n, d), in any floating dtype.
        index: Rows of `features` that are meant; None means all.
        about: Shape (d,). Point taken off each row; None means zero.
    """
    memory = torch.from_numpy(target)
    memory.copy_(features if index is None else features[torch.from_numpy(index)])
    if about is not None and about.any():
        memory.sub_(torch.from_numpy(about))


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Put rows one after the other; of two precisions the result has one that holds both."""
    if len(parts) == 1:
        return parts[0]
    return Rows(torch.cat([p.features for p in parts]), torch.cat([p.ratings for p in parts]))


def total(contents: Sequence[Content], columns: Sequence[Sequence[int]]) -> Moments:
    """Sum contents into new moments.

    Args:
        contents: Rows or moments of the same feature width.
        columns: For each content, which of its rating columns become the columns of the sum.

    Returns:
        Moments with as many rating columns as each of `columns` has entries.
    """
    scratch = Scratch()
    found: Moments | None = None
    for content, keep in zip(contents, columns, strict=True):
        if isinstance(content, Moments) and found is None:
            found = content.select(keep)
            continue
        if found is None:
            found = Moments.zero(content.d, len(keep))
        if isinstance(content, Moments):
            found.add(content, keep)
        else:
            chosen = content.select(keep)
            found.add_rows(chosen.features, chosen.ratings, scratch)
    assert found is not None  # there is at least one content
    return found


def squared_error(
    content: Content,
    columns: Sequence[int],
    weight: Float[np.ndarray, "a c d"],
    bias: Float[np.ndarray, "a c"],
) -> Float[np.ndarray, "a c"]:
    """Sum over the rows of (x'w + b - y)^2 for several heads a rating column.

    Args:
        content: Rows or moments; both give the same number.
        columns: The c rating columns that are predicted.
        weight: Shape (a, c, d).
        bias: Shape (a, c).

    Returns:
        Shape (a, c), at least 0.
    """
    a, c, d = weight.shape
    flat = weight.reshape(a * c, d)
    keep = list(columns)
    if isinstance(content, Rows):
        features = np.empty((content.n, d))
        fill(features, content.features)
        predicted = blas.product(features, flat.T).reshape(content.n, a, c) + bias
        error = predicted - content.ratings.numpy()[:, None, keep]
        return np.square(error).sum(0)
    w = np.asfortranarray(flat.T)
    places = np.tile(keep, a)
    cross = (w * content.zy[:d, places]).sum(0)
    own = content.zy[d + places, places]
    spread = ((w * blas.multiply(content.xx, w)).sum(0) - 2 * cross + own).clip(min=0)
    offset = content.mean[:d] @ w - content.mean[d + places] + bias.reshape(-1)
    return (spread + content.n * np.square(offset)).reshape(a, c)
