"""Choice of alpha an objective, from held-out statistics alone.

Knows nothing of prompts: the caller makes folds that share none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from armorm.heads.checks import check_finite, check_indices, check_rows, check_shape
from armorm.heads.moments import squared_error
from armorm.heads.ridge import RidgeFit, fit_ridge
from armorm.heads.ridge_system import check_determined, systems
from armorm.heads.statistics import Statistics


@dataclass(frozen=True, slots=True)
class RidgePath:
    """Validation loss of each alpha, and the alpha chosen for each objective."""

    alphas: Tensor
    """Shape (a,), float64, ascending. The alphas that were tried."""
    losses: Tensor
    """Shape (a, k), float64. Mean squared error over held-out ratings, in squared
    normalised units."""
    chosen: Tensor
    """Shape (k,), float64. The alpha of least loss; of equal ones, the largest."""
    at_edge: Tensor
    """Shape (k,), bool. True where the choice is the first or last of several alphas, so
    that a wider range could do better."""


@dataclass(frozen=True, slots=True)
class NestedRidge:
    """Cross-validated ridge: a head that has not seen fold f, for each f, and one of all rows."""

    path: RidgePath
    """Alpha chosen by leaving out each fold of all."""
    fit: RidgeFit
    """The head fitted on all folds."""
    fold_paths: tuple[RidgePath, ...]
    """For each fold, alpha chosen by leaving out each of the OTHER folds."""
    fold_fits: tuple[RidgeFit, ...]
    """For each fold, the head fitted on the others; predict that fold with it."""


@dataclass(frozen=True, slots=True)
class _Errors:
    """Summed squared error of heads fitted on some folds, on one fold that is not of them."""

    total: Tensor
    """Shape (a, k); 0 where the objective is not rated on both sides."""
    count: Tensor
    """Shape (k,). Held-out ratings that were predicted."""


def choose_alpha(
    folds: Sequence[Statistics],
    *,
    alphas: Tensor,
    intercept: bool = True,
    validate_on: Sequence[int] | None = None,
) -> RidgePath:
    """Choose the alpha of each objective by its error on ratings that were held out.

    For each fold f of `validate_on`: fit on the sum of the others, for every alpha, and sum
    (x'w + b - y)^2 over the ratings of f, which needs the statistics of f alone. The loss is
    that sum over all such folds, divided by the number of ratings. A fold is skipped for an
    objective that is not rated in it, or only in it. Objectives rated in the same rows share
    one factorisation an alpha and fold.

    Args:
        folds: At least two statistics of disjoint rows that share no prompt.
        alphas: Shape (a,), ascending, at least 0.
        intercept: True where the heads have a bias.
        validate_on: Indices of the folds that are held out in turn; None means all (k-fold).
            With folds (train, validation), [1] is a single held-out set.

    Returns:
        The losses and the choice.

    Raises:
        ValueError: fewer than two folds; alphas that are not ascending, negative or not
            finite; an index of no fold; an objective that is not rated in at least two folds
            (a validated one among them); alpha = 0 with an undetermined solution.

    Source:
        arXiv 2406.12845 section 3.1 chooses one alpha an objective on a random 20 % of rows
        and keeps the fit of the other 80 %; here folds are grouped by the caller, and the
        final fit is the caller's, on all rows.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> folds = [Statistics.from_features(x, x + c, objectives=["a"]) for c in (0.0, 0.0)]
        >>> choose_alpha(folds, alphas=torch.tensor([0.1, 1.0, 10.0])).chosen
        tensor([0.1000], dtype=torch.float64)
    """
    grid = _check_path(folds, alphas, least=2)
    held_out = range(len(folds)) if validate_on is None else validate_on
    check_indices("validate_on", held_out, len(folds))
    errors: list[_Errors] = []
    for f in held_out:
        train = _sum(folds, without={f})
        errors += _errors(train, [folds[f]], grid, intercept=intercept)
    return _path(errors, folds, grid)


def fit_ridge_nested(
    folds: Sequence[Statistics], *, alphas: Tensor, intercept: bool = True
) -> NestedRidge:
    """Fit what honest figures over all rows need: each fold predicted by heads blind to it.

    For each fold f, alpha is chosen by leaving out the others in turn and the head is
    fitted on their sum; neither has seen f. The same is done with all folds for the head
    that is kept. Equal to `choose_alpha` and `fit_ridge` on the subsets, with each subset
    summed and factorised once for both of the folds that it lacks: F (F + 1) / 2
    factorisations to choose in place of F^2, and F + 1 to fit.

    Args:
        folds: At least three statistics of disjoint rows that share no prompt.
        alphas: Shape (a,), ascending, at least 0.
        intercept: True where the heads have a bias.

    Returns:
        Paths and fits, by fold and over all.

    Raises:
        ValueError: fewer than three folds; an objective rated in too few of them; alphas as
            in `choose_alpha`.
    """
    grid = _check_path(folds, alphas, least=3)
    inner: list[list[_Errors]] = [[] for _ in folds]
    for f in range(len(folds)):
        for g in range(f + 1, len(folds)):
            train = _sum(folds, without={f, g})
            on_f, on_g = _errors(train, [folds[f], folds[g]], grid, intercept=intercept)
            inner[f].append(on_g)
            inner[g].append(on_f)
    paths: list[RidgePath] = []
    fits: list[RidgeFit] = []
    outer: list[_Errors] = []
    for f, errors in enumerate(inner):
        rest = [fold for g, fold in enumerate(folds) if g != f]
        paths.append(_path(errors, rest, grid))
        train = _sum(folds, without={f})
        outer += _errors(train, [folds[f]], grid, intercept=intercept)
        fits.append(fit_ridge(train, alpha=paths[f].chosen, intercept=intercept))
    path = _path(outer, folds, grid)
    final = fit_ridge(_sum(folds, without=set()), alpha=path.chosen, intercept=intercept)
    return NestedRidge(path, final, tuple(paths), tuple(fits))


def _sum(folds: Sequence[Statistics], *, without: set[int]) -> Statistics:
    """Add the folds that are not left out."""
    return reduce(add, (fold for f, fold in enumerate(folds) if f not in without))


def _errors(
    train: Statistics, held_out: Sequence[Statistics], alphas: Tensor, *, intercept: bool
) -> list[_Errors]:
    """Fit on some rows for every alpha, and sum the squared errors on each held-out set."""
    k = len(train.objectives)
    shape = (len(alphas), k)
    errors = [_Errors(_zeros(*shape), _zeros(k)) for _ in held_out]
    for system in systems(train, intercept=intercept):
        check_determined(system, train.objectives[system.members[0]], float(alphas[0]))
        weight, bias = system.solve(alphas.numpy())
        for statistics, sums in zip(held_out, errors, strict=True):
            for key, content in statistics.contents(system.members):
                both = [(c, j) for c, j in enumerate(system.members) if j in key[1]]
                own, js = [c for c, _ in both], [j for _, j in both]
                columns = [key[1].index(j) for j in js]
                error = squared_error(content, columns, weight[:, own], bias[:, own])
                sums.total[:, js] += torch.from_numpy(error)
                sums.count[js] += content.n
    return errors


def _path(errors: Sequence[_Errors], folds: Sequence[Statistics], alphas: Tensor) -> RidgePath:
    """Divide the sums by the counts and choose an alpha for each objective."""
    count = sum((e.count for e in errors), _zeros(len(folds[0].objectives)))
    for j, name in enumerate(folds[0].objectives):
        if count[j] == 0:
            rated = sum(fold.n_rated(j) > 0 for fold in folds)
            raise ValueError(
                f"{name!r} must be rated in at least 2 folds, a validated one among them; "
                f"it is rated in {rated} of {len(folds)}"
            )
    losses = torch.stack([e.total for e in errors]).sum(0) / count
    last = len(alphas) - 1
    best = last - losses.flip(0).argmin(0)
    at_edge = ((best == 0) | (best == last)) & (last > 0)
    return RidgePath(alphas, losses, alphas[best], at_edge)


def _check_path(folds: Sequence[Statistics], alphas: Tensor, *, least: int) -> Tensor:
    """Check folds and alphas, and give the alphas in float64."""
    if len(folds) < least:
        raise ValueError(f"`folds` must be at least {least}; got {len(folds)}")
    check_shape("alphas", alphas, "a")
    check_rows("alphas", alphas)
    check_finite("alphas", alphas)
    grid = alphas.to(torch.float64)
    if float(grid[0]) < 0 or not bool((grid.diff() > 0).all()):
        raise ValueError(f"`alphas` must be ascending and at least 0; got {grid.tolist()}")
    return grid


def _zeros(*shape: int) -> Tensor:
    """Float64 zeros."""
    return torch.zeros(shape, dtype=torch.float64)
