"""Held-out pairs of a run taken apart, each by the heads that have not seen its prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from armorm.evaluate.figures import ComparisonFigures
from armorm.explain.comparisons import Choice, choose_pairs, compare_chosen
from armorm.explain.nearest import NoRows, RatedRows
from armorm.explain.weighing import Weighing
from armorm.features.mapped import FeatureRows, in_memory, take_rows
from armorm.heads.compose import compose
from armorm.model.scores import Scores
from armorm.train.folds import Fit, Fitter
from armorm.train.held_out import HeldOut
from armorm.train.inputs import TrainingData
from armorm.train.sets import PairSet
from armorm.types import Scale

_NO_ROWS = NoRows("No rated rows are at hand: the run had none.")


def held_out_comparisons(
    held_out: HeldOut,
    data: TrainingData,
    fitter: Fitter,
    fits: Sequence[Fit],
    *,
    scales: Mapping[str, Mapping[str, Scale]],
    n: int,
    temperature: float = 1.0,
) -> tuple[ComparisonFigures, ...]:
    """Take some held-out pairs apart, as the report holds them.

    They are chosen by margin times beta, which folds have in common; see `choose_pairs`. The
    rated rows that are shown beside a pair are those that its heads were fitted on.

    Args:
        held_out: The predictions.
        data: The rows.
        fitter: Their features.
        fits: One fit a held-out fold.
        scales: Source -> objective -> scale of the ratings.
        n: Pairs at most; 0 for none.
        temperature: Divides beta in the preference probability, as in the bundle.

    Returns:
        The comparisons by kind; none without pairs.
    """
    pairs = fitter.pairs
    if n == 0 or pairs is None or held_out.gating is None:
        return ()
    choices = choose_pairs(held_out.logits.numpy(), n)
    found: dict[int, ComparisonFigures] = {}
    for fit in fits:
        own = [choice for choice in choices if int(pairs.folds[choice.row]) == fit.held_out]
        if own:
            rows = _rated_rows(data, fitter, fit, scales)
            beta = float(fit.gating.facts["beta"]) / temperature
            compared = _compare(held_out, data, fitter, fit, own, rows=rows, beta=beta)
            found |= {choice.row: one for choice, one in zip(own, compared, strict=True)}
    return tuple(found[choice.row] for choice in choices)


def _compare(
    held_out: HeldOut,
    data: TrainingData,
    fitter: Fitter,
    fit: Fit,
    choices: Sequence[Choice],
    *,
    rows: RatedRows | NoRows,
    beta: float,
) -> list[ComparisonFigures]:
    """Pairs of one fold by the heads of its fit."""
    pairs = fitter.pairs
    assert pairs is not None
    assert held_out.gating is not None
    assert held_out.pair_objectives is not None
    at = torch.tensor([choice.row for choice in choices])
    debias, gating = fit.debias.tensors["matrix"], held_out.gating[at]
    raw = held_out.pair_objectives[at]
    nuisances = tuple(fitter.objectives[v] for v in fitter.settings.nuisances)
    return compare_chosen(
        choices,
        [data.pair_rows[choice.row] for choice in choices],
        _scores(fitter.objectives, raw[:, 0], gating, debias),
        _scores(fitter.objectives, raw[:, 1], gating, debias),
        Weighing(
            debias=debias,
            nuisances=nuisances,
            held=frozenset(nuisances),
            beta=beta,
        ),
        features=_sides(pairs, at),
        rows=rows,
    )


def _scores(names: tuple[str, ...], raw: Tensor, gating: Tensor, debias: Tensor) -> Scores:
    """Objective scores and gating as scores with all their parts."""
    parts = compose(raw, gating, debias)
    zeros = torch.zeros(len(raw), dtype=torch.int64)
    return Scores(
        names=names,
        ids=("",) * len(raw),
        score=parts.score,
        objectives=raw,
        gating=gating,
        coefficients=parts.coefficients,
        contributions=parts.contributions,
        n_tokens=zeros,
        n_truncated=zeros,
    )


def _sides(pairs: PairSet, at: Tensor) -> tuple[Tensor, Tensor]:
    """Response features of both sides of some pairs."""

    def read(features: FeatureRows) -> Tensor:
        return in_memory(take_rows(features, at)).float()

    return read(pairs.chosen), read(pairs.rejected)


def _rated_rows(
    data: TrainingData, fitter: Fitter, fit: Fit, scales: Mapping[str, Mapping[str, Scale]]
) -> RatedRows | NoRows:
    """The rated rows that a fit has seen, those with measures only left out."""
    rated = fitter.rated
    if rated is None or fit.held_out is None:
        return _NO_ROWS
    seen = torch.nonzero(rated.folds != fit.held_out).flatten()
    measured = [fitter.objectives[v] for v in fitter.settings.measured]
    return RatedRows(
        [data.rated_rows[i] for i in seen.tolist()],
        take_rows(rated.features, seen),
        scales=scales,
        measured=measured,
    )
