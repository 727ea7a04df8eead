"""How the score follows the length of a response, as tables."""

from __future__ import annotations

from armorm.evaluate.calibration_figures import LengthBin, LengthCurve
from armorm.evaluate.sections import Grid, level_head
from armorm.evaluate.wording import UNDEFINED, number, spread


def length_parts(curve: LengthCurve) -> list[str | Grid]:
    """Return the curve in words and tables.

    Args:
        curve: The figures.

    Returns:
        What is shown, then a table by length and one by the ratio of two lengths.
    """
    return [
        "Mean score by the length of the response, in standard deviations from the mean over all "
        "responses; and how often the longer response of a pair scores higher, beside how often "
        "it is the preferred one. A score that judges quality alone follows the second.",
        score_grid(curve),
        wins_grid(curve),
    ]


def score_grid(curve: LengthCurve) -> Grid:
    """Return mean scores by length.

    Args:
        curve: The figures.

    Returns:
        A line a bin.
    """
    bins = curve.score
    has_before = any(one.before is not None for one in bins)
    rows = [
        [
            characters_words(one),
            f"{one.n:,}",
            *([_value(one)] if has_before else []),
            number(one.value.value, sign=True),
            spread(one.value, sign=True),
        ]
        for one in bins
    ]
    names = ["before debias", "score"] if has_before else ["score"]
    head = ["characters", "responses", *names, level_head(one.value for one in bins)]
    return Grid(head, rows, caption="Mean score by length")


def wins_grid(curve: LengthCurve) -> Grid:
    """Return the share of pairs that the longer response wins, by the ratio of lengths.

    Args:
        curve: The figures.

    Returns:
        A line a bin.
    """
    bins = curve.longer_wins
    has_before = any(one.before is not None for one in bins)
    rows = [
        [
            ratio_words(one),
            f"{one.n:,}",
            UNDEFINED if one.preferred is None else number(100 * one.preferred.value, digits=1),
            *([_value(one, factor=100, digits=1, sign=False)] if has_before else []),
            number(100 * one.value.value, digits=1),
            spread(one.value, factor=100, digits=1),
        ]
        for one in bins
    ]
    names = ["before debias, %", "scores higher, %"] if has_before else ["scores higher, %"]
    head = ["times as long", "pairs", "is preferred, %", *names]
    level = level_head(one.value for one in bins)
    return Grid([*head, level], rows, caption="The longer response of a pair")


def ratio_words(one: LengthBin) -> str:
    """Return the ratios of a bin, as `1.2 to 1.5`.

    Args:
        one: A bin of ratios.

    Returns:
        The text.
    """
    return f"{one.low:.2f} to {one.high:.2f}" if one.low < one.high else f"{one.low:.2f}"


def characters_words(one: LengthBin) -> str:
    """Return the lengths of a bin, as `120 to 340`.

    Args:
        one: A bin of characters.

    Returns:
        The text.
    """
    return f"{one.low:,.0f} to {one.high:,.0f}" if one.low < one.high else f"{one.low:,.0f}"


def _value(one: LengthBin, *, factor: float = 1.0, digits: int = 2, sign: bool = True) -> str:
    """What a bin was before debias."""
    if one.before is None:
        return UNDEFINED
    return number(factor * one.before.value, digits=digits, sign=sign)
