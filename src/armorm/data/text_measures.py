"""Measures of how a text is written, not of what it says: length, lists, markdown, code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from armorm.errors import nearest
from armorm.types import Scale

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)")
_LIST_ITEM = re.compile(r"\s*(?:[-*+•]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
_LINE_MARK = re.compile(
    r"\s*(?:#{1,6}\s+\S"  # heading
    r"|>\s*\S"  # quotation
    r"|\|.*\|\s*$"  # row of a table
    r"|(?:[-*_]\s*){3,}$)"  # rule
)
_SPAN_MARK = re.compile(
    r"\*\*[^*\n]+\*\*"
    r"|__[^_\n]+__"
    r"|(?<![\w*])\*(?=\S)[^*\n]+\*"
    r"|(?<![\w_])_(?=\S)[^_\n]+_(?!\w)"
    r"|`[^`\n]+`"
    r"|\[[^\[\]\n]*\]\([^()\s]*\)"
)
_INLINE_CODE = re.compile(r"(?<!`)`+[^`\n]+`+")


class Measure(NamedTuple):
    """One measure of a text."""

    label: str
    """What it is called in sentences and tables."""
    sentence: str
    """What it counts, as the end of a sentence, with its range."""
    function: Callable[[str], float]
    """From a text to the number."""
    scale: Scale
    """Maps the number to [0, 1] where it serves as an objective."""

    def rating(self, text: str) -> float:
        """Return the number as a rating: what lies beyond an end of the scale counts as the end.

        Args:
            text: Any text.

        Returns:
            On the scale.
        """
        return min(max(self.function(text), self.scale.low), self.scale.high)


def log_length(text: str) -> float:
    """Return log(1 + characters) of a text.

    Args:
        text: Any text.

    Returns:
        0 for an empty text; one more doubling of the length adds 0.69.

    Example:
        >>> round(log_length("abc"), 4)
        1.3863
    """
    return math.log1p(len(text))


def list_density(text: str) -> float:
    r"""Return the share of lines that are items of a list, numbered or not.

    Blank lines and code blocks do not count.

    Args:
        text: Any text.

    Returns:
        From 0 to 1; 0 for a text without lines.

    Example:
        >>> list_density("You need:\n- flour\n- water\n\nMix.")
        0.5
    """
    lines, _ = _split_code(text)
    return sum(bool(_LIST_ITEM.match(line)) for line in lines) / len(lines) if lines else 0.0


def markdown_density(text: str) -> float:
    """Return the share of markdown marks among marks and words.

    Marks are headings, list items, quotations, rows of tables, rules, bold, italic and code
    spans, links and whole code blocks; the words of code blocks do not count.

    Args:
        text: Any text.

    Returns:
        From 0, no mark, to 1, nothing else.

    Example:
        >>> markdown_density("**Yes**, it is.")
        0.25
    """
    lines, marks = _split_code(text)
    words = 0
    for line in lines:
        marks += bool(_LIST_ITEM.match(line)) or bool(_LINE_MARK.match(line))
        marks += len(_SPAN_MARK.findall(line))
        words += sum(any(c.isalnum() for c in word) for word in line.split())
    return marks / (marks + words) if marks else 0.0


def code_share(text: str) -> float:
    """Return the share of characters that stand in code blocks or code spans.

    White space does not count; a block that is not closed reaches to the end.

    Args:
        text: Any text.

    Returns:
        From 0 to 1; 0 for an empty text.

    Example:
        >>> code_share("run `ls -l` now")
        0.5
    """
    total = _n_visible(text)
    if not total:
        return 0.0
    lines, _ = _split_code(text)
    return 1.0 - sum(_n_visible(_INLINE_CODE.sub("", line)) for line in lines) / total


LOG_LENGTH_END = 12.0
"""End of the scale of `log_length`: 162,754 characters; a longer response counts as that long."""

MEASURES: dict[str, Measure] = {
    "log_length": Measure(
        "length", "log of the number of characters", log_length, Scale(0.0, LOG_LENGTH_END)
    ),
    "list_density": Measure(
        "list density", "share of lines that are list items, 0 to 1", list_density, Scale(0, 1)
    ),
    "markdown_density": Measure(
        "markdown density",
        "share of markdown marks among marks and words, 0 to 1",
        markdown_density,
        Scale(0, 1),
    ),
    "code_share": Measure(
        "code share", "share of characters that are code, 0 to 1", code_share, Scale(0, 1)
    ),
}
"""Every measure by name, as a recipe names it."""


def measure_texts(texts: Sequence[str], *, names: Sequence[str] = tuple(MEASURES)) -> np.ndarray:
    """Measure texts.

    Args:
        texts: n texts.
        names: m keys of `MEASURES`.

    Returns:
        Shape (n, m), float64, finite; columns in the order of `names`.

    Raises:
        ValueError: a name is unknown.

    Example:
        >>> measure_texts(["- a", "a"], names=["list_density"]).tolist()
        [[1.0], [0.0]]
    """
    for name in names:
        if name not in MEASURES:
            raise ValueError(f"`names`: unknown measure {name!r}{nearest(name, MEASURES)}")
    table = np.empty((len(texts), len(names)))
    for j, name in enumerate(names):
        table[:, j] = [MEASURES[name].function(text) for text in texts]
    return table


def measured_ratings(text: str, names: Sequence[str]) -> dict[str, float]:
    """Return measures of a response in the form of its ratings.

    Args:
        text: The response.
        names: Keys of `MEASURES`.

    Returns:
        Name -> raw rating, on the scale of the measure.
    """
    return {name: MEASURES[name].rating(text) for name in names}


def _split_code(text: str) -> tuple[list[str], int]:
    """The lines that are neither blank nor in a code block, and how many blocks there are."""
    prose: list[str] = []
    fence, n_blocks = "", 0
    for line in text.splitlines():
        found = _FENCE.match(line)
        if fence:
            ends = found and found[1].startswith(fence) and not found[2].strip()
            fence = "" if ends else fence
        elif found:
            fence, n_blocks = found[1], n_blocks + 1
        elif line.strip():
            prose.append(line)
    return prose, n_blocks


def _n_visible(text: str) -> int:
    """Characters that are no white space."""
    return sum(map(len, text.split()))
