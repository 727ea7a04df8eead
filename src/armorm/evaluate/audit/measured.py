"""Every figure of an audit that stands on scored rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from armorm.data import split_of
from armorm.data.text_measures import MEASURES, measure_texts
from armorm.evaluate.audit.calibration import calibration
from armorm.evaluate.audit.edits import Edit
from armorm.evaluate.audit.effects import Edited, Target, edit_effect, paraphrase_effect
from armorm.evaluate.audit.estimates import spearman_interval, within_interval
from armorm.evaluate.audit.figures import (
    SCORE,
    Calibration,
    Correlation,
    EditEffect,
    GatingAudit,
    ParaphraseEffect,
    Structure,
)
from armorm.evaluate.audit.rows import SHOWN_IDS, AuditRows
from armorm.evaluate.audit.scored import Scored
from armorm.evaluate.audit.structure import gating_audit, structure
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import group_rows
from armorm.evaluate.interval import Interval
from armorm.model.reward import RewardModel

_FIT, _HELD_OUT = "fit", "held out"


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that is measured on scored rows."""

    model: RewardModel
    """The model."""
    rows: AuditRows
    """Its rows."""
    scored: Scored
    """Their scores."""
    targets: Sequence[Target]
    """Score and objectives on the rows as they are."""
    resampling: Resampling
    """How intervals are found."""

    @property
    def ids(self) -> list[str]:
        """Ids of the rows as they are."""
        return [row.id for row in self.rows.conversations]

    @property
    def measures(self) -> np.ndarray:
        """Measures of the responses, (n, m)."""
        return measure_texts([row.response for row in self.rows.conversations])

    def correlations(self) -> tuple[Correlation, ...]:
        """Of every target with every measure."""
        grouping = group_rows(self.rows.groups, n_rows=self.scored.n)
        measures = self.measures
        found: list[Correlation] = []
        for j, target in enumerate(self.targets):
            before, after = (
                t[self.scored.base, j] for t in (self.scored.before, self.scored.after)
            )
            if j - 1 in self._removed:
                after = np.zeros_like(after)  # removed whole: what is left is rounding
            found += [
                Correlation(
                    target=target.name,
                    measure=kind.label,
                    before=spearman_interval(before, measure, grouping, self.resampling),
                    after=spearman_interval(after, measure, grouping, self.resampling),
                    within_before=within_interval(before, measure, grouping, self.resampling),
                    within_after=within_interval(after, measure, grouping, self.resampling),
                    within_ratings=self._ratings(target.name, measure),
                )
                for kind, measure in zip(MEASURES.values(), measures.T, strict=True)
            ]
        return tuple(found)

    def _ratings(self, name: str, measure: np.ndarray) -> Interval | None:
        """Rank correlation of the ratings of one objective with a measure, within prompts."""
        rated = [i for i, of in enumerate(self.rows.ratings) if name in of]
        if name == SCORE or not rated:
            return None
        values = np.array([self.rows.ratings[i][name] for i in rated], dtype=np.float64)
        # Two sources may rate one objective on two scales: their rows are not compared.
        keys = [f"{self.rows.groups[i]} {self.rows.sources[i]}" for i in rated]
        grouping = group_rows(keys, n_rows=len(rated))
        return within_interval(values, measure[rated], grouping, self.resampling)

    def edits(self, edits: Sequence[Edit], n_chosen: int) -> tuple[EditEffect, ...]:
        """Of every edit on every target that is left after debias."""
        found: list[EditEffect] = []
        for edit in edits:
            at = [i for i, one in enumerate(self.scored.planned) if one.edit.name == edit.name]
            rows = [self.scored.planned[i].row for i in at]
            of = Edited(
                edit=edit,
                rows=tuple(rows),
                ids=tuple(self.rows.conversations[i].id for i in rows),
                groups=tuple(self.rows.groups[i] for i in rows),
                n_left_out=n_chosen - len(rows),
            )
            positions = [self.scored.n + i for i in at]
            found += [
                edit_effect(target, self.scored.after[positions, j], of, self.resampling)
                for j, target in self._weighed()
            ]
        return tuple(found)

    def paraphrases(self) -> tuple[ParaphraseEffect, ...]:
        """Of the shipped paraphrases on every target that is left after debias."""
        ids = [identity for identity, _, _ in self.scored.paraphrases]
        first = [at for _, at, _ in self.scored.paraphrases]
        second = [at for _, _, at in self.scored.paraphrases]
        return tuple(
            paraphrase_effect(
                target,
                self.scored.after[first, j],
                self.scored.after[second, j],
                ids=ids,
                resampling=self.resampling,
            )
            for j, target in self._weighed()
        )

    def calibration(self) -> Calibration | None:
        """Of the pairs; None without one."""
        start = self.rows.n_rated
        if start == self.scored.n:
            return None
        score = self.scored.after[: self.scored.n, 0]
        prompts = [row.prompt for row in self.rows.conversations[start::2]]
        shares = {_FIT: 0.5, _HELD_OUT: 0.5}
        return calibration(
            score[start::2] - score[start + 1 :: 2],
            self.rows.groups[start::2],
            beta=self.model.bundle.beta,
            is_fit=[split_of(prompt, shares, "calibration") == _FIT for prompt in prompts],
            resampling=self.resampling,
        )

    def structure(self) -> Structure:
        """Of the objective scores."""
        return structure(
            self.scored.before[self.scored.base, 1:],
            self.scored.after[self.scored.base, 1:],
            objectives=self.model.objectives,
            nuisances=sorted(self._removed),
        )

    def gating(self) -> GatingAudit | None:
        """Of the prompts; None under fixed weights."""
        if self.scored.gating is None:
            return None
        return gating_audit(
            self.scored.gating,
            self.rows.sources,
            self.rows.groups,
            objectives=self.model.objectives,
            nuisances=self.model.bundle.nuisances,
            beta=self.model.bundle.beta,
        )

    def extremes(self) -> dict[str, tuple[str, ...]]:
        """Ids of the rows where score and measure are both far from the mean of their prompt."""
        grouping = group_rows(self.rows.groups, n_rows=self.scored.n)
        score = _from_mean(self.targets[0].values, grouping.index)
        found: dict[str, tuple[str, ...]] = {}
        for kind, measure in zip(MEASURES.values(), self.measures.T, strict=True):
            product = score * _from_mean(measure, grouping.index)
            if product.sum() < 0:
                product = -product
            order = np.argsort(-product, kind="stable")[:SHOWN_IDS]
            found[kind.label] = tuple(self.ids[i] for i in order if product[i] > 0)
        return found

    @property
    def _removed(self) -> set[int]:
        """Objectives that the debias step removes; fixed weights bypass it."""
        return set(self.model.bundle.nuisances) if self.scored.gating is not None else set()

    def _weighed(self) -> list[tuple[int, Target]]:
        """Position and target of all but nuisances, which are 0 after debias."""
        return [(j, t) for j, t in enumerate(self.targets) if j - 1 not in self._removed]


def _from_mean(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values minus the mean of their prompt."""
    means = np.bincount(index, weights=values) / np.bincount(index)
    return values - means[index]
