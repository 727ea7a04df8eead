"""Intervals of the figures of several scorers, and which differences exceed noise together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import Grouping
from armorm.evaluate.interval import Interval
from armorm.evaluate.protocols.intervals import Asked, Work
from armorm.evaluate.protocols.plan import Figure, Key, Measured
from armorm.evaluate.scorers.side_by_side import Finding, enough_resamples, paired_finding


@dataclass(frozen=True, slots=True)
class FigureIntervals:
    """Figures of several scorers with their intervals."""

    values: list[list[Interval]]
    """By scorer, then by figure."""
    differences: list[list[Interval]]
    """Each scorer minus the first, by scorer and figure; the first has none and is absent."""
    compared: list[tuple[int, int, Interval, Finding]]
    """Of the overall figure: two scorers, that of the first minus that of the second, and what
    it shows at the joint level."""
    joint_level: float
    """1 - (1 - level) / (number compared)."""


def figure_intervals(
    figures: Sequence[Figure],
    keys: Sequence[Key],
    measured: Sequence[Measured],
    grouping: Grouping,
    *,
    resampling: Resampling,
    compared: Sequence[tuple[int, int]] = (),
) -> FigureIntervals:
    """Return every figure of every scorer with an interval, and its differences to the first.

    figure = sum_c w_c (sum of component c over rows) / (rows of component c), over the rows
    that the scorer has a verdict on; differences are taken on the rows that both have one
    on. Prompts are drawn with replacement from all of them, all scorers seeing the same
    draws. As plain accuracies, shares get Wilson's interval (on the effective number of
    rows: a section weighs its subsets), and a difference of fewer than 30 prompts the one of
    Bonett and Price; so does one whose small subsets are absent from too many resamples. Below
    20 prompts, and where no resample differs of a figure that is no share, there is a value
    alone.

    Args:
        figures: The f figures, the overall one first.
        keys: The c components.
        measured: One a scorer; all count the same rows.
        grouping: Which prompt each row belongs to.
        resampling: How often to draw, the level and the seed.
        compared: Scorers whose overall figures are compared at the joint level.

    Returns:
        The intervals.
    """
    n_scorers, n_figures = len(measured), len(figures)
    joint = 1.0 - (1.0 - resampling.level) / max(len(compared), 1)
    asked = {
        *((s, s, f) for s in range(n_scorers) for f in range(n_figures)),
        *((s, 0, f) for s in range(1, n_scorers) for f in range(n_figures)),
        *((a, b, 0) for a, b in compared),
    }
    found: dict[Asked, Interval] = {}
    clear: dict[Asked, Finding] = {}
    for rows, part in _by_rows(asked, measured):
        work = Work(figures, keys, measured, grouping, rows=rows)
        found |= work.intervals(part, resampling)
        pairs = [one for one in part if one[2] == 0 and one[:2] in {*compared}]
        beyond = [one for one in pairs if paired_finding(found[one]) in ("ahead", "behind")]
        if beyond and joint > resampling.level:
            draws = enough_resamples(resampling.n_resamples, joint)
            strict = work.intervals(beyond, replace(resampling, level=joint, n_resamples=draws))
            clear |= {one: paired_finding(interval) for one, interval in strict.items()}
    return FigureIntervals(
        [[found[s, s, f] for f in range(n_figures)] for s in range(n_scorers)],
        [[found[s, 0, f] for f in range(n_figures)] for s in range(1, n_scorers)],
        [
            (a, b, found[a, b, 0], clear.get((a, b, 0), paired_finding(found[a, b, 0])))
            for a, b in compared
        ],
        joint,
    )


def _by_rows(
    asked: Iterable[Asked], measured: Sequence[Measured]
) -> list[tuple[np.ndarray, list[Asked]]]:
    """What is asked for, by the rows that both of its scorers have a verdict on."""
    parts: dict[bytes, tuple[np.ndarray, list[Asked]]] = {}
    for one in sorted(asked):
        rows = measured[one[0]].known & measured[one[1]].known
        parts.setdefault(rows.tobytes(), (rows, []))[1].append(one)
    return list(parts.values())
