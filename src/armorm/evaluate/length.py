"""Measures how the score follows the length of a response; it does not know how scores are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from armorm.evaluate.audit.estimates import mean_interval, share_interval
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.calibration_figures import LengthBin, LengthCurve
from armorm.evaluate.groups import Groups, group_rows
from armorm.evaluate.metrics import finite_vector, preference_wins

_BINS = 8
_FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True)
class PairScores:
    """Scores of both responses of every pair."""

    chosen: np.ndarray
    """Shape (p,). Of the preferred responses; finite."""
    rejected: np.ndarray
    """Shape (p,). Of the other responses; finite."""

    @property
    def flat(self) -> np.ndarray:
        """Shape (2 p,). In standard deviations from the mean; 0 where all are the same."""
        both = np.concatenate([self.chosen, self.rejected]).astype(np.float64)
        spread = float(both.std())
        return (both - both.mean()) / spread if spread > 0 else np.zeros_like(both)


def length_curve(
    scores: PairScores,
    chosen_lengths: ArrayLike,
    rejected_lengths: ArrayLike,
    groups: Groups,
    *,
    before: PairScores | None = None,
    resampling: Resampling,
) -> LengthCurve:
    """Return mean scores by length, and how often the longer response wins by how much longer.

    Bins hold about as many responses, or pairs, each: up to eight, of at least 20. Lengths
    that are equal stay together, so that there may be fewer. Scores of `before` have another
    unit; both are shown in their own standard deviations.

    Args:
        scores: Of the model.
        chosen_lengths: Shape (p,). Characters of the preferred responses.
        rejected_lengths: Shape (p,). Characters of the other responses.
        groups: Prompt id of each pair.
        before: The same without debias; None where that is not known.
        resampling: How intervals are found.

    Returns:
        The curve; intervals are left out below 20 prompts.

    Raises:
        ValueError: no pair; a shape is not (p,); a score that is not finite; a negative
            length; not one prompt id a pair.
    """
    p = finite_vector(scores.chosen, "scores.chosen", "p").size
    named = (("chosen_lengths", chosen_lengths), ("rejected_lengths", rejected_lengths))
    sides = [_lengths(values, name, p) for name, values in named]
    for name, one in (("scores", scores), ("before", before)):
        if one is not None:
            finite_vector(one.chosen, f"{name}.chosen", "p", length=p)
            finite_vector(one.rejected, f"{name}.rejected", "p", length=p)
    ids = group_rows(groups, n_rows=p).index
    both, both_ids = np.concatenate(sides), np.concatenate([ids, ids])
    return LengthCurve(
        n_pairs=p,
        score=_scores(scores, before, both, both_ids, resampling),
        longer_wins=_wins(scores, before, sides, ids, resampling),
    )


def _scores(
    scores: PairScores,
    before: PairScores | None,
    lengths: np.ndarray,
    ids: np.ndarray,
    resampling: Resampling,
) -> tuple[LengthBin, ...]:
    """Mean score of the responses of each bin."""
    after, raw = scores.flat, None if before is None else before.flat
    bins: list[LengthBin] = []
    for rows in quantile_bins(lengths):
        grouping = group_rows(ids[rows], n_rows=rows.size)
        bins.append(
            LengthBin(
                low=float(lengths[rows].min()),
                high=float(lengths[rows].max()),
                n=rows.size,
                value=mean_interval(after[rows], grouping, resampling),
                before=None if raw is None else mean_interval(raw[rows], grouping, resampling),
            )
        )
    return tuple(bins)


def _wins(
    scores: PairScores,
    before: PairScores | None,
    lengths: Sequence[np.ndarray],
    ids: np.ndarray,
    resampling: Resampling,
) -> tuple[LengthBin, ...]:
    """Share of pairs of each bin that the longer response wins."""
    chosen, rejected = lengths
    kept = np.flatnonzero(chosen != rejected)
    if not kept.size:
        return ()
    is_longer = (chosen > rejected)[kept]
    # An empty response counts as one character, or the ratio would not be a number.
    ratios = (np.maximum(chosen, rejected) / np.maximum(np.minimum(chosen, rejected), 1.0))[kept]

    def longer(of: PairScores) -> np.ndarray:
        wins = preference_wins(of.chosen, of.rejected)[kept]
        return np.where(is_longer, wins, 1.0 - wins)

    after, raw = longer(scores), None if before is None else longer(before)
    bins: list[LengthBin] = []
    for rows in quantile_bins(ratios):
        grouping = group_rows(ids[kept][rows], n_rows=rows.size)
        bins.append(
            LengthBin(
                low=float(ratios[rows].min()),
                high=float(ratios[rows].max()),
                n=rows.size,
                value=share_interval(after[rows], grouping, resampling),
                before=None if raw is None else share_interval(raw[rows], grouping, resampling),
                preferred=share_interval(is_longer[rows].astype(np.float64), grouping, resampling),
            )
        )
    return tuple(bins)


def quantile_bins(values: np.ndarray) -> list[np.ndarray]:
    """Return the rows of bins that hold about as many rows each, equal values together.

    Args:
        values: Shape (n,). Finite.

    Returns:
        Row numbers of each bin, smallest values first; at most eight bins, none of them
        empty, and one alone below 40 rows.

    Example:
        >>> [rows.size for rows in quantile_bins(np.arange(100.0))]
        [20, 20, 20, 20, 20]
    """
    n_bins = min(_BINS, max(1, values.size // _FEWEST_ROWS))
    edges = np.unique(np.quantile(values, np.arange(1, n_bins) / n_bins, method="higher"))
    index = np.searchsorted(edges, values, side="right")
    return [rows for b in range(edges.size + 1) if (rows := np.flatnonzero(index == b)).size]


def _lengths(values: ArrayLike, name: str, p: int) -> np.ndarray:
    """Lengths as float64, checked."""
    lengths = finite_vector(values, name, "p", length=p)
    if (lengths < 0).any():
        at = int(np.flatnonzero(lengths < 0)[0])
        raise ValueError(f"`{name}` must not be negative; got {lengths[at]:g} at index {at}")
    return lengths
