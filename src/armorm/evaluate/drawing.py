"""Figures of a report as pictures; needs the extra `plots`, and says so on import."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from armorm.evaluate.canvas import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    STYLE,
    WIDTH,
    Figure,
    axis_label,
    dot,
    heat_map,
    legend,
    limits,
    mark,
    mpl,
    new_figure,
    or_lowest,
    row_names,
)
from armorm.evaluate.figures import DebiasFigures, GatingFigures, PreferenceFigures, Report
from armorm.evaluate.wording import number


def plot_objectives(report: Report, *, width: float = WIDTH) -> Figure:
    """Return Spearman by objective with intervals, the strongest on top, and their mean.

    Args:
        report: A report with objectives; one whose correlation is undefined has no point.
        width: Inches.

    Returns:
        The figure.
    """
    rows = sorted(report.objectives, key=lambda one: or_lowest(one.spearman.value))
    figure, axes = new_figure(len(rows), extra=1.5, width=width)
    with mpl.rc_context(STYLE):
        for y, one in enumerate(rows):
            dot(axes, y, one.spearman, BLUE)
        mean = report.mean_spearman
        if mean is not None and math.isfinite(mean.value):
            if mean.has_interval:
                axes.axvspan(mean.low, mean.high, color=BLUE, alpha=0.10, lw=0)
            axes.axvline(mean.value, color=BLUE, lw=1, ls=(0, (4, 3)))
            mark(axes, mean.value, f"mean {number(mean.value)}", BLUE)
        axes.axvline(0, color=INK, lw=0.8)
        row_names(axes, [one.name for one in rows], pad=0.7)
        limits(axes, [one.spearman for one in rows], include=0.0)
        axes.set_xlabel(
            axis_label("Spearman correlation with the ratings", [o.spearman for o in rows])
        )
        axes.set_title("How well each objective is predicted", pad=20)
    return figure


def plot_preferences(preferences: Sequence[PreferenceFigures], *, width: float = WIDTH) -> Figure:
    """Return the accuracy of every scorer with intervals, the reference in colour.

    Args:
        preferences: The scorers, the reference first.
        width: Inches.

    Returns:
        The figure; the line at 50 % is where guessing stands.
    """
    rows = list(reversed(preferences))
    figure, axes = new_figure(len(rows), extra=1.5, row=0.42, width=width)
    with mpl.rc_context(STYLE):
        axes.axvline(50, color=INK, lw=0.8)
        for y, one in enumerate(rows):
            color = BLUE if one.difference_to_gated is None else GREY
            dot(axes, y, one.accuracy, color, factor=100.0, digits=1, unit=" %")
        ours = next((one for one in rows if one.difference_to_gated is None), None)
        if ours is not None:
            axes.axvline(100 * ours.accuracy.value, color=BLUE, lw=1, ls=(0, (4, 3)), alpha=0.6)
        row_names(axes, [one.scorer for one in rows], pad=0.7, bold=ours.scorer if ours else "")
        limits(axes, [one.accuracy for one in rows], include=50.0, factor=100.0)
        mark(axes, 50, "guessing", INK)
        label = axis_label("Preference accuracy in per cent", [o.accuracy for o in rows])
        axes.set_xlabel(label)
        axes.set_title("Which scorer prefers the chosen response", pad=20)
    return figure


def plot_debias(debias: DebiasFigures, *, width: float = WIDTH) -> Figure:
    """Return the correlation with the nuisance before and after debias, as arrows to zero.

    Args:
        debias: The figures.
        width: Inches.

    Returns:
        The figure.
    """
    names = sorted(debias.before, key=lambda name: or_lowest(debias.before[name]))
    figure, axes = new_figure(len(names), extra=1.75, width=width)
    with mpl.rc_context(STYLE):
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
                mfc=PAPER,
                mec=ORANGE,
                mew=1.8,
                label="before" if not y else None,
            )
            axes.plot(after, y, "o", ms=6, color=GREEN, label="after" if not y else None)
        reach = max(0.1, *(abs(v) for v in debias.before.values() if math.isfinite(v)))
        axes.set_xlim(-1.15 * reach, 1.15 * reach)
        row_names(axes, names, pad=0.7)
        axes.set_xlabel(f"Spearman correlation with {', '.join(debias.nuisances)}")
        axes.set_title("What debias removes", pad=22)
        legend(axes)
    return figure


def plot_gating(gating: GatingFigures, *, width: float = WIDTH) -> Figure:
    """Return a heat map of the mean weights, objectives by sources.

    Args:
        gating: The figures; without sources there is one column.
        width: Inches.

    Returns:
        The figure, each cell with its weight in per cent.
    """
    columns = dict(gating.by_source) if len(gating.by_source) > 1 else {}
    columns["all"] = gating.mean
    names = list(gating.mean)
    table = np.array([[columns[c].get(name, 0.0) for c in columns] for name in names]) * 100
    figure, axes = new_figure(len(names), extra=1.35, row=0.31, width=width)
    with mpl.rc_context(STYLE):
        texts = [[number(value, digits=1) for value in row] for row in table.tolist()]
        heat_map(axes, table, texts, rows=names, columns=list(columns))
        if len(columns) > 1:
            axes.axvline(len(columns) - 1.5, color=PAPER, lw=7)
        axes.set_title("Where the gating looks: mean weight in per cent", pad=24)
    return figure


def plot_contributions(
    contributions: Mapping[str, float], *, title: str, total: str = "score", width: float = WIDTH
) -> Figure:
    """Return what adds up to a score or a margin as signed bars, and the sum below.

    Args:
        contributions: By objective, in score units; the largest in size is drawn on top.
        title: Title of the picture.
        total: Name of the sum: `score` of one response, `margin` of a pair.
        width: Inches.

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
    figure, axes = new_figure(len(labels), extra=1.3, width=width)
    with mpl.rc_context(STYLE):
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
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(f"Contribution to the {total}")
        axes.set_title(title)
    return figure
