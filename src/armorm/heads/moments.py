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

# Rows: each switch between the one thread that converts and the BLAS threads costs time.
_CHUNK = 8192
_SCRATCH_BYTES = 2**28
# torch hands smaller operations to no other thread. Its threads keep spinning for a while
# after each operation, which costs the BLAS call that follows more than they gave.
_SERIAL = 32767


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
        self, d: int, n: int, mean: Float[np.ndarray, " w"], products: Float[np.ndarray, "w w"]
    ) -> None:
        """Take the sums of n rows.

        Args:
            d: Feature width; ratings are the w - d columns after them.
            n: Number of rows.
            mean: Shape (w,). Mean of z.
            products: Shape (w, w), column-major. Centred Z'Z, of which only the upper
                triangle is kept; 0 below it.
        """
        self.d = d
        self.n = n
        self.mean = mean
        self.products = products

    @classmethod
    def zero(cls, d: int, q: int) -> Moments:
        """Moments of no row."""
        return cls(d, 0, np.zeros(d + q), blas.zeros(d + q))

    def copy(self) -> Moments:
        """Copy everything."""
        return Moments(self.d, self.n, self.mean.copy(), self.products.copy(order="F"))

    def select(self, columns: Sequence[int]) -> Moments:
        """Copy with some of the rating columns, in this order."""
        keep = list(columns)
        if keep == list(range(len(self.mean) - self.d)):
            return self.copy()
        chosen = Moments.zero(self.d, len(keep))
        chosen.add(self, keep)
        return chosen

    def add(self, other: Moments, columns: Sequence[int] | None = None) -> None:
        """Add moments as if their rows had been summed together.

        Args:
            other: Moments of other rows, of the same width.
            columns: Rating columns of the other that are the columns here; None means all.

        Source:
            Chan, Golub, LeVeque 1979, the pairwise update of means and centred products.
        """
        d, keep = self.d, list(range(len(other.mean) - self.d) if columns is None else columns)
        ratings = blas.full(np.asfortranarray(other.products[d:, d:]))
        self.products[:d, :d] += other.products[:d, :d]
        self.products[:d, d:] += other.products[:d, d:][:, keep]
        self.products[d:, d:] += np.triu(ratings[keep][:, keep])
        mean = np.concatenate([other.mean[:d], other.mean[d:][keep]])
        self._step(other.n, mean - self.mean)

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
        m, limit = len(ratings), Scratch.limit(len(self.mean))
        for start in range(0, m, limit):
            part = slice(start, min(start + limit, m))
            chunk = scratch.rows(part.stop - start, len(self.mean))
            about = self.mean if self.n >= len(chunk) else np.zeros_like(self.mean)
            np.subtract(ratings[part].numpy(), about[self.d :], out=chunk[:, self.d :])
            rows = features[part] if index is None else features
            keep = None if index is None else index[part]
            fill(chunk[:, : self.d], rows, index=keep, about=about[: self.d])
            self._add_chunk(chunk, about)

    def _add_chunk(self, rows: Float[np.ndarray, "m w"], about: Float[np.ndarray, " w"]) -> None:
        """Add rows that have a point taken off: the running mean, or zero. Overwrites them.

        The sum over the rows of (z - c)(z - c)' less m (mean - c)(mean - c)' is about their
        own mean for any c. The running mean as c saves a pass over the rows; it is as exact
        while it stands for as many rows as the chunk has, because what is taken off is then
        at most half of what that direction had.
        """
        m = len(rows)
        if self.n < m:
            own = blas.column_means(rows)
            rows -= own
            about = about + own
        rest = blas.column_means(rows)
        blas.add_gram(self.products, rows)
        blas.add_outer(self.products, rest, -float(m))
        self._step(m, about + rest - self.mean)

    def _step(self, m: int, step: Float[np.ndarray, " w"]) -> None:
        """Account for m more rows whose mean is a step away, their products being added."""
        n = self.n + m
        blas.add_outer(self.products, step, self.n * m / n)
        self.mean = self.mean + step * (m / n)
        self.n = n

    def about_zero(self) -> None:
        """Turn the sums into those about zero, in place, as if the mean were zero."""
        blas.add_outer(self.products, self.mean, float(self.n))
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
    centre = None if about is None or not about.any() else torch.from_numpy(about)
    step = max(1, _SERIAL // max(1, target.shape[1]))
    rows = None if index is None else torch.from_numpy(index)
    for start in range(0, len(target), step):
        part = slice(start, start + step)
        block = memory[part].copy_(features[part] if rows is None else features[rows[part]])
        if centre is not None:
            block.sub_(centre)  # while the block is in the cache


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
    # With v = (w, -1 at the column), v'z is the error but for the bias.
    v = np.zeros((len(content.mean), a * c), order="F")
    v[:d] = flat.T
    v[np.tile(np.add(keep, d), a), np.arange(a * c)] = -1.0
    spread = (v * blas.multiply(content.products, v)).sum(0).clip(min=0)
    offset = content.mean @ v + bias.reshape(-1)
    return (spread + content.n * np.square(offset)).reshape(a, c)
