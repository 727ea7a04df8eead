"""The result of a protocol, `protocol.json`: immutable, versioned, checked when it is read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from armorm.evaluate.interval import Frozen, Interval, Number
from armorm.evaluate.protocols.coverage import Coverage
from armorm.evaluate.scorers.bench_judge import JudgeMode
from armorm.evaluate.scorers.side_by_side import PairedDifference, ScorerFigures, SideBySide

SCHEMA = 2
"""Version of `protocol.json`."""


class FigureResult(Frozen):
    """One figure of one scorer."""

    result: Interval
    """The figure with its interval; accuracies in [0, 1], references in their own unit."""
    difference: Interval | None
    """Minus that of the first scorer, prompt by prompt; None of the first itself."""


class JudgeFigures(Frozen):
    """What became of the questions to a judge.

    Used, unreadable, refused, failed and not asked add up to the questions.
    """

    mode: dict[str, JudgeMode]
    """How it decides, by section."""
    n_questions: int
    """Questions that there were; a comparison is two, one for each order."""
    n_used: int
    """Answers of the form asked for."""
    n_unreadable: int
    """Answers of another form, which count as none."""
    n_refused: int
    """Questions that the endpoint does not take."""
    n_failed: int
    """Questions without an answer after all retries."""
    n_not_asked: int
    """Questions beyond the cap of requests."""
    n_from_cache: int
    """Answers that were kept before."""
    n_requests: int
    """Requests sent in this run, repeated ones included."""
    n_retried: int
    """Requests among them that repeat an earlier one."""
    n_timed_out: int
    """Requests among them that had no answer in time."""
    n_comparisons: int
    """Comparisons that were answered in both orders."""
    n_contradictions: int
    """Comparisons among them whose two orders name different responses; they count as ties."""
    first_share: Number
    """Share of the verdicts that name the response shown first; NaN without one."""
    examples: tuple[str, ...]
    """The beginnings of the first answers that could not be used, and reasons for none."""


class ScorerResult(Frozen):
    """All figures of one scorer."""

    scorer: str
    """Its name."""
    identity: str
    """SHA-256 of everything that decides its scores."""
    is_baseline: bool
    """Whether it was added to hold the others against."""
    n_ties: int
    """Rows whose decision rests on equal scores; what they count is the protocol's rule."""
    n_without: int = 0
    """Rows without a verdict of a judge; none of its figures counts them."""
    judge: JudgeFigures | None = None
    """Of a judge: its questions and answers."""
    overall: FigureResult
    """The figure of the protocol."""
    sections: dict[str, FigureResult]
    """By section, in the order of the protocol."""
    parts: dict[str, FigureResult]
    """Figures across sections: levels of RM-Bench, parts of Ties, random and oracle pick."""
    subsets: dict[str, FigureResult]
    """By subset, where a section has several."""


class ProtocolResult(Frozen):
    """What a protocol found.

    In JSON: `schema` (2), `protocol`, `title`, `rule` (how the overall figure is made, so
    that it is not mistaken for a figure of another rule), `reference`, `data`, `unit`, `is_whole`,
    `coverage` (`subsets` with `section`, `subset`, `found`, `expected`; `unknown`),
    `n_rows`, `n_prompts`, `scorers` (each `scorer`, `identity`, `is_baseline`, `n_ties`,
    `n_without`, `judge`, `overall`, `sections`, `parts`, `subsets`; a figure is `result` and
    `difference`, both `value`, `low`, `high`, `n_rows`, `n_groups`, `level`, `method`; null
    for what is undefined), `differences` (each `first`, `second`, `difference`, `finding`),
    `level`, `joint_level`, `dropped` and `notes`.
    """

    schema_version: Literal[2] = Field(default=SCHEMA, alias="schema")
    """Version of the format; `schema` in JSON."""
    protocol: str
    """Name of the protocol."""
    title: str
    """As it is shown."""
    rule: str
    """How the overall figure is made and what a tie counts."""
    reference: str
    """Where the protocol was published."""
    data: str
    """Where the rows are from, as given."""
    unit: Literal["share", "reference"]
    """Of its figures: shares of rows, shown in per cent, or the unit of the reference values."""
    is_whole: bool
    """Whether all of the protocol is there; else figures are of a part and compare with none."""
    coverage: Coverage
    """Rows by subset, found and expected."""
    n_rows: int
    """Rows that were judged."""
    n_prompts: int
    """Prompts that are drawn for intervals."""
    scorers: tuple[ScorerResult, ...]
    """In the order given, the baselines behind them."""
    differences: tuple[PairedDifference, ...] = ()
    """Overall figure of one scorer minus that of another, of every two but two baselines."""
    level: float = 0.95
    """Of every interval by itself."""
    joint_level: float = 0.95
    """At which a difference is called one: all of them together err with probability
    1 - `level` at most (Bonferroni)."""
    dropped: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Rows that were not used, by file and reason."""
    notes: tuple[str, ...] = ()
    """Sentences a reader must know."""


def result_json(result: ProtocolResult) -> dict[str, Any]:
    """Return a result as JSON values, NaN as None."""
    return result.model_dump(mode="json", by_alias=True)


def overall_side_by_side(result: ProtocolResult) -> SideBySide:
    """Return the overall figures as scorers side by side.

    Args:
        result: What a protocol found.

    Returns:
        The figures; `accuracy` is the overall figure, in the unit of the result.
    """
    return SideBySide(
        scorers=tuple(
            ScorerFigures(
                name=one.scorer,
                accuracy=one.overall.result,
                n_without=one.n_without,
                n_ties=one.n_ties,
            )
            for one in result.scorers
        ),
        differences=result.differences,
        n_pairs=result.n_rows,
        n_prompts=result.n_prompts,
        level=result.level,
        joint_level=result.joint_level,
    )
