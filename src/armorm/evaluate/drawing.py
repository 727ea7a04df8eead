"""Figures of a report as pictures; needs the extra `plots`, and says so on import."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armorm.errors import MissingDependency
from armorm.evaluate.figures import DebiasFigures, GatingFigures, PreferenceFigures, Report
from armorm.evaluate.interval import Interval
from armorm.evaluate.wording import number
from armorm.storage import write_bytes

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingDependency("drawing plots", "plots") from error

# From the palette of Okabe and Ito (2008), told apart with any common colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6F757E"
INK, FAINT = "#22262B", "#D9DCE1"
_DPI = 150
_WIDTH = 7.2
_STYLE: dict[Any, Any] = {
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
    "figure.facecolor": "white",
    "svg.hashsalt": "armorm",
}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG at 150 dots an inch; one figure gives one sequence of bytes.

    Args:
        figure: What a `plot_` function returned.
        path: The file; its folder is made when absent.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        # Without the version of matplotlib, which would change the bytes and not the picture.
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def plot_objectives(report: Report) -> Figure:
    """Return Spearman by objective with intervals, the strongest on top, and their mean.

    Args:
        report: A report with objectives; one whose correlation is undefined has no point.

    Returns:
        The figure.
    """
    rows = sorted(report.objectives, key=lambda one: _or_lowest(one.spearman.value))
    figure, axes = _figure(len(rows), extra=1.5)
    with mpl.rc_context(_STYLE):
        for y, one in enumerate(rows):
            _point(axes, y, one.spearman, BLUE)
        mean = report.mean_spearman
        if mean is not None and math.isfinite(mean.value):
            if mean.has_interval:
                axes.axvspan(mean.low, mean.high, color=BLUE, alpha=0.10, lw=0)
            axes.axvline(mean.value, color=BLUE, lw=1, ls=(0, (4, 3)))
            _mark(axes, mean.value, f"mean {number(mean.value)}", BLUE)
        axes.axvline(0, color=INK, lw=0.8)
        _rows(axes, [one.name for one in rows], pad=0.7)
        _limits(axes, [one.spearman for one in rows], include=0.0)
        axes.set_xlabel(_label("Spearman correlation with the ratings", [o.spearman for o in rows]))
        axes.set_title("How well each objective is predicted", pad=20)
    return figure


def plot_preferences(preferences: Sequence[PreferenceFigures]) -> Figure:
    """Return the accuracy of every scorer with intervals, the reference in colour.

    Args:
        preferences: The scorers, the reference first.

    Returns:
        The figure; the line at 50 % is where guessing stands.
    """
    rows = list(reversed(preferences))
    figure, axes = _figure(len(rows), extra=1.5, row=0.42)
    with mpl.rc_context(_STYLE):
        axes.axvline(50, color=INK, lw=0.8)
        for y, one in enumerate(rows):
            color = BLUE if one.difference_to_gated is None else GREY
            _point(axes, y, one.accuracy, color, factor=100.0, digits=1, unit=" %")
        ours = next((one for one in rows if one.difference_to_gated is None), None)
        if ours is not None:
            axes.axvline(100 * ours.accuracy.value, color=BLUE, lw=1, ls=(0, (4, 3)), alpha=0.6)
        _rows(axes, [one.scorer for one in rows], pad=0.7, bold=ours.scorer if ours else "")
        _limits(axes, [one.accuracy for one in rows], include=50.0, factor=100.0)
        _mark(axes, 50, "guessing", INK)
        label = _label("Preference accuracy in per cent", [o.accuracy for o in rows])
        axes.set_xlabel(label)
        axes.set_title("Which scorer prefers the chosen response", pad=20)
    return figure


def plot_debias(debias: DebiasFigures) -> Figure:
    """Return the correlation with the nuisance before and after debias, as arrows to zero.

    Args:
        debias: The figures.

    Returns:
        The figure.
    """
    names = sorted(debias.before, key=lambda name: _or_lowest(debias.before[name]))
    figure, axes = _figure(len(names), extra=1.75)
    with mpl.rc_context(_STYLE):
        axes.axvspan(-0.02, 0.02, color=GREEN, alpha=0.13, lw=0, label="within 0.02")
        axes.axvline(0, color=INK, lw=0.8)
        for y, name in enumerate(names):
            before, after = debias.before[name], debias.after.get(name, math.nan)
            axes.plot([before, after], [y, y], color=FAINT, lw=2.5, zorder=1)
            axes.plot(
                before,
                y,
                "o",
                ms=7,
                mfc="white",
                mec=ORANGE,
                mew=1.8,
                label="before" if not y else None,
            )
            axes.plot(after, y, "o", ms=6, color=GREEN, label="after" if not y else None)
        reach = max(0.1, *(abs(v) for v in debias.before.values() if math.isfinite(v)))
        axes.set_xlim(-1.15 * reach, 1.15 * reach)
        _rows(axes, names, pad=0.7)
        axes.set_xlabel(f"Spearman correlation with {', '.join(debias.nuisances)}")
        axes.set_title("What debias removes", pad=22)
        _legend(axes)
    return figure


def plot_gating(gating: GatingFigures) -> Figure:
    """Return a heat map of the mean weights, objectives by sources.

    Args:
        gating: The figures; without sources there is one column.

    Returns:
        The figure, each cell with its weight in per cent.
    """
    columns = dict(gating.by_source) if len(gating.by_source) > 1 else {}
    columns["all"] = gating.mean
    names = list(gating.mean)
    table = np.array([[columns[c].get(name, 0.0) for c in columns] for name in names]) * 100
    figure, axes = _figure(len(names), extra=1.35, row=0.31)
    with mpl.rc_context(_STYLE):
        shades = LinearSegmentedColormap.from_list("blues", ["#F5F8FB", "#7FB4D8", "#004C7A"])
        top = max(float(table.max()), 1.0)
        axes.imshow(table, cmap=shades, vmin=0, vmax=top, aspect="auto")
        for (y, x), value in np.ndenumerate(table):
            dark = value > 0.55 * top
            axes.text(
                x,
                y,
                number(value, digits=1),
                ha="center",
                va="center",
                fontsize=8.5,
                color="white" if dark else INK,
            )
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(columns)), list(columns))
        axes.xaxis.tick_top()
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", lw=1.5)
        axes.tick_params(which="minor", length=0)
        if len(columns) > 1:
            axes.axvline(len(columns) - 1.5, color="white", lw=7)
        axes.set_title("Where the gating looks: mean weight in per cent, by source", pad=24)
    return figure


def plot_contributions(
    contributions: Mapping[str, float], *, title: str, total: str = "score"
) -> Figure:
    """Return what adds up to a score or a margin as signed bars, and the sum below.

    Args:
        contributions: By objective, in score units; the largest in size is drawn on top.
        title: Title of the picture.
        total: Name of the sum: `score` of one response, `margin` of a pair.

    Returns:
        The figure.

    Raises:
        ValueError: there is no objective.
    """
    if not contributions:
        raise ValueError("`contributions` must have at least 1 objective; got none")
    names = sorted(contributions, key=lambda name: abs(contributions[name]))
    values = np.array([contributions[name] for name in names])
    labels, sizes = [total, *names], np.concatenate([[values.sum()], values])
    figure, axes = _figure(len(labels), extra=1.3)
    with mpl.rc_context(_STYLE):
        y = np.arange(len(labels), dtype=float)
        y[0] -= 0.35  # the sum stands apart from its parts
        colors = [INK, *(BLUE if value >= 0 else ORANGE for value in values)]
        axes.barh(y, sizes, height=0.62, color=colors)
        axes.axvline(0, color=INK, lw=0.8)
        axes.axhline(0.35, color=FAINT, lw=1)
        reach = float(np.abs(sizes).max()) or 1.0
        digits = int(min(6, max(2, 1 - math.floor(math.log10(reach)))))
        for at, value in zip(y, sizes, strict=True):
            axes.annotate(
                number(float(value), digits=digits, sign=True),
                (value, at),
                xytext=(5 if value >= 0 else -5, 0),
                textcoords="offset points",
                va="center",
                ha="left" if value >= 0 else "right",
                fontsize=8.5,
            )
        low, high = min(0.0, float(sizes.min())), max(0.0, float(sizes.max()))
        room = 0.16 * (high - low or 1.0)
        axes.set_xlim(low - (room if low < 0 else 0), high + room)
        axes.set_yticks(y, labels)
        axes.get_yticklabels()[0].set_fontweight("bold")
        axes.set_ylim(-0.9, len(labels) - 0.4)
        axes.xaxis.grid(True, color=FAINT, lw=0.8)
        axes.set_xlabel(f"Contribution to the {total}")
        axes.set_title(title)
    return figure


def _figure(n_rows: int, *, extra: float, row: float = 0.34) -> tuple[Figure, Axes]:
    """A figure tall enough for its rows, in our style, with no state outside of it."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, row * n_rows + extra), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.add_subplot()


def _point(
    axes: Axes,
    y: float,
    interval: Interval,
    color: str,
    *,
    factor: float = 1.0,
    digits: int = 2,
    unit: str = "",
) -> None:
    """A figure as a dot, its interval as a bar, its value as text on the right."""
    if not math.isfinite(interval.value):
        return
    if interval.has_interval:
        ends = [factor * interval.low, factor * interval.high]
        axes.plot(ends, [y, y], color=color, lw=3.2, alpha=0.45, solid_capstyle="round")
    axes.plot(factor * interval.value, y, "o", ms=6.5, color=color)
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


def _mark(axes: Axes, x: float, text: str, color: str) -> None:
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


def _rows(axes: Axes, names: Sequence[str], *, pad: float, bold: str = "") -> None:
    """Names on the left, thin vertical grid lines."""
    axes.set_yticks(range(len(names)), names)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        if name == bold:
            label.set_fontweight("bold")
    axes.set_ylim(-0.7, len(names) - 1 + pad)
    axes.xaxis.grid(True, color=FAINT, lw=0.8)


def _limits(
    axes: Axes, intervals: Sequence[Interval], *, include: float, factor: float = 1.0
) -> None:
    """Room for every interval."""
    ends = [include]
    for one in intervals:
        ends += [factor * v for v in (one.value, one.low, one.high) if math.isfinite(v)]
    room = 0.05 * (max(ends) - min(ends) or factor)
    axes.set_xlim(min(ends) - room, max(ends) + room)


def _label(text: str, intervals: Sequence[Interval]) -> str:
    """Label of the axis, with the level of the intervals when there are any."""
    levels = sorted({one.level for one in intervals if one.has_interval})
    return f"{text} ({100 * levels[0]:g} % intervals)" if len(levels) == 1 else text


def _legend(axes: Axes) -> None:
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


def _or_lowest(value: float) -> float:
    """Order that puts undefined figures at the bottom."""
    return value if math.isfinite(value) else -math.inf
