"""How far edits, cuts and other words move a target; arrays in, figures out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from armorm.evaluate.audit.edits import Edit
from armorm.evaluate.audit.estimates import ROUNDING, mean_interval, share_interval
from armorm.evaluate.audit.figures import EditEffect, ParaphraseEffect, RowChange
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import group_rows

_SHOWN = 3
_LEAST_MOVE = 1e-3
"""Standard deviations: a smaller change is not counted as one."""


def spread_of(values: np.ndarray) -> float:
    """Return the standard deviation of a target; 0 where only rounding makes it vary.

    Args:
        values: Shape (n,). The target on all rows.

    Returns:
        The standard deviation over rows (not the estimate of a larger population).
    """
    spread = float(values.std())
    return spread if spread > ROUNDING * float(np.abs(values).max()) else 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """The score or one objective, on all rows."""

    name: str
    """`score` or the objective."""
    values: np.ndarray
    """Shape (n,). After debias."""

    @property
    def spread(self) -> float:
        """Its standard deviation over all rows; 0 where only rounding makes it vary."""
        return spread_of(self.values)


@dataclass(frozen=True, slots=True)
class Edited:
    """The rows that one edit was made on."""

    edit: Edit
    """The edit."""
    rows: tuple[int, ...]
    """Shape (m,). Position of each among the n rows."""
    ids: tuple[str, ...]
    """Id of each."""
    groups: tuple[str, ...]
    """Prompt of each."""
    n_left_out: int
    """Chosen rows that it was not made on."""


def edit_effect(
    target: Target, edited: np.ndarray, of: Edited, resampling: Resampling
) -> EditEffect:
    """Return what one edit does to one target.

    A row is raised or lowered when it moves by more than a thousandth of a standard
    deviation and by more than rounding.

    Args:
        target: The target on the rows as they are.
        edited: Shape (m,). The same on the edited rows.
        of: Which rows these are.
        resampling: How intervals are found.

    Returns:
        The figures; NaN without an edited row.
    """
    moved = edited - target.values[list(of.rows)]
    largest = float(np.abs(target.values).max(initial=0.0))
    least = max(_LEAST_MOVE * target.spread, ROUNDING * largest)
    grouping = group_rows(of.groups, n_rows=len(of.rows))
    changes = _in_spreads(moved, target.spread)
    raised = (moved > least).astype(np.float64)
    return EditEffect(
        edit=of.edit.name,
        kind=of.edit.kind,
        target=target.name,
        n=len(of.rows),
        n_left_out=of.n_left_out,
        share_raised=share_interval(raised, grouping, resampling),
        share_lowered=float((moved < -least).mean()) if of.rows else math.nan,
        mean_change=mean_interval(changes, grouping, resampling),
        largest=_largest(changes, raised > 0, of.ids, signed=True),
    )


def paraphrase_effect(
    target: Target,
    originals: np.ndarray,
    paraphrases: np.ndarray,
    *,
    ids: Sequence[str],
    resampling: Resampling,
) -> ParaphraseEffect:
    """Return how far a target moves when the same is said in other words.

    Args:
        target: The target on the audited rows, which gives the unit.
        originals: Shape (m,). The target on the originals.
        paraphrases: Shape (m,). The same on the paraphrases.
        ids: Ids of the m rows, each of a prompt of its own.
        resampling: How intervals are found.

    Returns:
        The figures.
    """
    changes = _in_spreads(paraphrases - originals, target.spread)
    grouping = group_rows(ids, n_rows=len(ids))
    return ParaphraseEffect(
        target=target.name,
        n=len(ids),
        mean_size=mean_interval(np.abs(changes), grouping, resampling),
        largest=_largest(changes, changes != 0, ids, signed=False),
    )


def _in_spreads(moved: np.ndarray, spread: float) -> np.ndarray:
    """Changes in standard deviations; of a target that does not vary, 0."""
    return moved / spread if spread > 0 else np.zeros_like(moved)


def _largest(
    changes: np.ndarray, counts: np.ndarray, ids: Sequence[str], *, signed: bool
) -> tuple[RowChange, ...]:
    """The rows that moved most, among those that count."""
    order = np.argsort(-(changes if signed else np.abs(changes)), kind="stable")
    first = [int(i) for i in order[:_SHOWN]]
    return tuple(RowChange(id=ids[i], change=float(changes[i])) for i in first if counts[i])
