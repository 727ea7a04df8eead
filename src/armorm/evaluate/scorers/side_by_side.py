"""Several scorers on the same pairs: accuracies, paired differences, and which exceed noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from armorm.evaluate.bootstrap import accuracy_interval, paired_interval
from armorm.evaluate.groups import Groups, group_rows
from armorm.evaluate.interval import FEWEST_GROUPS, Frozen, Interval, value_only

_TAIL_DRAWS = 20

Finding = Literal["ahead", "behind", "no clear difference", "unknown"]
"""What a difference shows of the first scorer; `unknown` without an interval."""


class ScorerFigures(Frozen):
    """One scorer on its pairs."""

    name: str
    """Shown in tables."""
    accuracy: Interval
    """Share of pairs won, over the pairs with a verdict."""
    n_without: int
    """Pairs without a verdict, which no figure counts."""
    n_ties: int
    """Pairs that count one half."""


class PairedDifference(Frozen):
    """Two scorers on the pairs that both have a verdict on."""

    first: str
    """Name of one scorer."""
    second: str
    """Name of the other."""
    difference: Interval
    """Accuracy of the first minus that of the second, with an interval of its own."""
    finding: Finding
    """Judged at the level that holds for all differences of the table together."""


class SideBySide(Frozen):
    """Several scorers on the same pairs."""

    scorers: tuple[ScorerFigures, ...]
    """In the order given."""
    differences: tuple[PairedDifference, ...]
    """Every two scorers once, in that order."""
    n_pairs: int
    """Pairs in all."""
    n_prompts: int
    """Prompts these belong to."""
    level: float
    """Of every interval by itself."""
    joint_level: float
    """At which a difference is called one: all m of them together err with probability
    1 - `level` at most (Bonferroni)."""

    def clear(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the scorers that one is ahead of and those that it is behind."""
        ahead, behind = [], []
        for one in self.differences:
            if name in (one.first, one.second) and one.finding in ("ahead", "behind"):
                other = one.second if name == one.first else one.first
                is_ahead = (one.finding == "ahead") == (name == one.first)
                (ahead if is_ahead else behind).append(other)
        return tuple(ahead), tuple(behind)


def side_by_side(
    wins: Mapping[str, ArrayLike],
    groups: Groups,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> SideBySide:
    """Compare scorers on the same pairs.

    Each two scorers are compared pair by pair on the pairs that both have a verdict on, with
    the bootstrap over prompts of `paired_interval`. With m differences in the table, one is
    called a difference where 0 lies outside its interval at level 1 - (1 - level) / m, so
    that a table without any true difference shows one with probability 1 - level at most.

    Args:
        wins: By scorer, shape (p,): what each pair counts, in [0, 1] (a tie counts what the
            protocol says); NaN where a scorer has no verdict.
        groups: Prompt id of each pair.
        n_resamples: How often to draw; more where a level close to 1 needs more.
        level: Of each interval shown.
        seed: Seed of the draws.

    Returns:
        Figures of each scorer and of each two. With fewer than 20 prompts, values alone.

    Raises:
        ValueError: no scorer; wins of other lengths, outside [0, 1] or infinite, or without
            any verdict (the scorer is named); as in `accuracy_interval`.
    """
    if not wins:
        raise ValueError("`wins` must have one scorer or more; got none")
    names, n = list(wins), len(np.atleast_1d(np.asarray(next(iter(wins.values())))))
    table = {name: _checked(name, values, n) for name, values in wins.items()}
    index = group_rows(groups, n_rows=n).index
    pairs = list(itertools.combinations(names, 2))
    joint_level = 1.0 - (1.0 - level) / max(len(pairs), 1)
    settings = _Settings(index, n_resamples, level, joint_level, seed)
    return SideBySide(
        scorers=tuple(_figures(name, table[name], settings) for name in names),
        differences=tuple(_difference(a, b, table, settings) for a, b in pairs),
        n_pairs=n,
        n_prompts=int(np.unique(index).size),
        level=level,
        joint_level=joint_level,
    )


class _Settings:
    """What every interval of a table shares."""

    def __init__(
        self, index: np.ndarray, n_resamples: int, level: float, joint_level: float, seed: int
    ) -> None:
        self.index = index
        self.level = level
        self.joint_level = joint_level
        self.seed = seed
        self.n_resamples = n_resamples

    def resamples(self, level: float) -> int:
        """Draws for an interval of some level."""
        return enough_resamples(self.n_resamples, level)


def enough_resamples(n_resamples: int, level: float) -> int:
    """Return how often to draw so that a few draws lie beyond each end of an interval.

    Args:
        n_resamples: At least so often.
        level: Of the interval.

    Returns:
        Number of draws.

    Example:
        >>> enough_resamples(2000, 0.95), enough_resamples(2000, 0.995)
        (2000, 8000)
    """
    return max(n_resamples, math.ceil(round(2 * _TAIL_DRAWS / (1.0 - level), 6)))


def _figures(name: str, wins: np.ndarray, settings: _Settings) -> ScorerFigures:
    """Accuracy of one scorer on the pairs it has a verdict on."""
    known = ~np.isnan(wins)
    values, index = wins[known], settings.index[known]
    n_groups = int(np.unique(index).size)
    if n_groups < FEWEST_GROUPS:
        accuracy = value_only(float(values.mean()), n_rows=values.size, n_groups=n_groups)
    else:
        accuracy = accuracy_interval(values, index, level=settings.level)
    return ScorerFigures(
        name=name,
        accuracy=accuracy,
        n_without=int((~known).sum()),
        n_ties=int((values == 0.5).sum()),
    )


def _difference(
    first: str, second: str, table: Mapping[str, np.ndarray], settings: _Settings
) -> PairedDifference:
    """One difference, judged at the joint level where its own interval leaves 0 out."""
    known = ~np.isnan(table[first]) & ~np.isnan(table[second])
    a, b, index = table[first][known], table[second][known], settings.index[known]
    n_groups = int(np.unique(index).size)
    if n_groups < FEWEST_GROUPS:
        value = float((a - b).mean()) if a.size else math.nan
        alone = value_only(value, n_rows=a.size, n_groups=n_groups)
        return PairedDifference(first=first, second=second, difference=alone, finding="unknown")

    def interval(level: float) -> Interval:
        return paired_interval(
            a,
            b,
            index,
            n_resamples=settings.resamples(level),
            level=level,
            seed=settings.seed,
        )

    shown = interval(settings.level)
    finding = paired_finding(shown)
    if finding in ("ahead", "behind") and settings.joint_level > settings.level:
        finding = paired_finding(interval(settings.joint_level))
    return PairedDifference(first=first, second=second, difference=shown, finding=finding)


def paired_finding(difference: Interval) -> Finding:
    """Say what an interval shows of the first scorer.

    Args:
        difference: Figure of the first minus that of the second.

    Returns:
        `ahead` or `behind` where the interval leaves 0 out.
    """
    if not difference.has_interval:
        return "unknown"
    if difference.low > 0:
        return "ahead"
    return "behind" if difference.high < 0 else "no clear difference"


def _checked(name: str, values: ArrayLike, n: int) -> np.ndarray:
    """What each pair counts for one scorer; NaN stays."""
    wins = np.asarray(values, dtype=np.float64)
    if wins.shape != (n,):
        raise ValueError(
            f"scorer {name!r}: `wins` must have shape (p,); got {wins.shape}: axis 0 (p) must "
            f"be {n}"
        )
    bad = np.flatnonzero((wins < 0) | (wins > 1))
    if bad.size:
        raise ValueError(
            f"scorer {name!r}: `wins` must lie within [0, 1] or be NaN; got "
            f"{float(wins[bad[0]])!r} at index {int(bad[0])}"
        )
    if np.isnan(wins).all():
        raise ValueError(f"scorer {name!r}: `wins` must have a verdict on one pair or more")
    return wins
