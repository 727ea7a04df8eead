"""Figures as text, the same in the terminal, in report.md and on pictures."""

from __future__ import annotations

import math

from armorm.evaluate.figures import PreferenceFigures, Report
from armorm.evaluate.interval import Interval
from armorm.model.rivals import WITHOUT_DEBIAS, WITHOUT_MEASURED

UNDEFINED = "-"
"""Shown where a figure is undefined."""


def number(value: float, *, digits: int = 2, sign: bool = False) -> str:
    """Return a number with fixed digits, or a dash where it is undefined.

    Args:
        value: The number; NaN where undefined.
        digits: Digits after the point.
        sign: Whether a plus sign is written.

    Returns:
        The text, without a minus in front of zero.

    Example:
        >>> number(0.456), number(-0.001), number(float("nan")), number(0.1, sign=True)
        ('0.46', '0.00', '-', '+0.10')
    """
    if not math.isfinite(value):
        return UNDEFINED
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "+" if sign else "") if float(text) == 0 else text


def spread(interval: Interval, *, digits: int = 2, factor: float = 1.0, sign: bool = False) -> str:
    """Return the interval alone, as `0.31 to 0.47`, or nothing where there is none.

    Args:
        interval: The figure.
        digits: Digits after the point.
        factor: Multiplies both ends, 100 for per cent.
        sign: Whether plus signs are written.

    Returns:
        The text.
    """
    if not interval.has_interval:
        return ""
    low, high = (
        number(factor * end, digits=digits, sign=sign) for end in (interval.low, interval.high)
    )
    return f"{low} to {high}"


def share(interval: Interval) -> str:
    """Return an accuracy in per cent, as `71.5 %`."""
    value = number(100 * interval.value, digits=1)
    return value if value == UNDEFINED else f"{value} %"


def headline(report: Report) -> list[str]:
    """Return what a run found, in one to three sentences.

    Args:
        report: The report.

    Returns:
        Sentences on preference accuracy, on the best baseline and on the objectives;
        those whose figures are absent are left out.
    """
    sentences: list[str] = []
    ours, rival = report.reference(), report.best_baseline()
    if ours is not None:
        sentences.append(
            f"The {ours.scorer} model prefers the chosen response in {share(ours.accuracy)} of "
            f"{ours.n} preference pairs{_level(ours.accuracy, factor=100, digits=1, unit=' %')}."
        )
        if rival is not None:
            sentences.append(_against(rival, ours.scorer))
    mean = report.mean_spearman
    if mean is not None and math.isfinite(mean.value):
        rated = [one for one in report.objectives if not one.is_measured]
        defined = [one for one in rated if math.isfinite(one.spearman.value)]
        plural = "" if len(defined) == 1 else "s"
        sentences.append(
            f"Its objective scores follow the ratings with a mean Spearman correlation of "
            f"{number(mean.value)} over {len(defined)} objective{plural}{_level(mean)}."
        )
    return [*sentences, *_debiased(report)]


def verdict(difference: Interval) -> str:
    """Say what a paired difference to the reference shows.

    Args:
        difference: Accuracy of a scorer minus the reference's.

    Returns:
        `worse`, `better`, or `no clear difference` where the interval holds 0; `unknown`
        where there is no interval.
    """
    if not difference.has_interval:
        return "unknown"
    if difference.high < 0:
        return "worse"
    return "better" if difference.low > 0 else "no clear difference"


def _against(rival: PreferenceFigures, reference: str) -> str:
    """One sentence on the best baseline."""
    difference = rival.difference_to_gated
    assert difference is not None  # `best_baseline` returns rows that have one
    judged = {
        "worse": f"the {reference} model is ahead by more than chance explains",
        "better": f"the {reference} model is behind by more than chance explains",
        "no clear difference": "the difference is within what chance explains",
        "unknown": "too few prompts to tell them apart",
    }[verdict(difference)]
    points = number(100 * difference.value, digits=1, sign=True)
    ends = spread(difference, factor=100, digits=1, sign=True)
    return (
        f"The best baseline, {rival.scorer}, reaches {share(rival.accuracy)} "
        f"({points} points{', ' + ends if ends else ''}): {judged}."
    )


def _debiased(report: Report) -> list[str]:
    """What debias does to the score, and what that costs in accuracy."""
    if report.debias is None or not report.debias.score:
        return []
    moved = ", ".join(
        f"{one.nuisance} from {number(one.before.value, sign=True)} to "
        f"{number(one.after.value, sign=True)}"
        for one in report.debias.score
    )
    said = f"Debias takes the Spearman correlation of the score with {moved}, on held-out responses"
    costs = [
        f"{words} {_gain(rival.difference_to_gated)}"
        for name, words in (
            (WITHOUT_DEBIAS, "accuracy changes by"),
            (WITHOUT_MEASURED, "of which the measured nuisances make"),
        )
        if (rival := report.scorer(name)) is not None and rival.difference_to_gated is not None
    ]
    return ["; ".join([said, *costs]) + "."]


def _gain(difference: Interval) -> str:
    """What the reference has more than a rival, in points with the interval."""
    points = number(-100 * difference.value, digits=1, sign=True)
    ends = spread(difference, factor=-100, digits=1, sign=True).split(" to ")
    return f"{points} points" + (f" ({ends[1]} to {ends[0]})" if len(ends) == 2 else "")


def _level(interval: Interval, *, factor: float = 1.0, digits: int = 2, unit: str = "") -> str:
    """The interval in brackets with its level, or nothing."""
    if not interval.has_interval:
        return ""
    ends = spread(interval, factor=factor, digits=digits)
    return f" ({100 * interval.level:g} % interval {ends}{unit})"
