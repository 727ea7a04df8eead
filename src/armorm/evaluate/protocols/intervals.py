"""Intervals of figures that are weighted sums of shares, all from the same resamples of prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from armorm.evaluate.bootstrap import (
    ENOUGH_DIFFERENCES,
    CountStatistic,
    Resampling,
    count_intervals,
)
from armorm.evaluate.groups import Grouping
from armorm.evaluate.interval import (
    FEWEST_GROUPS,
    Interval,
    bonett_price,
    effective_rows,
    value_only,
    wilson_share,
)
from armorm.evaluate.protocols.plan import Figure, Key, Measured, weight_matrix

Asked = tuple[int, int, int]
"""Scorer, scorer and figure: of the first minus that of the second, or its own if they are one."""


class Work:
    """Sums by prompt over some rows, and the closed intervals where resampling says too little."""

    def __init__(
        self,
        figures: Sequence[Figure],
        keys: Sequence[Key],
        measured: Sequence[Measured],
        grouping: Grouping,
        *,
        rows: np.ndarray,
    ) -> None:
        """Sum the rows of each prompt.

        Args:
            figures: The f figures.
            keys: The c components.
            measured: One a scorer; all count the same rows.
            grouping: Which prompt each row belongs to.
            rows: Shape (n,), bool. Rows that are looked at.
        """
        self._figures, self._weights = figures, weight_matrix(figures, keys)
        counted = measured[0].counted
        # A component that no row is part of counts 0, as published; one whose rows all lack a
        # verdict leaves its figures undefined.
        self._exists = counted.sum(axis=0) > 0
        self._grouping, counted = grouping.take(rows), counted[rows]
        self._rows = ((counted @ (self._weights.T != 0)) > 0).sum(axis=0)
        self._sizes = _sums(counted, self._grouping)
        self._sums = np.stack([_sums(one.values[rows], self._grouping) for one in measured])
        # What a row adds to a figure: its component's weight over the rows of the component.
        per_row = self._weights / np.maximum(self._sizes.sum(axis=0), 1.0)
        self._added = np.einsum("sgc,fc->sfg", self._sums, per_row)
        self._mass = np.einsum("gc,fc->fg", self._sizes, per_row)

    def intervals(self, asked: Sequence[Asked], resampling: Resampling) -> dict[Asked, Interval]:
        """Return what is asked for, all from the same resamples.

        Args:
            asked: Figures of scorers, and differences.
            resampling: How often to draw, the level and the seed.

        Returns:
            One interval for each.
        """
        statistic, n_groups = self._statistic(asked), self._grouping.n_groups
        if n_groups < FEWEST_GROUPS:
            values = statistic(np.ones((1, n_groups)))[0]
            drawn = [value_only(float(v), n_rows=0, n_groups=0) for v in values]
        else:
            rest_on = [max(int(np.count_nonzero(self._mass[f])), 2) for _, _, f in asked]
            drawn = list(count_intervals(statistic, self._grouping, resampling, n_groups=rest_on))
        level = resampling.level
        return {
            (a, b, f): self._share(a, f, one, level)
            if a == b
            else self._difference((a, b, f), one, level)
            for (a, b, f), one in zip(asked, drawn, strict=True)
        }

    def _statistic(self, asked: Sequence[Asked]) -> CountStatistic:
        """What is asked for as a function of how often each prompt was drawn."""
        first, second, figure = (np.array(part) for part in zip(*asked, strict=True))
        scorers, place = np.unique(np.stack([first, second]), return_inverse=True)
        first, second = place.reshape(2, -1)
        is_difference = (first != second).astype(np.float64)
        used = np.flatnonzero((self._weights[np.unique(figure)] != 0).any(axis=0))
        weights, exists = self._weights[:, used].T, self._exists[used]
        # One product for all: (1 + scorers, components, prompts). A prompt is part of few
        # components; and a sparse product keeps off threads, which wait for a busy machine.
        parts = np.concatenate([self._sizes[None], self._sums[scorers]])[:, :, used]
        parts = parts.transpose(0, 2, 1)
        matrix = sparse.csr_array(parts.reshape(parts.shape[0] * parts.shape[1], -1))

        def statistic(counts: np.ndarray) -> np.ndarray:
            found = matrix @ np.ascontiguousarray(counts.T)
            found = np.moveaxis(found.reshape(*parts.shape[:2], len(counts)), 2, 0)
            drawn, totals = found[:, 0], found[:, 1:]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = np.where(drawn[:, None] > 0, totals / drawn[:, None], 0.0)
            values = ratios @ weights
            # Undefined where a resample has no row of a component that there are rows of.
            lost = ((drawn == 0) & exists).astype(np.float64) @ (weights != 0)
            values += np.where(lost > 0, np.nan, 0.0)[:, None]
            return values[:, first, figure] - is_difference * values[:, second, figure]

        return statistic

    def _share(self, scorer: int, figure: int, drawn: Interval, level: float) -> Interval:
        """A figure with the interval that suits its numbers."""
        mass, added = self._mass[figure], self._added[scorer, figure]
        used = mass > 0
        n_groups = int(used.sum())
        if n_groups < FEWEST_GROUPS or np.isnan(drawn.value):
            return self._alone(drawn, figure, level)
        if not self._figures[figure].is_share:
            return self._located(_not_a_point(drawn), figure, level)
        events = int(min(np.count_nonzero(added > 0), np.count_nonzero(mass - added > 1e-12)))
        share, variance = min(1.0, max(0.0, drawn.value)), self._variance(scorer, figure)
        rows = effective_rows(share, variance, mass / mass.sum(), n_events=events)
        found = wilson_share(share, rows, n_rows=0, n_groups=n_groups, level=level)
        return self._located(found, figure, level, value=drawn.value)

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

    def _difference(self, asked: Asked, drawn: Interval, level: float) -> Interval:
        """A difference of two scorers with the interval that suits its numbers."""
        first, second, figure = asked
        mass = self._mass[figure]
        used = mass > 0
        if int(used.sum()) < FEWEST_GROUPS or np.isnan(drawn.value):
            return self._alone(drawn, figure, level)
        if not self._figures[figure].is_share:
            return self._located(_not_a_point(drawn), figure, level)
        gained = self._added[first, figure] - self._added[second, figure]
        many = np.count_nonzero(np.abs(gained) > 1e-12) >= ENOUGH_DIFFERENCES
        if many and drawn.has_interval:
            return self._located(drawn, figure, level)
        effective = _effective(mass)
        found = bonett_price(gained[used] * effective, mass[used] * effective, level=level)
        return self._located(found, figure, level, value=drawn.value)

    def _alone(self, drawn: Interval, figure: int, level: float) -> Interval:
        """A figure without an interval."""
        return self._located(value_only(drawn.value, n_rows=0, n_groups=0), figure, level)

    def _located(
        self, found: Interval, figure: int, level: float, *, value: float | None = None
    ) -> Interval:
        """An interval with the rows and prompts that its figure rests on."""
        return found.model_copy(
            update={
                "value": found.value if value is None else value,
                "n_rows": int(self._rows[figure]),
                "n_groups": int(np.count_nonzero(self._mass[figure] > 0)),
                "level": level,
            }
        )


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
