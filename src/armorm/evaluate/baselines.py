"""The gated model beside its rivals on the same pairs; fitting the rivals is done elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from armorm.evaluate.bootstrap import accuracy_interval, paired_interval
from armorm.evaluate.figures import PreferenceFigures
from armorm.evaluate.groups import Groups, group_rows
from armorm.evaluate.interval import FEWEST_GROUPS, Interval, value_only
from armorm.evaluate.metrics import preference_wins
from armorm.model.rivals import (
    BLACK_BOX,
    FIXED_WEIGHTS,
    UNIFORM,
    WITHOUT_DEBIAS,
    WITHOUT_MEASURED,
)

GATED = "gated"
"""Name of the scorer that the others are measured against."""

LONGER = "longer wins"
"""Name of the scorer that prefers the longer response."""

SCORERS: Mapping[str, str] = {
    GATED: "the reward model as it ships: objectives weighed by the gating, after debias",
    WITHOUT_DEBIAS: "the same, the gating trained on the raw objective scores",
    WITHOUT_MEASURED: "the same, the gating trained after a debias by the rated nuisances alone",
    UNIFORM: "every objective weighs the same, after debias",
    FIXED_WEIGHTS: "one non-negative weight an objective for all prompts, fitted on pairs",
    BLACK_BOX: "a Bradley-Terry head on the features: fitted on pairs, no objectives",
    LONGER: "prefers the response with more characters; reads no word of it",
}
"""Scorers that a run compares, in the order they are shown, each in plain words."""


def length_scores(responses: Sequence[str]) -> np.ndarray:
    """Return the scores of the scorer that prefers the longer response.

    Responses of equal length tie.

    Args:
        responses: The texts.

    Returns:
        Shape (n,), float64. Number of characters of each.

    Example:
        >>> length_scores(["no", "no, never"]).tolist()
        [2.0, 9.0]
    """
    return np.array([len(response) for response in responses], dtype=np.float64)


def compare_scorers(
    scorers: Mapping[str, tuple[ArrayLike, ArrayLike]],
    groups: Groups,
    *,
    reference: str = GATED,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[PreferenceFigures, ...]:
    """Return accuracy and paired difference to one scorer, with intervals over prompts.

    All scorers see the same pairs and the same resamples. With fewer than 20 prompts the
    values come without intervals.

    Args:
        scorers: By name, the scores (chosen, rejected), each of shape (p,) and finite.
        groups: Prompt id of each pair.
        reference: Name of the scorer that the differences are taken to.
        n_resamples: How often to draw; at least 100.
        level: Share of such intervals that contain the true value.
        seed: Seed of the draws.

    Returns:
        The reference first, then the others in the order given.

    Raises:
        ValueError: `reference` is not among the scorers; scores of other lengths or not
            finite (the scorer is named); as in `accuracy_interval`.
    """
    if reference not in scorers:
        raise ValueError(
            f"`scorers` must hold the reference {reference!r}; "
            f"got {', '.join(repr(name) for name in scorers) or 'none'}"
        )
    names = [reference, *(name for name in scorers if name != reference)]
    wins = {name: _wins(name, *scorers[name]) for name in names}
    n = wins[reference].size
    for name in names:
        if wins[name].size != n:
            raise ValueError(
                f"scorer {name!r} must have {n} pairs, as {reference!r} has; got {wins[name].size}"
            )
    grouping = group_rows(groups, n_rows=n)

    def interval(a: np.ndarray, b: np.ndarray | None) -> Interval:
        if grouping.n_groups < FEWEST_GROUPS:
            value = float(a.mean() if b is None else (a - b).mean())
            return value_only(value, n_rows=n, n_groups=grouping.n_groups)
        if b is None:
            return accuracy_interval(a, grouping.index, level=level)
        return paired_interval(
            a, b, grouping.index, n_resamples=n_resamples, level=level, seed=seed
        )

    return tuple(
        PreferenceFigures(
            scorer=name,
            n=n,
            n_ties=int((wins[name] == 0.5).sum()),
            accuracy=interval(wins[name], None),
            difference_to_gated=(
                None if name == reference else interval(wins[name], wins[reference])
            ),
        )
        for name in names
    )


def compare_scorers_by_source(
    scorers: Mapping[str, tuple[ArrayLike, ArrayLike]],
    groups: Groups,
    sources: Sequence[str] | np.ndarray,
    *,
    reference: str = GATED,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[PreferenceFigures, ...]]:
    """Return the figures of `compare_scorers` on the pairs of each source alone.

    Args:
        scorers: By name, the scores (chosen, rejected), each of shape (p,) and finite.
        groups: Prompt id of each pair.
        sources: Source of each pair.
        reference: Name of the scorer that the differences are taken to.
        n_resamples: How often to draw; at least 100.
        level: Share of such intervals that contain the true value.
        seed: Seed of the draws.

    Returns:
        The figures by source, sources sorted by name.

    Raises:
        ValueError: not one source a pair; as in `compare_scorers`.
    """
    labels, ids = np.asarray(sources), np.asarray(groups)
    for name, (chosen, rejected) in scorers.items():
        if _wins(name, chosen, rejected).size != labels.size or labels.ndim != 1:
            raise ValueError(
                f"`sources` must name one source a pair; got shape {labels.shape} "
                f"for the {np.size(chosen)} pairs of {name!r}"
            )
    group_rows(ids, n_rows=labels.size)
    found: dict[str, tuple[PreferenceFigures, ...]] = {}
    for source in sorted(set(labels.tolist())):
        rows = labels == source
        found[source] = compare_scorers(
            {name: (np.asarray(c)[rows], np.asarray(r)[rows]) for name, (c, r) in scorers.items()},
            ids[rows],
            reference=reference,
            n_resamples=n_resamples,
            level=level,
            seed=seed,
        )
    return found


def _wins(name: str, chosen: ArrayLike, rejected: ArrayLike) -> np.ndarray:
    """What each pair counts for one scorer, which is named in the error."""
    try:
        return preference_wins(chosen, rejected)
    except ValueError as error:
        raise ValueError(f"scorer {name!r}: {error}") from error
