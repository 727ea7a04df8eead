"""Whether features from packed sequences are those of single conversations; pure."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from armorm.features.packing import PackedBatch

LARGEST_DIFFERENCE = 1e-4
"""Of a float32 feature, in units of its length."""
SMALLEST_COSINE = 0.999
"""Between half-precision features."""

# Rows of a group that are computed one by one; more would only take longer.
_MOST_ROWS = 8


def level(batch: PackedBatch) -> int:
    """Say how much of packing a batch uses.

    Args:
        batch: One packed sequence.

    Returns:
        2 where rows share tokens, 1 where they are only neighbours, 0 for a single row.
    """
    return 2 if batch.shares else int(len(batch.rows) > 1)


def places_to_check(batch: PackedBatch) -> list[int]:
    """Choose the rows of a batch that show whether packing is right for a model.

    They are the first group that shares tokens (its first eight rows), or the first two
    rows where none does; the last row, which everything before it could leak into; and the
    row that is the fewest tokens away from what comes before it, where a leak is strongest.

    Args:
        batch: One packed sequence of n rows.

    Returns:
        Indices into `batch.rows`, in order.
    """
    prefix_of = {span.stop - 1: span[2:] for span in batch.spans}
    prefixes = [prefix_of[int(last)] for last in batch.last]
    shared = [prefix for prefix in prefixes if prefix[0] < prefix[1]]
    chosen = [i for i, prefix in enumerate(prefixes) if shared and prefix == shared[0]]
    lengths = {span.stop - 1: span.stop - span.start for span in batch.spans[1:]}
    nearest = min(
        range(len(prefixes)), key=lambda i: lengths.get(int(batch.last[i]), batch.spans[-1].stop)
    )
    wanted = {*(chosen or [0, 1])[:_MOST_ROWS], len(prefixes) - 1, nearest}
    return sorted(wanted & {*range(len(prefixes))})


def disagreement(
    found: Float[Tensor, " d"], alone: Float[Tensor, " d"], *, dtype: str
) -> str | None:
    """Say how a packed row's feature differs from the one it has alone.

    Args:
        found: From a packed sequence.
        alone: From the row by itself. Where it is not finite there is nothing to compare.
        dtype: The model's.

    Returns:
        A clause for a sentence; None where they agree: up to rounding in float32, in
        direction in half precision.

    Example:
        >>> disagreement(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.1]), dtype="float32")
        'a feature differs from that of the conversation alone by 1.0e-01 of its length'
    """
    if not bool(alone.isfinite().all()):
        return None
    if dtype == "float32":
        difference = float((found - alone).norm() / alone.norm().clamp_min(1e-30))
        if difference <= LARGEST_DIFFERENCE:
            return None
        how = f"by {difference:.1e} of its length"
    else:
        cosine = float(torch.cosine_similarity(found.double(), alone.double(), dim=0))
        if cosine >= SMALLEST_COSINE:
            return None
        how = f"in direction, with a cosine of {cosine:.4f}"
    return f"a feature differs from that of the conversation alone {how}"
