"""Read rated rows, preference pairs and conversations; the only door to the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from armorm.data.drops import Drops, RowProblem
from armorm.data.files import DataFile, Record, files_of
from armorm.data.records import records_of
from armorm.data.rows import RowParser
from armorm.data.scales import Scales
from armorm.data.source import DataSource, as_source
from armorm.errors import DataError
from armorm.types import Conversation, PreferencePair, Prompt, RatedResponse

BadRows: TypeAlias = Literal["stop", "drop"]
"""What a bad row does: stop the command with a located error, or be counted and left out."""

ONLY_IGNORED = "rated on ignored objectives only"
"""Reason under which a row is counted that the recipe, not the row, leaves out."""

_Parse: TypeAlias = Callable[[Any, str, bool], Any]


def read_rated(
    sources: Sequence[DataSource],
    scales: Scales | None,
    *,
    bad_rows: BadRows = "stop",
    drops: Drops,
    file_of: dict[str, str] | None = None,
) -> list[RatedResponse]:
    """Read rated rows, ratings raw and on their scales.

    A row has `prompt` (text or messages) and `response`, or `messages` that end in the
    response; `ratings` by objective (null or absent: not rated); `source`; `id` where it
    wants one, else it becomes `<file>:<number>`. Other fields are not looked at.

    Args:
        sources: Files, folders, hub data sets; read in this order.
        scales: Source -> objective -> scale; what it does not name is an error. None takes
            any finite rating of any objective, and rows without a source.
        bad_rows: `stop` raises at the first bad row, `drop` counts and leaves it out.
        drops: Receives the counts.
        file_of: Receives the file of each row by its id, as `drops` names it; None: not asked.

    Returns:
        The rows in file order, ids distinct.

    Raises:
        DataError: a file is missing, empty, damaged or listed twice; a bad row under `stop`;
            all rows of a source are bad under `drop`; a mapped rating column or an ignored
            objective that no row has.
        MissingDependency: Parquet or hub data without the packages for them.
        ValueError: no sources; `bad_rows` is neither.
    """
    loop = _Loop(sources, bad_rows, drops, file_of)
    rows: list[RatedResponse] = []
    for source in sources:
        parser = RowParser(source, scales)
        rows += loop.read(source, lambda _file, parser=parser: parser.rated)
        parser.check_names_seen()
    return rows


def read_pairs(
    sources: Sequence[DataSource],
    *,
    bad_rows: BadRows = "stop",
    drops: Drops,
    file_of: dict[str, str] | None = None,
) -> list[PreferencePair]:
    """Read preference pairs.

    A row has `prompt`, `chosen` and `rejected`; the sides are text, one assistant message
    in a list, or whole conversations that share all but the last message (then `prompt`
    may be absent).

    Args:
        sources: Files, folders, hub data sets; read in this order.
        bad_rows: `stop` raises at the first bad row, `drop` counts and leaves it out.
        drops: Receives the counts.
        file_of: Receives the file of each pair by its id, as `drops` names it; None: not asked.

    Returns:
        The pairs in file order, ids distinct.

    Raises:
        DataError: a file is missing, empty, damaged or listed twice; a bad row under `stop`;
            all rows of a source are bad under `drop`.
        MissingDependency: Parquet or hub data without the packages for them.
        ValueError: no sources; `bad_rows` is neither.
    """
    loop = _Loop(sources, bad_rows, drops, file_of)
    rows: list[PreferencePair] = []
    for source in sources:
        parser = RowParser(source)
        rows += loop.read(source, lambda _file, parser=parser: parser.pair)
    return rows


def read_conversations(
    source: DataSource | str | os.PathLike[str],
    *,
    bad_rows: BadRows = "stop",
    drops: Drops | None = None,
) -> list[Conversation | PreferencePair]:
    """Read what is to be scored: conversations, rated rows without their ratings, or pairs.

    The first row of a file decides whether it holds pairs.

    Args:
        source: A data source, or the path of one.
        bad_rows: `stop` raises at the first bad row, `drop` counts and leaves it out.
        drops: Receives the counts; must be given with `drop`.

    Returns:
        The rows in file order, ids distinct.

    Raises:
        DataError: a file is missing, empty or damaged; a bad row under `stop`, a pair among
            conversations included; all rows are bad under `drop`.
        MissingDependency: Parquet or hub data without the packages for them.
        ValueError: `bad_rows` is neither, or `drop` without `drops`.
    """
    if bad_rows == "drop" and drops is None:
        raise ValueError("`drops` must be given with `bad_rows` = 'drop', to count the rows in")
    source = as_source(source)
    loop = _Loop([source], bad_rows, Drops() if drops is None else drops)
    parser = RowParser(source)
    return loop.read(source, lambda _file: _either(parser))


def read_prompts(
    source: DataSource | str | os.PathLike[str],
    *,
    bad_rows: BadRows = "stop",
    drops: Drops | None = None,
) -> list[Prompt]:
    """Read the prompts alone, of rows of any shape: what else a row holds is not looked at.

    A row has `prompt`, or conversations (`messages`, `response`, `chosen`) that begin with it.

    Args:
        source: A data source, or the path of one.
        bad_rows: `stop` raises at the first row without a prompt, `drop` counts it.
        drops: Receives the counts; must be given with `drop`.

    Returns:
        One prompt a row, in file order.

    Raises:
        DataError: a file is missing, empty or damaged; a row without a prompt under `stop`;
            all of them under `drop`.
        MissingDependency: Parquet or hub data without the packages for them.
        ValueError: `bad_rows` is neither, or `drop` without `drops`.
    """
    if bad_rows == "drop" and drops is None:
        raise ValueError("`drops` must be given with `bad_rows` = 'drop', to count the rows in")
    source = as_source(source)
    loop = _Loop([source], bad_rows, Drops() if drops is None else drops)
    parser = RowParser(source)
    return [row.prompt for row in loop.read(source, lambda _file: parser.prompt)]


def _either(parser: RowParser) -> _Parse:
    """Return a parser that takes the shape of the first row it sees for all of a file."""
    pairs: bool | None = None

    def parse(record: Any, spare_id: str, textual: bool) -> Conversation | PreferencePair:
        nonlocal pairs
        is_pair = parser.shape(record) == "pair"
        if pairs is None:
            pairs = is_pair
        if is_pair != pairs:
            kinds = ("pairs", "a conversation") if pairs else ("conversations", "a pair")
            raise RowProblem(
                "another shape than the file",
                f"a file must hold one shape of rows; the first row makes it {kinds[0]}, "
                f"this is {kinds[1]}",
            )
        return (parser.pair if pairs else parser.conversation)(record, spare_id, textual)

    return parse


def _place(file: DataFile) -> tuple[object, str | None]:
    """Where the records of a file are, the same however it is spelled."""
    location = file.location
    where = location.resolve() if isinstance(location, Path) else file.name
    return where, file.source.split


class _Loop:
    """One reading over all sources: ids are distinct across them."""

    def __init__(
        self,
        sources: Sequence[DataSource],
        bad_rows: str,
        drops: Drops,
        file_of: dict[str, str] | None = None,
    ) -> None:
        if not sources:
            raise ValueError("`sources` must name at least one data source; got none")
        if bad_rows not in ("stop", "drop"):
            raise ValueError(f"`bad_rows` must be 'stop' or 'drop'; got {bad_rows!r}")
        self._stop = bad_rows == "stop"
        self._drops = drops
        self._file_of = {} if file_of is None else file_of
        self._places: dict[str, tuple[DataFile, str, int]] = {}
        self._stems: dict[str, int] = {}
        self._read: set[tuple[object, str]] = set()

    def read(self, source: DataSource, parse_for: Callable[[DataFile], _Parse]) -> list[Any]:
        """Read all files of one source; at least one row is left."""
        rows: list[Any] = []
        own = Drops()
        for file in files_of(source):
            self._check_new(file)
            parse, prefix = parse_for(file), self._prefix(file)
            for record in records_of(file):
                try:
                    row = self._row(file, record, parse, prefix)
                except RowProblem as problem:
                    if self._stop:
                        raise DataError(f"{file.locate(record)}: {problem.text}") from None
                    own.add(file.name, problem.reason)
                    continue
                if row is None:
                    own.add(file.name, ONLY_IGNORED)
                else:
                    rows.append(row)
                    self._file_of[row.id] = file.name
        self._drops.merge(own)
        if not rows:
            said = own.sentence(own.total)
            raise DataError(f"{source.path}: at least one row must be usable; {said}")
        return rows

    def _row(self, file: DataFile, record: Record, parse: _Parse, prefix: str) -> Any:
        """Return the row of one record, its id taken, or None for one that is left out."""
        if isinstance(record.value, RowProblem):
            raise record.value
        row = parse(record.value, f"{prefix}:{record.number}", file.textual)
        if row is not None:
            self._claim(row.id, file, record)
        return row

    def _check_new(self, file: DataFile) -> None:
        """Refuse a file that has been read in the same way, whose rows would all stand twice."""
        how = file.source
        key = (_place(file), repr((how.split, how.source, how.columns, how.ignore, how.values)))
        if key in self._read:
            raise DataError(f"{file.name}: the file is listed twice")
        self._read.add(key)

    def _prefix(self, file: DataFile) -> str:
        """Return the start of generated ids, distinct for files of one name."""
        n = self._stems[file.stem] = self._stems.get(file.stem, 0) + 1
        return file.stem if n == 1 else f"{file.stem}~{n}"

    def _claim(self, identity: str, file: DataFile, record: Record) -> None:
        """Take an id that no row has had."""
        if identity in self._places:
            first, unit, number = self._places[identity]
            has_it = f"{first.locate(Record(unit, number, None))} has it too"
            if (_place(first), number) == (_place(file), record.number):
                has_it = "the file is listed twice"
            raise RowProblem("duplicate id", f"id {identity!r} must be unique; {has_it}")
        self._places[identity] = (file, record.unit, record.number)
