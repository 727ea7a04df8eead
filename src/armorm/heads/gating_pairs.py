"""Preference pairs as the training of a gate sees them: scores in memory, prompts on demand."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from armorm.heads.checks import check_finite, check_shape, check_weights
from armorm.heads.gating_settings import GatingSettings
from armorm.heads.rows_on_demand import (
    FEW_ROWS,
    FeatureRows,
    IndexedRows,
    check_feature_rows,
    distinct_rows,
    read_rows,
)

_WITNESSES = 16  # prompt features that a fingerprint looks at


class Batch(NamedTuple):
    """Some pairs, ready for the network."""

    prompt: Float[Tensor, "u d"]
    """Prompt features; each prompt once where pairs are known to share it."""
    row: Int64[Tensor, " p"] | None
    """Row of `prompt` for each pair; None: pair i has row i."""
    difference: Float[Tensor, "p k"]
    """Debiased objective scores of chosen minus those of rejected."""
    weight: Float[Tensor, " p"]
    """Weight of each pair in the loss."""


@dataclass(frozen=True)
class Pairs:
    """All pairs of a training, or those held out of it."""

    name: str
    """Name of their prompt features in errors."""
    prompt: FeatureRows
    """Shape (p, d)."""
    difference: Float[Tensor, "p k"]
    """Debiased objective scores of chosen minus those of rejected, on the device of the run."""
    weight: Float[Tensor, " p"]
    """Weight of each pair in the loss, on the same device."""

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.difference)

    @property
    def device(self) -> torch.device:
        """Device of the training."""
        return self.difference.device

    def take(self, rows: Int64[Tensor, " p"]) -> Batch:
        """Read some pairs, in the order asked for.

        Args:
            rows: Shape (m,), on the CPU.

        Returns:
            The pairs, in float32.

        Raises:
            ValueError: prompt features that are not rows of finite numbers.
        """
        place = rows.to(self.device)
        own = self.difference[place], self.weight[place]
        if isinstance(self.prompt, IndexedRows):
            distinct, inverse = distinct_rows(self.prompt, rows)
            prompt = read_rows(self.name, self.prompt.features, distinct)
            return Batch(prompt.to(self.device), inverse.to(self.device), *own)
        return Batch(read_rows(self.name, self.prompt, rows).to(self.device), None, *own)

    def whole(self) -> Batch:
        """Read all pairs."""
        return self.take(torch.arange(len(self)))

    def sample(self, size: int, seed: int) -> Pairs:
        """Draw pairs of positive weight, each at most once, and leave them in their order.

        Args:
            size: Most pairs that are wanted; where there are no more, all are taken.
            seed: Of the draw.

        Returns:
            The pairs, with their prompt features in memory.
        """
        if len(self) <= size:
            return self
        generator = torch.Generator().manual_seed(seed)
        weighted = self.weight.cpu().nonzero().flatten()
        order = torch.randperm(len(weighted), generator=generator)
        rows = weighted[order[:size]].sort().values
        batch = self.take(rows)
        prompt = batch.prompt
        kept = prompt if batch.row is None else IndexedRows(prompt, batch.row)
        return Pairs(self.name, kept, batch.difference, batch.weight)

    def parts(self) -> Iterator[Batch]:
        """Read all pairs in order, few enough at a time for a forward pass."""
        if len(self) <= FEW_ROWS and isinstance(self.prompt, Tensor):
            yield Batch(self.prompt.to(self.device), None, self.difference, self.weight)
            return
        for rows in torch.arange(len(self)).split(FEW_ROWS):
            yield self.take(rows)

    def batches(self, settings: GatingSettings, *, skip: int = 0) -> Iterator[Batch]:
        """Give batches without end: all pairs, or passes in an order of the seed's own.

        Args:
            settings: Batch size and seed.
            skip: Batches to pass over without reading them: those of the steps already taken.

        Yields:
            The batch of each step.
        """
        if len(self) <= settings.batch_size:
            whole = self.whole()
            while True:
                yield whole
        for number, rows in enumerate(self._orders(settings)):
            if number >= skip:
                yield self.take(rows)

    def _orders(self, settings: GatingSettings) -> Iterator[Tensor]:
        """Pairs of each batch; batches without any weight are left out."""
        size = settings.batch_size
        weight = self.weight.cpu()
        generator = torch.Generator().manual_seed(settings.seed + 1)
        while True:
            order = torch.randperm(len(self), generator=generator)
            # What is left over comes in another pass.
            for start in range(0, len(self) - size + 1, size):
                rows = order[start : start + size]
                if bool(weight[rows].any()):
                    yield rows

    def digest(self) -> str:
        """SHA-256 of scores, weights and a few prompt features, in hexadecimal."""
        found = hashlib.sha256(repr((len(self), self.prompt.shape[1])).encode())
        places = torch.linspace(0, len(self) - 1, min(_WITNESSES, len(self))).long().unique()
        for tensor in (self.difference, self.weight, self.take(places).prompt):
            found.update(tensor.detach().cpu().contiguous().numpy().data)
        return found.hexdigest()


def as_pairs(
    prompt: FeatureRows,
    chosen: Tensor,
    rejected: Tensor,
    weight: Tensor | None,
    *,
    prefix: str = "",
) -> Pairs:
    """Check pairs and take the differences of their scores, in float32.

    Prompt features in memory are looked at here, others when they are read.

    Args:
        prompt: Shape (p, d).
        chosen: Shape (p, k).
        rejected: Shape (p, k).
        weight: Shape (p,); None weighs all alike.
        prefix: Before each name in errors.

    Returns:
        The pairs, on the device of the scores.

    Raises:
        ValueError: shapes that disagree; no pair; entries that are not finite; weights that
            are negative or all 0.
    """
    p, k = len(prompt), chosen.shape[-1]
    check_feature_rows(f"{prefix}prompt", prompt, "p d")
    check_shape(f"{prefix}chosen_scores", chosen, "p k", p=p)
    check_shape(f"{prefix}rejected_scores", rejected, "p k", p=p, k=k)
    named: list[tuple[str, object]] = [("prompt", prompt)]
    for name, value in (*named, ("chosen_scores", chosen), ("rejected_scores", rejected)):
        if isinstance(value, Tensor):
            check_finite(prefix + name, value)
    if weight is None:
        weight = torch.ones(p)
    check_weights("sample_weight", weight, "p", p=p)
    if isinstance(prompt, Tensor):
        prompt = prompt.detach()
        # Few rows are converted once, more of them as they are read.
        prompt = prompt.float() if p <= FEW_ROWS else prompt
    difference = chosen.detach().float() - rejected.detach().float()
    weight = weight.detach().float().to(difference.device)
    return Pairs(f"{prefix}prompt", prompt, difference, weight)
