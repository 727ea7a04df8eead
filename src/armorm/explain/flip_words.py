"""Says in plain words what would turn a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from armorm.explain.flip import Flip, SingleChange
from armorm.explain.sentence import joined, spoken

_NAMED = 3  # objectives that give up weight
_FAR = 10.0
"""A factor beyond this, or below its inverse, is not said: nobody would take it for a choice."""


def flip_in_words(flip: Flip | None, *, nuisances: Sequence[str] = ()) -> str:
    """Return one or two sentences on the smallest change that makes the other response win.

    Args:
        flip: The change; None for a tie.
        nuisances: What the debias step has removed, named where no change is enough.

    Returns:
        The text; empty for a tie.

    Example:
        >>> from armorm.explain.flip import flip_gating
        >>> print(flip_in_words(flip_gating({"a": 1.0}, {"a": 0.2}, margin=0.2)))
        No weighting of the objectives would prefer the other response: it is behind on all of them.
    """
    if flip is None:
        return ""
    if flip.moved is None:
        return _none(flip, nuisances)
    if flip.fixed:
        return _weight(flip.single)
    single = flip.single
    if single is None or not is_near(single):
        return f"To prefer the other response, the model would have to move {_move(flip)}."
    name = spoken(single.objective)
    how = (
        f"counted for less than {_plain(100 * single.value)} % of what it does now"
        if single.value < 1
        else f"counted {_plain(single.value)} times as much as it does now"
    )
    return (
        f"The model would prefer the other response if {name} {how}. "
        f"The least shift that would do it is {_move(flip)}."
    )


def is_near(single: SingleChange) -> bool:
    """Say whether a factor is one that a person might choose, from a tenth to tenfold."""
    return 1 / _FAR <= single.value <= _FAR


def _none(flip: Flip, nuisances: Sequence[str]) -> str:
    """No weighting is enough."""
    taken_out = f"with {joined([spoken(n) for n in nuisances])} taken out, " if nuisances else ""
    where = "it is behind on all of them" if flip.behind else "it is ahead on none of them"
    return f"No weighting of the objectives would prefer the other response: {taken_out}{where}."


def _move(flip: Flip) -> str:
    """How much weight must move, from where to where."""
    assert flip.moved is not None
    assert flip.given_to is not None
    taken = sorted(flip.taken, key=lambda name: -flip.taken[name])
    names = [spoken(name) for name in taken[:_NAMED]]
    if more := len(taken) - len(names):
        names.append(f"{more} other{'s' if more > 1 else ''}")
    share = 100 * flip.moved
    size = "less than 0.1" if share < 0.1 else f"{share:.1f}" if share < 10 else f"{share:.0f}"
    return f"{size} % of the weight, from {joined(names)} to {spoken(flip.given_to)}"


def _weight(single: SingleChange | None) -> str:
    """What another fixed weight does."""
    if single is None:
        return ""
    more = "more" if single.value > single.limit else "less"
    return (
        f"The model would prefer the other response if {spoken(single.objective)} had a weight "
        f"of {_plain(single.value)} or {more}."
    )


def _plain(value: float) -> str:
    """A number without exponent, thousands apart."""
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text if float(text.replace(",", "")) else f"{value:.2g}"
