"""The rows on which a group of objectives is rated, factorised once for every alpha."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from armorm.heads.moments import (
    Content,
    Moments,
    Rows,
    concatenate,
    merge,
    to_moments,
)
from armorm.heads.statistics import Statistics


class System:
    """One eigendecomposition that solves ridge for a group of objectives and any alpha.

    With rows X (n, d), centred when there is an intercept, and w = (X'X + alpha I)^-1 X'y:
    primal (n >= d), X'X = V L V' and w = V (L + alpha)^-1 V'X'y; dual (n < d),
    XX' = U L U' and w = X'U (L + alpha)^-1 U'y. Either way w = basis @ (target / (L + alpha)).
    Cost: min(n, d)^3 once, then d min(n, d) for each alpha and objective.
    """

    def __init__(self, members: Sequence[int], contents: Sequence[Content], *, intercept: bool):
        """Sum the parts and factorise.

        Args:
            members: Indices of the objectives, in the order of the rating columns.
            contents: The parts in which these objectives are rated.
            intercept: True where a bias is fitted.
        """
        self.members = tuple(members)
        self.n = sum(content.n for content in contents)
        self.intercept = intercept
        rows = [content for content in contents if isinstance(content, Rows)]
        d = _width(contents[0])
        self.dual = len(rows) == len(contents) and self.n < d
        if self.dual:
            self._factorise_rows(concatenate(rows))
        else:
            total = to_moments(contents[0])
            for content in contents[1:]:
                total = merge(total, to_moments(content))
            self._factorise_moments(total)

    def _factorise_rows(self, rows: Rows) -> None:
        """Dual: eigenvectors of the n x n products of rows."""
        self._means(rows.features.mean(0), rows.ratings.mean(0))
        x, y = rows.features - self.mean_x, rows.ratings - self.mean_y
        values, vectors = torch.linalg.eigh(x @ x.T)
        self.values: Tensor = values.clamp(min=0)
        self.basis: Tensor = x.T @ vectors
        self.target: Tensor = vectors.T @ y
        self.total: Tensor = y.square().sum(0)

    def _factorise_moments(self, moments: Moments) -> None:
        """Primal: eigenvectors of the d x d products of features."""
        xx, xy, total = moments.xx, moments.xy, moments.yy.diagonal().clone()
        if not self.intercept:
            xx = xx.addr(moments.mean_x, moments.mean_x, alpha=self.n)
            xy = xy.addr(moments.mean_x, moments.mean_y, alpha=self.n)
            total = total + self.n * moments.mean_y.square()
        self._means(moments.mean_x, moments.mean_y)
        values, self.basis = torch.linalg.eigh(xx)
        self.values = values.clamp(min=0)
        self.target = self.basis.T @ xy
        self.total = total

    def _means(self, mean_x: Float[Tensor, " d"], mean_y: Float[Tensor, " q"]) -> None:
        """Keep the point about which the rows are centred: zero without an intercept."""
        keep = 1.0 if self.intercept else 0.0
        self.mean_x: Tensor = mean_x * keep
        self.mean_y: Tensor = mean_y * keep

    @property
    def d(self) -> int:
        """Feature width."""
        return len(self.mean_x)

    def is_determined(self) -> bool:
        """Say whether least squares without a penalty has one solution."""
        largest = float(self.values[-1])
        limit = largest * max(self.n, self.d) * torch.finfo(torch.float64).eps
        return not self.dual and largest > 0 and float(self.values[0]) > limit

    def solve(
        self, objective: int, alphas: Float[Tensor, " a"]
    ) -> tuple[Float[Tensor, "a d"], Float[Tensor, " a"]]:
        """Weight and bias of one objective for each alpha, in float64."""
        target = self.target[:, self.members.index(objective)]
        scaled = _divide(target[:, None], self.values[:, None] + alphas)
        weight = (self.basis @ scaled).T
        return weight, self.mean_y[self.members.index(objective)] - weight @ self.mean_x

    def noise_variance(self, objective: int, alpha: float) -> float:
        """Residual sum of squares over n minus the effective degrees of freedom.

        Those are the trace of the map from ratings to fitted ratings: one for the intercept
        plus sum L / (L + alpha). NaN when none are left.
        """
        column = self.members.index(objective)
        share = _divide(self.values, self.values + alpha)
        left = self.n - float(share.sum()) - self.intercept
        if left <= 1e-9 * self.n:
            return float("nan")
        target = self.target[:, column].square()
        if self.dual:  # the eigenvectors span every residual
            residual = float(((1 - share).square() * target).sum())
        else:
            explained = _divide(target * (2 - share), self.values + alpha).sum()
            residual = max(float(self.total[column] - explained), 0.0)
        return residual / left


def systems(statistics: Statistics, *, intercept: bool) -> list[System]:
    """Factorise the rows of each group of objectives that are rated together."""
    return [
        System(members, contents, intercept=intercept) for members, contents in statistics.groups()
    ]


def check_determined(system: System, name: str, alphas: Float[Tensor, " a"]) -> None:
    """Raise where an alpha of 0 leaves more than one solution."""
    if bool((alphas == 0).any()) and not system.is_determined():
        raise ValueError(
            f"`alpha` = 0 leaves the solution undetermined: {system.n} rated rows of {name!r} "
            f"span fewer than {system.d} feature directions; use a positive alpha"
        )


def _width(content: Content) -> int:
    """Feature width of a part."""
    return content.features.shape[1] if isinstance(content, Rows) else len(content.mean_x)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, with 0 / 0 = 0: a direction without spread takes no weight."""
    return torch.where(denominator > 0, numerator / denominator.clamp(min=1e-300), 0.0)
