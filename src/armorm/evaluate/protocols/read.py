"""The data of a protocol, in its official columns, as rows; every refusal says where."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from armorm.data import BadRows, DataSource, Drops, as_source, group_of
from armorm.data.drops import RowProblem
from armorm.data.files import DataFile, files_of
from armorm.data.messages import parse_prompt, parse_response, parse_text
from armorm.data.ratings import short
from armorm.data.records import records_of
from armorm.data.rows import RowParser
from armorm.data.source import HUB
from armorm.errors import DataError
from armorm.evaluate.protocols.judgebench import LABELS
from armorm.evaluate.protocols.protocol import Layout, Protocol, ProtocolRow
from armorm.types import Prompt

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")

_SIDES = ("chosen", "rejected")

_COLUMNS: Mapping[Layout, tuple[str, ...]] = {
    "pair": ("prompt", *_SIDES),
    "lists": ("prompt", *_SIDES),
    "labelled": ("prompt", "response_A", "response_B", "label"),
    "references": ("prompt", "responses", "references"),
}

_TIES_ID = re.compile(r"(ref|tied):\d+")

_STYLES = 3

_MOST_NAMES = 10

NO_SUBSET = "(all)"
"""Subset of rows that name none, of a protocol whose data brings its own subsets."""


def read_protocol(
    protocol: Protocol,
    data: str | None = None,
    *,
    bad_rows: BadRows = "stop",
    drops: Drops | None = None,
) -> list[ProtocolRow]:
    """Read the rows of a protocol.

    Of a folder that holds more than the data of the protocol (the other splits of a copy
    of the published repository), the files whose names fit are read.

    Args:
        protocol: Says which columns a row has.
        data: File, folder or hub id (`owner/name`, with or without `hub:`); None: where the
            protocol was published.
        bad_rows: `stop` raises at the first bad row, `drop` counts and leaves it out.
        drops: Receives the counts; must be given with `drop`.

    Returns:
        The rows in file order. A subset that the protocol does not know keeps its name.

    Raises:
        DataError: the protocol has no published data and none is given; a file is missing,
            empty or damaged; rows without the columns of the protocol; a bad row under
            `stop`; no row is left.
        MissingDependency: Parquet or hub data without the packages for them.
        ValueError: `drop` without `drops`.
    """
    if bad_rows == "drop" and drops is None:
        raise ValueError("`drops` must be given with `bad_rows` = 'drop', to count the rows in")
    rows: list[ProtocolRow] = []
    own = Drops()
    for file, subset in _files(protocol, data):
        parser = _Parser(protocol, subset, RowParser(file.source))
        for record in records_of(file):
            try:
                if isinstance(record.value, RowProblem):
                    raise record.value
                rows.append(parser.row(record.value, f"{file.stem}:{record.number}", file.textual))
            except RowProblem as problem:
                # The columns are those of the file: no other row will have them.
                if bad_rows == "stop" or problem.reason == _NO_COLUMNS:
                    raise DataError(f"{file.locate(record)}: {problem.text}") from None
                own.add(file.name, problem.reason)
    if drops is not None:
        drops.merge(own)
    if not rows:
        said = own.sentence(own.total)
        raise DataError(f"{data or protocol.name}: at least one row must be usable; {said}")
    return rows


def default_data(protocol: Protocol) -> str:
    """Return where the data of a protocol is published, as shown to a person.

    Args:
        protocol: The protocol.

    Returns:
        Hub ids with their splits.
    """
    return ", ".join(f"{HUB}{one.hub} ({one.split})" for one in protocol.published)


def _files(protocol: Protocol, data: str | None) -> Iterator[tuple[DataFile, str | None]]:
    """The files to read, each with the subset of all its rows where it has one."""
    if data is None:
        if not protocol.published:
            raise DataError(
                f"the protocol {protocol.name!r} has no published data: `data` (--data) must name "
                "a file, a folder or a hub id"
            )
        for one in protocol.published:
            (file,) = files_of(DataSource(f"{HUB}{one.hub}", split=one.split))
            yield file, one.subset
        return
    source = as_source(data)
    if source.hub is None and not Path(data).expanduser().exists() and _HUB_NAME.fullmatch(data):
        source = as_source(f"{HUB}{data}")
    if source.hub is not None and protocol.published:
        source = DataSource(source.path, split=protocol.published[0].split)
    files = files_of(source)
    fitting = [f for f in files if any(fnmatch.fnmatch(f.stem, p) for p in protocol.files)]
    for file in fitting or files:
        yield file, _subset_of_file(protocol, file)


def _subset_of_file(protocol: Protocol, file: DataFile) -> str | None:
    """The subset whose split a file is, of data published with a split a subset."""
    names = {one.split: one.subset for one in protocol.published if one.subset is not None}
    return next((names[s] for s in names if file.stem == s or file.stem.startswith(f"{s}-")), None)


_NO_COLUMNS = "without the columns of the protocol"


@dataclass(frozen=True, slots=True)
class _Parser:
    """Parses the records of one file."""

    protocol: Protocol
    subset: str | None
    """Subset of all rows; None where a column names it."""
    own: RowParser
    """Parses pairs in the forms that `read_pairs` takes."""

    def row(self, record: Any, spare_id: str, textual: bool) -> ProtocolRow:
        """Return the row of a record."""
        if self.protocol.layout == "own":
            pair = self.own.pair(record, spare_id, textual)
            subset, sides = pair.source or NO_SUBSET, (pair.chosen, pair.rejected)
            return ProtocolRow(pair.id, subset, pair.prompt, sides, group=group_of(pair.prompt))
        self._check_columns(record)
        value = record.get(self._column("id"))
        identity = spare_id if value in (None, "") else str(value)
        prompt = parse_prompt(record[self._column("prompt")])
        subset = self._subset(record)
        responses, facts = _LAYOUTS[self.protocol.layout](record, prompt)
        row = ProtocolRow(identity, subset, prompt, responses, group=group_of(prompt), **facts)
        return self._checked(row)

    def _column(self, name: str) -> str:
        """How the data calls a field."""
        return self.protocol.columns.get(name, name)

    def _check_columns(self, record: Mapping[str, Any]) -> None:
        """Raise for a record that lacks columns, naming all of them at once."""
        wanted = [self._column(name) for name in _COLUMNS[self.protocol.layout]]
        if self.subset is None and self.protocol.sections:
            wanted.append(self._column("subset"))
        missing = [name for name in wanted if name not in record]
        if missing:
            there = [repr(name) for name in record][:_MOST_NAMES]
            more = ", …" if len(record) > _MOST_NAMES else ""
            raise RowProblem(
                _NO_COLUMNS,
                f"the protocol {self.protocol.name!r} must have the columns "
                f"{', '.join(map(repr, wanted))}; missing {', '.join(map(repr, missing))}; "
                f"found {', '.join(there) or 'none'}{more}",
            )

    def _subset(self, record: Mapping[str, Any]) -> str:
        """The subset of a record, spelled as the protocol does where it knows it."""
        if self.subset is not None:
            return self.subset
        value = record.get(self._column("subset"))
        if not self.protocol.sections:
            return NO_SUBSET if value in (None, "") else parse_text(value, self._column("subset"))
        found = parse_text(value, self._column("subset"))
        for _, subset in self.protocol.subsets():
            known, name = subset.name.casefold(), found.casefold()
            if known == name or (self.protocol.by_prefix and name.startswith(known)):
                return subset.name
        return found

    def _checked(self, row: ProtocolRow) -> ProtocolRow:
        """The row with what its section asks for checked."""
        shape = next(
            (s.shape for s, subset in self.protocol.subsets() if subset.name == row.subset), None
        )
        n_wrong = len(row.responses) - row.n_correct
        if shape == "grid" and (row.n_correct, n_wrong) != (_STYLES, _STYLES):
            raise RowProblem(
                "not three styles a side",
                f"`chosen` and `rejected` must hold {_STYLES} responses each; got "
                f"{row.n_correct} and {n_wrong}",
            )
        if shape == "best of n" and row.n_correct != 1:
            raise RowProblem(
                "not one chosen response",
                f"`chosen` must hold one response in subset {row.subset!r}; got {row.n_correct}",
            )
        if shape != "ties":
            return row
        if not _TIES_ID.fullmatch(row.id):
            raise RowProblem(
                "unknown id of Ties",
                f"`id` must be 'ref:<number>' or 'tied:<number>' in subset {row.subset!r}; "
                f"got {row.id!r}",
            )
        # Both rows of a number are judged together, so they are drawn together.
        return replace(row, group=f"ties:{row.id.partition(':')[2]}")


_Parsed = tuple[tuple[str, ...], dict[str, Any]]


def _pair(record: Mapping[str, Any], prompt: Prompt) -> _Parsed:
    """Chosen and rejected, as texts or messages."""
    chosen, rejected = (parse_response(record[name], name, prompt) for name in _SIDES)
    return (chosen, rejected), {}


def _lists(record: Mapping[str, Any], prompt: Prompt) -> _Parsed:
    """All correct responses, then all wrong ones."""
    del prompt
    chosen, rejected = (_texts(record[name], name) for name in _SIDES)
    return (*chosen, *rejected), {"n_correct": len(chosen)}


def _labelled(record: Mapping[str, Any], prompt: Prompt) -> _Parsed:
    """A, B and the label."""
    del prompt
    texts = tuple(parse_text(record[name], name) for name in ("response_A", "response_B"))
    label = record["label"]
    if label not in LABELS:
        raise RowProblem("unknown label", f"`label` must be 'A>B' or 'B>A'; got {short(label)}")
    return texts, {"label": label}


def _references(record: Mapping[str, Any], prompt: Prompt) -> _Parsed:
    """Responses and one number each."""
    del prompt
    texts, values = _texts(record["responses"], "responses"), record["references"]
    numbers = isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
    if not numbers or len(values) != len(texts):
        raise RowProblem(
            "references not numbers",
            f"`references` must hold one finite number a response, {len(texts)}; "
            f"got {short(values)}",
        )
    return texts, {"references": tuple(float(v) for v in values)}


def _texts(value: object, name: str) -> tuple[str, ...]:
    """A list of at least one text."""
    if not isinstance(value, list) or not value:
        raise RowProblem(
            f"{name} not a list", f"`{name}` must be a list of texts; got {short(value)}"
        )
    texts: list[str] = []
    for i, text in enumerate(value):
        try:
            texts.append(parse_text(text, f"{name}[{i}]"))
        except RowProblem as problem:
            # The reason is counted, so the place in the list must not be in it.
            raise RowProblem(problem.reason.replace(f"[{i}]", ""), problem.text) from None
    return tuple(texts)


_LAYOUTS: Mapping[Layout, Callable[[Mapping[str, Any], Prompt], _Parsed]] = {
    "pair": _pair,
    "lists": _lists,
    "labelled": _labelled,
    "references": _references,
}
