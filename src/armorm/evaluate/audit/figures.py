"""What an audit holds, as immutable values; written as `audit.json`, NaN as null.

Schema 1, the keys in this order: `schema`, `name` and `backbone` of the bundle; `files`
(what was read); `n_rows` conversations on `n_prompts` prompts; `correlations`, one entry a
target and measure; `edits`, one entry an edit or cut and target; `paraphrases`, one entry a
target; `calibration` (null without pairs); `structure`; `gating` (null under fixed weights);
`shared_prompts`; `findings`, the gravest first; `notes`. A target is the score or one
objective. An interval is `value`, `low`, `high` (null without one), `n_rows`, `n_groups`
(prompts), `level`, `method`. Every field below says what its number is.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from armorm.evaluate.calibration_figures import Reliability
from armorm.evaluate.figures import GatingFigures
from armorm.evaluate.interval import Frozen, Interval, Number

SCHEMA = 1
"""Version of audit.json; raised when a field changes its meaning or goes."""

SCORE = "score"
"""Name of the target that is the score itself."""

Severity = Literal["high", "medium", "low"]


class FileFacts(Frozen):
    """One file that was audited."""

    path: str
    """As it was given."""
    kind: Literal["rated", "pairs"]
    """What its rows are."""
    n_rows: int
    """Rows that were used."""
    n_prompts: int
    """Distinct prompts, up to case and white space."""


class Correlation(Frozen):
    """Spearman correlations of one target with one measure of the response."""

    target: str
    """`score` or an objective."""
    measure: str
    """The label of one of `armorm.data.text_measures.MEASURES`."""
    before: Interval
    """Over all rows, before debias."""
    after: Interval
    """Over all rows, after debias; NaN for a nuisance, which debias removes whole."""
    within_before: Interval
    """Of the ranks among the responses to one prompt, before debias."""
    within_after: Interval
    """The same after debias."""
    within_ratings: Interval | None = None
    """The same of the ratings in the files; None where they do not rate the target."""


class RowChange(Frozen):
    """How far one row moved."""

    id: str
    """Id of the row; of a side of a pair with `(chosen)` or `(rejected)` behind it."""
    change: float
    """After minus before, in standard deviations of the target."""


class EditEffect(Frozen):
    """What one edit or cut does to one target, after debias."""

    edit: str
    """Name of the edit."""
    kind: Literal["edit", "cut"]
    """An `edit` must not raise the target, a `cut` should lower it."""
    target: str
    """`score` or an objective."""
    n: int
    """Rows that were edited and scored."""
    n_left_out: int
    """Rows that the edit leaves as they are, or makes too long for the backbone."""
    share_raised: Interval
    """Share of rows whose target rises by more than rounding."""
    share_lowered: Number
    """Share of rows whose target falls by more than rounding."""
    mean_change: Interval
    """Mean of after minus before, in standard deviations of the target over all rows."""
    largest: tuple[RowChange, ...]
    """The rows it raises most, at most three."""


class ParaphraseEffect(Frozen):
    """How far a target moves when the same is said in other words."""

    target: str
    """`score` or an objective."""
    n: int
    """Paraphrases that were scored."""
    mean_size: Interval
    """Mean absolute change, in standard deviations of the target over all rows."""
    largest: tuple[RowChange, ...]
    """The rows that move most, either way, at most three."""


class Calibration(Frozen):
    """Probability of a preference against what was preferred."""

    beta: float
    """Multiplies the margin."""
    all_pairs: Reliability
    """All pairs, with the bundle's beta."""
    temperature: float | None
    """Divides beta; fitted on half of the prompts; None where it is not determined."""
    n_fit: int
    """Pairs it was fitted on."""
    held_out: Reliability | None
    """The other half of the prompts with the bundle's beta; None without a temperature."""
    held_out_after: Reliability | None
    """The same half with beta / temperature."""
    log_loss_change: Interval | None
    """Log loss after minus before, on the held-out half; negative where it helps."""


class Structure(Frozen):
    """How many different things the objectives say."""

    objectives: tuple[str, ...]
    """Names, in the order of the matrices."""
    before: tuple[tuple[Number, ...], ...]
    """Pearson correlations of the objective scores; NaN with a constant one."""
    after: tuple[tuple[Number, ...], ...]
    """The same after debias."""
    effective_before: Number
    """Effective number of objectives, from 1 (all say the same) to their number."""
    effective_after: Number
    """The same after debias, nuisances left out."""
    most_alike: tuple[tuple[str, str, float], ...]
    """The pairs of objectives with the largest correlations after debias, at most five."""


class GatingAudit(Frozen):
    """Where the gating looks, over distinct prompts."""

    figures: GatingFigures
    """Mean weights, by source too, and their entropy."""
    n_prompts: int
    """Prompts the figures rest on."""
    effective: Number
    """exp(entropy), averaged over prompts: how many objectives have a say in a score."""
    largest_spread: Number
    """Largest standard deviation of an objective's weight from prompt to prompt."""
    unused: tuple[str, ...]
    """Objectives that no prompt gives 1 % of the weight; nuisances left out."""


class Shared(Frozen):
    """Prompts that two files have in common, up to case and white space."""

    first: str
    """An audited file."""
    second: str
    """Another audited file, or one of training rows."""
    is_training: bool
    """Whether the second was named as training rows."""
    n_prompts: int
    """Number of distinct prompts in both."""
    share: Number
    """Of the distinct prompts of the first."""
    ids: tuple[str, ...]
    """Rows of the first with such a prompt, at most five."""


class Finding(Frozen):
    """One weakness, with what shows it and what can be done."""

    severity: Severity
    """By the thresholds in `armorm.evaluate.audit.thresholds`."""
    kind: str
    """`correlation`, `edit`, `cut`, `paraphrase`, `calibration`, `structure`, `gating`
    or `shared prompts`."""
    target: str
    """`score`, an objective, or what else it is about."""
    sentence: str
    """What was found, with its figures."""
    rows: tuple[str, ...]
    """Ids of the rows that show it best; empty where it is not about rows."""
    advice: str
    """What can be done."""


class Audit(Frozen):
    """Everything that an audit found."""

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    """Version of the format; `schema` in JSON."""
    name: str
    """Name of the bundle."""
    backbone: dict[str, Any]
    """Facts of the backbone, as the bundle stores them."""
    files: tuple[FileFacts, ...]
    """What was read."""
    n_rows: int
    """Conversations; a pair has two."""
    n_prompts: int
    """Distinct prompts."""
    correlations: tuple[Correlation, ...]
    """One a target and measure."""
    edits: tuple[EditEffect, ...]
    """One an edit or cut and target."""
    paraphrases: tuple[ParaphraseEffect, ...]
    """One a target."""
    calibration: Calibration | None
    """None without pairs."""
    structure: Structure
    """How many different things the objectives say."""
    gating: GatingAudit | None
    """None under fixed weights."""
    shared_prompts: tuple[Shared, ...]
    """Files with prompts in common, those with none left out."""
    findings: tuple[Finding, ...]
    """The gravest first."""
    notes: tuple[str, ...]
    """Sentences a reader must know, such as rows that were left out."""
