"""The stages of a run as functions: features in, heads out.

A stage gets tensors and the numbers of the folds that it may use; it knows no recipe,
no file and no text. Folds are numbered parts of the prompts, so that a fold is held out
of ridge, debias, gating and baselines alike.
"""

from __future__ import annotations

import re
import statistics as stats
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from armorm.errors import DataError, RecipeError
from armorm.heads.debias import fit_debias
from armorm.heads.gating import GatingFit, GatingNetwork, GatingSettings, fit_gating
from armorm.heads.preference import choose_l2, fit_bradley_terry, fit_fixed_weights
from armorm.heads.ridge import fit_ridge, predict
from armorm.heads.ridge_path import choose_alpha
from armorm.heads.statistics import Statistics
from armorm.train.cache import StageResult

L2_GRID = tuple(10.0**e for e in range(-4, 5))
"""Penalties tried for the black-box Bradley-Terry head, chosen on inner folds."""

Tick = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True, slots=True)
class RatedSet:
    """Features and ratings of n responses."""

    features: Tensor
    """Shape (n, d)."""
    ratings: Tensor
    """Normalised, shape (n, k), float64; NaN where not rated."""
    folds: Tensor
    """Fold of each row's prompt, shape (n,)."""
    sources: tuple[str, ...]
    """Source of each row."""
    objectives: tuple[str, ...]
    """Names of axis k."""

    def statistics(self, n_folds: int) -> list[Statistics]:
        """Return the sufficient statistics of each fold."""
        parts: list[Statistics] = []
        for fold in range(n_folds):
            rows = torch.nonzero(self.folds == fold).flatten()
            parts.append(
                Statistics.from_features(
                    self.features[rows],
                    self.ratings[rows],
                    objectives=self.objectives,
                    sources=[self.sources[i] for i in rows.tolist()],
                )
            )
        return parts


@dataclass(frozen=True, slots=True)
class PairSet:
    """Features of p preference pairs."""

    prompt: Tensor
    """Prompt features, shape (p, dp)."""
    chosen: Tensor
    """Response features, shape (p, d)."""
    rejected: Tensor
    """Response features, shape (p, d)."""
    folds: Tensor
    """Fold of each pair's prompt, shape (p,)."""


@dataclass(frozen=True, slots=True)
class DerivedPairs:
    """Preference pairs between rated rows, by row number."""

    chosen: Tensor
    """Row of the chosen response among the rated rows, shape (m,)."""
    rejected: Tensor
    """Row of the rejected response, shape (m,)."""
    prompt: Tensor
    """Prompt features of the rated rows, shape (n, dp)."""
    loss_weight: float
    """Weight of such a pair in the loss, where a real pair has 1."""


@dataclass(frozen=True, slots=True)
class GatePairs:
    """What the gating is trained on: objective scores, computed once."""

    prompt: Tensor
    """Shape (p, dp)."""
    chosen: Tensor
    """Objective scores, shape (p, k)."""
    rejected: Tensor
    """Objective scores, shape (p, k)."""
    folds: Tensor
    """Shape (p,)."""
    weight: Tensor
    """Weight in the loss, shape (p,)."""
    derived: Tensor
    """True where the pair was derived from ratings, shape (p,)."""

    def rows(self, mask: Tensor) -> GatePairs:
        """Return the pairs where a mask is True."""
        return GatePairs(*(getattr(self, name)[mask] for name in self.__slots__))

    def transformed(self, matrix: Tensor) -> GatePairs:
        """Return the same pairs with `matrix` applied to their objective scores."""
        chosen, rejected = self.chosen @ matrix, self.rejected @ matrix
        return GatePairs(self.prompt, chosen, rejected, self.folds, self.weight, self.derived)


def ridge_stage(
    rated: RatedSet,
    parts: Sequence[Statistics],
    *,
    used: Sequence[int],
    rounds: int,
    alphas: Sequence[float],
    intercept: bool,
) -> StageResult:
    """Fit the ridge head on some folds, and cross-fitted objective scores for their rows.

    The alpha of each objective is chosen by leaving out one used fold at a time; the
    head is then fitted on all used folds. A row's cross-fitted scores come from a head
    (with the same alphas) that has not seen its fold: rows that a head was fitted on have
    optimistic margins, so pairs derived from ratings must not use their own head.

    Args:
        rated: The rows.
        parts: Statistics of each fold.
        used: Numbers of the folds that may be used.
        rounds: How many of them take a turn as validation.
        alphas: Penalties to choose from.
        intercept: Whether an intercept is fitted.

    Returns:
        Tensors `weight`, `bias`, `alpha`, `noise_variance`, `losses`, `at_edge` and
        `cross_scores` of shape (n, k), NaN for rows outside the used folds.
    """
    chosen = choose_alpha(
        [parts[f] for f in used],
        alphas=torch.tensor(alphas, dtype=torch.float64),
        intercept=intercept,
        validate_on=range(min(rounds, len(used))),
    )
    head = fit_ridge(
        reduce(add, [parts[f] for f in used]), alpha=chosen.chosen, intercept=intercept
    )
    cross = torch.full(rated.ratings.shape, torch.nan, dtype=torch.float32)
    for fold in used:
        others = reduce(add, [parts[f] for f in used if f != fold])
        part = fit_ridge(others, alpha=chosen.chosen, intercept=intercept)
        rows = rated.folds == fold
        cross[rows] = predict(part.weight, part.bias, rated.features[rows])
    return StageResult(
        {
            "weight": head.weight,
            "bias": head.bias,
            "alpha": head.alpha,
            "noise_variance": head.noise_variance,
            "losses": chosen.losses,
            "at_edge": chosen.at_edge,
            "cross_scores": cross,
        }
    )


def debias_stage(
    head: Mapping[str, Tensor],
    reference: Tensor,
    *,
    nuisances: Sequence[int],
    objectives: Sequence[str],
) -> StageResult:
    """Fit the debias matrix on the objective scores of reference rows.

    Args:
        head: `weight` and `bias` of the ridge head.
        reference: Features, shape (m, d).
        nuisances: Positions of the nuisance objectives; none: the identity.
        objectives: Names of axis k, for messages.

    Returns:
        Tensors `matrix`, `penalties`, and `before` and `after`: Spearman of each objective
        with the m nuisances on the reference rows; the last three of shape (k, m). Fact
        `n_rows`.

    Raises:
        DataError: an objective score is constant, or a linear map of the nuisances, so that
            nothing decorrelates them.
    """
    scores = predict(head["weight"], head["bias"], reference)
    k = scores.shape[1]
    facts = {"n_rows": len(scores)}
    if not nuisances:
        names = ("penalties", "before", "after")
        return StageResult({"matrix": torch.eye(k)} | {n: torch.zeros(k, 0) for n in names}, facts)
    try:
        fit = fit_debias(scores, nuisances=nuisances)
    except ValueError as error:  # of the rows, not of the call: they make such scores
        raise DataError(f"debias: {_with_names(str(error), objectives)}") from error
    return StageResult(
        {
            "matrix": fit.matrix,
            "penalties": fit.penalties,
            "before": fit.before,
            "after": fit.residual,
        },
        facts,
    )


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
        chosen = predict(head["weight"], head["bias"], pairs.chosen)
        rejected = predict(head["weight"], head["bias"], pairs.rejected)
        ones = torch.ones(len(pairs.folds))
        groups.append(GatePairs(pairs.prompt, chosen, rejected, pairs.folds, ones, ones < 0))
    if derived is not None and rated is not None and len(derived.chosen):
        cross = head["cross_scores"]
        seen = ~torch.isnan(cross[derived.chosen, 0])
        better, worse = derived.chosen[seen], derived.rejected[seen]
        weight = torch.full((len(better),), derived.loss_weight)
        prompt, folds = derived.prompt[better], rated.folds[better]
        groups.append(GatePairs(prompt, cross[better], cross[worse], folds, weight, weight > 0))
    columns = zip(*[[getattr(g, n) for n in GatePairs.__slots__] for g in groups], strict=True)
    return GatePairs(*(torch.cat(column) for column in columns))


def gating_stage(
    pairs: GatePairs,
    *,
    used: Sequence[int],
    rounds: int,
    settings: GatingSettings,
    tick: Tick | None = None,
) -> StageResult:
    """Train the gating on some folds.

    For each of `rounds` used folds a gate is trained on the others with early stopping
    on that fold; the gate that is kept trains on all used folds for the median of the
    best steps.

    Args:
        pairs: Debiased objective scores of all pairs.
        used: Numbers of the folds that may be used.
        rounds: How many of them take a turn as validation.
        settings: Sizes and optimiser.
        tick: Called with (gates trained, gates in all).

    Returns:
        The network's tensors, and facts `in_features`, `beta`, `steps`, `best_steps`,
        `validation_losses`, `validation_accuracies`.

    Raises:
        DataError: no used fold has both pairs to train on and pairs to stop on.
        RecipeError: the settings lead to no finite loss.
    """
    inside = torch.isin(pairs.folds, torch.tensor(list(used)))
    judged = ~pairs.derived if bool((~pairs.derived & inside).any()) else pairs.derived
    turns = [f for f in used if bool(((pairs.folds == f) & judged).any())][:rounds]
    fits: list[GatingFit] = []
    for number, fold in enumerate(turns):
        train = pairs.rows(inside & (pairs.folds != fold))
        held_out = pairs.rows((pairs.folds == fold) & judged)
        if len(train.folds):
            fits.append(_fit(train, settings, held_out=held_out))
        if tick is not None:
            tick(number + 1, len(turns) + 1)
    if not fits:
        raise DataError(
            "pairs: the gating needs preference pairs of at least two prompts in different "
            f"folds, to train on and to stop on; there are {int(inside.sum())} pairs in "
            f"{len(turns)} folds"
        )
    steps = round(stats.median(fit.best_step for fit in fits))
    final = _fit(pairs.rows(inside), settings, steps=steps)
    if tick is not None:
        tick(len(turns) + 1, len(turns) + 1)
    return StageResult(
        dict(final.network.state_dict()),
        {
            "in_features": pairs.prompt.shape[1],
            "beta": final.beta,
            "steps": steps,
            "best_steps": [fit.best_step for fit in fits],
            "validation_losses": [fit.validation_loss for fit in fits],
            "validation_accuracies": [fit.validation_accuracy for fit in fits],
        },
    )


def _fit(
    pairs: GatePairs,
    settings: GatingSettings,
    *,
    held_out: GatePairs | None = None,
    steps: int | None = None,
) -> GatingFit:
    """Train one gate, from the best fixed weights where the settings say so."""
    initial = None
    if settings.initial == "fixed_weights":
        fixed = fit_fixed_weights(pairs.chosen, pairs.rejected, sample_weight=pairs.weight)
        initial = fixed.weights
    validation = held_out and (held_out.prompt, held_out.chosen, held_out.rejected)
    try:
        return fit_gating(
            pairs.prompt,
            pairs.chosen,
            pairs.rejected,
            settings=settings,
            validation=validation,
            sample_weight=pairs.weight,
            initial_weights=initial,
            steps=steps,
        )
    except ValueError as error:  # of the settings: shapes are ours
        raise RecipeError([f"gating: {error}"]) from error


def load_gate(
    result: StageResult, *, in_features: int, n_objectives: int, settings: GatingSettings
) -> GatingNetwork:
    """Rebuild the network of a gating stage.

    Args:
        result: What `gating_stage` returned.
        in_features: Width of the prompt feature.
        n_objectives: Number of objectives.
        settings: The settings that it was trained with.

    Returns:
        The network, ready to be applied.
    """
    network = GatingNetwork(
        in_features,
        n_objectives,
        hidden=settings.hidden,
        temperature=settings.temperature,
        masked=settings.masked,
    )
    network.load_state_dict(dict(result.tensors))
    return network.eval().requires_grad_(False)


def baselines_stage(pairs: PairSet, scores: GatePairs, *, used: Sequence[int]) -> StageResult:
    """Fit what the gating is held against, on the same rows.

    Args:
        pairs: The preference pairs.
        scores: Debiased objective scores of the same pairs (and of derived ones).
        used: Numbers of the folds that may be used.

    Returns:
        Tensors `fixed_weights`, shape (k,), and `bradley_terry`, shape (d,), with the
        fact `l2` of the latter.
    """
    allowed = torch.tensor(list(used))
    train = scores.rows(torch.isin(scores.folds, allowed))
    fixed = fit_fixed_weights(train.chosen, train.rejected, sample_weight=train.weight).weights
    rows = torch.isin(pairs.folds, allowed)
    chosen, rejected, folds = pairs.chosen[rows], pairs.rejected[rows], pairs.folds[rows]
    l2 = choose_l2(chosen, rejected, folds=folds, l2s=torch.tensor(L2_GRID)).chosen
    head = fit_bradley_terry(chosen, rejected, l2=l2)
    return StageResult({"fixed_weights": fixed, "bradley_terry": head}, {"l2": l2})
