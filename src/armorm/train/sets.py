"""What stages work on: features lined up with ratings, folds and pairs, in memory or on disk."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from armorm.features.mapped import CHUNK_ROWS, FeatureRows, chunks, take_rows
from armorm.heads.ridge import predict
from armorm.heads.statistics import Statistics

BY_PAIR = ("chosen", "rejected", "folds", "weight", "derived")
"""Fields of `GatePairs` that are tensors with one entry a pair."""

CHUNK_ENTRIES = 2**26
"""Entries of features that are read at a time: 256 MiB as float32."""


@dataclass(frozen=True, slots=True)
class RatedSet:
    """Features and ratings of n responses."""

    features: FeatureRows
    """Shape (n, d), in memory or on disk."""
    ratings: Tensor
    """Normalised, shape (n, k), float64; NaN where not rated."""
    folds: Tensor
    """Fold of each row's prompt, shape (n,)."""
    sources: tuple[str, ...]
    """Source of each row."""
    objectives: tuple[str, ...]
    """Names of axis k."""

    def statistics(self, n_parts: int) -> list[Statistics]:
        """Return the sufficient statistics of each fold, the last ones in one part.

        Args:
            n_parts: How many parts; a fold whose number is not below the last part's is
                summed into that one.

        Returns:
            One statistics a part.
        """
        parts: list[Statistics] = []
        part_of = self.folds.clamp(max=n_parts - 1)
        for part in range(n_parts):
            sums = Statistics(self.objectives, self.features.shape[1])
            for rows in torch.nonzero(part_of == part).flatten().split(CHUNK_ROWS):
                sources = [self.sources[i] for i in rows.tolist()]
                sums.update(self.features[rows], self.ratings[rows], sources=sources)
            parts.append(sums)
        return parts


@dataclass(frozen=True, slots=True)
class PairSet:
    """Features of p preference pairs."""

    prompt: FeatureRows
    """Prompt features, shape (p, dp)."""
    chosen: FeatureRows
    """Response features, shape (p, d)."""
    rejected: FeatureRows
    """Response features, shape (p, d)."""
    folds: Tensor
    """Fold of each pair's prompt, shape (p,)."""


@dataclass(frozen=True, slots=True)
class DerivedPairs:
    """Preference pairs between rated rows, by row number."""

    chosen: Tensor
    """Row of the chosen response among the rated rows, shape (m,)."""
    rejected: Tensor
    """Row of the rejected response, shape (m,)."""
    prompt: FeatureRows
    """Prompt features of the rated rows, shape (n, dp)."""
    loss_weight: float
    """Weight of such a pair in the loss, where a real pair has 1."""


@dataclass(frozen=True, slots=True)
class GatePairs:
    """What the gating is trained on: objective scores, computed once."""

    prompt: FeatureRows
    """Shape (p, dp)."""
    chosen: Tensor
    """Objective scores, shape (p, k)."""
    rejected: Tensor
    """Objective scores, shape (p, k)."""
    folds: Tensor
    """Shape (p,)."""
    weight: Tensor
    """Weight in the loss, shape (p,)."""
    derived: Tensor
    """True where the pair was derived from ratings, shape (p,)."""

    def rows(self, mask: Tensor) -> GatePairs:
        """Return the pairs where a mask is True."""
        rest = [getattr(self, name)[mask] for name in BY_PAIR]
        return GatePairs(take_rows(self.prompt, mask), *rest)

    def transformed(self, matrix: Tensor) -> GatePairs:
        """Return the same pairs with `matrix` applied to their objective scores."""
        chosen, rejected = self.chosen @ matrix, self.rejected @ matrix
        return GatePairs(self.prompt, chosen, rejected, self.folds, self.weight, self.derived)


def scores_of(weight: Tensor, bias: Tensor, features: FeatureRows) -> Tensor:
    """Predict the ratings of rows, some at a time.

    Args:
        weight: Shape (k, d).
        bias: Shape (k,).
        features: Shape (n, d), in memory or on disk.

    Returns:
        Objective scores before debias, shape (n, k).
    """
    size = max(CHUNK_ENTRIES // features.shape[1], 1)
    return torch.cat([predict(weight, bias, part) for part in chunks(features, size)])
