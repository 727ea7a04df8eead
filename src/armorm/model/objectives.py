"""Objectives that come and go: rows of the heads, while every other objective stays bit for bit.

It reads no file and runs no backbone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from armorm.data import MIN_RATINGS
from armorm.errors import nearest
from armorm.heads.checks import check_finite, check_rows, check_shape
from armorm.heads.debias import fit_debias, spearman
from armorm.heads.ridge import predict
from armorm.heads.ridge_path import fit_ridge_nested
from armorm.heads.statistics import Statistics
from armorm.model.bundle import Baselines, Bundle, load_statistics
from armorm.model.changes import changed_facts, has_intercept
from armorm.model.gate_outputs import with_output, without_output
from armorm.types import Scale

ALPHAS = tuple(10.0**e for e in range(-4, 5))
"""Penalties to choose from, where nothing else is asked for: those of a recipe's default."""

_LEAST_FOLDS = 3  # one held out, one to choose alpha on, one to fit on


@dataclass(frozen=True, slots=True)
class _Head:
    """The ridge head of one new objective, with what is known of it."""

    weight: Tensor
    """Shape (1, d)."""
    bias: Tensor
    """Shape (1,)."""
    statistics: Statistics
    """Of the new rows, for this objective alone."""
    facts: dict[str, Any]
    """As a run states them by objective."""


def add_objective(
    bundle: Bundle,
    name: str,
    *,
    features: Tensor,
    ratings: Tensor,
    folds: Tensor,
    scale: Scale,
    source: str,
    alphas: Sequence[float] = ALPHAS,
) -> Bundle:
    """Fit a ridge head for a new objective and append it to a bundle.

    Alpha is chosen, and the figures in the facts are measured, on folds that the heads have
    not seen; the head is then fitted on all rows, with an intercept where the others have
    one. Its debias penalties are those at which the new rows have no rank correlation with
    the bundle's nuisances. The gating gives it weight 0 for every prompt until it is
    refitted on pairs (a recipe with `ridge:` and this bundle), and so do its rivals: they
    are extended and not left out, as what they score is what it was. The parameters of every
    other objective in ridge, debias and gating stay bit for bit, and so do scores up to the
    rounding of products and sums of another shape (1e-6 of a score about 1 in size).

    Args:
        bundle: Not changed.
        name: Of the new objective.
        features: Shape (n, d). Response features of the new rows, made as the bundle's.
        ratings: Shape (n,). Normalised ratings.
        folds: Shape (n,), whole numbers. Rows of one prompt have the same one.
        scale: Of the raw ratings.
        source: Of the new rows; it may be one that the bundle has.
        alphas: Penalties to choose from, ascending.

    Returns:
        The bundle with k + 1 objectives, the new one last. Statistics, where the bundle has
        them, include the new rows.

    Raises:
        ValueError: a name that is empty or taken; shapes that disagree; entries that are not
            finite; fewer than 10 ratings, in fewer than 3 folds, or of one value where a
            fold is left out; alphas as in `fit_ridge_nested`; scores of the new rows that no
            penalty decorrelates from the nuisances.
        BundleError: the statistics of the bundle are damaged.
    """
    check_new_name(bundle, name)
    _check_rows(bundle, features, ratings, folds)
    head = _fit_head(bundle, name, features, ratings.double(), folds, source, alphas)
    objectives = (*bundle.objectives, name)
    weight = torch.cat([bundle.weight, head.weight])
    bias = torch.cat([bundle.bias, head.bias])
    scores = predict(weight, bias, features.detach().cpu())
    sums = load_statistics(bundle)
    if sums is not None:
        sums = sums.with_objectives(objectives) + head.statistics.with_objectives(objectives)
    known: Mapping[str, Any] = bundle.facts.get("objectives", {})
    sentence = (
        f"the objective `{name}` was added: {len(ratings):,} ratings of the source `{source}`, "
        f"alpha {head.facts['alpha']:g}, held-out Spearman {_shown(head.facts['spearman'])}; its "
        "debias was fitted on these rows, and its gating weight is 0 until the gate is refitted "
        "on pairs"
    )
    return replace(
        bundle,
        objectives=objectives,
        scales={**bundle.scales, source: {**bundle.scales.get(source, {}), name: scale}},
        weight=weight,
        bias=bias,
        debias=_debias_with(bundle, scores, name),
        gating=with_output(bundle.gating, masked=True),
        baselines=_baselines_with(bundle.baselines),
        statistics=sums,
        facts=changed_facts(
            bundle, sentence, objectives={**known, name: head.facts}, same_scores=True
        ),
    )


def drop_objective(bundle: Bundle, name: str) -> Bundle:
    """Remove an objective; the gating is shared out among the others by its softmax.

    Weight, bias and debias of every other objective, and all layers of the gating but the
    removed output, stay bit for bit. Scores change unless the gating gave it no weight, and
    the facts then lose the figures of the gated model. Its rivals lose the objective too;
    they are left out where the best fixed weights were on it alone.

    Args:
        bundle: Not changed.
        name: Of the objective.

    Returns:
        The bundle with k - 1 objectives. Its statistics, where it has them, keep the rows in
        which others are rated.

    Raises:
        ValueError: no such objective; a nuisance; the last objective that is weighed.
        BundleError: the statistics of the bundle are damaged.
    """
    index = _index(bundle, name)
    _check_droppable(bundle, index)
    kept = [i for i in range(len(bundle.objectives)) if i != index]
    objectives = tuple(bundle.objectives[i] for i in kept)
    sums = load_statistics(bundle)
    unweighed = index in bundle.gating.masked
    sentence = f"the objective `{name}` was dropped" + (
        "; the gating gave it no weight, so that scores are what they were"
        if unweighed
        else ": the gating is shared out among the others without a refit, and the figures of the "
        "gated model, which had it, are left out"
    )
    facts = changed_facts(
        bundle,
        sentence,
        objectives={n: of for n, of in bundle.facts.get("objectives", {}).items() if n != name},
        same_scores=unweighed,
    )
    if "gating" in facts and not unweighed:
        facts["gating"] = None
    return replace(
        bundle,
        objectives=objectives,
        nuisances=tuple(i - (i > index) for i in bundle.nuisances),
        scales=_scales_without(bundle, name),
        measured=tuple(other for other in bundle.measured if other != name),
        weight=bundle.weight[kept],
        bias=bundle.bias[kept],
        debias=bundle.debias[kept][:, kept],
        gating=without_output(bundle.gating, index),
        baselines=_baselines_without(bundle.baselines, index),
        statistics=None if sums is None else sums.with_objectives(objectives),
        facts=facts,
    )


def check_new_name(bundle: Bundle, name: str) -> None:
    """Raise unless a name can be that of a new objective.

    Args:
        bundle: That it is to be added to.
        name: The name.

    Raises:
        ValueError: it is empty or taken.
    """
    if not name.strip():
        raise ValueError(f"`name` must name the new objective; got {name!r}")
    if name in bundle.objectives:
        raise ValueError(f"`name` must be that of a new objective; the bundle has {name!r}")


def _check_rows(bundle: Bundle, features: Tensor, ratings: Tensor, folds: Tensor) -> None:
    """Raise unless rows can be fitted on with any fold left out."""
    check_shape("features", features, "n d", d=bundle.weight.shape[1])
    check_shape("ratings", ratings, "n", n=len(features))
    check_shape("folds", folds, "n", n=len(features))
    check_finite("features", features)
    check_finite("ratings", ratings)
    check_rows("ratings", ratings, least=MIN_RATINGS)
    numbers = folds.unique().tolist()
    if len(numbers) < _LEAST_FOLDS:
        raise ValueError(f"`folds` must be at least {_LEAST_FOLDS}; got {len(numbers)}")
    for fold in numbers:
        rest = ratings[folds != fold]
        if bool((rest == rest[0]).all()):
            raise ValueError(
                f"`ratings` must vary outside fold {fold}; all {len(rest)} there are "
                f"{float(rest[0]):g}"
            )


def _fit_head(
    bundle: Bundle,
    name: str,
    features: Tensor,
    ratings: Tensor,
    folds: Tensor,
    source: str,
    alphas: Sequence[float],
) -> _Head:
    """Fit on all rows, and measure on each fold what the others make of it."""
    rows = [torch.nonzero(folds == fold).flatten() for fold in folds.unique()]
    parts = [
        Statistics.from_features(
            features[r], ratings[r, None], objectives=[name], sources=[source] * len(r)
        )
        for r in rows
    ]
    grid = torch.tensor(list(alphas), dtype=torch.float64)
    found = fit_ridge_nested(parts, alphas=grid, intercept=has_intercept(bundle))
    predicted = torch.empty(len(ratings), dtype=torch.float64)
    for r, fit in zip(rows, found.fold_fits, strict=True):
        predicted[r] = predict(fit.weight, fit.bias, features[r])[:, 0].double()
    left = float((ratings - predicted).square().sum())
    total = float((ratings - ratings.mean()).square().sum())
    facts = {
        "n": len(ratings),
        "spearman": _number(spearman(predicted, ratings)),
        "r2": 1 - left / total,
        "alpha": float(found.fit.alpha[0]),
        "noise_std": _number(float(found.fit.noise_variance[0]) ** 0.5),
    }
    return _Head(found.fit.weight, found.fit.bias, reduce(add, parts), facts)


def _debias_with(bundle: Bundle, scores: Tensor, name: str) -> Tensor:
    """The debias matrix with a column of penalties for the last of k + 1 scores."""
    k, nuisances = len(bundle.objectives), list(bundle.nuisances)
    matrix = torch.eye(k + 1)
    matrix[:k, :k] = bundle.debias
    if nuisances:
        try:
            fit = fit_debias(scores[:, [k, *nuisances]], nuisances=range(1, len(nuisances) + 1))
        except ValueError as error:
            names = [name, *(bundle.objectives[i] for i in nuisances)]
            raise ValueError(f"debias of {name!r}: {_with_names(str(error), names)}") from error
        matrix[nuisances, k] = -fit.penalties[0]
    return matrix


def _with_names(text: str, names: Sequence[str]) -> str:
    """Say whose scores a message means that counts columns."""
    plain = text.replace("`objective_scores` column", "objective scores of column")
    return re.sub(
        r"\b(?:column|nuisance) (\d+)(?:, (\d+))*",
        lambda found: ", ".join(repr(names[int(i)]) for i in re.findall(r"\d+", found[0])),
        plain,
    )


def _baselines_with(baselines: Baselines | None) -> Baselines | None:
    """The rivals, which give the new objective weight 0 too."""
    if baselines is None:
        return None
    fixed = baselines.fixed_weights
    return Baselines(
        with_output(baselines.gating_without_debias, masked=False),
        None if fixed is None else torch.cat([fixed, fixed.new_zeros(1)]),
        baselines.bradley_terry,
    )


def _baselines_without(baselines: Baselines | None, index: int) -> Baselines | None:
    """The rivals without an objective; None where it was all that the fixed weights had."""
    if baselines is None:
        return None
    plain = without_output(baselines.gating_without_debias, index)
    if (fixed := baselines.fixed_weights) is None:
        return Baselines(plain)
    fixed = torch.cat([fixed[:index], fixed[index + 1 :]])
    return Baselines(plain, fixed, baselines.bradley_terry) if bool(fixed.any()) else None


def _index(bundle: Bundle, name: str) -> int:
    """Position of an objective."""
    if name not in bundle.objectives:
        raise ValueError(
            f"`name` must be an objective of the bundle; {name!r} is none"
            f"{nearest(name, bundle.objectives)}"
        )
    return bundle.objectives.index(name)


def _check_droppable(bundle: Bundle, index: int) -> None:
    """Raise where others need an objective, or there would be none."""
    name = bundle.objectives[index]
    others = [i for i in range(len(bundle.objectives)) if i != index]
    # An imported matrix may subtract an objective that is not named as a nuisance.
    if index in bundle.nuisances or bool(bundle.debias[index, others].any()):
        raise ValueError(
            f"dropping a nuisance is refused: the debias takes {name!r} out of the other objectives"
        )
    if not set(others) - set(bundle.gating.masked):
        raise ValueError(f"one objective must be weighed by the gating; {name!r} is the last")


def _scales_without(bundle: Bundle, name: str) -> dict[str, dict[str, Scale]]:
    """The scales without an objective, and without sources that rate nothing else."""
    left = {s: {n: of for n, of in by.items() if n != name} for s, by in bundle.scales.items()}
    return {source: by for source, by in left.items() if by or not bundle.scales[source]}


def _number(value: float) -> float | None:
    """A number as JSON; undefined becomes None."""
    return None if value != value else value


def _shown(value: float | None) -> str:
    """A correlation in a sentence."""
    return "undefined" if value is None else f"{value:.2f}"
