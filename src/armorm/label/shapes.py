"""What a record of the input holds: candidates, a pair or one response; it opens no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from armorm.data import DataSource
from armorm.data.drops import RowProblem
from armorm.data.messages import parse_prompt, parse_response, read_cell
from armorm.data.ratings import object_in_cell
from armorm.data.rows import RowParser
from armorm.errors import nearest
from armorm.label.groups import CHOSEN, REJECTED, Candidate
from armorm.types import Prompt

LISTS = ("responses", "all_generated_responses", "generations")
"""Shapes of rows with many candidates, each named after the field that holds them."""

PAIR, RESPONSE, MESSAGES = "chosen-rejected", "response", "messages"

SHAPES = (*LISTS, PAIR, RESPONSE, MESSAGES)
"""Names of the shapes; the first one whose fields a file's first row has is that of the file."""

_PROMPTS = ("prompt", "instruction", "messages")

_FIELDS = {
    PAIR: (CHOSEN, REJECTED),
    RESPONSE: ("response",),
    MESSAGES: ("messages",),
}


@dataclass(slots=True)
class ParsedRow:
    """A record as its shape reads it."""

    prompt: Prompt
    """The messages before the responses."""
    candidates: list[Candidate]
    """The responses that can be used."""
    problems: list[RowProblem] = field(default_factory=list)
    """What is wrong with the others."""


def check_shape(shape: str | None) -> None:
    """Refuse a name that is none of a shape.

    Args:
        shape: A name; None: the shape is found.

    Raises:
        ValueError: it is not one of `SHAPES`.
    """
    if shape is not None and shape not in SHAPES:
        raise ValueError(f"`shape` has the unknown name {shape!r}{nearest(shape, SHAPES)}")


def find_shape(record: Mapping[str, Any]) -> str:
    """Return the shape of a record by the fields that are there.

    Args:
        record: A record of the input.

    Returns:
        A name from `SHAPES`.

    Raises:
        RowProblem: no shape has these fields.

    Example:
        >>> find_shape({"prompt": "2+2?", "responses": ["4.", "5."]})
        'responses'
    """
    for shape in SHAPES:
        if all(record.get(name) is not None for name in _FIELDS.get(shape, (shape,))):
            return shape
    found = ", ".join(repr(name) for name in list(record)[:8]) or "none"
    raise RowProblem(
        "no known shape",
        "a row must have 'responses', 'all_generated_responses' or 'generations' (lists), "
        f"'chosen' and 'rejected', 'response', or 'messages'; found {found}",
    )


class ShapeParser:
    """Parses the records of one file, all of one shape."""

    def __init__(self, source: DataSource, shape: str | None) -> None:
        """Prepare a file.

        Args:
            source: Where the file belongs.
            shape: The shape of its rows; None: that of the first row that has one.
        """
        self._rows = RowParser(source)
        self.shape = shape
        """Shape of the file; None as long as no row has told it."""

    @property
    def single(self) -> bool:
        """Whether a row is one response, so that rows of one prompt belong together."""
        return self.shape in (RESPONSE, MESSAGES)

    def parse(self, record: Mapping[str, Any], spare_id: str, textual: bool) -> ParsedRow:
        """Parse a record.

        Args:
            record: The record.
            spare_id: Id of the row where it names none.
            textual: Whether lists are written as text.

        Returns:
            Prompt and candidates.

        Raises:
            RowProblem: it has another shape than the file; a field is not what it must
                be; none of its candidates can be used.
        """
        if self.shape is None:
            self.shape = find_shape(record)
        elif any(record.get(name) is None for name in _FIELDS.get(self.shape, (self.shape,))):
            names = " and ".join(map(repr, _FIELDS.get(self.shape, (self.shape,))))
            found = ", ".join(repr(name) for name in list(record)[:8]) or "none"
            raise RowProblem(
                "another shape than the file",
                f"a row of shape {self.shape!r} must have {names}; found {found}",
            )
        if self.shape in LISTS:
            return self._many(record, self.shape, spare_id, textual)
        if self.shape == PAIR:
            pair = self._rows.pair(record, spare_id, textual)
            sides = [
                Candidate(pair.id, 0, pair.chosen, CHOSEN),
                Candidate(pair.id, 1, pair.rejected, REJECTED),
            ]
            return ParsedRow(pair.prompt, sides)
        if self.shape == MESSAGES:
            record = {name: record.get(name) for name in ("id", "messages")}
        one = self._rows.conversation(record, spare_id, textual)
        return ParsedRow(one.prompt, [Candidate(one.id, 0, one.response)])

    def _many(
        self, record: Mapping[str, Any], shape: str, spare_id: str, textual: bool
    ) -> ParsedRow:
        """Parse a row with a list of responses."""
        name = next((n for n in _PROMPTS if record.get(n) is not None), None)
        if name is None:
            found = ", ".join(repr(key) for key in list(record)[:8])
            raise RowProblem(
                "missing field", f"missing field 'prompt' (or 'instruction'); found {found}"
            )
        said, values = record[name], record[shape]
        if textual:  # a table cell writes a list as JSON
            said, values = read_cell(said, name), object_in_cell(values)
        prompt = parse_prompt(said, name)
        if not isinstance(values, list) or not values:
            kind = "an empty list" if values == [] else type(values).__name__
            raise RowProblem(
                f"{shape} not a list", f"`{shape}` must be a list of responses; got {kind}"
            )
        identity = _identity(record, spare_id)
        row = ParsedRow(prompt, [])
        for number, value in enumerate(values):
            # One message may stand without a list around it.
            value = [value] if isinstance(value, Mapping) else value
            try:
                text = parse_response(value, "response", prompt)
            except RowProblem as problem:
                row.problems.append(
                    RowProblem(problem.reason, f"{shape}[{number}]: {problem.text}")
                )
            else:
                row.candidates.append(Candidate(identity, number, text))
        return row


def _identity(record: Mapping[str, Any], spare_id: str) -> str:
    """The id of a row, its `prompt_id`, or the spare one."""
    for name in ("id", "prompt_id"):
        value = record.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value)
    return spare_id
