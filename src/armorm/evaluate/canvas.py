"""What all pictures share: style, axes, dots with intervals, heat maps, and how they are saved.

Needs the extra `plots`, and says so on import. No picture leaves a trace in matplotlib's state.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from armorm.errors import MissingDependency
from armorm.evaluate.interval import Interval
from armorm.evaluate.wording import number
from armorm.storage import write_bytes

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ImportError as error:
    raise MissingDependency("drawing plots", "plots") from error

# From the palette of Okabe and Ito (2008), told apart with any common colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6F757E"
INK, FAINT, PAPER = "#22262B", "#D9DCE1", "#FFFFFF"
_DPI = 150
WIDTH = 7.2
"""Inches of a picture in report.md."""
NARROW = 5.2
"""Inches of a picture on a page, which must be read on a phone too."""
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "figure.facecolor": PAPER,
    "svg.hashsalt": "armorm",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold dollars
}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG at 150 dots an inch; one figure gives one sequence of bytes.

    Args:
        figure: What a `plot_` function returned.
        path: The file; its folder is made when absent.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    # Without the version of matplotlib, which would change the bytes and not the picture.
    write_bytes(path, rendered(figure, "png", metadata={"Software": None}))


def rendered(figure: Figure, form: Literal["png", "svg"], *, metadata: dict[str, Any]) -> bytes:
    """Return a figure in a file format.

    Args:
        figure: The figure.
        form: The format.
        metadata: Entries of the file; None leaves one out.

    Returns:
        The bytes; those of a PNG at 150 dots an inch.
    """
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which the tables make up for.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format=form, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()


def new_figure(
    n_rows: int, *, extra: float, row: float = 0.34, width: float = WIDTH
) -> tuple[Figure, Axes]:
    """Return a figure tall enough for its rows, in our style, with no state outside of it.

    Args:
        n_rows: Rows below each other.
        extra: Inches for title, axis and legend.
        row: Inches a row.
        width: Inches across.

    Returns:
        The figure and its axes.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, row * n_rows + extra), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.add_subplot()


def dot(
    axes: Axes,
    y: float,
    interval: Interval,
    color: str,
    *,
    factor: float = 1.0,
    digits: int = 2,
    unit: str = "",
    label: str = "",
) -> None:
    """A figure as a dot, its interval as a bar, its value as text on the right."""
    if not math.isfinite(interval.value):
        return
    if interval.has_interval:
        ends = [factor * interval.low, factor * interval.high]
        axes.plot(ends, [y, y], color=color, lw=3.2, alpha=0.45, solid_capstyle="round")
    axes.plot(factor * interval.value, y, "o", ms=6.5, color=color, label=label or None)
    # In a column beside the plot, where no bar or line runs through it.
    axes.text(
        1.015,
        y,
        number(factor * interval.value, digits=digits) + unit,
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=9,
        color=color,
    )


def mark(axes: Axes, x: float, text: str, color: str) -> None:
    """Name of a vertical line, above the plot."""
    axes.text(
        x,
        1.01,
        text,
        transform=axes.get_xaxis_transform(),
        ha="center",
        va="bottom",
        fontsize=9,
        color=color,
    )


def row_names(axes: Axes, names: Sequence[str], *, pad: float, bold: str = "") -> None:
    """Names on the left, thin vertical grid lines."""
    axes.set_yticks(range(len(names)), names)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        if name == bold:
            label.set_fontweight("bold")
    axes.set_ylim(-0.7, len(names) - 1 + pad)
    axes.xaxis.grid(True, color=FAINT, lw=0.8)


def limits(
    axes: Axes, intervals: Sequence[Interval], *, include: float, factor: float = 1.0
) -> None:
    """Room for every interval."""
    ends = [include]
    for one in intervals:
        ends += [factor * v for v in (one.value, one.low, one.high) if math.isfinite(v)]
    room = 0.05 * (max(ends) - min(ends) or factor)
    axes.set_xlim(min(ends) - room, max(ends) + room)


def axis_label(text: str, intervals: Sequence[Interval]) -> str:
    """Label of the axis, with the level of the intervals when there are any."""
    levels = sorted({one.level for one in intervals if one.has_interval})
    return f"{text} ({100 * levels[0]:g} % intervals)" if len(levels) == 1 else text


def legend(axes: Axes) -> None:
    """The entries in one line above the plot."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=3,
        frameon=False,
        handletextpad=0.2,
        borderaxespad=0.1,
        columnspacing=1.2,
    )


def heat_map(
    axes: Axes,
    table: np.ndarray,
    texts: Sequence[Sequence[str]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    font: float = 8.5,
    always_signed: bool = False,
) -> None:
    """Draw a cell for each number, the stronger the larger: orange above 0 where some are below.

    Colours are one hue on the paper, so that the ink is legible on every cell and on paper of
    any colour.

    Args:
        axes: Where to draw.
        table: Shape (rows, columns). NaN leaves a cell empty.
        texts: What stands in each cell.
        rows: Names on the left, the first on top.
        columns: Names above.
        font: Size of the texts.
        always_signed: Orange above 0 even where nothing is below.
    """
    top = float(np.nanmax(np.abs(table), initial=0.0)) or 1.0
    signed = always_signed or bool((table < 0).any())
    for y, line in enumerate(texts):
        for x, text in enumerate(line):
            value = float(table[y, x])
            hue = ORANGE if signed and value > 0 else BLUE
            strength = 0.04 + 0.5 * abs(value) / top if math.isfinite(value) else 0.0
            cell = Rectangle((x - 0.5, y - 0.5), 1, 1, fc=to_rgba(hue, strength), ec=PAPER, lw=1.5)
            cell.set_clip_on(False)
            axes.add_patch(cell)
            axes.text(x, y, text, ha="center", va="center", fontsize=font, linespacing=1.15)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.xaxis.tick_top()
    if max(len(name) for name in columns) * len(columns) > 40:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="left", rotation_mode="anchor")
    for side in axes.spines.values():
        side.set_visible(False)


def or_lowest(value: float) -> float:
    """Order that puts undefined figures at the bottom."""
    return value if math.isfinite(value) else -math.inf
