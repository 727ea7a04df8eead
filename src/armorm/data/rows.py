"""From records to rows: columns, shapes, ratings; every refusal is a `RowProblem`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from armorm.data.drops import RowProblem
from armorm.data.messages import (
    check_same_history,
    parse_conversation,
    parse_prompt,
    parse_response,
    parse_text,
    read_cell,
)
from armorm.data.ratings import object_in_cell, parse_rating, short
from armorm.data.scales import Scales
from armorm.data.source import DataSource
from armorm.errors import DataError, nearest
from armorm.types import Conversation, PreferencePair, Prompt, RatedResponse, Scale

_ABSENT: Any = object()
_MOST_NAMES = 8

Record = Mapping[str, Any]


class RowParser:
    """Parses the records of one data source.

    It keeps which mapped columns and ignored objectives occurred, so that a name that
    no row has, a typing mistake most likely, is found at the end.
    """

    def __init__(self, source: DataSource, scales: Scales | None = None) -> None:
        """Prepare the columns.

        Args:
            source: Names the columns.
            scales: Checks ratings; None takes any finite number (for summaries).
        """
        self._source = source
        self._scales = scales
        self._columns = {k: v for k, v in source.columns.items() if isinstance(v, str)}
        ratings = source.columns.get("ratings")
        self._rating_columns = ratings if isinstance(ratings, Mapping) else None
        self._unseen_columns = set((self._rating_columns or {}).items())
        self._unseen_ignored = set(source.ignore)
        self._seen_objectives: set[str] = set()

    def shape(self, record: Record) -> str:
        """Return `pair`, `rated` or `conversation` by the fields that are present.

        Args:
            record: The record.

        Returns:
            The shape; it says nothing about whether the fields are well-formed.
        """
        if self._has(record, "chosen") or self._has(record, "rejected"):
            return "pair"
        if self._rating_columns or self._has(record, "ratings"):
            return "rated"
        return "conversation"

    def rated(self, record: Record, spare_id: str, textual: bool) -> RatedResponse | None:
        """Parse a rated row.

        Args:
            record: The record.
            spare_id: Id of the row where it names none.
            textual: Whether numbers are written as text.

        Returns:
            The row; None where all its ratings are on ignored objectives.

        Raises:
            RowProblem: a field is missing or not what it must be.
        """
        identity = self._identity(record, spare_id)
        prompt, response = self._prompt_and_response(record, textual)
        source = self._source_of(record)
        if source is None and self._scales is not None:
            raise RowProblem(
                "missing field",
                f"missing field {self._called('source')}, and the file is given no `source`",
            )
        ratings, n_ignored = self._ratings(record, source or "", textual)
        if not ratings:
            if n_ignored:
                return None
            raise RowProblem("no rating", "a rated row must have at least one rating; got none")
        return RatedResponse(identity, prompt, response, source or "", ratings)

    def pair(self, record: Record, spare_id: str, textual: bool) -> PreferencePair:
        """Parse a preference pair, with its prompt or with the histories of its two sides.

        Args:
            record: The record.
            spare_id: Id of the row where it names none.
            textual: Whether lists are written as text.

        Returns:
            The pair.

        Raises:
            RowProblem: a field is missing or not what it must be; the sides are equal.
        """
        identity = self._identity(record, spare_id)
        sides = [self._field(record, name, textual) for name in ("chosen", "rejected")]
        if self._has(record, "prompt") or not all(isinstance(side, list) for side in sides):
            prompt = parse_prompt(self._field(record, "prompt", textual))
            chosen = parse_response(sides[0], "chosen", prompt)
            rejected = parse_response(sides[1], "rejected", prompt)
        else:
            prompt, chosen = parse_conversation(sides[0], "chosen")
            other, rejected = parse_conversation(sides[1], "rejected")
            check_same_history(prompt, other, "chosen", "rejected")
        if chosen == rejected:
            raise RowProblem(
                "equal sides", f"`chosen` and `rejected` must differ; both are {short(chosen)}"
            )
        source = self._source_of(record)
        return PreferencePair(identity, prompt, chosen, rejected, source or "")

    def conversation(self, record: Record, spare_id: str, textual: bool) -> Conversation:
        """Parse a prompt and its response; ratings, where there are any, are not looked at.

        Args:
            record: The record.
            spare_id: Id of the row where it names none.
            textual: Whether lists are written as text.

        Returns:
            The conversation.

        Raises:
            RowProblem: a field is missing or not what it must be.
        """
        identity = self._identity(record, spare_id)
        return Conversation(*self._prompt_and_response(record, textual), identity)

    def prompt(self, record: Record, spare_id: str, textual: bool) -> Conversation:
        """Parse the prompt of a row of any shape; an id of its own is not looked at.

        Args:
            record: The record.
            spare_id: Id of the row.
            textual: Whether lists are written as text.

        Returns:
            A conversation with this prompt and no response.

        Raises:
            RowProblem: there is no prompt, or it is not what it must be.
        """
        side = "chosen" if self.shape(record) == "pair" else None
        if self._has(record, "prompt"):
            prompt = parse_prompt(self._field(record, "prompt", textual))
        elif side and isinstance(value := self._field(record, side, textual), list):
            prompt, _ = parse_conversation(value, side)
        elif side is None and (self._has(record, "messages") or self._has(record, "response")):
            prompt, _ = self._prompt_and_response(record, textual)
        else:
            prompt = parse_prompt(self._field(record, "prompt", textual))
        return Conversation(prompt, "", spare_id)

    def check_names_seen(self) -> None:
        """Check that every mapped rating column and every ignored objective occurred.

        Raises:
            DataError: one did not.
        """
        for objective, column in sorted(self._unseen_columns):
            raise DataError(
                f"{self._source.path}: no row has a column {column!r}, "
                f"which `columns` maps to the rating {objective!r}"
            )
        for name in sorted(self._unseen_ignored):
            known = sorted(self._seen_objectives) or ["(no ratings)"]
            raise DataError(
                f"{self._source.path}: no row rates {name!r}, which is in `ignore`"
                f"{nearest(name, known)}"
            )

    def _called(self, name: str) -> str:
        """Name a field, and the column it is mapped to."""
        column = self._columns.get(name)
        return f"{name!r}" if column is None else f"{name!r} (column {column!r})"

    def _value(self, record: Record, name: str) -> Any:
        """Return the value of a field or `_ABSENT`."""
        column = self._columns.get(name)
        return record.get(name, _ABSENT) if column is None else _walk(record, column)

    def _has(self, record: Record, name: str) -> bool:
        """Say whether a field is there and not null."""
        value = self._value(record, name)
        return value is not _ABSENT and value is not None

    def _field(self, record: Record, name: str, textual: bool) -> Any:
        """Return the value of a field that must be there."""
        value = self._value(record, name)
        if value is _ABSENT:
            names = [repr(key) for key in record][:_MOST_NAMES]
            more = ", ..." if len(record) > _MOST_NAMES else ""
            raise RowProblem(
                "missing field",
                f"missing field {self._called(name)}; found {', '.join(names) or 'none'}{more}",
            )
        return read_cell(value, name) if textual and isinstance(value, str) else value

    def _identity(self, record: Record, spare_id: str) -> str:
        """Return the id of a row, the spare one where it has none."""
        value = self._value(record, "id")
        if value is _ABSENT or value is None or value == "":
            return spare_id
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return parse_text(value, "id")

    def _source_of(self, record: Record) -> str | None:
        """Return the constant source, the one of the row, or None."""
        if self._source.source is not None:
            return self._source.source
        value = self._value(record, "source")
        if value is _ABSENT or value is None or value == "":
            return None
        return parse_text(value, "source")

    def _prompt_and_response(self, record: Record, textual: bool) -> tuple[Prompt, str]:
        """Read `prompt` and `response`, else `messages`, else a `response` with its history."""
        if not self._has(record, "response") and self._has(record, "messages"):
            return parse_conversation(self._field(record, "messages", textual), "messages")
        response = self._field(record, "response", textual)
        if isinstance(response, list) and not self._has(record, "prompt"):
            return parse_conversation(response, "response")
        prompt = parse_prompt(self._field(record, "prompt", textual))
        return prompt, parse_response(response, "response", prompt)

    def _ratings(self, record: Record, source: str, textual: bool) -> tuple[dict[str, float], int]:
        """Return the ratings by objective and how many ignored ones there were."""
        scales = self._scales_of(source)
        ratings: dict[str, float] = {}
        n_ignored = 0
        for name, raw in self._raw_ratings(record).items():
            self._seen_objectives.add(name)
            if name in self._source.ignore:
                self._unseen_ignored.discard(name)
                n_ignored += 1
                continue
            if isinstance(raw, str) and raw in self._source.values:
                raw = self._source.values[raw]
            if raw is None or (textual and isinstance(raw, str) and not raw.strip()):
                continue
            if scales is not None and name not in scales:
                where = f" of source {source!r}" if len(self._scales or {}) > 1 else ""
                raise RowProblem(
                    "unknown objective", f"unknown objective {name!r}{where}{nearest(name, scales)}"
                )
            scale = None if scales is None else scales[name]
            ratings[name] = parse_rating(raw, name, scale, textual)
        return ratings, n_ignored

    def _scales_of(self, source: str) -> Mapping[str, Scale] | None:
        """Return the scales of a source that must be known."""
        if self._scales is None:
            return None
        if source not in self._scales:
            raise RowProblem(
                "unknown source", f"unknown source {source!r}{nearest(source, self._scales)}"
            )
        return self._scales[source]

    def _raw_ratings(self, record: Record) -> dict[str, Any]:
        """Return what was found by objective; an absent mapped column is left out."""
        if self._rating_columns is None:
            value = self._field(record, "ratings", False)
            if isinstance(value, str) and value.lstrip().startswith("{"):
                value = object_in_cell(value)
            if not isinstance(value, Mapping):
                raise RowProblem(
                    "ratings not an object",
                    f"`ratings` must be an object of numbers by objective; got {short(value)}",
                )
            return dict(value)
        found: dict[str, Any] = {}
        for name, column in self._rating_columns.items():
            value = _walk(record, column)
            if value is not _ABSENT:
                self._unseen_columns.discard((name, column))
                found[name] = value
        return found


def _walk(record: Record, column: str) -> Any:
    """Return the value at a column, dotted or not, or `_ABSENT`."""
    if column in record:
        return record[column]
    value: Any = record
    for key in column.split("."):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return _ABSENT
    return value
