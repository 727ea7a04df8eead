"""The rows on which a group of objectives is rated, as one linear system for every alpha."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float

from armorm.heads import blas
from armorm.heads.moments import Content, Moments, Rows, concatenate, fill, total
from armorm.heads.rated_rows import Key
from armorm.heads.statistics import Statistics

# One eigendecomposition costs what 20 to 35 Cholesky factorisations do, at every width
# (decision 0005).
_ALPHAS_FOR_EIGEN = 24
# Eigenvalues below this part of the largest are rounding of the sums.
_ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Solution:
    """Heads of one alpha an objective, in float64."""

    weight: Float[np.ndarray, "q d"]
    """Shape (q, d)."""
    bias: Float[np.ndarray, " q"]
    """Shape (q,)."""
    noise_variance: Float[np.ndarray, " q"]
    """Shape (q,). Residual sum of squares over n minus the effective degrees of freedom; NaN
    when none are left."""


class System:
    """Ridge for a group of objectives and any alpha, from M + alpha I of the smaller size s.

    With rows X (n, d), centred when there is an intercept: primal (n >= d), M = X'X and
    w = (M + alpha I)^-1 X'y; dual (n < d), M = XX' and w = X'(M + alpha I)^-1 y.
    """

    def __init__(
        self, members: Sequence[int], contents: Sequence[tuple[Key, Content]], *, intercept: bool
    ) -> None:
        """Sum the contents.

        Args:
            members: Indices of the q objectives.
            contents: All contents in which these objectives are rated.
            intercept: True where a bias is fitted.
        """
        self.members = tuple(members)
        self.n = sum(content.n for _, content in contents)
        self.d = contents[0][1].d
        self.intercept = intercept
        columns = [[key[1].index(j) for j in members] for key, _ in contents]
        found = [content for _, content in contents]
        rows = [
            content.select(keep)
            for content, keep in zip(found, columns, strict=True)
            if isinstance(content, Rows)
        ]
        self._x: Float[np.ndarray, "n d"] | None = None
        self._eigen: tuple[Float[np.ndarray, " s"], Float[np.ndarray, "s s"]] | None = None
        if len(rows) == len(found) and self.n < self.d:
            self._take_rows(concatenate(rows))
        else:
            self._take_moments(total(found, columns))

    def _take_rows(self, rows: Rows) -> None:
        """Dual: the n x n products of rows."""
        x, y = np.empty((self.n, self.d)), rows.ratings.numpy().copy()
        fill(x, rows.features)
        self._means(x.mean(0), y.mean(0))
        self._x = x - self.mean_x
        y -= self.mean_y
        self._matrix = blas.gram_of_rows(self._x)
        self._target = y
        self._squares = np.square(y).sum(0)

    def _take_moments(self, found: Moments) -> None:
        """Primal: the d x d products of features."""
        if not self.intercept:
            found.about_zero()
        d = self.d
        self._means(found.mean[:d], found.mean[d:])
        self._matrix = found.xx
        self._target = found.zy[:d]
        self._squares = found.zy[d:].diagonal()

    def _means(self, mean_x: Float[np.ndarray, " d"], mean_y: Float[np.ndarray, " q"]) -> None:
        """Keep the point about which the rows are centred: zero without an intercept."""
        keep = 1.0 if self.intercept else 0.0
        self.mean_x: Float[np.ndarray, " d"] = mean_x * keep
        self.mean_y: Float[np.ndarray, " q"] = mean_y * keep

    @property
    def dual(self) -> bool:
        """Whether M is the n x n matrix of products of rows."""
        return self._x is not None

    @cached_property
    def _work(self) -> Float[np.ndarray, "s s"]:
        """Memory for one factorisation after the other."""
        return blas.zeros(len(self._matrix))

    def is_determined(self) -> bool:
        """Say whether least squares without a penalty has one solution."""
        if self.dual:
            return False
        values = self._decompose()[0]
        limit = float(values[-1]) * max(self.n, self.d) * float(np.finfo(np.float64).eps)
        return bool(values[-1] > 0 and values[0] > limit)

    def solve(
        self, alphas: Float[np.ndarray, " a"]
    ) -> tuple[Float[np.ndarray, "a q d"], Float[np.ndarray, "a q"]]:
        """Weight and bias of every objective for each alpha.

        Cost: a factorisation of s^3 / 3 an alpha, or one eigendecomposition where there are
        so many alphas that it is the cheaper, or 0 is one of them.
        """
        if len(alphas) > _ALPHAS_FOR_EIGEN:
            self._decompose()
        every = range(len(self.members))
        weight = np.stack([self._weight(self._inverse(a, every)) for a in alphas.tolist()])
        return weight, self.mean_y - weight @ self.mean_x

    def fit(self, alphas: Float[np.ndarray, " q"]) -> Solution:
        """Heads for one alpha an objective, and the noise that they leave.

        Each alpha is factorised once for all objectives that have it.
        """
        q = len(self.members)
        weight, noise = np.zeros((q, self.d)), np.zeros(q)
        for alpha in np.unique(alphas).tolist():
            columns = np.flatnonzero(alphas == alpha).tolist()
            solved = self._inverse(alpha, columns)
            weight[columns] = self._weight(solved)
            residual = self._residual(alpha, columns, solved, weight[columns])
            left = self.n - self._freedom(alpha) - self.intercept
            noise[columns] = residual / left if left > self._least_left(alpha) else np.nan
        return Solution(weight, self.mean_y - weight @ self.mean_x, noise)

    def _decompose(self) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, "s s"]]:
        """Eigenvalues of M, ascending and at least 0, and eigenvectors, computed once."""
        if self._eigen is None:
            values, vectors = torch.linalg.eigh(torch.from_numpy(self._matrix), UPLO="U")
            self._eigen = values.clamp(min=0).numpy(), vectors.numpy()
        return self._eigen

    def _inverse(self, alpha: float, columns: Sequence[int]) -> Float[np.ndarray, "s c"]:
        """Solve (M + alpha I) c = target for some of the objectives.

        By Cholesky, whose factor is left in `_work`; by the eigendecomposition where there
        is one, where alpha is 0, and where rounding has hidden alpha from the pivots.
        """
        target = self._target[:, list(columns)]
        if self._eigen is None and alpha > 0:
            np.copyto(self._work, self._matrix)
            np.einsum("ii->i", self._work)[:] += alpha
            if blas.factorise(self._work, least=alpha):
                return blas.solve_factored(self._work, target)
        _, vectors = self._decompose()
        scaled = blas.product(vectors.T, target) * self._gains(alpha)[:, None]
        return blas.product(vectors, scaled)

    def _gains(self, alpha: float) -> Float[np.ndarray, " s"]:
        """1 / (L + alpha) for each eigenvalue L of M; 0 where rounding hides both.

        What the sums do not hold takes no weight: the quotient of two rounding errors would
        be weights of any size.
        """
        values = self._decompose()[0]
        least = _ROUNDING * values[-1]
        known = (values > least) | (alpha > least)
        return known / np.where(known, values + alpha, 1.0)

    def _weight(self, solved: Float[np.ndarray, "s c"]) -> Float[np.ndarray, "c d"]:
        """Weights of solutions of the system."""
        return solved.T if self._x is None else blas.product(solved.T, self._x)

    def _freedom(self, alpha: float) -> float:
        """Effective degrees of freedom but for the intercept, the sum of L / (L + alpha).

        L are the eigenvalues of M. Uses up the factor that `_inverse` left.
        """
        if self._eigen is not None:
            return float(self._eigen[0] @ self._gains(alpha))
        return len(self._matrix) - alpha * blas.inverse_trace(self._work)

    def _least_left(self, alpha: float) -> float:
        """Degrees of freedom that rounding can make of none.

        An eigenvalue of M is off by up to a rounding of the largest, and counts as
        alpha / (L + alpha) degrees that are left: at most one, as all s of them at most s.
        """
        rounding = float(np.finfo(np.float64).eps * np.trace(self._matrix))
        made = min(rounding / alpha, len(self._matrix)) if alpha > 0 else 0.0
        return 1e-9 * self.n + made

    def _residual(
        self,
        alpha: float,
        columns: Sequence[int],
        solved: Float[np.ndarray, "s c"],
        weight: Float[np.ndarray, "c d"],
    ) -> Float[np.ndarray, " c"]:
        """Residual sums of squares, at least 0."""
        if self.dual:  # the residual is y - M c = alpha c
            return np.square(alpha * solved).sum(0)
        keep = list(columns)
        # w'Mw = w'(X'y - alpha w), as w solves the system.
        explained = (weight.T * self._target[:, keep]).sum(0) + alpha * np.square(weight).sum(1)
        return (self._squares[keep] - explained).clip(min=0)


def systems(statistics: Statistics, *, intercept: bool) -> Iterator[System]:
    """Give the system of each group of objectives rated together, one at a time in memory."""
    for members in statistics.groups():
        yield System(members, statistics.contents(members), intercept=intercept)


def check_determined(system: System, name: str, alpha: float) -> None:
    """Raise where an alpha of 0 leaves more than one solution."""
    if alpha == 0 and not system.is_determined():
        raise ValueError(
            f"`alpha` = 0 leaves the solution undetermined: {system.n} rated rows of {name!r} "
            f"span fewer than {system.d} feature directions; use a positive alpha"
        )
