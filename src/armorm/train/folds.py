"""One fit of all heads per held-out fold, and one on everything; each stage through the cache.

What is held out of one stage is held out of all: a fold's figures come from heads that
have seen none of its prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from armorm.features.mapped import FeatureRows, chunks, join_rows, take_rows
from armorm.heads.compose import compose
from armorm.heads.gating import GatingNetwork, GatingSettings
from armorm.heads.statistics import Statistics
from armorm.model.bundle import Baselines
from armorm.model.rivals import WITHOUT_DEBIAS, WITHOUT_MEASURED, rival_scores
from armorm.train.cache import StageCache, StageResult
from armorm.train.gating_stage import gating_stage, load_gate
from armorm.train.sets import (
    CHUNK_ENTRIES,
    DerivedPairs,
    GatePairs,
    PairSet,
    RatedSet,
    scores_of,
)
from armorm.train.stages import baselines_stage, debias_stage, gate_pairs, ridge_stage

GATED = "gated"

GATING, PLAIN_GATING = "gating", "gating-without-debias"
UNMEASURED_GATING = "gating-without-measured"
"""Stages that train a gate."""

IN_TRAINING = "gate-in-training"
"""Folder among the stages with the gates that a training which was killed goes on from."""

_WEIGHTS, _RAW = "gating weights", "objective scores"  # beside the scorers, whose names they avoid

Watch = Callable[[str, int, int, str], None]
"""Called with (stage, done, total, remark), the remark such as a rate or a loss, or empty."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the heads are fitted with."""

    n_folds: int
    """Parts of the prompts."""
    rounds: int
    """How many folds take a turn as the held-out part."""
    alphas: tuple[float, ...]
    """Penalties to choose from."""
    intercept: bool
    """Whether the ridge head has an intercept."""
    nuisances: tuple[int, ...]
    """Positions of the nuisance objectives, the measured ones among them."""
    reference: str
    """Rows of the debias step: `rated`, `pairs` or `all`."""
    gating: GatingSettings
    """Sizes and optimiser of the gate."""
    measured: tuple[int, ...] = ()
    """Positions of the nuisances that are measured from the text."""


@dataclass(frozen=True, slots=True)
class Fit:
    """All heads fitted on the folds that were not held out."""

    held_out: int | None
    """The fold that was held out; None: none was."""
    ridge: StageResult
    debias: StageResult
    gating: StageResult
    plain_gating: StageResult
    """The gate trained without debias."""
    baselines: StageResult | None
    """None where there are only derived pairs."""
    unmeasured_debias: StageResult | None = None
    """Debias by the rated nuisances alone; None where no other is, or no fold is held out."""
    unmeasured_gating: StageResult | None = None
    """The gate trained after it."""


@dataclass
class Fitter:
    """Fits the heads for any held-out fold."""

    cache: StageCache
    rated: RatedSet | None
    pairs: PairSet | None
    derived: DerivedPairs | None
    settings: Settings
    inputs: Mapping[str, Any]
    """JSON that `rated`, `pairs` and `derived` are known by: features, ratings, folds."""
    given_ridge: StageResult | None = None
    """Weight and bias of a head that is not fitted here."""
    objectives: tuple[str, ...] = ()
    """Names of axis k."""
    watch: Watch = field(default=lambda *_: None)

    @cached_property
    def parts(self) -> list[Statistics]:
        """Statistics of each fold, computed once and only when a ridge head is fitted.

        Folds that never take a turn are one part: what is left out at most is a held-out
        fold and one of validation, both among the first `rounds` + 1.
        """
        assert self.rated is not None
        s = self.settings
        return self.rated.statistics(min(s.n_folds, s.rounds + 2))

    def used(self, held_out: int | None) -> list[int]:
        """Return the folds that heads may see when one is held out."""
        return [f for f in range(self.settings.n_folds) if f != held_out]

    def fit(self, held_out: int | None) -> Fit:
        """Fit all heads, each stage only when it is not up to date.

        Args:
            held_out: Number of the fold that no head may see; None: all rows are used.

        Returns:
            The fitted heads.
        """
        ridge = self._ridge(held_out)
        debias = self._debias(held_out, ridge)
        raw = gate_pairs(ridge.tensors, self.pairs, self.rated, self.derived)
        clean = raw.transformed(debias.tensors["matrix"])
        masked = self.settings.nuisances
        gating = self._gating(GATING, held_out, clean, masked, debias.key)
        plain = self._gating(PLAIN_GATING, held_out, raw, self.settings.measured, ridge.key)
        baselines = self._baselines(held_out, clean, debias)
        fit = Fit(held_out, ridge, debias, gating, plain, baselines)
        if not self._has_part(held_out):
            return fit
        part = self._debias(held_out, ridge, left_in=self.settings.measured)
        half_clean = raw.transformed(part.tensors["matrix"])
        gate = self._gating(UNMEASURED_GATING, held_out, half_clean, masked, part.key)
        return replace(fit, unmeasured_debias=part, unmeasured_gating=gate)

    def gates(self, held_out: int | None) -> list[str]:
        """Return the stages of a fit that train a gate, in their order."""
        names = [GATING, PLAIN_GATING]
        if self._has_part(held_out):
            names.append(UNMEASURED_GATING)
        return [_name(name, held_out) for name in names]

    def _has_part(self, held_out: int | None) -> bool:
        """Whether a gate with the rated nuisances alone taken out says something of its own."""
        s = self.settings
        return held_out is not None and 0 < len(s.measured) < len(s.nuisances)

    def gate(self, fit: Fit) -> GatingNetwork:
        """Rebuild the gate of a fit."""
        return self._network(fit.gating, self.settings.nuisances)

    def unmeasured_gate(self, fit: Fit) -> GatingNetwork | None:
        """Rebuild the gate of a fit that left the measured nuisances in, where there is one."""
        gating = fit.unmeasured_gating
        return None if gating is None else self._network(gating, self.settings.nuisances)

    def baselines(self, fit: Fit) -> Baselines:
        """Rebuild what the gate of a fit is held against."""
        tensors = fit.baselines.tensors if fit.baselines is not None else {}
        return Baselines(
            self._network(fit.plain_gating, self.settings.measured),
            tensors.get("fixed_weights"),
            tensors.get("bradley_terry"),
        )

    def _network(self, result: StageResult, masked: tuple[int, ...]) -> GatingNetwork:
        """Rebuild a trained gate."""
        return load_gate(
            result,
            in_features=result.facts["in_features"],
            n_objectives=len(self.objectives),
            settings=replace(self.settings.gating, masked=masked),
        )

    def _ridge(self, held_out: int | None) -> StageResult:
        """Ridge head and cross-fitted scores."""
        if self.given_ridge is not None:
            return self.given_ridge
        s = self.settings
        rated = self.rated
        assert rated is not None
        cross = self.derived is not None
        inputs = {"rated": self.inputs["rated"], "held_out": held_out, "rounds": s.rounds}
        inputs |= {"cross": cross}
        return self.cache.get(
            _name("ridge", held_out),
            inputs | {"alphas": s.alphas, "intercept": s.intercept, "n_folds": s.n_folds},
            lambda: ridge_stage(
                rated,
                self.parts,
                used=self.used(held_out),
                rounds=s.rounds,
                alphas=s.alphas,
                intercept=s.intercept,
                cross=cross,
            ),
        )

    def _debias(
        self, held_out: int | None, ridge: StageResult, *, left_in: tuple[int, ...] = ()
    ) -> StageResult:
        """Debias matrix on the reference rows of the used folds; some nuisances may stay."""
        s = self.settings
        nuisances = tuple(v for v in s.nuisances if v not in left_in)
        inputs = {name: self.inputs[name] for name in self._reference_sets}
        inputs |= {"ridge": ridge.key, "held_out": held_out, "n_folds": s.n_folds}
        return self.cache.get(
            _name("debias-without-measured" if left_in else "debias", held_out),
            inputs | {"nuisances": nuisances, "left_in": left_in},
            lambda: debias_stage(
                ridge.tensors,
                self.reference(held_out),
                nuisances=nuisances,
                left_in=left_in,
                objectives=self.objectives,
            ),
        )

    def reference(self, held_out: int | None) -> FeatureRows:
        """Return the features of the reference rows of the used folds, shape (m, d)."""
        groups, used = list[FeatureRows](), torch.tensor(self.used(held_out))
        if self.rated is not None and "rated" in self._reference_sets:
            groups.append(take_rows(self.rated.features, torch.isin(self.rated.folds, used)))
        if self.pairs is not None and "pairs" in self._reference_sets:
            rows = torch.isin(self.pairs.folds, used)
            groups += [take_rows(side, rows) for side in (self.pairs.chosen, self.pairs.rejected)]
        return join_rows(groups)

    @property
    def _reference_sets(self) -> tuple[str, ...]:
        """Kinds of rows that the debias step looks at."""
        there = {"rated": self.rated, "pairs": self.pairs}
        wanted = self.settings.reference
        return tuple(n for n, rows in there.items() if rows is not None and wanted in (n, "all"))

    def _gating(
        self,
        stage: str,
        held_out: int | None,
        pairs: GatePairs,
        masked: tuple[int, ...],
        upstream: str,
    ) -> StageResult:
        """The gate on debiased scores, or, as a baseline, on raw ones."""
        s, name = self.settings, _name(stage, held_out)
        settings = replace(s.gating, masked=masked)
        inputs = {name: self.inputs[name] for name in ("pairs", "derived")}
        inputs |= {"upstream": upstream, "held_out": held_out, "rounds": s.rounds}
        return self.cache.get(
            name,
            inputs | {"gating": asdict(settings), "n_folds": s.n_folds},
            lambda: gating_stage(
                pairs,
                used=self.used(held_out),
                rounds=s.rounds,
                settings=settings,
                tick=lambda *done: self.watch(name, *done),
                checkpoints=self.cache.folder / IN_TRAINING,
            ),
        )

    def _baselines(
        self, held_out: int | None, scores: GatePairs, debias: StageResult
    ) -> StageResult | None:
        """Fixed weights and the black-box head, on the same rows as the gate."""
        pairs = self.pairs
        if pairs is None:
            return None
        return self.cache.get(
            _name("baselines", held_out),
            {
                "pairs": self.inputs["pairs"],
                "derived": self.inputs["derived"],
                "debias": debias.key,
                "held_out": held_out,
                "n_folds": self.settings.n_folds,
            },
            lambda: baselines_stage(pairs, scores, used=self.used(held_out)),
        )


def objective_scores(fit: Fit, features: FeatureRows) -> Tensor:
    """Predict the ratings of rows from a fit's ridge head.

    Args:
        fit: The heads.
        features: Shape (n, d).

    Returns:
        Raw objective scores, shape (n, k).
    """
    return scores_of(fit.ridge.tensors["weight"], fit.ridge.tensors["bias"], features)


def scores_by_scorer(
    fitter: Fitter, fit: Fit, features: FeatureRows, prompt: FeatureRows
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Score responses with the gated model and with everything it is held against.

    Args:
        fitter: Rebuilds the gates.
        fit: The heads.
        features: Response features, shape (n, d).
        prompt: Prompt features, shape (n, dp).

    Returns:
        Scorer -> scores of shape (n,); the gating and the raw objective scores, both of shape
        (n, k).
    """
    matrix, nuisances = fit.debias.tensors["matrix"], fitter.settings.nuisances
    gate, unmeasured, baselines = (
        fitter.gate(fit),
        fitter.unmeasured_gate(fit),
        fitter.baselines(fit),
    )
    parts: list[dict[str, Tensor]] = []
    size = max(CHUNK_ENTRIES // features.shape[1], 1)
    for some, some_prompts in zip(chunks(features, size), chunks(prompt, size), strict=True):
        raw = objective_scores(fit, some)
        with torch.no_grad():
            gating = gate(some_prompts)
        rivals = rival_scores(
            raw,
            some.float(),
            some_prompts.float(),
            debias=matrix,
            nuisances=nuisances,
            baselines=baselines,
        )
        own = {GATED: compose(raw, gating, matrix).score, WITHOUT_DEBIAS: rivals[WITHOUT_DEBIAS]}
        if unmeasured is not None and fit.unmeasured_debias is not None:
            left_in = fit.unmeasured_debias.tensors["matrix"]
            with torch.no_grad():
                own[WITHOUT_MEASURED] = compose(raw, unmeasured(some_prompts), left_in).score
        parts.append({**own, **rivals, _WEIGHTS: gating, _RAW: raw})
    scores = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    gating, raw = scores.pop(_WEIGHTS), scores.pop(_RAW)
    return scores, gating, raw


def _name(stage: str, held_out: int | None) -> str:
    """Name of a stage's file."""
    return f"{stage}/all" if held_out is None else f"{stage}/held-out-{held_out}"
