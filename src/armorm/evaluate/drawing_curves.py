"""Reliability and length curves as pictures; needs the extra `plots`, and says so on import."""

from __future__ import annotations

import math
from collections.abc import Sequence

from armorm.evaluate.calibration_figures import LengthCurve, Reliability
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
    Axes,
    Figure,
    axis_label,
    dot,
    legend,
    limits,
    mpl,
    new_figure,
    row_names,
)
from armorm.evaluate.length_sections import characters_words, ratio_words


def plot_reliability(named: Sequence[tuple[str, Reliability]], *, width: float = WIDTH) -> Figure:
    """Return how often the model is right by how sure it is, and how many pairs that are.

    Args:
        named: One curve, or two: before and after a temperature.
        width: Inches.

    Returns:
        The figure; a calibrated model lies on the diagonal.
    """
    figure, axes = new_figure(1, extra=0.5 * width + 1.1, width=width)
    with mpl.rc_context(STYLE):
        axes.remove()
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        axes.plot([50, 100], [50, 100], color=INK, lw=1, ls=(0, (2, 3)), label="calibrated")
        colors = [BLUE] if len(named) == 1 else [ORANGE, GREEN]
        for i, ((name, reliability), color) in enumerate(zip(named, colors, strict=False)):
            shift = 0.0 if len(named) == 1 else (i - 0.5) * 0.7
            _curve(axes, reliability, color, name, shift, hollow=i < len(named) - 1)
            _counts(counts, reliability, color, place=i, of=len(named))
        axes.set_xlim(49, 101)
        axes.set_ylabel("right, per cent")
        axes.grid(True, color=FAINT, lw=0.8)
        legend(axes)
        counts.set_ylabel("pairs")
        counts.set_xlabel("confidence: sigmoid(beta |margin|), per cent")
        counts.yaxis.grid(True, color=FAINT, lw=0.8)
        axes.set_title("How often the model is right when it is so sure", pad=22)
    return figure


def plot_scores_by_length(curve: LengthCurve, *, width: float = WIDTH) -> Figure:
    """Return the mean score of responses by their length, before and after debias.

    Args:
        curve: The figures.
        width: Inches.

    Returns:
        The figure; the shortest responses are on top.
    """
    bins = list(reversed(curve.score))
    figure, axes = new_figure(len(bins), extra=1.6, width=width)
    with mpl.rc_context(STYLE):
        axes.axvline(0, color=INK, lw=0.8)
        for y, one in enumerate(bins):
            dot(axes, y, one.value, BLUE, label="" if y else "score")
            if one.before is not None and math.isfinite(one.before.value):
                _hollow(axes, one.before.value, y, ORANGE, "" if y else "before debias")
        row_names(axes, [characters_words(one) for one in bins], pad=0.7)
        shown = [one.value for one in bins] + [one.before for one in bins if one.before is not None]
        limits(axes, shown, include=0.0)
        axes.set_ylabel("characters")
        label = axis_label("Mean score in standard deviations", [one.value for one in bins])
        axes.set_xlabel(label)
        axes.set_title("How the score follows the length of a response", pad=22)
        legend(axes)
    return figure


def plot_longer_wins(curve: LengthCurve, *, width: float = WIDTH) -> Figure:
    """Return how often the longer response scores higher, by how much longer it is.

    Args:
        curve: The figures.
        width: Inches.

    Returns:
        The figure; the most alike in length are on top.
    """
    bins = list(reversed(curve.longer_wins))
    figure, axes = new_figure(len(bins), extra=1.6, width=width)
    with mpl.rc_context(STYLE):
        axes.axvline(50, color=INK, lw=0.8)
        for y, one in enumerate(bins):
            name = "" if y else "scores higher"
            dot(axes, y, one.value, BLUE, factor=100, digits=0, unit=" %", label=name)
            if one.before is not None and math.isfinite(one.before.value):
                _hollow(axes, 100 * one.before.value, y, ORANGE, "" if y else "before debias")
            if one.preferred is not None and math.isfinite(one.preferred.value):
                at, name = 100 * one.preferred.value, "" if y else "is preferred"
                axes.plot(at, y, "D", ms=5, color=GREY, label=name, zorder=3)
        row_names(axes, [ratio_words(one) for one in bins], pad=0.7)
        axes.set_xlim(-3, 103)
        axes.set_ylabel("times as long")
        axes.set_xlabel(axis_label("Pairs in per cent", [one.value for one in bins]))
        axes.set_title("How often the longer response wins", pad=22)
        legend(axes)
    return figure


def _curve(
    axes: Axes, reliability: Reliability, color: str, name: str, shift: float, *, hollow: bool
) -> None:
    """Points with intervals, joined; bins without pairs are left out."""
    filled = [one for one in reliability.bins if one.n and math.isfinite(one.confidence)]
    x = [100 * one.confidence + shift for one in filled]
    y = [100 * one.accuracy.value for one in filled]
    for at, one in zip(x, filled, strict=True):
        if one.accuracy.has_interval:
            ends = [100 * one.accuracy.low, 100 * one.accuracy.high]
            axes.plot([at, at], ends, color=color, lw=3.2, alpha=0.4, solid_capstyle="round")
    face = PAPER if hollow else color
    axes.plot(x, y, "o-", ms=6, lw=1.3, color=color, mfc=face, mew=1.6, label=name)


def _counts(axes: Axes, reliability: Reliability, color: str, *, place: int, of: int) -> None:
    """Pairs of each bin as bars, those of several curves side by side."""
    bins = reliability.bins
    step = 100 * (bins[0].high - bins[0].low) / of if bins else 1.0
    left = [100 * one.low + place * step for one in bins]
    height = [one.n for one in bins]
    axes.bar(left, height, width=0.8 * step, align="edge", color=color, alpha=0.75)


def _hollow(axes: Axes, x: float, y: float, color: str, label: str) -> None:
    """A ring, for what was before."""
    axes.plot(x, y, "o", ms=6.5, mfc=PAPER, mec=color, mew=1.6, label=label or None, zorder=3)
