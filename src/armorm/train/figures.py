"""The figures of a run: predictions on held-out folds, put together and held against baselines."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armorm.data import Drops, group_of
from armorm.evaluate.baselines import (
    LONGER,
    compare_scorers,
    compare_scorers_by_source,
    length_scores,
)
from armorm.evaluate.counts import source_of
from armorm.evaluate.figures import DebiasFigures, GatingFigures, Report
from armorm.evaluate.heads_figures import debias_figures, gating_figures
from armorm.evaluate.objectives import ObjectiveResults, evaluate_objectives
from armorm.features.mapped import take_rows
from armorm.train.folds import Fit, Fitter, objective_scores, scores_by_scorer
from armorm.train.inputs import TrainingData


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Predictions of rows by heads that have not seen their prompts."""

    objectives: Tensor | None
    """Objective scores of the rated rows, shape (n, k); NaN where a row was never held out."""
    pair_scores: Mapping[str, Tensor]
    """Scorer -> scores (chosen, rejected), shape (p, 2); NaN where never held out."""
    gating: Tensor | None
    """Shape (p, k); NaN where a pair was never held out."""


def held_out_predictions(fitter: Fitter, fits: list[Fit]) -> HeldOut:
    """Predict every fold with the heads that it was held out of.

    Args:
        fitter: The rows.
        fits: One fit a held-out fold.

    Returns:
        The predictions, in the order of the rows.
    """
    rated, pairs, k = fitter.rated, fitter.pairs, len(fitter.objectives)
    objectives = None if rated is None else torch.full((len(rated.folds), k), torch.nan)
    gating = None if pairs is None else torch.full((len(pairs.folds), k), torch.nan)
    scores: dict[str, Tensor] = {}
    for fit in fits:
        if rated is not None and objectives is not None:
            rows = rated.folds == fit.held_out
            objectives[rows] = objective_scores(fit, take_rows(rated.features, rows))
        if pairs is not None and gating is not None:
            rows = pairs.folds == fit.held_out
            gate, baselines = fitter.gate(fit), fitter.baselines(fit)
            nuisances = fitter.settings.nuisances
            for side, features in enumerate((pairs.chosen, pairs.rejected)):
                side_rows, prompt = take_rows(features, rows), take_rows(pairs.prompt, rows)
                found, weights = scores_by_scorer(
                    fit, gate, baselines, side_rows, prompt, nuisances
                )
                gating[rows] = weights
                for name, values in found.items():
                    empty = torch.full((len(pairs.folds), 2), torch.nan)
                    scores.setdefault(name, empty)[rows, side] = values
    return HeldOut(objectives, scores, gating)


def objective_results(
    held_out: HeldOut, data: TrainingData, fitter: Fitter, *, n_resamples: int, seed: int
) -> ObjectiveResults | None:
    """Measure the objective scores of held-out rows.

    Args:
        held_out: The predictions.
        data: The rows.
        fitter: Names and ratings.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        Figures by objective; None without rated rows.
    """
    if held_out.objectives is None or fitter.rated is None:
        return None
    rows = torch.nonzero(~held_out.objectives.isnan().any(1)).flatten()
    return evaluate_objectives(
        held_out.objectives[rows].numpy(),
        fitter.rated.ratings[rows].numpy(),
        [group_of(data.rated_rows[i].prompt) for i in rows.tolist()],
        objectives=fitter.rated.objectives,
        n_resamples=n_resamples,
        seed=seed,
    )


def preference_results(
    held_out: HeldOut, data: TrainingData, *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Measure the gated model and its baselines on held-out pairs.

    Args:
        held_out: The predictions.
        data: The rows.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        Fields `preferences` and `by_source` of a report; empty without pairs.
    """
    if not held_out.pair_scores:
        return {}
    first = next(iter(held_out.pair_scores.values()))
    rows = torch.nonzero(~first.isnan().any(1)).flatten().tolist()
    pairs = [data.pair_rows[i] for i in rows]
    scorers = {
        name: (scores[rows, 0].numpy(), scores[rows, 1].numpy())
        for name, scores in held_out.pair_scores.items()
    }
    scorers[LONGER] = (
        length_scores([p.chosen for p in pairs]),
        length_scores([p.rejected for p in pairs]),
    )
    groups = [group_of(p.prompt) for p in pairs]
    sources = [source_of(p) for p in pairs]
    return {
        "preferences": compare_scorers(scorers, groups, n_resamples=n_resamples, seed=seed),
        "by_source": compare_scorers_by_source(
            scorers, groups, sources, n_resamples=n_resamples, seed=seed
        ),
    }


def debias_result(
    final: Fit, objectives: tuple[str, ...], nuisances: tuple[str, ...]
) -> DebiasFigures | None:
    """Say what the shipped debias matrix removed on its reference rows.

    Args:
        final: The fit on everything.
        objectives: Names of axis k.
        nuisances: Names of the nuisances.

    Returns:
        The figures; None where nothing is removed.
    """
    if not nuisances:
        return None
    tensors = final.debias.tensors
    return debias_figures(
        tensors["penalties"].numpy(),
        _largest(tensors["before"]),
        _largest(tensors["after"]),
        objectives=objectives,
        nuisances=nuisances,
        n_rows=final.debias.facts["n_rows"],
    )


def gating_result(
    held_out: HeldOut, data: TrainingData, final: Fit, objectives: tuple[str, ...]
) -> GatingFigures | None:
    """Say where the gating looks on held-out prompts.

    Args:
        held_out: The predictions.
        data: The rows.
        final: The fit on everything, for beta and steps.
        objectives: Names of axis k.

    Returns:
        The figures; None without pairs.
    """
    if held_out.gating is None:
        return None
    rows = torch.nonzero(~held_out.gating.isnan().any(1)).flatten().tolist()
    return gating_figures(
        held_out.gating[rows].numpy(),
        [source_of(data.pair_rows[i]) for i in rows],
        objectives=objectives,
        beta=final.gating.facts["beta"],
        steps=final.gating.facts["steps"],
    )


def with_heads(
    results: ObjectiveResults | None, final: Fit, debias: DebiasFigures | None
) -> dict[str, Any]:
    """Add what the shipped heads know about themselves to the figures by objective.

    Args:
        results: Figures on held-out rows.
        final: The fit on everything.
        debias: What was removed.

    Returns:
        Fields `objectives` and `mean_spearman` of a report; empty without rated rows.
    """
    if results is None:
        return {}
    tensors = final.ridge.tensors
    figures = tuple(
        row.model_copy(
            update={
                "alpha": float(tensors["alpha"][j]),
                "at_edge": bool(tensors["at_edge"][j]),
                "std": _number(float(tensors["noise_variance"][j]) ** 0.5),
                "spearman_with_nuisance_before": debias and debias.before.get(row.name),
                "spearman_with_nuisance_after": debias and debias.after.get(row.name),
            }
        )
        for j, row in enumerate(results.objectives)
    )
    return {"objectives": figures, "mean_spearman": results.mean_spearman}


def training_facts(report: Report, seed: int) -> dict[str, Any]:
    """Return what a bundle keeps of its run; no time and no path.

    Args:
        report: The figures.
        seed: Of the run.

    Returns:
        JSON facts for `Bundle.facts` and the model card.
    """
    mean = report.mean_spearman
    return {
        "seed": seed,
        "protocol": report.protocol,
        "software": report.versions,
        "threads": report.hardware["threads"],
        "data": report.data.model_copy(
            update={"dropped": _by_file_name(report.data.dropped)}
        ).model_dump(mode="json"),
        "objectives": {
            row.name: {
                "n": row.n,
                "spearman": _number(row.spearman.value),
                "r2": _number(row.r2.value),
                "alpha": row.alpha,
                "noise_std": row.std,
            }
            for row in report.objectives
        },
        "mean_spearman": None if mean is None else _number(mean.value),
        "accuracy": {row.scorer: _number(row.accuracy.value) for row in report.preferences},
        "gating": None if report.gating is None else report.gating.model_dump(mode="json"),
    }


def _by_file_name(dropped: Mapping[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Counts by file name: a bundle must not depend on where the files were."""
    merged: dict[str, dict[str, int]] = {}
    for path, reasons in dropped.items():
        counts = merged.setdefault(PurePath(path).name, {})
        for reason, n in reasons.items():
            counts[reason] = counts.get(reason, 0) + n
    return merged


def _number(value: float) -> float | None:
    """A number as JSON; undefined becomes None."""
    return value if math.isfinite(value) else None


def software() -> dict[str, str]:
    """Return the versions that figures depend on."""
    packages = ("armorm", "torch", "transformers", "numpy", "scipy")
    return {name: version(name) for name in packages} | {"python": platform.python_version()}


def hardware() -> dict[str, str | int]:
    """Return the machine facts that the last bits of figures depend on."""
    return {"threads": torch.get_num_threads(), "platform": platform.machine()}


def notes_of(report: Report, drops: Drops, n_rows: int) -> tuple[str, ...]:
    """Return sentences that a reader of the figures must know.

    Args:
        report: The figures.
        drops: Dropped and truncated rows.
        n_rows: Rows that were read.

    Returns:
        The notes, possibly none.
    """
    notes: list[str] = []
    if drops.total or drops.total_truncated:
        notes.append(drops.sentence(n_rows))
    edge = [row.name for row in report.objectives if row.at_edge]
    if edge:
        notes.append(
            "alpha is at the edge of the grid for " + ", ".join(edge) + "; widen `ridge.alphas`"
        )
    if report.gating is not None and report.gating.steps == 0:
        notes.append(
            "the gating that ships took no step: held-out pairs got no better than with the "
            "weights it starts from, so it weighs the objectives alike for every prompt"
        )
    return tuple(notes)


def _largest(values: Tensor) -> np.ndarray:
    """Of several nuisances the largest correlation in size, shape (k,)."""
    return values.gather(1, values.nan_to_num(0).abs().argmax(1, keepdim=True)).flatten().numpy()
