"""Preference pairs out of ratings of several responses to one prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from armorm.data.scales import Scales, normalised_rating, objectives_of
from armorm.errors import nearest
from armorm.types import PreferencePair, Prompt, RatedResponse

_ROUNDING = 1e-9
"""Gaps of decimal ratings miss their written value by less than this."""


def pairs_from_ratings(
    rows: Sequence[RatedResponse],
    scales: Scales,
    *,
    weights: Mapping[str, float] | None = None,
    min_gap: float,
) -> list[PreferencePair]:
    """Return a pair for every two responses whose aggregates are far enough apart.

    The aggregate of a row is a = sum_j w_j y_j / sum_j |w_j| over its rated objectives j
    with a weight that is not 0, y_j normalised. Two rows make a pair when they have the
    same prompt (character by character), source and set of such objectives, their
    responses differ, and |a_1 - a_2| >= min_gap; the higher one is chosen. A tie never
    makes a pair, whatever the gap. Cost is quadratic in the responses to one prompt.

    Args:
        rows: Rated rows.
        scales: Source -> objective -> scale.
        weights: Weight by objective, any sign; an objective without one does not count.
            None weighs all objectives alike.
        min_gap: Smallest difference of aggregates, 0 to 1 for weights of one sign. Larger
            gaps give fewer and surer pairs.

    Returns:
        Pairs with the id `chosen id>rejected id`, prompts by first appearance, then in
        the order of the rows.

    Raises:
        ValueError: `min_gap` is negative or not finite; no weight differs from 0; a
            weight is not finite or for an unknown objective; a row that the scales refuse.
    """
    if not (math.isfinite(min_gap) and min_gap >= 0):
        raise ValueError(f"`min_gap` must be 0 or more; got {min_gap!r}")
    used = _check_weights(weights, objectives_of(scales))
    groups: dict[tuple[Prompt, str, frozenset[str]], list[tuple[float, RatedResponse]]] = {}
    for row in rows:
        rated = {name: raw for name, raw in row.ratings.items() if name in used}
        if rated:
            aggregate = _aggregate(row, rated, used, scales)
            key = (row.prompt, row.source, frozenset(rated))
            groups.setdefault(key, []).append((aggregate, row))
    # A prompt keeps one place, also when its rows differ in source or rated set.
    order = {row.prompt: i for i, row in reversed(list(enumerate(rows)))}
    pairs: list[PreferencePair] = []
    for key in sorted(groups, key=lambda key: order[key[0]]):
        for first, second in combinations(groups[key], 2):
            gap = abs(first[0] - second[0])
            if gap <= _ROUNDING or gap < min_gap - _ROUNDING:
                continue
            better, worse = (first[1], second[1]) if first[0] > second[0] else (second[1], first[1])
            if better.response != worse.response:
                pairs.append(_pair(better, worse))
    return pairs


def _check_weights(
    weights: Mapping[str, float] | None, objectives: tuple[str, ...]
) -> dict[str, float]:
    """Return the weights that are not 0."""
    if weights is None:
        return dict.fromkeys(objectives, 1.0)
    for name, weight in weights.items():
        if name not in objectives:
            raise ValueError(f"`weights`: unknown objective {name!r}{nearest(name, objectives)}")
        if not math.isfinite(weight):
            raise ValueError(f"`weights` must be finite; {name!r} is {weight!r}")
    used = {name: weight for name, weight in weights.items() if weight != 0}
    if not used:
        raise ValueError(f"`weights` must have one that is not 0; got {dict(weights)!r}")
    return used


def _aggregate(
    row: RatedResponse, rated: Mapping[str, float], weights: Mapping[str, float], scales: Scales
) -> float:
    """Return the weighted mean of the normalised ratings of a row."""
    terms = [
        weights[name] * normalised_rating(row, name, raw, scales) for name, raw in rated.items()
    ]
    return math.fsum(terms) / math.fsum(abs(weights[name]) for name in rated)


def _pair(better: RatedResponse, worse: RatedResponse) -> PreferencePair:
    return PreferencePair(
        id=f"{better.id}>{worse.id}",
        prompt=better.prompt,
        chosen=better.response,
        rejected=worse.response,
        source=better.source,
    )
