"""Rows of features and ratings, and the centred sums that stand for them in least squares.

Knows neither objectives by name nor sources nor missing ratings: every row is complete.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """Complete rows in float64."""

    features: Float[Tensor, "m d"]
    """Shape (m, d)."""
    ratings: Float[Tensor, "m q"]
    """Shape (m, q), normalised."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.features)

    def select(self, columns: Sequence[int]) -> Rows:
        """Keep some of the rating columns."""
        return Rows(self.features, self.ratings[:, list(columns)])


@dataclass(frozen=True, slots=True)
class Moments:
    """What least squares needs of any number of rows, in float64.

    Products are about the mean, not about zero: a feature whose mean is a thousand times
    its spread then loses no digits, with or without an intercept.
    """

    n: int
    """Number of rows."""
    mean_x: Float[Tensor, " d"]
    """Mean feature, shape (d,)."""
    mean_y: Float[Tensor, " q"]
    """Mean rating, shape (q,)."""
    xx: Float[Tensor, "d d"]
    """Centred X'X, shape (d, d)."""
    xy: Float[Tensor, "d q"]
    """Centred X'Y, shape (d, q)."""
    yy: Float[Tensor, "q q"]
    """Centred Y'Y, shape (q, q)."""

    def select(self, columns: Sequence[int]) -> Moments:
        """Keep some of the rating columns."""
        keep = list(columns)
        yy = self.yy[keep][:, keep]
        return Moments(self.n, self.mean_x, self.mean_y[keep], self.xx, self.xy[:, keep], yy)


Content = Rows | Moments
"""Either form of the same facts."""


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Put rows one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Rows(torch.cat([p.features for p in parts]), torch.cat([p.ratings for p in parts]))


def to_moments(content: Content) -> Moments:
    """Sum rows into moments; moments come back as they are."""
    if isinstance(content, Moments):
        return content
    mean_x, mean_y = content.features.mean(0), content.ratings.mean(0)
    x, y = content.features - mean_x, content.ratings - mean_y
    return Moments(content.n, mean_x, mean_y, gram(x), x.T @ y, y.T @ y)


def merge(first: Moments, second: Moments) -> Moments:
    """Add two sets of moments as if their rows had been summed together.

    Source:
        Chan, Golub, LeVeque 1979, the pairwise update of means and centred products.
    """
    n = first.n + second.n
    step_x, step_y = second.mean_x - first.mean_x, second.mean_y - first.mean_y
    share = first.n * second.n / n
    return Moments(
        n,
        first.mean_x + step_x * (second.n / n),
        first.mean_y + step_y * (second.n / n),
        (first.xx + second.xx).addr_(step_x, step_x, alpha=share),
        (first.xy + second.xy).addr_(step_x, step_y, alpha=share),
        (first.yy + second.yy).addr_(step_y, step_y, alpha=share),
    )


def squared_error(
    content: Content, column: int, weight: Float[Tensor, "a d"], bias: Float[Tensor, " a"]
) -> Float[Tensor, " a"]:
    """Sum over the rows of (x'w + b - y)^2 for each of several heads.

    Args:
        content: Rows or moments; both give the same number.
        column: The rating column that is predicted.
        weight: Shape (a, d), one head a row.
        bias: Shape (a,).

    Returns:
        Shape (a,), at least 0.
    """
    if isinstance(content, Rows):
        error = content.features @ weight.T + bias - content.ratings[:, [column]]
        return error.square().sum(0)
    quadratic = ((weight @ content.xx) * weight).sum(1)
    spread = quadratic - 2 * weight @ content.xy[:, column] + content.yy[column, column]
    offset = weight @ content.mean_x + bias - content.mean_y[column]
    return spread.clamp(min=0) + content.n * offset.square()


def gram(x: Float[Tensor, "m d"]) -> Float[Tensor, "d d"]:
    """Return x'x by a symmetric rank-m update, which does half the work of a product."""
    # The transpose of a row-major array is column-major, as BLAS wants it: nothing is copied.
    upper = np.asarray(dsyrk(1.0, x.contiguous().numpy().T))
    return torch.from_numpy(np.triu(upper) + np.triu(upper, 1).T)
