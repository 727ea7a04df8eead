"""From the records of a published data set to a file of our rows, as a stream."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armorm.data.drops import Drops, RowProblem
from armorm.data.files import FORMATS, DataFile, Record, files_of
from armorm.data.read import BadRows
from armorm.data.records import records_of
from armorm.data.rows import RowParser
from armorm.data.source import HUB, DataSource
from armorm.data.sources.columns import check_columns
from armorm.data.sources.interface import PublishedSet, Row
from armorm.data.sources.output import ROW_GROUP, Write, check_ending, row_record, rows_writer
from armorm.errors import DataError
from armorm.storage import check_writable
from armorm.types import PreferencePair, RatedResponse


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion read and wrote."""

    path: Path
    """The file."""
    n_records: int
    """Records that were read."""
    n_rows: int
    """Rows that were written."""
    n_dropped: int
    """Rows that could not be used, counted by reason in the `drops` that were given."""
    n_repeated: int
    """Rows whose texts are those of an earlier row; they are kept."""
    n_bytes: int
    """Size of the file."""


def convert_set(
    published: PublishedSet,
    *,
    output: Path,
    source: DataSource | None = None,
    bad_rows: BadRows = "drop",
    drops: Drops,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Convert a published data set to a file that the readers take without a mapping.

    Rows get the name of the set as `source` and `<file>-<record>` as id, `<file>-<record>-<n>`
    where a record gives several; `<file>` is the name of `output` without its ending, so that
    two splits of a set can be used side by side. Ratings stay raw. Two rows of the same texts
    are both kept: several people may have rated one response. Memory: a row group, and about
    100 bytes a row to count the repeated ones.

    Args:
        published: The data set.
        output: A file that ends in .parquet or .jsonl; whole or absent.
        source: Where its records are; None means where it is published.
        bad_rows: `drop` counts a row that cannot be used and leaves it out, `stop` raises.
        drops: Receives the counts.
        limit: Only the first records; None means all.
        progress: Called now and then with rows written and rows expected.

    Returns:
        The counts.

    Raises:
        DataError: the data cannot be read; a column is missing; a bad row under `stop`; no
            row is left; the output is a file that is read.
        MissingDependency: Parquet or hub data without the packages for them.
        StorageError: the disk is full or cannot be written.
        ValueError: `limit` is below 1; `bad_rows` is neither; another ending.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1; got {limit}")
    where = published_source(published) if source is None else source
    whole = where.path == HUB + published.hub and limit is None
    expected = published.n_rows if whole else None
    run = _Conversion(published, expected, output.stem, bad_rows=bad_rows, progress=progress)
    check_ending(output)
    check_writable(output)
    files = files_of(where)
    if any(_is_same(file.location, output) for file in files):
        raise DataError(f"{output}: must be another file than the one that is converted")
    objectives = tuple(published.scales) if published.kind == "rated" else None
    with rows_writer(output, objectives) as write:
        for file, group in _groups(published, files, limit):
            run.add(file, group, write)
        run.check_some_left(where)
    drops.merge(run.drops)
    run.report()
    size = output.stat().st_size
    return Converted(output, run.n_records, run.n_rows, run.drops.total, run.n_repeated, size)


def _is_same(place: object, output: Path) -> bool:
    """Whether a file that is read is the one that is to be written."""
    return isinstance(place, Path) and output.exists() and place.samefile(output)


def published_source(
    published: PublishedSet, place: str | None = None, split: str | None = None
) -> DataSource:
    """Say where the records of a data set are read from.

    Args:
        published: The data set.
        place: A file, a folder or an id on the hub, with or without `hub:`; None means where
            it is published. What exists on this disk or ends like a data file is a file.
        split: Split on the hub; None means that of the data set.

    Returns:
        The data source.

    Raises:
        DataError: the place is neither; a split of a file.
    """
    given = HUB + published.hub if place is None else place
    on_hub = given.startswith(HUB)
    if not on_hub and "/" in given and not _is_local(given):
        given, on_hub = HUB + given, True
    try:
        return DataSource(given, split=(split or published.split) if on_hub else split)
    except ValueError as error:
        raise DataError(str(error)) from None


def _is_local(place: str) -> bool:
    """Whether a text means a path: it exists, is spelled as a path, or ends like a data file."""
    spelled = place.startswith(("/", "./", "../", "~")) or place.count("/") > 2
    ends = place.lower().removesuffix(".gz").endswith(tuple(FORMATS))
    return spelled or ends or Path(place).exists()


_Group = list[Record]


def _groups(
    published: PublishedSet, files: Sequence[DataFile], limit: int | None
) -> Iterator[tuple[DataFile, _Group]]:
    """Yield records that belong together; one that could not be read stands alone."""
    n_records = 0
    for file in files:
        if limit is not None and n_records == limit:
            return
        group: _Group = []
        key: object = None
        checked = False
        for record in records_of(file):
            if limit is not None and n_records == limit:
                break
            n_records += 1
            if not checked and isinstance(record.value, Mapping):
                check_columns(published, record.value, file.locate(record))
                checked = True
            own = _key(published, record)
            if group and (own is None or own != key):
                yield file, group
                group = []
            group.append(record)
            key = own
        if group:
            yield file, group


def _key(published: PublishedSet, record: Record) -> object:
    """What the records of a group agree on; None where a record is one of its own."""
    if not published.group_by or not isinstance(record.value, Mapping):
        return None
    found = [record.value.get(name) for name in published.group_by]
    return None if None in found else found


class _Conversion:
    """One conversion: its counts, and the checks of each row."""

    def __init__(
        self,
        published: PublishedSet,
        expected: int | None,
        prefix: str,
        *,
        bad_rows: str,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        if bad_rows not in ("stop", "drop"):
            raise ValueError(f"`bad_rows` must be 'stop' or 'drop'; got {bad_rows!r}")
        self.drops = Drops()
        self.n_records = self.n_rows = self.n_repeated = 0
        self._published = published
        self._expected = expected or 0
        self._prefix = prefix
        self._stop = bad_rows == "stop"
        self._progress = progress
        self._parser = RowParser(DataSource(published.name), {published.name: published.scales})
        self._seen: set[bytes] = set()

    def add(self, file: DataFile, group: _Group, write: Write) -> None:
        """Convert records that belong together and write their rows."""
        first = self.n_records + 1
        self.n_records += len(group)
        made = self._made(group)
        if isinstance(made, RowProblem):
            self._drop(file, group, made, len(group))
            return
        for number, item in enumerate(made, 1):
            tail = f"-{number}" if len(made) > 1 else ""
            checked = self._checked(item, f"{self._prefix}-{first}{tail}")
            if isinstance(checked, RowProblem):
                self._drop(file, group, checked, 1)
            else:
                write(checked)
                self._count(checked)

    def _made(self, group: _Group) -> list[Row | RowProblem] | RowProblem:
        """What the converter makes of a group, or the problem that stands for all of it."""
        values: list[Mapping[str, Any]] = []
        for record in group:
            if isinstance(record.value, RowProblem):
                return record.value
            assert isinstance(record.value, Mapping)
            values.append(record.value)
        try:
            made = list(self._published.convert(values))
        except RowProblem as problem:
            return problem
        return made or RowProblem(
            "record without rows", "a record must give at least one row; gave none"
        )

    def _checked(self, item: Row | RowProblem, identity: str) -> Row | RowProblem:
        """The row with its id and source, read back as the readers will read it."""
        if isinstance(item, RowProblem):
            return item
        row = dataclasses.replace(item, id=identity, source=self._published.name)
        record = row_record(row)
        try:
            if isinstance(row, PreferencePair):
                return self._parser.pair(record, identity, False)
            read = self._parser.rated(record, identity, False)
        except RowProblem as problem:
            return problem
        assert read is not None  # only where objectives are ignored
        return read

    def _drop(self, file: DataFile, group: _Group, problem: RowProblem, n: int) -> None:
        """Count a row that cannot be used, or stop."""
        if self._stop:
            rest = len(group) - 1  # which of a group it was, its converter does not say
            more = f" or one of the {rest} behind it" if rest else ""
            raise DataError(f"{file.locate(group[0])}{more}: {problem.text}")
        self.drops.add(file.name, problem.reason, n)

    def _count(self, row: Row) -> None:
        """Count a row that was written."""
        self.n_rows += 1
        said = (row.response,) if isinstance(row, RatedResponse) else (row.chosen, row.rejected)
        texts = json.dumps([row.prompt, said]).encode()
        digest = hashlib.blake2b(texts, digest_size=8).digest()
        self.n_repeated += digest in self._seen
        self._seen.add(digest)
        if self.n_rows % ROW_GROUP == 0:
            self.report(self._expected)

    def report(self, expected: int = 0) -> None:
        """Say how far it is; at the end what was written is all there was."""
        if self._progress is not None:
            self._progress(self.n_rows, max(self.n_rows, expected))

    def check_some_left(self, where: DataSource) -> None:
        """Refuse to write a file without rows."""
        if not self.n_rows:
            said = self.drops.sentence(self.drops.total)
            raise DataError(f"{where.path}: at least one row must be usable; {said}")
