"""Features of rows with their ids: in memory, or on disk and read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from armorm.features.mapped import MappedRows, in_memory

BY_ROW = ("response", "prompt", "rows", "n_tokens", "n_truncated")
"""The tensors of a feature set, one row each."""


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """An input row without features."""

    row: int
    """Number of the input row, from 0."""
    id: str
    """Its id."""
    reason: str
    """Why; the same text for all rows with the same reason."""


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features of n rows, in the order of the input."""

    ids: list[str]
    """n ids, as in the input; both sides of a preference pair have the same."""
    response: Tensor
    """Response features, shape (n, d), float32."""
    prompt: Tensor
    """Prompt features, shape (n, dp), float32."""
    n_tokens: Tensor
    """Length of each conversation in tokens, after truncation; shape (n,), int64."""
    n_truncated: Tensor
    """Tokens cut from the left; shape (n,), int64."""
    rows: Tensor
    """Number of each row in the input, increasing; shape (n,), int64."""
    dropped: list[DroppedRow] = field(default_factory=list)
    """The rows of the input that are not here."""

    def __len__(self) -> int:
        """Return n."""
        return len(self.ids)

    @staticmethod
    def join(parts: Sequence[FeatureSet]) -> FeatureSet:
        """Put feature sets one after the other.

        Args:
            parts: One or more; a single one is returned as it is, without a copy.

        Returns:
            All rows, in the order given.
        """
        if len(parts) == 1:
            return parts[0]
        return FeatureSet(
            ids=[i for part in parts for i in part.ids],
            dropped=[d for part in parts for d in part.dropped],
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in BY_ROW},
        )

    def in_input_order(self) -> FeatureSet:
        """Return the same rows, and the dropped ones, by their number in the input."""
        order = self.rows.argsort(stable=True)
        return FeatureSet(
            ids=[self.ids[i] for i in order.tolist()],
            dropped=sorted(self.dropped, key=lambda dropped: dropped.row),
            **{name: getattr(self, name)[order] for name in BY_ROW},
        )


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """A finished feature set on disk, in the order of the input; rows are read when asked for."""

    ids: list[str]
    """n ids, as in the input; both sides of a preference pair have the same."""
    response: MappedRows
    """Response features, shape (n, d), in the stored dtype."""
    prompt: MappedRows
    """Prompt features, shape (n, dp), in the stored dtype; equal prompts of a shard share one."""
    n_tokens: Tensor
    """Length of each conversation in tokens, after truncation; shape (n,), int64."""
    n_truncated: Tensor
    """Tokens cut from the left; shape (n,), int64."""
    rows: Tensor
    """Number of each row in the input, increasing; shape (n,), int64."""
    dropped: list[DroppedRow]
    """The rows of the input that are not here."""
    manifest: Mapping[str, Any]
    """How it was extracted, shard by shard."""

    def __len__(self) -> int:
        """Return n."""
        return len(self.ids)

    def load(self) -> FeatureSet:
        """Read everything into memory, as float32."""
        return FeatureSet(
            ids=self.ids,
            response=in_memory(self.response),
            prompt=in_memory(self.prompt),
            n_tokens=self.n_tokens,
            n_truncated=self.n_truncated,
            rows=self.rows,
            dropped=self.dropped,
        )
