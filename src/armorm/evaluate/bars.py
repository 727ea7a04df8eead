"""Horizontal bars made of characters; half a character is the finest step."""

from __future__ import annotations

from rich.text import Text

PLUS, MINUS = "cyan", "dark_orange"
"""Colours of the two directions; the direction itself is always visible without them."""


def signed_bar(
    value: float, *, low: float, high: float, width: int, ascii_only: bool = False
) -> Text:
    """Return a bar to the left or right of a zero line.

    Args:
        value: Its length; outside [low, high] the bar is cut off.
        low: Value at the left end, at most 0.
        high: Value at the right end, at least 0; one of the two is not 0.
        width: Characters in all, the zero line among them; at least 3.
        ascii_only: Use only characters that every terminal can show.

    Returns:
        Text of exactly `width` characters.

    Example:
        >>> signed_bar(0.5, low=-0.5, high=1.0, width=10, ascii_only=True).plain
        '   |===   '
        >>> signed_bar(-0.5, low=-0.5, high=1.0, width=10, ascii_only=True).plain
        '===|      '
    """
    room = width - 1
    left = round(room * -low / (high - low))
    # Each direction that occurs at all gets at least one character.
    left = min(max(left, 1 if low < 0 else 0), room - 1 if high > 0 else room)
    # One unit for both directions, or a tiny minus would stretch every plus.
    units = [left / -low] if low < 0 else []
    units += [(room - left) / high] if high > 0 else []
    unit = min(units)
    limit = left if value < 0 else room - left
    halves = min(round(2 * abs(value) * unit), 2 * limit)
    whole, half = divmod(halves, 2)
    full, ends = ("=", ("-", "-")) if ascii_only else ("━", ("╺", "╸"))
    line = Text()
    if value < 0:
        drawn = (ends[0] if half else "") + full * whole
        line.append(" " * (left - len(drawn)))
        line.append(drawn, style=MINUS)
        line.append("|" if ascii_only else "│", style="dim")
        line.append(" " * (room - left))
        return line
    drawn = full * whole + (ends[1] if half else "")
    line.append(" " * left)
    line.append("|" if ascii_only else "│", style="dim")
    line.append(drawn, style=PLUS)
    line.append(" " * (room - left - len(drawn)))
    return line
