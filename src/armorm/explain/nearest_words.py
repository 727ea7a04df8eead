"""Says in plain words what raters gave to responses that are like the explained ones."""

from __future__ import annotations

from collections.abc import Sequence

from armorm.evaluate.wording import number
from armorm.explain.compare import ObjectiveDifference
from armorm.explain.nearest import RatedNeighbour
from armorm.explain.sentence import spoken

_ALIKE = 0.02  # difference of mean normalised ratings, or of objective scores, that says nothing
_CLOSE = 0.4
"""Similarity below which a response is called not close. On the shipped corpus 95 of 100 pairs of
responses to different prompts lie below 0.36, and 95 of 100 responses have a row of another prompt
above 0.43."""


def pair_in_words(
    difference: ObjectiveDifference,
    chosen: Sequence[RatedNeighbour],
    rejected: Sequence[RatedNeighbour],
) -> str:
    """Return what raters gave to responses like the two of a pair, and whether that agrees.

    Args:
        difference: The objective, with the objective scores of both responses.
        chosen: Rated rows near to the chosen response.
        rejected: Rated rows near to the rejected one.

    Returns:
        One or two sentences; empty where either side has none. Ratings of responses that are
        not close are not held against the model.
    """
    if not chosen or not rejected:
        return ""
    name = spoken(difference.name)
    text = (
        f"For {name}, raters gave {_those(chosen, 'the chosen response')} {_rating(chosen)}, and "
        f"{_those(rejected, 'the rejected one', short=True)} {_rating(rejected)}."
    )
    far = [
        side
        for side, found in (("chosen", chosen), ("rejected", rejected))
        if found[0].similarity < _CLOSE
    ]
    if far:
        whom = "None of them is" if len(far) == 2 else f"None like the {far[0]} one is"
        return f"{text} {whom} close, so that says little."
    rated = _mean(chosen) - _mean(rejected)
    scored = difference.chosen - difference.rejected
    if abs(rated) < _ALIKE or abs(scored) < _ALIKE or rated * scored > 0:
        return text
    higher = "chosen" if scored > 0 else "rejected"
    return f"{text} That speaks against the model, which puts the {higher} response higher there."


def response_in_words(objective: str, found: Sequence[RatedNeighbour]) -> str:
    """Return what raters gave to responses like one.

    Args:
        objective: The objective that they were rated on.
        found: Rated rows near to the response.

    Returns:
        One sentence; empty where there is none.
    """
    if not found:
        return ""
    like = _those(found, "this one")
    text = f"For {spoken(objective)}, raters gave {like} {_rating(found)}."
    return text if found[0].similarity >= _CLOSE else f"{text} None of them is close."


def rating_on_scale(found: RatedNeighbour) -> str:
    """Return one rating with its scale, as `3 of 4` or `3 on -5 to 5`."""
    return _on_scale(f"{found.rating:g}", found)


def _those(found: Sequence[RatedNeighbour], whom: str, *, short: bool = False) -> str:
    """Name the rated responses of a side."""
    if len(found) == 1:
        return f"the {'one' if short else 'response'} most like {whom}"
    return f"the {len(found)}{'' if short else ' responses'} most like {whom}"


def _rating(found: Sequence[RatedNeighbour]) -> str:
    """Their mean rating, on their scale where it is one."""
    first = found[0]
    average = " on average" if len({one.rating for one in found}) > 1 else ""
    if any(one.scale != first.scale for one in found):
        return f"{number(100 * _mean(found), digits=0)} % of the scale on average"
    mean = sum(one.rating for one in found) / len(found)
    return _on_scale(f"{mean:.1f}".removesuffix(".0"), first) + average


def _on_scale(rating: str, one: RatedNeighbour) -> str:
    """A rating with its scale."""
    if one.scale.low in (0, 1):  # as people say it, also of stars
        return f"{rating} of {one.scale.high:g}"
    return f"{rating} on {one.scale.low:g} to {one.scale.high:g}"


def _mean(found: Sequence[RatedNeighbour]) -> float:
    """Their mean rating where the lowest of each scale is 0 and the highest 1."""
    shares = [(one.rating - one.scale.low) / (one.scale.high - one.scale.low) for one in found]
    return sum(shares) / len(shares)
