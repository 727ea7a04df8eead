"""Read prompts with their candidates one after the other, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from armorm.data import DataSource, Drops, as_source
from armorm.data.drops import RowProblem
from armorm.data.files import DataFile, Record, files_of
from armorm.data.records import records_of
from armorm.errors import DataError
from armorm.label.groups import PART_ROWS, Candidate, Group
from armorm.label.shapes import ParsedRow, ShapeParser, check_shape

NO_CANDIDATE = "no response that can be used"
"""Reason of a row whose every candidate was left out."""

_NAMED = 5


@dataclass(slots=True)
class Reading:
    """What one reading of the input has met."""

    rows: Drops = field(default_factory=Drops)
    """Rows that were left out, by file and reason."""
    candidates: Drops = field(default_factory=Drops)
    """Candidates of other rows that were left out, by file and reason."""
    first: list[str] = field(default_factory=list)
    """The first few of both, located."""
    n_rows: int = 0
    """Rows of the input."""
    n_candidates: int = 0
    """Their candidates, those of rows that could not be read not included."""
    shapes: dict[str, str] = field(default_factory=dict)
    """Shape by file."""

    def note(self, drops: Drops, file: DataFile, record: Record, problem: RowProblem) -> None:
        """Count a row or candidate that is left out.

        Args:
            drops: `rows` or `candidates`.
            file: Where it stands.
            record: Its record.
            problem: What is wrong with it.
        """
        drops.add(file.name, problem.reason)
        if len(self.first) < _NAMED:
            self.first.append(f"{file.locate(record)}: {problem.text}")


def read_groups(
    source: DataSource | str | os.PathLike[str],
    *,
    shape: str | None = None,
    bad_rows: str = "drop",
    largest: int = PART_ROWS,
    reading: Reading | None = None,
) -> Iterator[Group]:
    """Read prompts with their candidates, in the order of the input.

    A row holds a prompt and many responses, a preference pair, or one response; rows with
    one response that follow each other and have the same prompt make one group. Only one
    group is held in memory (a JSON array is loaded whole).

    Args:
        source: A data source, or the path of one.
        shape: A name from `SHAPES`, for all files; None: the first row of each file tells.
        bad_rows: `stop` raises at the first row or candidate that cannot be read, `drop`
            counts it.
        largest: Most candidates of a group that is made of single rows.
        reading: Receives the counts.

    Yields:
        Groups of one candidate or more.

    Raises:
        DataError: a file is missing, empty or damaged; a bad row under `stop`; no row can
            be used.
        MissingDependency: Parquet or hub data without the packages for them.
        ValueError: an unknown shape; `bad_rows` is neither.
    """
    check_shape(shape)
    if bad_rows not in ("stop", "drop"):
        raise ValueError(f"`bad_rows` must be 'stop' or 'drop'; got {bad_rows!r}")
    reading = Reading() if reading is None else reading
    source = as_source(source)
    number = 0
    pending: Group | None = None
    for file, row, single in _rows(source, shape, bad_rows, reading):
        if single and pending is not None and _same(pending, file, row, largest):
            pending = _joined(pending, row.candidates[0])
            continue
        if pending is not None:
            yield pending
        pending = Group(number, file.name, row.prompt, tuple(row.candidates))
        number += 1
        if not single:
            yield pending
            pending = None
    if pending is not None:
        yield pending
    if not number:
        said = reading.rows.sentence(reading.n_rows)
        raise DataError(f"{source.path}: at least one row must be usable; {said}")


def _rows(
    source: DataSource, shape: str | None, bad_rows: str, reading: Reading
) -> Iterator[tuple[DataFile, ParsedRow, bool]]:
    """Yield the rows that can be used and whether they are single responses."""
    stems: dict[str, int] = {}
    for file in files_of(source):
        n = stems[file.stem] = stems.get(file.stem, 0) + 1
        prefix = file.stem if n == 1 else f"{file.stem}~{n}"
        parser = ShapeParser(source, shape)
        for record in records_of(file):
            reading.n_rows += 1
            try:
                row = _parsed(parser, record, f"{prefix}:{record.number}", file.textual)
                reading.n_candidates += len(row.candidates) + len(row.problems)
                if row.problems and bad_rows == "stop":
                    raise row.problems[0]
            except RowProblem as problem:
                if bad_rows == "stop":
                    raise DataError(f"{file.locate(record)}: {problem.text}") from None
                reading.note(reading.rows, file, record, problem)
                continue
            for problem in row.problems:
                reading.note(reading.candidates, file, record, problem)
            if row.candidates:
                yield file, row, parser.single
            else:
                reading.rows.add(file.name, NO_CANDIDATE)
        if parser.shape is not None:
            reading.shapes[file.name] = parser.shape


def _parsed(parser: ShapeParser, record: Record, spare_id: str, textual: bool) -> ParsedRow:
    """Parse a record that may be a problem already."""
    value: Any = record.value
    if isinstance(value, RowProblem):
        raise value
    return parser.parse(value, spare_id, textual)


def _same(group: Group, file: DataFile, row: ParsedRow, largest: int) -> bool:
    """Say whether a single row goes on with the group before it."""
    fits = len(group.candidates) < largest
    return fits and group.where == file.name and group.prompt == row.prompt


def _joined(group: Group, candidate: Candidate) -> Group:
    """The group with one more candidate."""
    added = replace(candidate, number=len(group.candidates))
    return replace(group, candidates=(*group.candidates, added))
