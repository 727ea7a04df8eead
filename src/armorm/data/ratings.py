"""One rating: a number on its scale, or why it is none."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

from armorm.data.drops import RowProblem
from armorm.types import Scale

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_FLAGS = {"true": True, "false": False}


def parse_rating(raw: Any, name: str, scale: Scale | None, textual: bool) -> float:
    """Return one rating as a number on its scale.

    Args:
        raw: What was found; null is for the caller to leave out.
        name: The objective, for messages.
        scale: The scale; None takes any finite number.
        textual: Whether numbers are written as text.

    Returns:
        The raw rating.

    Raises:
        RowProblem: a text, an object or a list; true or false on a scale other than 0 to
            1; NaN or infinity; outside the scale.
    """
    if textual and isinstance(raw, str):
        raw = _number_in_cell(raw.strip())
    if isinstance(raw, bool):
        if scale is not None and (scale.low, scale.high) != (0, 1):
            raise RowProblem(
                "rating not a number",
                f"rating {name!r} must be a number from {scale.low:g} to {scale.high:g}; "
                f"got {short(raw)} (true and false count as 1 and 0 on a scale from 0 to 1 only)",
            )
    elif isinstance(raw, str):
        raise RowProblem(
            "rating not a number",
            f"rating {name!r} must be a number; got the text {raw[:40]!r} "
            "(null means not rated; `values` of the data source maps texts to numbers)",
        )
    elif not isinstance(raw, int | float | Decimal):
        raise RowProblem(
            "rating not a number", f"rating {name!r} must be a number; got {short(raw)}"
        )
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise RowProblem(
            "rating not finite",
            f"rating {name!r} must be finite; got {value} (null means not rated)",
        )
    if scale is not None and not scale.contains(value):
        raise RowProblem(
            "rating outside its scale",
            f"rating {name!r} must be from {scale.low:g} to {scale.high:g}; got {value:g}",
        )
    return value


def _number_in_cell(cell: str) -> float | bool | str:
    """Return the number or truth value that a table cell writes, or the cell itself."""
    if _NUMBER.fullmatch(cell) or _NOT_FINITE.fullmatch(cell):
        return float(cell)
    return _FLAGS.get(cell.lower(), cell)


def object_in_cell(cell: str) -> object:
    """Return the object that a table cell writes as JSON, or the cell itself.

    Args:
        cell: Text of the cell.

    Returns:
        What `json` reads from it, or the cell where it is not JSON.
    """
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def short(value: object) -> str:
    """Show a value in a message, in the words of JSON where they differ.

    Args:
        value: Any value.

    Returns:
        At most 40 characters.
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."
