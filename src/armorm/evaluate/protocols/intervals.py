"""Intervals of figures that are weighted sums of shares, all from the same resamples of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from armorm.evaluate.bootstrap import Resampling, count_intervals
from armorm.evaluate.groups import Grouping
from armorm.evaluate.interval import FEWEST_GROUPS, Interval, agresti_min, value_only, wilson_share
from armorm.evaluate.protocols.plan import Figure, Key, Measured, weight_matrix

_MANY_PROMPTS = 100
_ENOUGH_WINS_AND_LOSSES = 30
_ENOUGH_DIFFERENCES = 10


@dataclass(frozen=True, slots=True)
class FigureIntervals:
    """Figures of several scorers with their intervals."""

    values: list[list[Interval]]
    """By scorer, then by figure."""
    differences: list[list[Interval]]
    """Each scorer minus the first, by scorer and figure; the first has none and is absent."""


def figure_intervals(
    figures: Sequence[Figure],
    keys: Sequence[Key],
    measured: Sequence[Measured],
    grouping: Grouping,
    *,
    resampling: Resampling,
) -> FigureIntervals:
    """Return every figure of every scorer with an interval, and its differences to the first.

    figure = sum_c w_c (sum of component c over rows) / (rows of component c). Prompts are
    drawn with replacement from all of them, all scorers seeing the same draws. As for plain
    accuracies, a share that rests on fewer than 100 prompts (their effective number: a
    section weighs its subsets), or on fewer than 30 with a win or with a loss, gets Wilson's
    interval, and a difference of fewer than 10 prompts the one of Agresti and Min; so do
    those whose small subsets are absent from too many resamples. Below 20 prompts, and where
    no resample differs of a figure that is no share, there is a value alone.

    Args:
        figures: The f figures.
        keys: The c components.
        measured: One a scorer; all count the same rows.
        grouping: Which prompt each row belongs to.
        resampling: How often to draw, the level and the seed.

    Returns:
        The intervals.
    """
    work = _Work(figures, keys, measured, grouping, resampling)
    if grouping.n_groups < FEWEST_GROUPS:
        values = work.statistic(np.ones((1, grouping.n_groups)))[0]
        drawn = [value_only(float(v), n_rows=0, n_groups=0) for v in values]
    else:
        drawn = list(count_intervals(work.statistic, grouping, resampling, n_groups=work.n_groups))
    n_scorers, n_figures = len(measured), len(figures)
    table = [drawn[i : i + n_figures] for i in range(0, len(drawn), n_figures)]
    return FigureIntervals(
        [[work.share(s, f, table[s][f]) for f in range(n_figures)] for s in range(n_scorers)],
        [
            [work.difference(s, f, table[n_scorers + s - 1][f]) for f in range(n_figures)]
            for s in range(1, n_scorers)
        ],
    )


class _Work:
    """Sums by prompt, and the closed intervals where resampling says too little."""

    def __init__(
        self,
        figures: Sequence[Figure],
        keys: Sequence[Key],
        measured: Sequence[Measured],
        grouping: Grouping,
        resampling: Resampling,
    ) -> None:
        """Sum the rows of each prompt."""
        self._figures, self._level = figures, resampling.level
        self._weights = weight_matrix(figures, keys)
        counted = measured[0].counted
        self._rows = self._used(counted)
        self._sizes = _sums(counted, grouping)
        self._sums = np.stack([_sums(one.values, grouping) for one in measured])
        # What a row adds to a figure: its component's weight over the rows of the component.
        per_row = self._weights / np.maximum(self._sizes.sum(axis=0), 1.0)
        self._added = np.einsum("sgc,fc->sfg", self._sums, per_row)
        self._mass = np.einsum("gc,fc->fg", self._sizes, per_row)

    @property
    def n_groups(self) -> list[int]:
        """Prompts that each drawn statistic rests on, at least 2, in their order."""
        each = np.maximum(np.count_nonzero(self._mass > 0, axis=1), 2).tolist()
        return each * (2 * len(self._sums) - 1)

    def statistic(self, counts: np.ndarray) -> np.ndarray:
        """Figures of all scorers, then differences to the first; shape (b, s)."""
        sizes = counts @ self._sizes
        sums = np.einsum("bg,sgc->bsc", counts, self._sums, optimize=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(sizes[:, None] > 0, sums / sizes[:, None], 0.0)
        values = ratios @ self._weights.T
        # Undefined where a resample has no row of a component that there are rows of.
        lost = ((sizes == 0) & (self._sizes.sum(axis=0) > 0)).astype(np.float64)
        values[np.repeat((lost @ (self._weights.T != 0))[:, None] > 0, len(values[0]), 1)] = np.nan
        differences = values[:, 1:] - values[:, :1]
        return np.concatenate([values, differences], axis=1).reshape(len(counts), -1)

    def share(self, scorer: int, figure: int, drawn: Interval) -> Interval:
        """A figure with the interval that suits its numbers."""
        mass, added = self._mass[figure], self._added[scorer, figure]
        used = mass > 0
        effective, n_groups = _effective(mass), int(used.sum())
        if n_groups < FEWEST_GROUPS:
            return self._located(value_only(drawn.value, n_rows=0, n_groups=0), figure)
        if not self._figures[figure].is_share:
            return self._located(_not_a_point(drawn), figure)
        events = min(np.count_nonzero(added > 0), np.count_nonzero(mass - added > 1e-12))
        many = effective >= _MANY_PROMPTS and events >= _ENOUGH_WINS_AND_LOSSES
        if many and drawn.has_interval:
            return self._located(drawn, figure)
        share, variance = min(1.0, max(0.0, drawn.value)), self._variance(scorer, figure)
        rows = share * (1.0 - share) / variance if variance > 0 else effective
        found = wilson_share(share, rows, n_rows=0, n_groups=n_groups, level=self._level)
        return self._located(found, figure, value=drawn.value)

    def _variance(self, scorer: int, figure: int) -> float:
        """Variance of a figure, its components apart: what differs between them is no noise.

        That over prompts, or, where small components happen to agree in all their rows, that
        of their shares with two more rows each like the whole: whichever is larger.
        """
        weights, n = self._weights[figure], np.maximum(self._sizes.sum(axis=0), 1.0)
        shares = self._sums[scorer].sum(axis=0) / n
        residual = (self._sums[scorer] - shares * self._sizes) @ (weights / n)
        g = int(np.count_nonzero(self._mass[figure] > 0))
        over_prompts = float(residual @ residual) * g / (g - 1)
        shrunk = (shares * n + 2.0 * (weights @ shares)) / (n + 2.0)
        return max(over_prompts, float((weights**2 / n) @ (shrunk * (1.0 - shrunk))))

    def difference(self, scorer: int, figure: int, drawn: Interval) -> Interval:
        """A difference to the first scorer with the interval that suits its numbers."""
        mass = self._mass[figure]
        used = mass > 0
        if int(used.sum()) < FEWEST_GROUPS:
            return self._located(value_only(drawn.value, n_rows=0, n_groups=0), figure)
        if not self._figures[figure].is_share:
            return self._located(_not_a_point(drawn), figure)
        gained = self._added[scorer, figure] - self._added[0, figure]
        many = np.count_nonzero(np.abs(gained) > 1e-12) >= _ENOUGH_DIFFERENCES
        if many and drawn.has_interval:
            return self._located(drawn, figure)
        effective = _effective(mass)
        found = agresti_min(gained[used] * effective, mass[used] * effective, level=self._level)
        return self._located(found, figure, value=drawn.value)

    def _located(self, found: Interval, figure: int, *, value: float | None = None) -> Interval:
        """An interval with the rows and prompts that its figure rests on."""
        return found.model_copy(
            update={
                "value": found.value if value is None else value,
                "n_rows": int(self._rows[figure]),
                "n_groups": int(np.count_nonzero(self._mass[figure] > 0)),
                "level": self._level,
            }
        )

    def _used(self, counted: np.ndarray) -> np.ndarray:
        """Shape (f,). Rows that each figure rests on."""
        return ((counted @ (self._weights.T != 0)) > 0).sum(axis=0)


def _sums(values: np.ndarray, grouping: Grouping) -> np.ndarray:
    """Sums over the rows of each prompt, shape (g, c)."""
    return np.stack([grouping.sums(column) for column in values.T], axis=1)


def _effective(mass: np.ndarray) -> float:
    """The number of equal prompts that would weigh in as unevenly (Kish)."""
    return float(mass.sum() ** 2 / (mass @ mass))


def _not_a_point(drawn: Interval) -> Interval:
    """An interval whose ends differ, or the value alone: no variation found is not none."""
    if drawn.has_interval and drawn.high > drawn.low:
        return drawn
    return value_only(drawn.value, n_rows=0, n_groups=0)
