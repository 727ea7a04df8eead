"""A reliability curve as tables, the same in reports and audits."""

from __future__ import annotations

from collections.abc import Sequence

from armorm.evaluate.calibration_figures import Reliability
from armorm.evaluate.sections import Grid
from armorm.evaluate.wording import UNDEFINED, number, spread


def reliability_parts(
    named: Sequence[tuple[str, Reliability]], *, curves: Sequence[str] | None = None
) -> list[Grid]:
    """Return the errors of probabilities, and the curve of each.

    Args:
        named: Reliabilities with what they are of.
        curves: Those whose curve is shown; None for all.

    Returns:
        A table of the errors, and one with a line for every bin.
    """
    errors = [
        [
            name,
            f"{one.n:,}",
            number(100 * one.confidence, digits=1),
            number(100 * one.accuracy, digits=1),
            number(one.ece, digits=3),
            number(one.ece_by_chance, digits=3),
            number(one.brier.value, digits=3),
            number(one.log_loss.value, digits=3),
        ]
        for name, one in named
    ]
    head = ["pairs", "n", "claims, %", "right, %", "ECE", "by chance", "Brier", "log loss"]
    shown = [(name, one) for name, one in named if curves is None or name in curves]
    return [Grid(head, errors), reliability_curve(shown)]


def reliability_curve(named: Sequence[tuple[str, Reliability]]) -> Grid:
    """Return the curves alone.

    Args:
        named: Reliabilities with what they are of.

    Returns:
        A table with a line for every bin.
    """
    several = len(named) > 1
    rows = [
        [
            *([name] if several else []),
            f"{100 * one.low:.0f} to {100 * one.high:.0f} %",
            f"{one.n:,}",
            number(100 * one.confidence, digits=1),
            number(100 * one.accuracy.value, digits=1) if one.n else UNDEFINED,
            spread(one.accuracy, factor=100, digits=0),
        ]
        for name, reliability in named
        for one in reliability.bins
    ]
    head = ["confidence", "pairs", "claims, %", "right, %", "interval"]
    left = (0, 1) if several else (0,)
    return Grid(["of", *head] if several else head, rows, left=left)
