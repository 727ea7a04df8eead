"""From scores to what each row counts: one rule for each shape of rows, in whole arrays.

Every figure of a protocol is a fixed weighted sum of components, and every component a sum
over rows divided by a number of rows; so a resample of prompts costs one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from armorm.evaluate.metrics import preference_wins
from armorm.evaluate.protocols.best_of_n import expected_reference
from armorm.evaluate.protocols.judgebench import label_credit
from armorm.evaluate.protocols.protocol import ProtocolRow, Shape, Tie
from armorm.evaluate.protocols.rewardbench import pair_credit
from armorm.evaluate.protocols.rewardbench2 import best_of_n_credit, judge_ties, ties_parts
from armorm.evaluate.protocols.rm_bench import LEVELS, cell_credit, level_credit


@dataclass(frozen=True, slots=True)
class Judged:
    """What the rows of one section count for one scorer."""

    components: Mapping[str, np.ndarray]
    """By name, shape (n,). What each row counts; NaN where it is not part of the component."""
    tied: np.ndarray
    """Shape (n,), bool. Rows whose decision rests on equal scores."""


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows with the scores of all their responses, in one array."""

    rows: Sequence[ProtocolRow]
    """n rows."""
    scores: np.ndarray
    """Shape (m,). Scores of the responses, row after row."""

    @property
    def starts(self) -> np.ndarray:
        """Shape (n,). Where each row begins."""
        sizes = [len(row.responses) for row in self.rows]
        return np.cumsum([0, *sizes[:-1]])

    def table(self, width: int) -> np.ndarray:
        """The scores as (n, width); every row has that many."""
        return self.scores.reshape(len(self.rows), width)


MAIN = "value"
"""The component that every shape has: what each row counts, between 0 and 1 but for references."""


COMPARED: tuple[Shape, ...] = ("pairs", "labelled", "best of n", "grid")
"""Shapes that comparisons decide; the others need a number for each response."""


def judge(shape: Shape, scored: ScoredRows, *, tie: Tie) -> Judged:
    """Return what rows of one shape count.

    Args:
        shape: The shape; of `best of n`, `ties`, `grid` and `labelled` rows the tie rule is
            part of the shape.
        scored: The rows and their scores, finite.
        tie: What an exact tie counts, of pairs.

    Returns:
        The components of each row.

    Raises:
        ValueError: a score is not finite.
    """
    return _SHAPES[shape](scored, tie)


def judge_comparisons(shape: Shape, wins: np.ndarray, *, tie: Tie) -> Judged:
    """Return what rows of one shape count by comparisons of every correct and every wrong response.

    A comparison counts 1 where the correct response is named, 0 for the wrong one and 1/2
    for a tie. A pair counts by the tie rule of the protocol; where a tie of scores goes to B, a
    judge that names neither response has decided nothing, and loses. The first of n counts 1
    over itself and all that it ties with, and 0 where it loses once; a cell of a grid is a
    strict win.

    Args:
        shape: A key of `COMPARED`.
        wins: Shape (n, i, j). Of i correct and j wrong responses; 0, 1/2 or 1.
        tie: What an exact tie counts, of pairs.

    Returns:
        The components of each row.

    Example:
        >>> judge_comparisons("best of n", np.array([[[1.0, 0.5, 1.0]]]), tie="shared").components
        {'value': array([0.5])}
    """
    tied = (wins == 0.5).any(axis=(1, 2))
    if shape == "grid":
        levels = cell_credit(np.floor(wins))
        named = dict(zip(LEVELS, levels.T, strict=True))
        return Judged({MAIN: levels.mean(axis=1), **named}, tied)
    if shape == "best of n":
        n_equal = 1.0 + (wins == 0.5).sum(axis=(1, 2))
        lost = (wins == 0.0).any(axis=(1, 2))
        return Judged({MAIN: np.where(lost, 0.0, 1.0 / n_equal)}, tied & ~lost)
    credit = wins[:, 0, 0]
    return Judged({MAIN: credit if tie == "half" else np.floor(credit)}, tied)


def _pairs(scored: ScoredRows, tie: Tie) -> Judged:
    chosen, rejected = scored.table(2).T
    ties = preference_wins(chosen, rejected) == 0.5
    return Judged({MAIN: pair_credit(chosen, rejected, tie=tie)}, ties)


def _labelled(scored: ScoredRows, tie: Tie) -> Judged:
    del tie
    a, b = scored.table(2).T
    credit = label_credit(a, b, [row.label for row in scored.rows])
    return Judged({MAIN: credit}, a == b)


def _best_of_n(scored: ScoredRows, tie: Tie) -> Judged:
    del tie
    credit = best_of_n_credit(scored.scores, scored.starts)
    return Judged({MAIN: credit}, (credit > 0) & (credit < 1))


def _grid(scored: ScoredRows, tie: Tie) -> Judged:
    del tie
    chosen, rejected = scored.table(6)[:, :3], scored.table(6)[:, 3:]
    credit = level_credit(chosen, rejected)
    equal = (chosen[:, :, None] == rejected[:, None, :]).any((1, 2))
    levels = dict(zip(LEVELS, credit.T, strict=True))
    return Judged({MAIN: credit.mean(axis=1), **levels}, equal)


def _ties(scored: ScoredRows, tie: Tie) -> Judged:
    """Both rows of a prompt number are joined; the parts of both stand at the tied row."""
    del tie
    n = len(scored.rows)
    judged = judge_ties(scored.scores, scored.starts, [row.n_correct for row in scored.rows])
    kinds, numbers = zip(*(row.id.split(":") for row in scored.rows), strict=True)
    place = {(kind, number): i for i, (kind, number) in enumerate(zip(kinds, numbers, strict=True))}
    tied = [i for i in range(n) if kinds[i] == "tied" and ("ref", numbers[i]) in place]
    ref = [place["ref", numbers[i]] for i in tied]
    parts = ties_parts(
        (judged.gap[ref], judged.spread[ref]), (judged.gap[tied], judged.spread[tied])
    )
    components = {MAIN: judged.accurate.astype(np.float64)}
    for kind in ("ref", "tied"):
        of_kind = np.array([own == kind for own in kinds])
        components[f"{kind} accuracy"] = np.where(of_kind, components[MAIN], np.nan)
    for name, values in parts.items():
        components[name] = np.full(n, np.nan)
        components[name][tied] = values
    return Judged(components, judged.gap == 0)


def _references(scored: ScoredRows, tie: Tie) -> Judged:
    del tie
    references = np.concatenate([row.references for row in scored.rows])
    starts = scored.starts
    sizes = np.diff(np.append(starts, scored.scores.size))
    components = {
        MAIN: expected_reference(scored.scores, references, starts),
        "random": np.add.reduceat(references, starts) / sizes,
        "oracle": np.maximum.reduceat(references, starts),
    }
    k = 2
    while k < sizes.min():
        components[best_of(k)] = expected_reference(scored.scores, references, starts, k=k)
        k *= 2
    top = np.repeat(np.maximum.reduceat(scored.scores, starts), sizes)
    n_at_top = np.add.reduceat((scored.scores == top).astype(np.int64), starts)
    return Judged(components, n_at_top > 1)


def best_of(k: int) -> str:
    """Name of the component of the best of k."""
    return f"best of {k}"


_SHAPES: Mapping[Shape, Callable[[ScoredRows, Tie], Judged]] = {
    "pairs": _pairs,
    "labelled": _labelled,
    "best of n": _best_of_n,
    "ties": _ties,
    "grid": _grid,
    "references": _references,
}
