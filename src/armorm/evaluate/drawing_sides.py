"""Models side by side as pictures; needs the extra `plots`, and says so on import."""

from __future__ import annotations

from collections.abc import Sequence

from armorm.evaluate.canvas import (
    BLUE,
    GREY,
    STYLE,
    WIDTH,
    Figure,
    axis_label,
    dot,
    limits,
    mpl,
    new_figure,
    row_names,
)
from armorm.evaluate.interval import Interval

Block = tuple[str, Sequence[tuple[str, Interval]]]
"""Name of a figure, and that figure of every model."""

_LONGEST_NAME = 32


def plot_sides(
    blocks: Sequence[Block], *, title: str, is_share: bool, width: float = WIDTH
) -> Figure:
    """Return figures of several models with intervals, the first model in colour.

    Args:
        blocks: One a figure, all of the same models.
        title: Title of the picture.
        is_share: Whether figures are shares, shown in per cent.
        width: Inches.

    Returns:
        The figure; with several blocks each has a head of its own.
    """
    factor, digits, unit = (100.0, 1, " %") if is_share else (1.0, 3, "")
    lines: list[tuple[str, Interval | None, bool]] = []
    for name, figures in blocks:
        if len(blocks) > 1:
            lines.append((name, None, False))
        lines += [(model, figure, i == 0) for i, (model, figure) in enumerate(figures)]
    lines.reverse()
    figure, axes = new_figure(len(lines), extra=1.2, row=0.27, width=width)
    shown = [one for _, one, _ in lines if one is not None]
    with mpl.rc_context(STYLE):
        for y, (_, one, is_first) in enumerate(lines):
            if one is not None:
                color = BLUE if is_first else GREY
                dot(axes, y, one, color, factor=factor, digits=digits, unit=unit)
        row_names(axes, [_short(name) for name, _, _ in lines], pad=0.7)
        for label, (_, one, _) in zip(axes.get_yticklabels(), lines, strict=True):
            if one is None:
                label.set_fontweight("bold")
        # No line where guessing stands: that differs by protocol, and by section of some.
        limits(axes, shown, include=factor * shown[0].value, factor=factor)
        text = "Per cent" if is_share else "In the unit of the references"
        axes.set_xlabel(axis_label(text, shown))
        axes.set_title(title)
    return figure


def _short(name: str) -> str:
    """A name that leaves room for the figures; paths differ at their ends."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"
