"""From hidden states to features: pure functions of tensors.

Axes: n rows, t tokens, d width; positions count from 0 in the padded row.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class PaddedBatch(NamedTuple):
    """Rows of token ids brought to one length."""

    token_ids: Tensor
    """Shape (n, t), int64."""
    mask: Tensor
    """Shape (n, t), int64; 1 for a token, 0 for padding."""
    positions: Tensor
    """Shape (n, t), int64; counts the tokens of a row from 0, 0 for padding."""
    starts: Tensor
    """Shape (n,), int64; column of the first token of each row."""


def token_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Group rows of similar length so that padding is rare.

    Rows are sorted from long to short (equal lengths stay in the order given) and
    batches filled greedily, so the batches depend on nothing but the arguments, and a
    batch that does not fit into memory comes first.

    Args:
        lengths: Tokens of each of n rows.
        budget: Largest number of tokens in a batch, padding included; a longer row is a
            batch of its own.

    Returns:
        Batches of row numbers; every row is in one of them.

    Raises:
        ValueError: `budget` is not positive.

    Example:
        >>> token_batches([3, 9, 2, 3], budget=9)
        [[1], [0, 3, 2]]
    """
    if budget < 1:
        raise ValueError(f"`budget` must be 1 or more; got {budget}")
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def pad_rows(rows: Sequence[Sequence[int]], *, pad_id: int, side: str = "right") -> PaddedBatch:
    """Bring rows of token ids to the length of the longest.

    Args:
        rows: n rows, none of them empty.
        pad_id: Token id of the padding; masked, so any id of the vocabulary will do.
        side: `right` or `left`.

    Returns:
        Ids, mask and positions of shape (n, t).

    Raises:
        ValueError: there is no row; a row is empty; `side` is neither.

    Example:
        >>> pad_rows([[5, 6], [7]], pad_id=0, side="left").token_ids.tolist()
        [[5, 6], [0, 7]]
    """
    if side not in ("right", "left"):
        raise ValueError(f"`side` must be 'right' or 'left'; got {side!r}")
    if not rows or not all(rows):
        raise ValueError("`rows` must be one or more rows with at least one token each")
    t = max(len(row) for row in rows)
    token_ids = torch.full((len(rows), t), pad_id)
    mask = torch.zeros((len(rows), t), dtype=torch.int64)
    starts = torch.zeros(len(rows), dtype=torch.int64)
    for i, row in enumerate(rows):
        start = t - len(row) if side == "left" else 0
        token_ids[i, start : start + len(row)] = torch.tensor(list(row))
        mask[i, start : start + len(row)] = 1
        starts[i] = start
    return PaddedBatch(token_ids, mask, (mask.cumsum(1) - 1) * mask, starts)


def pick_states(states: Tensor, positions: Tensor) -> Tensor:
    """Return one state of each row.

    Args:
        states: Shape (n, t, d).
        positions: Shape (n,), integers in 0..t-1.

    Returns:
        Shape (n, d): row i is `states[i, positions[i]]`.

    Raises:
        ValueError: the shapes do not fit; a position is outside the row.
    """
    _check_states(states)
    if positions.shape != states.shape[:1]:
        raise ValueError(
            f"`positions` must have shape (n,); got {tuple(positions.shape)}: axis 0 (n) must be "
            f"{len(states)}"
        )
    if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < states.shape[1]:
        raise ValueError(
            f"`positions` must lie in 0..{states.shape[1] - 1}; got "
            f"{int(positions.min())}..{int(positions.max())}"
        )
    return states[torch.arange(len(states), device=states.device), positions]


def mean_states(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean state of the marked tokens of each row.

    Args:
        states: Shape (n, t, d); summed in float32.
        mask: Shape (n, t); 1 (or True) for tokens that count. At least one in each row.

    Returns:
        Shape (n, d), float32.

    Raises:
        ValueError: the shapes do not fit; a row has no marked token (its number is in
            the text).

    Example:
        >>> mean_states(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
        tensor([[2.]])
    """
    _check_states(states)
    if mask.shape != states.shape[:2]:
        raise ValueError(
            f"`mask` must have shape (n, t); got {tuple(mask.shape)}: it must be "
            f"{tuple(states.shape[:2])}"
        )
    counts = mask.sum(1)
    if bool((counts == 0).any()):
        row = int((counts == 0).nonzero()[0])
        raise ValueError(f"`mask` must mark a token in every row; row {row} has none")
    # where, not a product: the states of padding may be anything, NaN included
    marked = torch.where(mask.bool().unsqueeze(-1), states.float(), 0.0)
    return marked.sum(1) / counts.unsqueeze(-1)


def combine_blocks(
    pooled: Mapping[str, Sequence[Tensor]], blocks: Sequence[str], *, normalise: bool = False
) -> Tensor:
    """Build an encoder's response feature from pooled states.

    With u the pooled prompt and v the pooled response of one layer, `product` is u * v
    and `difference` |u - v|; every other block is a pooled state itself.

    Args:
        pooled: By text (`prompt`, `response`, `conversation`, `context`), a state of
            shape (n, d) for each of l layers.
        blocks: Names from `armorm.features.interface.BLOCKS`.
        normalise: Scale every pooled state to length 1 first.

    Returns:
        Shape (n, blocks * l * d): block after block, within it layer after layer.

    Example:
        >>> uv = {"prompt": [torch.tensor([[1.0]])], "response": [torch.tensor([[3.0]])]}
        >>> combine_blocks(uv, ["response", "product", "difference"])
        tensor([[3., 3., 2.]])
    """
    if normalise:
        pooled = {name: [unit_rows(s) for s in states] for name, states in pooled.items()}
    parts: list[Tensor] = []
    for block in blocks:
        if block in ("product", "difference"):
            both = zip(pooled["prompt"], pooled["response"], strict=True)
            parts += [u * v if block == "product" else (u - v).abs() for u, v in both]
        else:
            parts += pooled[block]
    return torch.cat(parts, dim=1)


def unit_rows(states: Tensor) -> Tensor:
    """Scale every row to length 1; a row of zeros stays.

    Args:
        states: Shape (n, d).

    Returns:
        Shape (n, d).

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    lengths = _lengths(states)
    return states / torch.where(lengths > 0, lengths, 1.0)


def _lengths(states: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
    """Euclidean length of every row."""
    return states.norm(dim=1, keepdim=True)


def _check_states(states: Tensor) -> None:
    """Raise unless there are three axes."""
    if states.ndim != 3:
        raise ValueError(f"`states` must have shape (n, t, d); got {tuple(states.shape)}")
