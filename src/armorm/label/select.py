"""Choose preference pairs among the candidates of a prompt: pure, from scores and lengths."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

BEST_WORST, BEST_RANDOM, TOP, MARGIN, PARETO = (
    "best-worst",
    "best-random",
    "top",
    "margin",
    "pareto",
)
"""Kinds of rules."""

ONE_TEXT = "fewer than two different responses"
EQUAL_SCORES = "equal scores"
NOT_DOMINATED = "no response is at least as good on every objective"
"""Reasons of prompts without a pair; the others name a number."""

UNITS = ("characters", "tokens")
"""What a length may be counted in."""

_RULES = "best-worst, best-random, top-K, margin>=M or pareto"


@dataclass(frozen=True, slots=True)
class PairRule:
    """Which pairs are made of the candidates of a prompt."""

    kind: str = BEST_WORST
    """`best-worst`, `best-random`, `top`, `margin` or `pareto`."""
    k: int = 0
    """Of `top`: how many of the best responses are chosen."""
    margin: float = 0.0
    """Of `margin`: the smallest margin of a pair, in score units."""

    @classmethod
    def parse(cls, text: str) -> PairRule:
        """Read a rule as the command line has it.

        Args:
            text: `best-worst`, `best-random`, `top-2`, `margin>=0.5` or `pareto`.

        Returns:
            The rule.

        Raises:
            ValueError: it is none of these; K is 0; M is negative or not finite.

        Example:
            >>> PairRule.parse("top-2")
            PairRule(kind='top', k=2, margin=0.0)
        """
        if text in (BEST_WORST, BEST_RANDOM, PARETO):
            return cls(text)
        if (found := re.fullmatch(r"top-([1-9][0-9]{0,5})", text)) is not None:
            return cls(TOP, k=int(found[1]))
        if text.startswith("margin>="):
            try:
                margin = float(text.removeprefix("margin>="))
            except ValueError:
                margin = math.nan
            if 0 <= margin < math.inf:
                return cls(MARGIN, margin=margin)
        raise ValueError(f"a rule for pairs must be {_RULES}; got {text!r}")

    def __str__(self) -> str:
        """Return the rule as it is written on the command line."""
        if self.kind == TOP:
            return f"top-{self.k}"
        return f"margin>={self.margin:g}" if self.kind == MARGIN else self.kind


@dataclass(frozen=True, slots=True)
class PairOptions:
    """How pairs are chosen."""

    rule: PairRule = field(default_factory=PairRule)
    """Which pairs are made."""
    min_margin: float = 0.0
    """Smallest margin of a pair, in score units, whatever the rule."""
    ties: bool = False
    """Whether two responses with equal scores may be a pair; the first one is then chosen."""
    max_shorter: int | None = None
    """By how much the rejected response may be shorter than the chosen one; None: by anything.
    0 wants it to be as long or longer."""
    unit: str = "characters"
    """What lengths are counted in: `characters` of the response or `tokens`."""
    seed: int = 0
    """Of the draw of `best-random`; another seed draws others."""

    def __post_init__(self) -> None:
        """Check every option by itself.

        Raises:
            ValueError: an option is outside its range (the value is in the text).
        """
        if not 0 <= self.min_margin < math.inf:
            raise ValueError(f"`min_margin` must be 0 or more, and finite; got {self.min_margin!r}")
        if self.max_shorter is not None and self.max_shorter < 0:
            raise ValueError(f"`max_shorter` must be 0 or more; got {self.max_shorter}")
        if self.unit not in UNITS:
            raise ValueError(f"`unit` must be 'characters' or 'tokens'; got {self.unit!r}")
        if self.ties and self.smallest > 0:
            raise ValueError(
                "`ties` must not be allowed together with a smallest margin above 0; got "
                f"{self.smallest:g}"
            )

    def facts(self) -> list[Any]:
        """Return what pairs depend on, as JSON."""
        limits = [self.smallest, self.ties, self.max_shorter, self.unit, self.seed]
        return [str(self.rule), *limits]

    @property
    def smallest(self) -> float:
        """Smallest margin of a pair by rule and option."""
        return max(self.min_margin, self.rule.margin)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What is known of the n candidates of a prompt."""

    number: int
    """Number of the prompt; seeds the draw of `best-random`."""
    texts: Sequence[str]
    """n responses."""
    scores: np.ndarray
    """Shape (n,)."""
    lengths: np.ndarray
    """Shape (n,), in the unit of the options."""
    values: np.ndarray
    """Shape (n, m): what `pareto` compares, the larger the better."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The pairs of one prompt."""

    pairs: tuple[tuple[int, int], ...] = ()
    """Places of the chosen and the rejected candidate; the two texts always differ."""
    reason: str = ""
    """Why there is no pair; empty where there is one."""


def choose_pairs(group: Scored, options: PairOptions) -> Choice:
    """Choose the pairs of one prompt.

    Two candidates may be a pair where their texts differ, the chosen one scores higher by
    the smallest margin at least (or as high, where ties are allowed), and the rejected one
    is not too short. Among these pairs the rules choose:

    `best-worst`: the best response and the worst one that it may be paired with.
    `best-random`: the best and one drawn from all that it may be paired with.
    `top-K`: the i-th best, i = 1 to K, each with the worst one that is left; no response
    stands in two pairs, so that n responses make n // 2 pairs at most.
    `margin>=M`: all of them.
    `pareto`: all where the chosen response is as good on every objective and better on one.

    Of responses that score the same the first one is taken.

    Args:
        group: The candidates.
        options: The rule and its limits.

    Returns:
        The pairs, the best chosen response first; or why there is none.

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.2, 0.9, 0.1])
        >>> group = Scored(0, ["a", "b", "c"], scores, np.ones(3), scores[:, None])
        >>> choose_pairs(group, PairOptions()).pairs
        ((1, 2),)
    """
    steps = _allowed(group, options)
    able = steps[-1][0]
    order = np.lexsort((np.arange(len(group.scores)), -group.scores))
    pick = {
        BEST_WORST: _best_worst,
        BEST_RANDOM: _best_random,
        TOP: _top,
        MARGIN: _all,
        PARETO: _all,
    }[options.rule.kind]
    pairs = pick(group, able, order, options)
    if pairs:
        return Choice(tuple(pairs))
    return Choice(reason=_reason(group, steps, order, options))


def _allowed(group: Scored, options: PairOptions) -> list[tuple[np.ndarray, str]]:
    """Which (chosen, rejected) may be a pair, one condition after the other, and its name."""
    codes = {text: i for i, text in enumerate(dict.fromkeys(group.texts))}
    text = np.array([codes[t] for t in group.texts])
    margin = group.scores[:, None] - group.scores[None, :]
    able = text[:, None] != text[None, :]
    steps = [(able, ONE_TEXT)]
    above = margin > 0
    if options.ties:
        above |= (margin == 0) & (np.arange(len(text))[:, None] < np.arange(len(text))[None, :])
    steps.append((able := able & above, EQUAL_SCORES))
    if options.smallest > 0:
        able = able & (margin >= options.smallest)
        steps.append((able, f"margin below {options.smallest:g}"))
    if options.max_shorter is not None:
        able = able & (group.lengths[:, None] - group.lengths[None, :] <= options.max_shorter)
        said = f"rejected response shorter by more than {options.max_shorter:,} {options.unit}"
        steps.append((able, said))
    if options.rule.kind == PARETO:
        steps.append((able & _dominates(group.values), NOT_DOMINATED))
    return steps


def _dominates(values: np.ndarray) -> np.ndarray:
    """Whether the row's candidate is as good as the column's in every value, better in one."""
    rows = [(one >= values).all(axis=1) & (one > values).any(axis=1) for one in values]
    return np.stack(rows)


def _reason(
    group: Scored, steps: list[tuple[np.ndarray, str]], order: np.ndarray, options: PairOptions
) -> str:
    """The condition that leaves no pair, among those that the rule would take."""
    wanted = np.ones_like(steps[0][0])
    if options.rule.kind in (BEST_WORST, BEST_RANDOM):
        wanted[group.scores < group.scores.max()] = False
    elif options.rule.kind == TOP:
        chosen = _chosen(order, options)
        wanted[np.setdiff1d(order, chosen)] = False
        wanted[:, chosen] = False
    return next(reason for able, reason in steps if not (able & wanted).any())


def _chosen(order: np.ndarray, options: PairOptions) -> np.ndarray:
    """The K best, or as many as leave each of them another response."""
    return order[: min(options.rule.k, len(order) // 2)]


def _best(group: Scored, able: np.ndarray, order: np.ndarray) -> int | None:
    """The first of the best responses that may be paired."""
    best = order[group.scores[order] == group.scores.max()]
    return next((int(i) for i in best if able[i].any()), None)


def _worst(group: Scored, places: np.ndarray) -> int:
    """The first of the worst among some places."""
    return int(places[np.argmin(group.scores[places])])


def _best_worst(
    group: Scored, able: np.ndarray, order: np.ndarray, options: PairOptions
) -> list[tuple[int, int]]:
    """The best with the worst."""
    del options
    best = _best(group, able, order)
    return [] if best is None else [(best, _worst(group, np.flatnonzero(able[best])))]


def _best_random(
    group: Scored, able: np.ndarray, order: np.ndarray, options: PairOptions
) -> list[tuple[int, int]]:
    """The best with one that is drawn; the draw depends on seed and prompt alone."""
    best = _best(group, able, order)
    if best is None:
        return []
    draw = np.random.default_rng([options.seed, group.number])
    return [(best, int(draw.choice(np.flatnonzero(able[best]))))]


def _top(
    group: Scored, able: np.ndarray, order: np.ndarray, options: PairOptions
) -> list[tuple[int, int]]:
    """The K best, each with the worst that is left."""
    chosen = _chosen(order, options)
    free = np.ones(len(order), dtype=bool)
    free[chosen] = False
    pairs: list[tuple[int, int]] = []
    for i in map(int, chosen):
        if (places := np.flatnonzero(able[i] & free)).size:
            pairs.append((i, _worst(group, places)))
            free[pairs[-1][1]] = False
    return pairs


def _all(
    group: Scored, able: np.ndarray, order: np.ndarray, options: PairOptions
) -> list[tuple[int, int]]:
    """Every pair that is allowed; two texts once."""
    del options
    seen: set[tuple[str, str]] = set()
    pairs: list[tuple[int, int]] = []
    for i in map(int, order):
        for j in map(int, order[::-1]):
            texts = (group.texts[i], group.texts[j])
            if able[i, j] and texts not in seen:
                seen.add(texts)
                pairs.append((i, j))
    return pairs
