"""A recipe becomes a run folder; every step is kept, so that a run can stop anywhere.

The run folder holds `recipe.yaml` (resolved), `features/`, `stages/`, `bundle/`,
`report.json`, `report.md`, `plots/`, and `run.json`, written last.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import torch

from armorm.data import Drops
from armorm.errors import (
    BundleError,
    DataError,
    RecipeError,
    nearest,
)
from armorm.evaluate.figures import Report
from armorm.evaluate.report import read_report
from armorm.features.feature_set import StoredFeatures
from armorm.heads.gating import GatingSettings
from armorm.model.bundle import load_bundle
from armorm.storage import (
    digest_file,
    fingerprint,
)
from armorm.train.cache import StageCache
from armorm.train.config import Recipe, RidgeRecipe
from armorm.train.features import PAIRS, RATED, FeatureStep, read_recipe_rows, threads
from armorm.train.figures import software
from armorm.train.folds import Fit, Fitter, Settings, Watch
from armorm.train.given import load_given_ridge
from armorm.train.inputs import (
    Rows,
    TrainingData,
    assign_folds,
    count_unused,
    derive,
    line_up,
    pair_conversations,
    rated_conversations,
    stage_inputs,
)
from armorm.train.output import Fitted, make_report, save_run
from armorm.train.place import BUNDLE, DONE, STAGES, check_place, hold_run
from armorm.types import Conversation


@dataclass(frozen=True, slots=True)
class Run:
    """What `train` hands back."""

    folder: Path
    """The run folder."""
    report: Report
    """The figures."""
    fitted: tuple[str, ...]
    """Stages that were fitted in this call."""
    reused: tuple[str, ...]
    """Stages that were up to date."""
    notes: tuple[str, ...]
    """Remarks for a person: dropped rows, alphas at an edge."""
    seconds: float
    """Wall time of this call."""

    @property
    def work(self) -> str:
        """One sentence on what was done."""
        if not self.fitted and not self.reused:
            return "everything is up to date; nothing was run"
        return (
            f"fitted {len(self.fitted)} stages, {len(self.reused)} were up to date, "
            f"in {self.seconds:.0f} s"
        )


def train(recipe: Recipe, folder: Path, *, watch: Watch = lambda *_: None) -> Run:
    """Run a recipe: features, heads on every fold and on everything, report, bundle.

    What is up to date is not done again: features by shard, heads by stage, and nothing at
    all where the run is finished. A run that was killed continues where it was and ends
    with the same bytes on the same machine and thread count.

    Args:
        recipe: The checked recipe.
        folder: The run folder; made when absent.
        watch: Called with (stage, done, total, remark).

    Returns:
        The report and what was done.

    Raises:
        DataError: a row, an objective or a file is not what it must be.
        RecipeError: names of the recipe are not those of the given ridge head; its gating
            settings lead nowhere.
        FeatureError: the backbone cannot be loaded or used.
        BundleError: the given ridge head cannot be used with the backbone; the folder of
            the bundle holds other files.
        StorageError: the disk is full or fails; the folder holds what is not of a run, or
            another run uses it.
        MissingDependency: data or backbone need an extra.
    """
    with threads(recipe.threads):
        check_place(folder)
        training = _Training(recipe, folder, watch)
        # Everything that can be wrong with the input is looked at before a file is written.
        training.read()
        with hold_run(folder):
            return training.run()


class _Training:
    """One run; its methods are the steps, in order."""

    def __init__(self, recipe: Recipe, folder: Path, watch: Watch) -> None:
        self.recipe, self.folder, self.watch = recipe, folder, watch
        self.drops = Drops()
        self.started = time.monotonic()
        self.timings: dict[str, float] = {}
        self.given = load_given_ridge(recipe.ridge) if isinstance(recipe.ridge, str) else None
        own = (*recipe.objectives, *recipe.debias.measured)
        self.objectives = self.given.objectives if self.given else own
        self.nuisances = self._nuisances()
        self.features = FeatureStep(recipe, folder, watch)

    def read(self) -> None:
        """Read rows and the facts of the backbone, and check what can be checked so far."""
        recipe = self.recipe
        self.rows = self._rows()
        self.n_read = len(self.rows.rated) + len(self.rows.pairs) + self.drops.total
        self.rounds = recipe.evaluation.rounds or recipe.evaluation.folds
        self.folds = assign_folds(
            self.rows, n_folds=recipe.evaluation.folds, rounds=self.rounds, salt=str(recipe.seed)
        )
        self.facts = self.features.facts()
        if self.given is not None:
            self.given.check(self.facts)

    def run(self) -> Run:
        """Do what is not done yet."""
        rows = self.rows
        key = self._key(rows)
        if (done := self._finished(key)) is not None:
            return done
        with self._timed("features"):
            data, features = self._data(rows)
        fitter = self._fitter(data, features)
        order = range(fitter.settings.rounds)
        fits: list[Fit] = []
        with self._timed("heads"):
            # By far the longest stages: with and without debias, or a part of it.
            n_gates = sum(len(fitter.gates(held_out)) for held_out in [*order, None])
            trained = 0
            for held_out in [*order, None]:
                gates = fitter.gates(held_out)
                fitter.watch = lambda stage, done, total, remark, before=trained, g=gates: (
                    self.watch("heads", before + g.index(stage) + (done == total), n_gates, remark)
                )
                fits.append(fitter.fit(held_out))
                trained += len(gates)
                self.watch("heads", trained, n_gates, "")
        fitted = Fitted(
            recipe=self.recipe,
            backbone=self.facts,
            objectives=self.objectives,
            scales=rows.scales,
            data=data,
            fitter=fitter,
            held_out=fits[:-1],
            final=fits[-1],
            drops=self.drops,
            n_read=self.n_read,
            notes=(*rows.decontamination.notes(), *self.features.notes),
            decontaminated=rows.decontamination.figures,
            timings=self.timings,
            given=self.given,
        )
        report = save_run(fitted, make_report(fitted), self.folder, key=key)
        self.watch("report and bundle", 1, 1, "")
        return Run(
            self.folder,
            report,
            tuple(fitter.cache.fitted),
            tuple(fitter.cache.reused),
            report.notes,
            time.monotonic() - self.started,
        )

    def _rows(self) -> Rows:
        """Read and check every row."""
        rows = read_recipe_rows(self.recipe, self.given, self.drops)
        n_rows = len(rows.rated) + len(rows.pairs)
        self.watch("read rows", n_rows, n_rows, "")
        return rows

    def _key(self, rows: Rows) -> str:
        """Fingerprint of the whole run; paths, device and threads are told apart by content."""
        by_content = {"rated", "pairs", "decontaminate", "backbone"} | (
            {"ridge"} if self.given else set()
        )
        settings = self.recipe.model_dump(mode="json", exclude=by_content)
        pairs = [[r.id, r.source, r.prompt, r.chosen, r.rejected] for r in rows.pairs]
        rated = [
            [r.id, r.source, r.prompt, r.response, sorted(r.ratings.items())] for r in rows.rated
        ]
        given = self.given.key if self.given else None
        left_out = rows.decontamination.key
        made = [software(), torch.get_num_threads()]
        return fingerprint([settings, self.facts, pairs, rated, left_out, given, *made])

    def _finished(self, key: str) -> Run | None:
        """The run that this folder already holds, if it is this one and whole."""
        path = self.folder / DONE
        try:
            done = json.loads(path.read_bytes())
            whole = done["key"] == key and all(
                digest_file(self.folder / name) == digest for name, digest in done["files"].items()
            )
            if not whole:
                return None
            load_bundle(self.folder / BUNDLE)
            report = read_report(self.folder)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, BundleError, DataError):
            return None
        return Run(self.folder, report, (), (), report.notes, time.monotonic() - self.started)

    def _data(self, rows: Rows) -> tuple[TrainingData, dict[str, str]]:
        """Features of all rows, lined up with ratings and folds, and their fingerprints."""
        keys: dict[str, str] = {}
        rated = pairs = None
        n_unused = self.drops.total
        if rows.rated:
            rated, keys["rated"] = self._features(RATED, rated_conversations(rows))
        if rows.pairs:
            pairs, keys["pairs"] = self._features(PAIRS, pair_conversations(rows))
        try:
            return self._lined_up(rows, rated, pairs), keys
        except DataError as error:
            if self.drops.total == n_unused:
                raise
            raise DataError(
                f"{error}; {self.drops.sentence(self.n_read)}; `features.max_tokens` sets the "
                "longest"
            ) from error

    def _features(self, name: str, conversations: list[Conversation]) -> tuple[StoredFeatures, str]:
        """Features of one kind of rows, and their fingerprint; what is not used is counted."""
        found, key = self.features.of(name, conversations)
        assert found is not None  # of one process that computes all
        count_unused(found, name, self.drops, sides=2 if name == PAIRS else 1)
        return found, key

    def _lined_up(
        self, rows: Rows, rated: StoredFeatures | None, pairs: StoredFeatures | None
    ) -> TrainingData:
        """Rows and features in one order, with the pairs that ratings make."""
        data = line_up(rows, rated, pairs, self.folds)
        wanted = self.recipe.derived_pairs
        if wanted is None or rated is None:
            return data
        return derive(
            rows,
            data,
            rated,
            weights=wanted.weights,
            min_gap=wanted.min_gap,
            loss_weight=wanted.loss_weight,
        )

    def _fitter(self, data: TrainingData, features: dict[str, str]) -> Fitter:
        """What fits the heads."""
        recipe = self.recipe
        ridge = RidgeRecipe() if isinstance(recipe.ridge, str) else recipe.ridge
        derived = recipe.derived_pairs and recipe.derived_pairs.model_dump(mode="json")
        settings = Settings(
            n_folds=recipe.evaluation.folds,
            rounds=self.rounds,
            alphas=ridge.alphas,
            intercept=ridge.intercept,
            nuisances=tuple(self.objectives.index(name) for name in self.nuisances),
            measured=tuple(self.objectives.index(name) for name in recipe.debias.measured),
            reference=recipe.debias.reference,
            gating=GatingSettings(**recipe.gating.model_dump(), seed=recipe.seed),
        )
        return Fitter(
            cache=StageCache(self.folder / STAGES),
            rated=data.rated,
            pairs=data.pairs,
            derived=data.derived,
            settings=settings,
            inputs=stage_inputs(self.rows, data, features, derived),
            given_ridge=self.given.result if self.given else None,
            objectives=self.objectives,
        )

    def _nuisances(self) -> tuple[str, ...]:
        """Names of the nuisances, checked against the objectives."""
        debias, given = self.recipe.debias, self.given
        if given is not None:
            given.check_measured(debias.measured)
        for name in debias.nuisances:
            if name not in self.objectives:
                known = nearest(name, self.objectives)
                raise RecipeError([f"debias.nuisances: unknown objective {name!r}{known}"])
            if name in debias.measured:
                raise RecipeError([f"debias.nuisances: {name!r} is in `debias.measured` already"])
        if not set(self.objectives) - set(debias.all_nuisances):
            raise RecipeError(["debias.nuisances: one objective must not be a nuisance; all are"])
        return debias.all_nuisances

    @contextlib.contextmanager
    def _timed(self, step: str) -> Generator[None]:
        """Note how long a step took."""
        started = time.monotonic()
        yield
        self.timings[step] = time.monotonic() - started
