"""The result of a protocol, `protocol.json`: immutable, versioned, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from armorm.evaluate.interval import Frozen, Interval
from armorm.evaluate.protocols.coverage import Coverage
from armorm.storage import check_writable, write_json

SCHEMA = 1
"""Version of `protocol.json`."""

FILE_NAME = "protocol.json"


class FigureResult(Frozen):
    """One figure of one scorer."""

    result: Interval
    """The figure with its interval; accuracies in [0, 1], references in their own unit."""
    difference: Interval | None
    """Minus that of the first scorer, prompt by prompt; None of the first itself."""


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

    In JSON: `schema` (1), `protocol`, `title`, `rule` (how the overall figure is made, so
    that it is not mistaken for a figure of another rule), `reference`, `data`, `unit`, `is_whole`,
    `coverage` (`subsets` with `section`, `subset`, `found`, `expected`; `unknown`),
    `n_rows`, `n_prompts`, `scorers` (each `scorer`, `identity`, `is_baseline`, `n_ties`,
    `overall`, `sections`, `parts`, `subsets`; a figure is `result` and `difference`, both
    `value`, `low`, `high`, `n_rows`, `n_groups`, `level`, `method`; null for what is
    undefined), `dropped` and `notes`.
    """

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
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
    dropped: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Rows that were not used, by file and reason."""
    notes: tuple[str, ...] = ()
    """Sentences a reader must know."""


def result_json(result: ProtocolResult) -> dict[str, Any]:
    """Return a result as JSON values, NaN as None."""
    return result.model_dump(mode="json", by_alias=True)


def write_result(result: ProtocolResult, folder: Path) -> Path:
    """Write `protocol.json`, whole.

    Args:
        result: The result.
        folder: Where to write; made when absent.

    Returns:
        Path of the file.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    write_json(folder / FILE_NAME, result_json(result))
    return folder / FILE_NAME


def check_result_folder(folder: Path) -> None:
    """Raise what `write_result` would raise, before there is a result.

    Args:
        folder: Where the result is to be written.

    Raises:
        StorageError: the disk is full or cannot be written; the folder is a file.
    """
    check_writable(folder / FILE_NAME)
