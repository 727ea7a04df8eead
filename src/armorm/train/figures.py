"""The figures of a run: predictions on held-out folds, put together and held against baselines."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armorm.data import Drops, group_of
from armorm.evaluate.baselines import (
    GATED,
    LONGER,
    compare_scorers,
    compare_scorers_by_source,
    length_scores,
)
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.counts import source_of
from armorm.evaluate.figures import (
    DebiasFigures,
    DecontaminationFigures,
    GatingFigures,
    Report,
)
from armorm.evaluate.heads_figures import debias_figures, gating_figures
from armorm.evaluate.objectives import ObjectiveResults, evaluate_objectives
from armorm.evaluate.pair_curves import calibration_figures, length_figures
from armorm.train.folds import Fit, Fitter
from armorm.train.held_out import HeldOut
from armorm.train.inputs import TrainingData
from armorm.train.nuisances import score_correlations
from armorm.train.temperature import Temperature, held_out_temperature


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
        measured=[fitter.objectives[v] for v in fitter.settings.measured],
        n_resamples=n_resamples,
        seed=seed,
    )


def temperature_result(held_out: HeldOut, data: TrainingData) -> Temperature:
    """Fit the temperature that ships, on the margins of held-out pairs.

    Args:
        held_out: The predictions.
        data: The rows.

    Returns:
        The temperature, or why there is none.
    """
    if not held_out.pair_scores:
        return Temperature(None, reason="all pairs are derived from ratings")
    rows = held_out.judged
    groups = [group_of(data.pair_rows[i].prompt) for i in rows]
    return held_out_temperature(held_out.logits[rows].numpy(), groups)


def preference_results(
    held_out: HeldOut,
    data: TrainingData,
    temperature: Temperature,
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Measure the gated model and its baselines on held-out pairs.

    Args:
        held_out: The predictions.
        data: The rows.
        temperature: Of the preference probability.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        Fields `preferences`, `by_source`, `calibration` and `length` of a report; empty
        without pairs.
    """
    if not held_out.pair_scores:
        return {}
    rows = held_out.judged
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
    resampling = Resampling(n_resamples, seed=seed)
    return {
        "calibration": calibration_figures(
            held_out.logits[rows].numpy(),
            groups,
            temperature=temperature.value,
            after=temperature.after,
            resampling=resampling,
        ),
        "length": length_figures(scorers, pairs, reference=GATED, resampling=resampling),
        "preferences": compare_scorers(scorers, groups, n_resamples=n_resamples, seed=seed),
        "by_source": compare_scorers_by_source(
            scorers, groups, sources, n_resamples=n_resamples, seed=seed
        ),
    }


def debias_result(
    held_out: HeldOut,
    data: TrainingData,
    final: Fit,
    fitter: Fitter,
    *,
    n_resamples: int,
    seed: int,
) -> DebiasFigures | None:
    """Say what the shipped debias matrix removed on its reference rows, and from the score.

    Args:
        held_out: The predictions.
        data: The rows.
        final: The fit on everything.
        fitter: Names of objectives and nuisances.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The figures; None where nothing is removed.
    """
    objectives, nuisances = fitter.objectives, fitter.settings.nuisances
    if not nuisances:
        return None
    tensors = final.debias.tensors
    found = debias_figures(
        tensors["penalties"].numpy(),
        _largest(tensors["before"]),
        _largest(tensors["after"]),
        objectives=objectives,
        nuisances=[objectives[v] for v in nuisances],
        n_rows=final.debias.facts["n_rows"],
    )
    if held_out.pair_objectives is None:
        return found
    rows = held_out.judged
    score = score_correlations(
        {name: scores[rows] for name, scores in held_out.pair_scores.items()},
        held_out.pair_objectives[rows],
        [data.pair_rows[i] for i in rows],
        nuisances={objectives[v]: v for v in nuisances},
        measured=[objectives[v] for v in fitter.settings.measured],
        resampling=Resampling(n_resamples, seed=seed),
    )
    return found.model_copy(update={"score": score})


def gating_result(
    held_out: HeldOut,
    data: TrainingData,
    final: Fit,
    objectives: tuple[str, ...],
    temperature: Temperature,
) -> GatingFigures | None:
    """Say where the gating looks on held-out prompts.

    Args:
        held_out: The predictions.
        data: The rows.
        final: The fit on everything, for beta and steps.
        objectives: Names of axis k.
        temperature: Divides beta, as in the bundle.

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
        beta=final.gating.facts["beta"] / (temperature.value or 1.0),
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
            update={
                "dropped": _by_file_name(report.data.dropped),
                "decontaminated": _named(report.data.decontaminated),
            }
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
        "temperature": None if report.calibration is None else report.calibration.temperature,
    }


def _by_file_name(dropped: Mapping[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Counts by file name: a bundle must not depend on where the files were."""
    merged: dict[str, dict[str, int]] = {}
    for path, reasons in dropped.items():
        counts = merged.setdefault(PurePath(path).name, {})
        for reason, n in reasons.items():
            counts[reason] = counts.get(reason, 0) + n
    return merged


def _named(files: Sequence[DecontaminationFigures]) -> tuple[DecontaminationFigures, ...]:
    """The same by file name, training files too."""
    named: list[DecontaminationFigures] = []
    for one in files:
        rows: dict[str, int] = {}
        for path, n in one.rows.items():
            name = PurePath(path).name
            rows[name] = rows.get(name, 0) + n
        named.append(one.model_copy(update={"path": PurePath(one.path).name, "rows": rows}))
    return tuple(named)


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
