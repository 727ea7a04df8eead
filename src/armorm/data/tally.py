"""Summarise data files in one pass; a bad row is counted and the pass goes on."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from typing import Any

import numpy as np

from armorm.data.drops import RowProblem
from armorm.data.files import DataFile, Record, files_of
from armorm.data.records import records_of
from armorm.data.rows import RowParser
from armorm.data.scales import Scales
from armorm.data.source import DataSource, as_source
from armorm.data.splits import group_of
from armorm.data.summary import Coverage, DataSummary, FileSummary, Lengths, SharedPrompts
from armorm.types import Conversation, PreferencePair, Prompt, RatedResponse

_FIRST_ERRORS = 5
"""Located errors kept of one file."""


def summarise(
    *sources: DataSource | str | os.PathLike[str], scales: Scales | None = None
) -> DataSummary:
    """Summarise data files in one pass.

    Rows are checked as the readers check them, each by its own shape; a bad one is
    counted under its file and the pass goes on. Memory grows with the number of rows
    (hashes and lengths), not with their text.

    Args:
        *sources: Data sources, or paths of files and folders.
        scales: Checks ratings, sources and objectives; None takes any finite rating.

    Returns:
        The summary.

    Raises:
        DataError: a file is missing, empty or damaged as a whole.
        MissingDependency: Parquet or hub data without the packages for them.
        ValueError: no sources.
    """
    if not sources:
        raise ValueError("`sources` must name at least one file; got none")
    tally = _Tally()
    for source in map(as_source, sources):
        parser = RowParser(source, scales)
        for file in files_of(source):
            tally.add_file(file, parser)
    return tally.result()


class _Tally:
    """The running counts of one summary."""

    def __init__(self) -> None:
        self._files: list[FileSummary] = []
        self._counts: Counter[str] = Counter()
        self._cells: dict[tuple[str, str], list[float]] = {}
        self._prompt_lengths = array("q")
        self._response_lengths = array("q")
        self._files_of_prompt: dict[str, int] = {}
        self._places: dict[tuple[str, str], tuple[DataFile, str, int]] = {}
        self._seen: set[bytes] = set()

    def add_file(self, file: DataFile, parser: RowParser) -> None:
        """Count the rows of one file."""
        kinds: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        errors: list[str] = []
        for record in records_of(file):
            try:
                kinds[self._add_record(file, record, parser)] += 1
            except RowProblem as problem:
                reasons[problem.reason] += 1
                if len(errors) < _FIRST_ERRORS:
                    errors.append(f"{file.locate(record)}: {problem.text}")
        self._counts["duplicate id"] += reasons["duplicate id"]
        n_bad = reasons.total()
        self._files.append(
            FileSummary(
                path=file.name,
                n_rows=kinds.total() + n_bad,
                n_rated=kinds["rated"],
                n_pairs=kinds["pair"],
                n_conversations=kinds["conversation"],
                n_bad=n_bad,
                reasons=dict((+reasons).most_common()),
                errors=tuple(errors),
            )
        )

    def _add_record(self, file: DataFile, record: Record, parser: RowParser) -> str:
        """Count one record and return its shape."""
        value: Any = record.value
        if isinstance(value, RowProblem):
            raise value
        shape = parser.shape(value)
        parse = {"rated": parser.rated, "pair": parser.pair}.get(shape, parser.conversation)
        # A spare id with a character that no id from a file has cannot meet one.
        row = parse(value, f"\0{len(self._files)}:{record.number}", file.textual)
        if row is not None:
            self._claim(shape, row.id, file, record)
            self._add_row(row)
        return shape

    def _claim(self, shape: str, identity: str, file: DataFile, record: Record) -> None:
        """Take an id that no row of this shape has had."""
        key = (shape, identity)
        if key in self._places:
            first, unit, number = self._places[key]
            raise RowProblem(
                "duplicate id",
                f"id {identity!r} must be unique; "
                f"{first.locate(Record(unit, number, None))} has it too",
            )
        self._places[key] = (file, record.unit, record.number)

    def _add_row(self, row: RatedResponse | PreferencePair | Conversation) -> None:
        """Count one good row."""
        self._add_prompt(row.prompt)
        if isinstance(row, PreferencePair):
            self._response_lengths.extend((len(row.chosen), len(row.rejected)))
            self._add_pair(row)
            return
        self._response_lengths.append(len(row.response))
        self._counts["duplicate"] += self._is_repeated(row.prompt, row.response)
        if isinstance(row, RatedResponse):
            for objective, raw in row.ratings.items():
                cell = self._cells.setdefault((row.source, objective), [0, 0.0, raw, raw])
                cell[0] += 1
                cell[1] += raw
                cell[2] = min(cell[2], raw)
                cell[3] = max(cell[3], raw)

    def _add_prompt(self, prompt: Prompt) -> None:
        """Count the properties of a prompt."""
        self._prompt_lengths.append(sum(len(message.content) for message in prompt))
        roles = [message.role for message in prompt if message.role != "system"]
        self._counts["system"] += len(roles) < len(prompt)
        self._counts["multi-turn"] += "assistant" in roles
        expected = ["user", "assistant"] * len(roles)
        self._counts["not alternating"] += roles != expected[: len(roles)]
        group = group_of(prompt)
        bit = 1 << len(self._files)
        self._files_of_prompt[group] = self._files_of_prompt.get(group, 0) | bit

    def _add_pair(self, pair: PreferencePair) -> None:
        """Count the properties of a pair."""
        longer = len(pair.chosen) - len(pair.rejected)
        self._counts["longer" if longer > 0 else "shorter" if longer else "equal length"] += 1
        opposite = _digest(pair.prompt, pair.rejected, pair.chosen)
        self._counts["contradictory"] += opposite in self._seen
        self._counts["duplicate"] += self._is_repeated(pair.prompt, pair.chosen, pair.rejected)

    def _is_repeated(self, prompt: Prompt, *responses: str) -> bool:
        """Say whether exactly these texts came before."""
        digest = _digest(prompt, *responses)
        seen = digest in self._seen
        self._seen.add(digest)
        return seen

    def result(self) -> DataSummary:
        """Return the counts."""
        counts = self._counts
        return DataSummary(
            files=tuple(self._files),
            coverage=tuple(
                Coverage(source, objective, int(n), low, total / n, high)
                for (source, objective), (n, total, low, high) in self._cells.items()
            ),
            prompt_lengths=_lengths(self._prompt_lengths),
            response_lengths=_lengths(self._response_lengths),
            n_prompts=len(self._files_of_prompt),
            n_multi_turn=counts["multi-turn"],
            n_system=counts["system"],
            n_not_alternating=counts["not alternating"],
            n_duplicate_rows=counts["duplicate"],
            n_duplicate_ids=counts["duplicate id"],
            shared=self._shared(),
            n_longer_chosen=counts["longer"],
            n_shorter_chosen=counts["shorter"],
            n_equal_length=counts["equal length"],
            n_contradictory=counts["contradictory"],
        )

    def _shared(self) -> tuple[SharedPrompts, ...]:
        """Return the pairs of files with common prompts, in reading order."""
        common: Counter[tuple[int, int]] = Counter()
        for files, n_prompts in Counter(self._files_of_prompt.values()).items():
            members = [i for i in range(len(self._files)) if files >> i & 1]
            for position, first in enumerate(members):
                for second in members[position + 1 :]:
                    common[first, second] += n_prompts
        return tuple(
            SharedPrompts(self._files[first].path, self._files[second].path, n_prompts)
            for (first, second), n_prompts in sorted(common.items())
        )


def _digest(prompt: Prompt, *responses: str) -> bytes:
    """Return 16 bytes that stand for a prompt and its responses, exactly."""
    return hashlib.blake2b(json.dumps([prompt, *responses]).encode(), digest_size=16).digest()


def _lengths(lengths: array[int]) -> Lengths:
    """Return the quantiles of lengths."""
    if not lengths:
        return Lengths(0, 0, 0, 0, 0)
    values = np.frombuffer(lengths, dtype=np.int64)
    levels = np.quantile(values, (0, 0.5, 0.95, 1), method="inverted_cdf")
    return Lengths(len(lengths), *(int(level) for level in levels))
