"""Figures of an audit as pictures; needs the extra `plots`, and says so on import."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from armorm.evaluate.audit.figures import EditEffect, Structure
from armorm.evaluate.canvas import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    STYLE,
    WIDTH,
    Figure,
    heat_map,
    legend,
    mpl,
    new_figure,
    row_names,
)
from armorm.evaluate.wording import number

_NAMES = 1.6
_CELL = 0.56


def plot_edits(edits: Sequence[EditEffect], *, width: float = WIDTH) -> Figure:
    """Return a heat map of what edits do: mean change, and below it the share of rows raised.

    Args:
        edits: One an edit and target.
        width: Inches, more where the targets need it.

    Returns:
        The figure, orange where an edit raises a target.
    """
    names = list(dict.fromkeys(one.edit for one in edits))
    targets = list(dict.fromkeys(one.target for one in edits))
    found = {(one.edit, one.target): one for one in edits}
    table = np.array(
        [[found[name, of].mean_change.value for of in targets] for name in names], dtype=np.float64
    )
    texts = [[_change(found[name, of]) for of in targets] for name in names]
    width = max(width, _NAMES + _CELL * len(targets))
    figure, axes = new_figure(len(names), extra=1.7, row=0.42, width=width)
    with mpl.rc_context(STYLE):
        heat_map(axes, table, texts, rows=names, columns=targets, font=8, always_signed=True)
        if len(targets) > 1:
            axes.axvline(0.5, color=PAPER, lw=6)
        axes.set_title("Mean change in standard deviations, and share of rows raised", pad=24)
    return figure


def plot_correlations(
    before: dict[str, float], after: dict[str, float], *, target: str, width: float = WIDTH
) -> Figure:
    """Return what one target follows, before and after debias.

    Args:
        before: Spearman within prompts by measure.
        after: The same after debias.
        target: Name of the target.
        width: Inches.

    Returns:
        The figure.
    """
    names = list(reversed(before))
    figure, axes = new_figure(len(names), extra=1.5, width=width)
    with mpl.rc_context(STYLE):
        axes.axvline(0, color=INK, lw=0.8)
        for y, name in enumerate(names):
            ends = [before[name], after[name]]
            axes.plot(ends, [y, y], color=FAINT, lw=2.5, zorder=1)
            label = None if y else "before debias"
            axes.plot(ends[0], y, "o", ms=7, mfc=PAPER, mec=ORANGE, mew=1.8, label=label)
            axes.plot(ends[1], y, "o", ms=6, color=GREEN, label=None if y else "after")
        values = [abs(v) for v in (*before.values(), *after.values()) if math.isfinite(v)]
        reach = max([0.3, *values])
        axes.set_xlim(-1.1 * reach, 1.1 * reach)
        row_names(axes, names, pad=0.7)
        axes.set_xlabel(f"Spearman correlation of the {target}, within prompts")
        axes.set_title("Correlation with measures of the response", pad=22)
        legend(axes)
    return figure


def plot_structure(structure: Structure, *, width: float = WIDTH) -> Figure:
    """Return a heat map of the correlations of the objective scores after debias.

    Args:
        structure: The figures.
        width: Inches, more where the objectives need it.

    Returns:
        The figure, orange where two objectives rise together.
    """
    names = list(structure.objectives)
    table = np.array(structure.after, dtype=np.float64)
    texts = [[number(value, digits=1) for value in row] for row in table.tolist()]
    width = max(width, _NAMES + 0.42 * len(names))
    figure, axes = new_figure(len(names), extra=1.5, row=0.3, width=width)
    with mpl.rc_context(STYLE):
        heat_map(axes, table, texts, rows=names, columns=names, font=7.5, always_signed=True)
        axes.set_title("Which objectives say the same: correlations after debias", pad=24)
    return figure


def plot_sizes(sizes: dict[str, float], *, width: float = WIDTH) -> Figure:
    """Return how far each target moves when the same is said in other words.

    Args:
        sizes: Mean absolute change by target, in standard deviations.
        width: Inches.

    Returns:
        The figure.
    """
    names = list(reversed(sizes))
    figure, axes = new_figure(len(names), extra=1.1, row=0.3, width=width)
    with mpl.rc_context(STYLE):
        values = [sizes[name] for name in names]
        axes.barh(range(len(names)), values, height=0.6, color=BLUE)
        row_names(axes, names, pad=0.7, bold="score")
        for y, value in enumerate(values):
            if math.isfinite(value):
                axes.annotate(
                    number(value),
                    (value, y),
                    xytext=(5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                )
        axes.set_xlim(0, 1.15 * max([0.1, *(v for v in values if math.isfinite(v))]))
        axes.set_xlabel("Mean size of the change in standard deviations")
        axes.set_title("How far other words move a target", pad=12)
    return figure


def _change(one: EditEffect) -> str:
    """Mean change and share of rows raised."""
    raised = number(100 * one.share_raised.value, digits=0)
    return f"{number(one.mean_change.value, sign=True)}\n{raised} %"
