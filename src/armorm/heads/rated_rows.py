"""Incoming rated rows: whether they can be summed, and which of them are rated alike."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from armorm.heads.checks import check_finite

LARGEST = 1e140
"""Largest feature in size: sums of products stay finite in float64."""

_BITS = 32  # objectives that are coded in one number

Key = tuple[str, tuple[int, ...]]
"""Source, and the indices of the objectives that are rated together."""


def check_features(features: Tensor) -> None:
    """Raise unless features are finite and their products will be.

    Args:
        features: Shape (n, d). Any floating dtype and device.

    Raises:
        ValueError: another dtype; an entry that is not finite; one above 1e140 in size.
    """
    if not features.is_floating_point():
        check_finite("features", features)
    if features.numel() == 0:
        return
    # One pass without temporaries, a twentieth of the cost of asking entry by entry.
    low, high = (float(extreme) for extreme in features.aminmax())
    largest = max(-low, high)
    if largest <= LARGEST:
        return
    check_finite("features", features)
    raise ValueError(
        f"`features` must be at most {LARGEST:g} in size, so that sums of their products are "
        f"finite; got {largest:g}"
    )


def sort_rows(
    rated: Bool[np.ndarray, "n k"], sources: Sequence[str] | None
) -> list[tuple[Key, Int[np.ndarray, " m"]]]:
    """Sort rows by source and set of rated objectives.

    Args:
        rated: Shape (n, k). True where an objective is rated.
        sources: Source of each row; None means that all are of the source ''.

    Returns:
        Each key with its rows, in the order given; keys by their first row. Rows without
        any rating are in none.
    """
    n, k = rated.shape
    code = np.zeros(n, dtype=np.int64)
    names = [""]
    if sources is not None:
        names = list(dict.fromkeys(sources))
        numbers = {name: i for i, name in enumerate(names)}
        code = np.fromiter(map(numbers.__getitem__, sources), dtype=np.int64, count=n)
    source_of = code
    for start in range(0, k, _BITS):
        block = rated[:, start : start + _BITS]
        bits = block @ (1 << np.arange(block.shape[1], dtype=np.int64))
        code = np.unique((code << _BITS) | bits, return_inverse=True)[1]
    _, first, counts = np.unique(code, return_index=True, return_counts=True)
    parts = np.split(np.argsort(code, kind="stable"), np.cumsum(counts)[:-1])
    found: list[tuple[Key, Int[np.ndarray, " m"]]] = []
    for i in np.argsort(first):
        row = int(first[i])
        members = tuple(np.flatnonzero(rated[row]).tolist())
        if members:
            found.append(((names[int(source_of[row])], members), parts[i]))
    return found
