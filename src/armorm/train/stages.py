"""The stages of a run as functions: features in, heads out.

A stage gets tensors and the numbers of the folds that it may use; it knows no recipe,
no file and no text. Folds are numbered parts of the prompts, so that a fold is held out
of ridge, debias, gating and baselines alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from armorm.errors import DataError
from armorm.features.mapped import FeatureRows, join_rows, take_rows
from armorm.heads.debias import fit_debias
from armorm.heads.preference import choose_l2, fit_bradley_terry, fit_fixed_weights
from armorm.heads.ridge import fit_ridge
from armorm.heads.ridge_path import choose_alpha
from armorm.heads.statistics import Statistics
from armorm.train.cache import StageResult
from armorm.train.sets import BY_PAIR, DerivedPairs, GatePairs, PairSet, RatedSet, scores_of

L2_GRID = tuple(10.0**e for e in range(-4, 5))
"""Penalties tried for the black-box Bradley-Terry head, chosen on inner folds."""

_BLACK_BOX_ENTRIES = 2**24  # of the features that the black-box head is fitted on


def ridge_stage(
    rated: RatedSet,
    parts: Sequence[Statistics],
    *,
    used: Sequence[int],
    rounds: int,
    alphas: Sequence[float],
    intercept: bool,
    cross: bool = True,
) -> StageResult:
    """Fit the ridge head on some folds, and cross-fitted objective scores for their rows.

    The alpha of each objective is chosen by leaving out one used fold at a time; the
    head is then fitted on all used folds. A row's cross-fitted scores come from a head
    (with the same alphas) that has not seen its fold: rows that a head was fitted on have
    optimistic margins, so pairs derived from ratings must not use their own head.

    Args:
        rated: The rows.
        parts: Statistics of each fold; of fewer parts, the last holds the folds from its
            number on, and is never left out of anything but validation.
        used: Numbers of the folds that may be used.
        rounds: How many of them take a turn as validation.
        alphas: Penalties to choose from.
        intercept: Whether an intercept is fitted.
        cross: Whether cross-fitted scores are wanted: a fit more a part.

    Returns:
        Tensors `weight`, `bias`, `alpha`, `noise_variance`, `losses`, `at_edge` and
        `cross_scores` of shape (n, k), NaN for rows outside the used folds, shape (0, k)
        where they are not wanted.
    """
    last = len(parts) - 1
    used = sorted({min(fold, last) for fold in used})
    chosen = choose_alpha(
        [parts[f] for f in used],
        alphas=torch.tensor(alphas, dtype=torch.float64),
        intercept=intercept,
        validate_on=range(min(rounds, len(used))),
    )
    head = fit_ridge(
        reduce(add, [parts[f] for f in used]), alpha=chosen.chosen, intercept=intercept
    )
    part_of = rated.folds.clamp(max=last)
    scores = torch.full((len(part_of) * cross, len(rated.objectives)), torch.nan)
    for part in used if cross else ():
        others = reduce(add, [parts[f] for f in used if f != part])
        blind = fit_ridge(others, alpha=chosen.chosen, intercept=intercept)
        rows = torch.nonzero(part_of == part).flatten()
        scores[rows] = scores_of(blind.weight, blind.bias, take_rows(rated.features, rows))
    return StageResult(
        {
            "weight": head.weight,
            "bias": head.bias,
            "alpha": head.alpha,
            "noise_variance": head.noise_variance,
            "losses": chosen.losses,
            "at_edge": chosen.at_edge,
            "cross_scores": scores,
        }
    )


def debias_stage(
    head: Mapping[str, Tensor],
    reference: FeatureRows,
    *,
    nuisances: Sequence[int],
    objectives: Sequence[str],
    left_in: Sequence[int] = (),
) -> StageResult:
    """Fit the debias matrix on the objective scores of reference rows.

    Args:
        head: `weight` and `bias` of the ridge head.
        reference: Features, shape (m, d).
        nuisances: Positions of the nuisance objectives; none: the identity.
        objectives: Names of axis k, for messages.
        left_in: Positions of objectives that stay as they are and are taken out of no other:
            their rows and columns are those of the identity.

    Returns:
        Tensors `matrix`, `penalties`, and `before` and `after`: Spearman of each objective
        with the m nuisances on the reference rows; the last three of shape (k, m). Fact
        `n_rows`.

    Raises:
        DataError: an objective score is constant, or a linear map of the nuisances, so that
            nothing decorrelates them.
    """
    scores = scores_of(head["weight"], head["bias"], reference)
    k = scores.shape[1]
    facts = {"n_rows": len(scores)}
    if not nuisances:
        names = ("penalties", "before", "after")
        return StageResult({"matrix": torch.eye(k)} | {n: torch.zeros(k, 0) for n in names}, facts)
    kept = [j for j in range(k) if j not in left_in]
    try:
        fit = fit_debias(scores[:, kept], nuisances=[kept.index(v) for v in nuisances])
    except ValueError as error:  # of the rows, not of the call: they make such scores
        names = [objectives[j] for j in kept]
        raise DataError(f"debias: {_with_names(str(error), names)}") from error
    matrix = torch.eye(k)
    matrix[torch.tensor(kept)[:, None], torch.tensor(kept)] = fit.matrix
    tables = {"penalties": fit.penalties, "before": fit.before, "after": fit.residual}
    filled = {
        name: torch.full((k, len(nuisances)), torch.nan, dtype=t.dtype)
        for name, t in tables.items()
    }
    for name, table in tables.items():
        filled[name][kept] = table
    return StageResult({"matrix": matrix, **filled}, facts)


def _with_names(text: str, objectives: Sequence[str]) -> str:
    """Add the name to each column or nuisance that a message gives by its position."""
    place = re.compile(r"\b(?:column|nuisance) (\d+)")
    return place.sub(lambda found: f"{found[0]} ({objectives[int(found[1])]!r})", text)


def gate_pairs(
    head: Mapping[str, Tensor],
    pairs: PairSet | None,
    rated: RatedSet | None,
    derived: DerivedPairs | None,
) -> GatePairs:
    """Compute the objective scores of all pairs once, before any gate is trained.

    Args:
        head: `weight` and `bias` of the ridge head; `cross_scores` where pairs are
            derived from ratings.
        pairs: The preference pairs; None: only derived ones.
        rated: The rated rows that derived pairs point to.
        derived: Pairs derived from ratings; those whose rows have no cross-fitted
            scores (held out) are left out.

    Returns:
        The pairs with raw objective scores, real ones first.
    """
    groups: list[GatePairs] = []
    if pairs is not None:
        chosen = scores_of(head["weight"], head["bias"], pairs.chosen)
        rejected = scores_of(head["weight"], head["bias"], pairs.rejected)
        ones = torch.ones(len(pairs.folds))
        groups.append(GatePairs(pairs.prompt, chosen, rejected, pairs.folds, ones, ones < 0))
    if derived is not None and rated is not None and len(derived.chosen):
        cross = head["cross_scores"]
        seen = ~torch.isnan(cross[derived.chosen, 0])
        better, worse = derived.chosen[seen], derived.rejected[seen]
        weight = torch.full((len(better),), derived.loss_weight)
        prompt, folds = take_rows(derived.prompt, better), rated.folds[better]
        groups.append(GatePairs(prompt, cross[better], cross[worse], folds, weight, weight > 0))
    columns = zip(*[[getattr(g, n) for n in BY_PAIR] for g in groups], strict=True)
    return GatePairs(
        join_rows([g.prompt for g in groups]), *(torch.cat(column) for column in columns)
    )


def baselines_stage(pairs: PairSet, scores: GatePairs, *, used: Sequence[int]) -> StageResult:
    """Fit what the gating is held against, on the same rows.

    Args:
        pairs: The preference pairs.
        scores: Debiased objective scores of the same pairs (and of derived ones).
        used: Numbers of the folds that may be used.

    Returns:
        Tensors `fixed_weights`, shape (k,), and `bradley_terry`, shape (d,), with the
        facts `l2` of the latter and `black_box_pairs`, on how many pairs it was fitted:
        beyond 2^24 feature entries a seeded choice, as its cost is that of all features
        in memory.
    """
    allowed = torch.tensor(list(used))
    train = scores.rows(torch.isin(scores.folds, allowed))
    fixed = fit_fixed_weights(train.chosen, train.rejected, sample_weight=train.weight).weights
    rows = torch.nonzero(torch.isin(pairs.folds, allowed)).flatten()
    most = max(_BLACK_BOX_ENTRIES // pairs.chosen.shape[1], 1)
    if len(rows) > most:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        rows = rows[order[:most].sort().values]
    chosen, rejected, folds = pairs.chosen[rows], pairs.rejected[rows], pairs.folds[rows]
    chosen, rejected = chosen.float(), rejected.float()
    l2 = choose_l2(chosen, rejected, folds=folds, l2s=torch.tensor(L2_GRID)).chosen
    head = fit_bradley_terry(chosen, rejected, l2=l2)
    facts = {"l2": l2, "black_box_pairs": len(rows)}
    return StageResult({"fixed_weights": fixed, "bradley_terry": head}, facts)
