"""What a finished run leaves: report, bundle, recipe, counts, and the mark that it is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import yaml

from armorm import __version__
from armorm.data import Drops, Scales
from armorm.errors import MissingDependency
from armorm.evaluate.counts import count_rows
from armorm.evaluate.figures import DecontaminationFigures, Report
from armorm.evaluate.plots import write_plots
from armorm.evaluate.report import JSON_NAME, MARKDOWN_NAME, write_report
from armorm.heads.statistics import Statistics
from armorm.model.bundle import Bundle, save_bundle
from armorm.model.card import model_card
from armorm.model.statistics_file import StoredStatistics
from armorm.storage import digest_file, fingerprint, storage_errors, write_bytes, write_json
from armorm.train.comparisons import held_out_comparisons
from armorm.train.config import Recipe
from armorm.train.figures import (
    debias_result,
    gating_result,
    hardware,
    notes_of,
    objective_results,
    preference_results,
    software,
    temperature_result,
    training_facts,
    with_heads,
)
from armorm.train.folds import Fit, Fitter, Settings
from armorm.train.given import GivenRidge
from armorm.train.held_out import held_out_predictions
from armorm.train.inputs import TrainingData
from armorm.train.place import BUNDLE, DONE, DROPPED, RECIPE, page_of, pictures_of, remove_pictures
from armorm.types import RatedResponse, Scale


@dataclass(frozen=True, slots=True)
class Fitted:
    """A run whose heads are all fitted."""

    recipe: Recipe
    backbone: Mapping[str, Any]
    objectives: tuple[str, ...]
    scales: Scales
    data: TrainingData
    fitter: Fitter
    held_out: list[Fit]
    """One fit a held-out fold."""
    final: Fit
    """The fit on everything."""
    drops: Drops
    n_read: int
    """Rows that were read, dropped ones included."""
    notes: tuple[str, ...]
    """What was noticed on the way."""
    timings: Mapping[str, float]
    """Seconds by step."""
    decontaminated: tuple[DecontaminationFigures, ...] = ()
    """Rows that were left out for their prompt, by evaluation file."""
    given: GivenRidge | None = None
    """The ridge head that the recipe names in place of rated rows."""


def make_report(fitted: Fitted) -> Report:
    """Measure the heads on held-out rows, beside every baseline.

    Args:
        fitted: The run.

    Returns:
        The report.
    """
    recipe, fitter, data = fitted.recipe, fitted.fitter, fitted.data
    held_out = held_out_predictions(fitter, fitted.held_out)
    temperature = temperature_result(held_out, data)
    how = {"n_resamples": recipe.evaluation.resamples, "seed": recipe.seed}
    debias = debias_result(held_out, data, fitted.final, fitter, **how)
    results = objective_results(held_out, data, fitter, **how)
    report = Report(
        name=recipe.name,
        protocol=_protocol(fitter.settings, given=fitter.given_ridge is not None),
        recipe_fingerprint=recipe.fingerprint(),
        versions=software(),
        hardware=hardware(),
        backbone=dict(fitted.backbone),
        data=count_rows(
            data.rated_rows,
            data.pair_rows,
            fitted.drops,
            n_derived=len(data.derived_rows),
            decontaminated=fitted.decontaminated,
        ),
        debias=debias,
        gating=gating_result(held_out, data, fitted.final, fitted.objectives, temperature),
        comparisons=held_out_comparisons(
            held_out,
            data,
            fitter,
            fitted.held_out,
            scales=fitted.scales,
            n=recipe.evaluation.comparisons,
            temperature=temperature.value or 1.0,
        ),
        timings={name: round(seconds, 2) for name, seconds in fitted.timings.items()},
        **with_heads(results, fitted.final, debias),
        **preference_results(held_out, data, temperature, **how),
    )
    notes = (
        *fitted.notes,
        *notes_of(report, fitted.drops, fitted.n_read),
        *temperature.notes,
    )
    return report.model_copy(update={"notes": notes})


def save_run(fitted: Fitted, report: Report, folder: Path, *, key: str) -> Report:
    """Write everything that a person takes away, and last the mark that it is whole.

    Args:
        fitted: The run.
        report: Its figures.
        folder: The run folder.
        key: Fingerprint of the run.

    Returns:
        The report as written: with one more note where plots need an extra.

    Raises:
        StorageError: the disk is full or fails.
    """
    with storage_errors(folder):
        (folder / DONE).unlink(missing_ok=True)
    remove_pictures(folder)
    write_bytes(folder / RECIPE, recipe_yaml(fitted.recipe).encode())
    write_json(folder / DROPPED, fitted.drops.as_dict())
    bundle = _bundle(fitted, report)
    save_bundle(bundle, folder / BUNDLE, card=model_card(bundle))
    try:
        pictures = write_plots(report, folder)
    except MissingDependency as error:  # no reason to lose the figures themselves
        pictures, report = (), report.model_copy(update={"notes": (*report.notes, str(error))})
    report = write_report(report, folder, pictures=pictures)
    left = [folder / name for name in (DROPPED, RECIPE, JSON_NAME, MARKDOWN_NAME)]
    left += [*(folder / BUNDLE).iterdir(), *pictures_of(folder), *page_of(folder)]
    files = {path.relative_to(folder).as_posix(): digest_file(path) for path in sorted(left)}
    done: dict[str, Any] = {"key": key, "armorm": __version__, "files": files}
    if fitted.decontaminated:
        done["decontaminated"] = [one.model_dump(mode="json") for one in fitted.decontaminated]
    if fitted.data.rated_rows:
        done["rated"] = rated_fingerprint(fitted.data.rated_rows)
    write_json(folder / DONE, done)
    return report


def rated_fingerprint(rows: Sequence[RatedResponse]) -> str:
    """Return what the ratings of a run are told apart by; texts are by their features.

    Args:
        rows: Rated rows.

    Returns:
        64 hexadecimal digits.
    """
    return fingerprint([[row.id, row.source, sorted(row.ratings.items())] for row in rows])


def recipe_yaml(recipe: Recipe) -> str:
    """Return a recipe with every default filled in, as YAML.

    Args:
        recipe: The checked recipe.

    Returns:
        Text that `load_recipe` reads back.
    """
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def scales_of(recipe: Recipe) -> dict[str, dict[str, Scale]]:
    """Return the scales of a recipe as the readers take them.

    Args:
        recipe: The checked recipe.

    Returns:
        Source -> objective -> scale.
    """
    return {
        source: {name: Scale(**scale.model_dump()) for name, scale in scales.items()}
        for source, scales in recipe.scales.items()
    }


def _bundle(fitted: Fitted, report: Report) -> Bundle:
    """The heads that were fitted on everything, with the facts of the run."""
    final, fitter, given = fitted.final, fitted.fitter, fitted.given
    facts = training_facts(report, fitted.recipe.seed)
    if given is not None and given.statistics is not None:
        facts["objectives"] = dict(given.heads)  # whose alphas a change of sources needs
    return Bundle(
        name=fitted.recipe.name,
        objectives=fitted.objectives,
        nuisances=fitter.settings.nuisances,
        scales=fitted.scales,
        weight=final.ridge.tensors["weight"],
        bias=final.ridge.tensors["bias"],
        debias=final.debias.tensors["matrix"],
        gating=fitter.gate(final),
        beta=final.gating.facts["beta"] / _temperature(report),
        backbone=fitted.backbone,
        baselines=fitter.baselines(final),
        measured=fitted.recipe.debias.measured,
        statistics=_statistics(fitted),
        facts=facts,
    )


def _statistics(fitted: Fitted) -> Statistics | StoredStatistics | None:
    """Statistics of all rated rows, where the recipe keeps them or the given bundle has them."""
    if fitted.given is not None:
        return fitted.given.statistics
    ridge = fitted.recipe.ridge
    if isinstance(ridge, str) or not ridge.keep_statistics:
        return None
    return reduce(add, fitted.fitter.parts)


def _temperature(report: Report) -> float:
    """What divides the beta of the gating; 1 where none was fitted."""
    found = report.calibration
    return 1.0 if found is None or found.temperature is None else found.temperature


def _protocol(settings: Settings, *, given: bool) -> str:
    """One sentence on what the figures rest on."""
    how = f"{settings.n_folds}-fold cross-validation grouped by prompt"
    if settings.rounds < settings.n_folds:
        how = f"{settings.rounds} of {settings.n_folds} folds of prompts held out"
    if given:
        return (
            f"{how}: gate, debias and baselines have not seen the prompts of a figure; the ridge "
            "head was given, and whether it was fitted on them is not checked; the bundle is "
            "refitted on all pairs"
        )
    return (
        f"{how}: every figure is on prompts that its heads have not seen; "
        "the bundle is refitted on all rows"
    )
