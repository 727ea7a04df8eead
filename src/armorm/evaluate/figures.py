"""What a report holds, as immutable values; `docs/formats.md` documents them as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from armorm.evaluate.calibration_figures import CalibrationFigures, LengthCurve
from armorm.evaluate.interval import Frozen, Interval, Number

SCHEMA = 2
"""Version of report.json; raised when fields are added, change their meaning or go."""

READ_SCHEMAS = (1, SCHEMA)
"""Versions that can be read; 1 is 2 without `calibration`, `length` and `comparisons`."""


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
    is_measured: bool = False
    """Measured from the text and no quality; left out of the mean."""


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


class ScoreCorrelation(Frozen):
    """How the score follows one nuisance, on both responses of every held-out pair."""

    nuisance: str
    """Name of the nuisance."""
    is_measured: bool
    """Measured from the text; else its objective score stands for it."""
    before: Interval
    """Spearman of the score with it over all responses, gate trained without debias."""
    after: Interval
    """The same of the score that ships."""
    within_before: Interval
    """Rank correlation between the two responses to one prompt, without debias."""
    within_after: Interval
    """The same of the score that ships."""


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
    score: tuple[ScoreCorrelation, ...] = ()
    """One a nuisance: what is left in the score of pairs that the heads have not seen."""


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


class DecontaminationFigures(Frozen):
    """Training rows that were left out because an evaluation file has their prompt."""

    path: str
    """The evaluation file, as the recipe names it."""
    prompts: int
    """Its different prompts, up to case and white space."""
    shared_prompts: int
    """Those of them that training rows had."""
    rows: dict[str, int] = Field(default_factory=dict)
    """Rows that were left out, by training file; a row whose prompt several evaluation files
    have counts for each."""


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
    decontaminated: tuple[DecontaminationFigures, ...] = ()
    """One an evaluation file that the training rows were held against; none: not asked for."""


class ObjectiveSides(Frozen):
    """What one objective adds to the margin of a pair."""

    name: str
    """Name of the objective."""
    chosen: float
    """Objective score of the chosen response, normalised."""
    rejected: float
    """Objective score of the rejected response, normalised."""
    contribution: float
    """What it adds to the margin, in score units; these add up to the margin."""
    gating: float | None = None
    """Weight for this prompt; None under fixed weights."""


class FlipFigures(Frozen):
    """The smallest change of the weights that makes the model prefer the other response."""

    sentence: str
    """The change in words, or that there is none."""
    moved: float | None = None
    """Share of the weight that has to move, half the sum of absolute changes; None where no
    weighting of the objectives prefers the other response."""
    taken: dict[str, float] = Field(default_factory=dict)
    """Weight that each objective gives up."""
    given_to: str | None = None
    """The objective that receives it."""
    objective: str | None = None
    """The one objective whose change alone is enough; None where that of none is."""
    factor: float | None = None
    """What its gating is multiplied by, nearest to 1; None under fixed weights."""
    weight: float | None = None
    """Its weight in place of the present one, under fixed weights."""
    option: str | None = None
    """The option of the command line that makes this change."""


class RatedRowFigures(Frozen):
    """A rated row that is near to an explained response."""

    objective: str
    """The objective that it was rated on."""
    side: Literal["chosen", "rejected", "response"]
    """The response that it is near to: of a pair, or the one of a conversation."""
    id: str
    """Id of the row."""
    source: str
    """Where the row is from."""
    rating: float
    """What it was rated, raw."""
    low: float
    """Lowest rating of its scale."""
    high: float
    """Highest rating of its scale."""
    similarity: float
    """Cosine of the centred response features, from -1 to 1."""
    prompt: str
    """Beginning of its prompt."""
    response: str
    """Beginning of its response."""


ComparisonKind = Literal["most certain", "least certain", "most certain and wrong", "spread"]
"""Why a comparison stands in a report; `spread` are those taken evenly over the margins."""


class PairFigures(Frozen):
    """Why the model prefers one response of a pair."""

    id: str
    """Id of the pair."""
    source: str
    """Where the pair is from."""
    prompt: str
    """The last message of the prompt, or its beginning."""
    chosen: str
    """The chosen response, or its beginning."""
    rejected: str
    """The rejected response, or its beginning."""
    clipped: tuple[Literal["prompt", "chosen", "rejected"], ...] = ()
    """Those of the three texts that go on."""
    chosen_score: float
    """Score of the chosen response."""
    rejected_score: float
    """Score of the rejected response."""
    margin: float
    """The difference; negative where the model prefers the rejected response."""
    probability: float | None = None
    """sigmoid(beta * margin); None where there is no beta."""
    deciding: tuple[str, ...] = ()
    """The fewest objectives without which the model would not prefer what it prefers."""
    objectives: tuple[ObjectiveSides, ...] = ()
    """One an objective, the largest absolute contribution first."""
    sentence: str
    """Why, in words; what would change it; what the nearest rated rows say."""
    flip: FlipFigures | None = None
    """None for a tie."""
    nearest: tuple[RatedRowFigures, ...] = ()
    """Rated rows near to the chosen, then to the rejected response, the nearest first; none
    where there are no rated rows at hand."""
    note: str = ""
    """Why no rated rows are shown; empty where there are some."""


class ComparisonFigures(PairFigures):
    """A pair taken apart in a report, its texts clipped."""

    kind: ComparisonKind
    """Why it stands in the report."""


class Report(Frozen):
    """Everything that was measured in one run or evaluation."""

    schema_version: Literal[2] = Field(default=SCHEMA, alias="schema")
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
    calibration: CalibrationFigures | None = None
    """How far the score can be read as a probability; None without pairs."""
    length: LengthCurve | None = None
    """How the score follows the length of a response; None without pairs."""
    comparisons: tuple[ComparisonFigures, ...] = ()
    """Pairs taken apart: the most and least certain, and some spread over the margins."""
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
