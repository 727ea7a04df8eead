"""What a report holds, as immutable values; `docs/formats.md` documents them as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from armorm.evaluate.interval import Frozen, Interval, Number

SCHEMA = 1
"""Version of report.json; raised when a field changes its meaning or goes."""


class ObjectiveFigures(Frozen):
    """How well one objective score follows the ratings."""

    name: str
    """Name of the objective."""
    n: int
    """Rated rows the figures rest on."""
    spearman: Interval
    """Spearman correlation of objective score and rating."""
    r2: Interval
    """1 - SSE / SST against the mean rating of these rows."""
    rmse: Number
    """Root of the mean squared error, in normalised ratings."""
    alpha: float | None = None
    """Ridge penalty of the shipped head."""
    at_edge: bool | None = None
    """Whether alpha is the first or last of those tried."""
    std: float | None = None
    """Standard deviation of the head's noise, in normalised ratings."""
    spearman_with_nuisance_before: float | None = None
    """Spearman with the nuisance before debias."""
    spearman_with_nuisance_after: float | None = None
    """Spearman with the nuisance after debias."""


class PreferenceFigures(Frozen):
    """How often one scorer prefers the chosen response."""

    scorer: str
    """Name of the scorer; the keys of `SCORERS` where it is one of them."""
    n: int
    """Preference pairs."""
    n_ties: int
    """Pairs with a margin of exactly 0, counted one half."""
    accuracy: Interval
    """Share of pairs won."""
    difference_to_gated: Interval | None = None
    """This accuracy minus the reference's on the same pairs, negative where the reference is
    better; None for the reference itself: the gated model, or a steered one."""


class DebiasFigures(Frozen):
    """What the debias matrix removed."""

    nuisances: tuple[str, ...]
    """What the objectives were decorrelated from."""
    penalties: dict[str, dict[str, float]]
    """Multiple of each nuisance that was subtracted, by objective and nuisance."""
    before: dict[str, Number]
    """Spearman with the nuisance, by objective (of several, the largest in size)."""
    after: dict[str, Number]
    """The same after debias."""
    largest_after: Number
    """Largest absolute value of `after`."""
    n_rows: int | None = None
    """Reference rows."""


class GatingFigures(Frozen):
    """Which objectives the gating looks at."""

    mean: dict[str, float]
    """Mean weight by objective; adds up to 1."""
    by_source: dict[str, dict[str, float]]
    """Mean weight by source and objective."""
    entropy_mean: float
    """Mean entropy of the weights of a prompt, in nats."""
    entropy_max: float
    """Entropy of equal weights: log of the number of objectives."""
    beta: float | None = None
    """Multiplies the margin in the preference probability."""
    steps: int | None = None
    """Optimiser steps of the shipped gating."""


class SourceFacts(Frozen):
    """How much one source brings."""

    rated: int = 0
    """Rated rows."""
    pairs: int = 0
    """Preference pairs."""


class DataFacts(Frozen):
    """What the figures and the heads rest on."""

    rated: int = 0
    """Rated rows."""
    pairs: int = 0
    """Preference pairs, derived ones left out."""
    prompts: int = 0
    """Different prompts of both."""
    sources: dict[str, SourceFacts] = Field(default_factory=dict)
    """Rows and pairs by source."""
    dropped: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Number of dropped rows by file and reason."""
    derived_pairs: int = 0
    """Pairs made from ratings, used in training only."""


class Report(Frozen):
    """Everything that was measured in one run or evaluation."""

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    """Version of the format; `schema` in JSON."""
    name: str
    """Name of the recipe or bundle."""
    protocol: str
    """One sentence: on which rows the figures rest and what the heads have seen."""
    recipe_fingerprint: str | None = None
    """SHA-256 of the resolved recipe."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Version of armorm, torch, transformers, numpy, python."""
    hardware: dict[str, str | int] = Field(default_factory=dict)
    """Threads and platform; figures may differ in the last digits elsewhere."""
    backbone: dict[str, Any] = Field(default_factory=dict)
    """Facts of the backbone, as a bundle stores them."""
    data: DataFacts = Field(default_factory=DataFacts)
    """Rows, sources, dropped rows."""
    objectives: tuple[ObjectiveFigures, ...] = ()
    """One an objective, in the order of the model."""
    mean_spearman: Interval | None = None
    """Unweighted mean over the objectives whose correlation is defined."""
    preferences: tuple[PreferenceFigures, ...] = ()
    """The reference first, then its rivals."""
    by_source: dict[str, tuple[PreferenceFigures, ...]] = Field(default_factory=dict)
    """The same on the pairs of one source."""
    debias: DebiasFigures | None = None
    """None where nothing is removed."""
    gating: GatingFigures | None = None
    """None where there is no gating."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by stage, in the order they ran; never part of a bundle."""
    notes: tuple[str, ...] = ()
    """Sentences a reader must know, such as an alpha at the edge."""

    @field_validator("versions", "by_source", mode="after")
    @classmethod
    def _sorted(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Order that does not depend on how the mapping was filled."""
        return dict(sorted(value.items()))

    def scorer(self, name: str) -> PreferenceFigures | None:
        """Return the figures of one scorer over all pairs.

        Args:
            name: Name of the scorer.

        Returns:
            Its figures, or None where it was not measured.
        """
        return next((row for row in self.preferences if row.scorer == name), None)

    def reference(self) -> PreferenceFigures | None:
        """Return the figures of the scorer that the differences are taken to."""
        return next((row for row in self.preferences if row.difference_to_gated is None), None)

    def best_baseline(self) -> PreferenceFigures | None:
        """Return the figures of the most accurate scorer that is not the reference."""
        rivals = [row for row in self.preferences if row.difference_to_gated is not None]
        return max(rivals, key=lambda row: row.accuracy.value, default=None)
