"""The smallest change of the weights that turns a verdict; it knows names and numbers only."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from armorm.errors import nearest

Applied = Callable[[Mapping[str, float]], float]
"""Margin of the pair under all factors of the gating, or under all fixed weights."""

_TOLERANCE = 1e-4  # gating is computed in float32 and may miss a sum of 1 by its rounding


@dataclass(frozen=True, slots=True)
class SingleChange:
    """A change of one objective that turns the verdict alone; it was tried, and it does."""

    objective: str
    """The objective."""
    limit: float
    """Its factor, or its weight, at which the two responses tie."""
    value: float
    """The same a little beyond, with few digits."""
    settings: Mapping[str, float]
    """All factors, or all weights, of the model that is steered so."""
    option: str
    """The option of the command line that sets them."""


@dataclass(frozen=True, slots=True)
class Flip:
    """What has to change before the model prefers the other response."""

    moved: float | None
    """Under the gating the share of the weight that has to move, half the sum of absolute
    changes; under fixed weights the sum of absolute changes as a share of that of the weights.
    At this much the two tie, beyond it the other one wins. None: no weighting is enough."""
    taken: Mapping[str, float] = field(default_factory=dict)
    """Weight that each objective gives up; empty under fixed weights."""
    given_to: str | None = None
    """The objective that receives it; None under fixed weights."""
    single: SingleChange | None = None
    """The smallest change of one objective that is enough; None where that of none is."""
    fixed: bool = False
    """Whether it is about fixed weights in place of the gating."""
    behind: bool = True
    """Where no weighting is enough: whether the other response is behind on every objective;
    else it is level on some."""


def flip_gating(
    gating: Mapping[str, float],
    differences: Mapping[str, float],
    *,
    margin: float,
    held: Collection[str] = (),
    factors: Mapping[str, float] | None = None,
    applied: Applied | None = None,
) -> Flip | None:
    """Find the smallest changes of the gating with which the other response wins.

    With weights g_j of a prompt and the debiased difference e_j of the two responses on
    objective j, margin = sum_j g_j e_j. Two answers are given, each with its own meaning of
    small:

    - the new weights g' >= 0 with the same sum, a margin of 0 or the other sign, and the least
      t = 1/2 sum_j |g'_j - g_j|. Weight that moves from i to j changes the margin by
      e_j - e_i, so that moving from the largest e_i to the smallest e_j, largest first, is the
      optimum of this linear program;
    - the factor nearest to 1 in its logarithm on one objective, the weights then made to sum
      to 1 again, as `RewardModel.scaled` does.

    An objective that a factor of 0 has taken out stays out.

    Args:
        gating: Weight by objective, at least 0, summing to 1.
        differences: Debiased score of the chosen minus that of the rejected response, by
            objective, times the score scale.
        margin: Of the pair; only its sign is used.
        held: Objectives whose weight does not change: nuisances and masked ones.
        factors: That the gating is multiplied by already.
        applied: Margin under all factors, to try the answer on; None computes it from the
            weights and differences.

    Returns:
        The changes; None for a tie, also where the margin is no more than rounding.

    Raises:
        ValueError: other names in `gating`, `differences` or `held`; a value that is not
            finite; weights that are negative or do not sum to 1.

    Example:
        >>> found = flip_gating({"a": 0.75, "b": 0.25}, {"a": 0.2, "b": -0.2}, margin=0.1)
        >>> round(found.moved, 6), found.given_to, found.single.option
        (0.25, 'b', '--scale a=0.33')
    """
    _check_gating(gating, differences, margin, held)
    sign = math.copysign(1.0, margin)
    ahead = {name: sign * value for name, value in differences.items()}
    size = math.fsum(gating[name] * ahead[name] for name in ahead)
    if margin == 0 or size <= 0:
        return None
    old = dict(factors or {})
    free = [name for name in ahead if name not in held and old.get(name, 1) > 0]
    taken, target = _greedy(gating, ahead, free, size)
    if taken is None:
        return Flip(None, behind=all(ahead[name] > 0 for name in free))

    def margin_of(settings: Mapping[str, float]) -> float:
        if applied is not None:
            return sign * applied(settings)
        return math.fsum(
            gating[name] * ahead[name] * (settings.get(name, 1) / (old.get(name, 1) or 1))
            for name in ahead
        )

    single = _single_factor(gating, ahead, free, size, old, margin_of)
    return Flip(math.fsum(taken.values()), taken, target, single)


def flip_weights(
    weights: Mapping[str, float],
    differences: Mapping[str, float],
    *,
    margin: float,
    applied: Applied | None = None,
) -> Flip | None:
    """Find the smallest change of fixed weights with which the other response wins.

    Under fixed weights w_j the margin is sum_j w_j d_j with the difference d_j of the raw
    objective scores, and weights may be any real number. Of all changes with a margin of 0,
    the least sum_j |w'_j - w_j| is |margin| / max_j |d_j|, reached by changing the weight of
    the objective on which the responses differ most (Hoelder's inequality).

    Args:
        weights: Weight by objective; one that is not named has weight 0.
        differences: Raw objective score of the chosen minus that of the rejected response,
            by objective.
        margin: Of the pair; only its sign is used.
        applied: Margin under all weights, to try the answer on; None computes it.

    Returns:
        The change; None for a tie, also where the margin is no more than rounding.

    Raises:
        ValueError: a weight of an objective without a difference; a value that is not finite.

    Example:
        >>> found = flip_weights({"a": 1.0}, {"a": 0.3, "b": -0.5}, margin=0.3)
        >>> found.moved, found.single.option
        (0.6, '--weights a=1,b=0.61')
    """
    _check_numbers("weights", weights)
    _check_numbers("differences", differences)
    _check_known("weights", weights, differences)
    sign = math.copysign(1.0, margin)
    ahead = {name: sign * value for name, value in differences.items()}
    now = {name: float(weights.get(name, 0)) for name in ahead}
    size = math.fsum(now[name] * ahead[name] for name in ahead)
    if margin == 0 or size <= 0:
        return None

    def margin_of(settings: Mapping[str, float]) -> float:
        if applied is not None:
            return sign * applied(settings)
        return math.fsum(settings.get(name, 0) * ahead[name] for name in ahead)

    # A weight of an objective that is named already is the simpler change of two equal ones.
    order = sorted((n for n in ahead if ahead[n]), key=lambda n: (-abs(ahead[n]), n not in weights))
    single = None
    for name in order:
        limit = now[name] - size / ahead[name]
        settings = {n: float(w) for n, w in weights.items()}
        tried = (
            (value, settings | {name: value})
            for value in _beyond(limit, size / abs(ahead[name]), up=ahead[name] < 0)
        )
        if (single := _first(name, limit, tried, margin_of, "--weights")) is not None:
            break
    total = math.fsum(abs(weight) for weight in now.values())
    return Flip(size / abs(ahead[order[0]]) / total, single=single, fixed=True)


def _greedy(
    gating: Mapping[str, float], ahead: Mapping[str, float], free: list[str], size: float
) -> tuple[dict[str, float] | None, str | None]:
    """What each objective gives up until a margin of `size` is 0, and which one receives it."""
    if not free or (low := min(ahead[name] for name in free)) >= 0:
        return None, None
    target = next(name for name in free if ahead[name] == low)
    taken: dict[str, float] = {}
    left = size
    for name in sorted(free, key=lambda name: -ahead[name]):
        gain = ahead[name] - low
        if left <= 0 or gain <= 0:
            break
        if gating[name] > 0:
            taken[name] = min(gating[name], left / gain)
            left = 0.0 if left / gain <= gating[name] else left - gating[name] * gain
    if left > 1e-9 * size:  # what is held keeps the margin up
        return None, None
    return taken, target


def _single_factor(
    gating: Mapping[str, float],
    ahead: Mapping[str, float],
    free: list[str],
    size: float,
    old: Mapping[str, float],
    margin_of: Applied,
) -> SingleChange | None:
    """The factor nearest to 1 on one objective that was tried and is enough."""
    limits: dict[str, float] = {}
    for name in free:
        own = gating[name] * ahead[name]
        # With factor f on it the margin is (size - own) + f own, up to a positive multiple.
        if own != 0 and (limit := 1 - size / own) > 0 and math.isfinite(limit):
            limits[name] = limit
    # Of two that are as near, as a factor and its inverse on two objectives are, the lesser.
    order = sorted(limits, key=lambda n: (round(abs(math.log(limits[n])), 9), limits[n] > 1))
    for name in order:
        limit = limits[name]
        tried = (
            (value, {**old, name: float(f"{old.get(name, 1) * value:.6g}")})
            for value in _beyond(limit, min(limit, abs(limit - 1)), up=limit > 1)
            if value > 0
        )
        if (found := _first(name, limit, tried, margin_of, "--scale")) is not None:
            return found
    return None


def _first(
    name: str,
    limit: float,
    tried: Iterator[tuple[float, dict[str, float]]],
    margin_of: Applied,
    option: str,
) -> SingleChange | None:
    """The first value that turns the verdict when it is really applied."""
    for value, settings in tried:
        if margin_of(settings) < 0:
            text = ",".join(f"{n}={v:.12g}" for n, v in settings.items())
            return SingleChange(name, limit, value, settings, f"{option} {shlex.quote(text)}")
    return None


def _beyond(limit: float, size: float, *, up: bool) -> Iterator[float]:
    """Values just above or below a limit: two digits of `size`, then one, which lies further."""
    exact = Decimal(limit)
    for digits in (2, 1):
        step = Decimal(1).scaleb(Decimal(size).adjusted() + 1 - digits)
        value = exact.quantize(step, ROUND_CEILING if up else ROUND_FLOOR)
        if abs(value - exact) < step / 1000:  # at the limit they tie, by all that rounding tells
            value += step if up else -step
        yield float(value)


def _check_gating(
    gating: Mapping[str, float],
    differences: Mapping[str, float],
    margin: float,
    held: Collection[str],
) -> None:
    """Refuse what is no gating with differences of the same objectives."""
    _check_numbers("gating", gating)
    _check_numbers("differences", differences)
    if not math.isfinite(margin):
        raise ValueError(f"`margin` must be finite; got {margin!r}")
    _check_known("differences", differences, gating)
    _check_known("gating", gating, differences)
    _check_known("held", held, gating)
    for name, weight in gating.items():
        if weight < 0:
            raise ValueError(f"`gating` must be at least 0; got {weight:g} for {name!r}")
    if abs((total := math.fsum(gating.values())) - 1) > _TOLERANCE:
        raise ValueError(f"`gating` must sum to 1; the sum is {total:.6g}")


def _check_numbers(argument: str, values: Mapping[str, float]) -> None:
    """Refuse a value that is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"`{argument}` must be finite; {name!r} is {value!r}")


def _check_known(argument: str, names: Collection[str], known: Collection[str]) -> None:
    """Refuse a name that is none of the objectives."""
    for name in names:
        if name not in known:
            raise ValueError(f"`{argument}`: unknown objective {name!r}{nearest(name, known)}")
