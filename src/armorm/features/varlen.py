"""Packed attention by a variable-length kernel of CUDA devices: index arithmetic and the call.

Which kernel there is depends on what is installed; none is imported before it is needed.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from armorm.features.packing import Span

Kernel = Callable[..., Tensor]
"""Attention of many short sequences: (query, key, value, index, scaling=, window=, softcap=).

Query has shape (t, heads, d), key and value (m, key heads, d). The last query of a sequence
sees its last key, and so on upwards: causal, aligned at the bottom right.
"""


class VarlenIndex(NamedTuple):
    """Where the sequences of a kernel call begin and end."""

    keys: Tensor | None
    """Shape (m,), int64: tokens whose keys each span sees, span after span; None for 0..t-1."""
    cu_queries: Tensor
    """Shape (n + 1,), int32: where the queries of each span begin."""
    cu_keys: Tensor
    """Shape (n + 1,), int32: where its keys begin."""
    max_queries: int
    """Tokens of the longest span."""
    max_keys: int
    """Keys of the span that sees most."""

    @classmethod
    def of(cls, spans: Sequence[Span], device: Any) -> VarlenIndex:
        """Build the index tensors.

        Args:
            spans: Cover the sequence from left to right.
            device: Where they are needed.

        Returns:
            The index; a span's keys are its prefix and itself.

        Example:
            >>> VarlenIndex.of([Span(0, 2, 0, 0), Span(2, 3, 0, 2), Span(3, 5, 0, 2)], "cpu").keys
            tensor([0, 1, 0, 1, 2, 0, 1, 3, 4])
        """
        n_queries = [span.stop - span.start for span in spans]
        n_keys = [
            n + span.prefix_stop - span.prefix_start
            for n, span in zip(n_queries, spans, strict=True)
        ]
        keys = None
        if n_keys != n_queries:
            parts = [
                torch.arange(first, stop)
                for span in spans
                for first, stop in ((span.prefix_start, span.prefix_stop), span[:2])
            ]
            keys = torch.cat(parts).to(device)
        return cls(
            keys, _starts(n_queries, device), _starts(n_keys, device), max(n_queries), max(n_keys)
        )


def varlen_attention(
    query: Float[Tensor, "1 h t d"],
    key: Float[Tensor, "1 g t d"],
    value: Float[Tensor, "1 g t v"],
    index: VarlenIndex,
    kernel: Kernel,
    *,
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Float[Tensor, "1 t h v"]:
    """Attend with one call of a variable-length kernel.

    Keys and values of a prefix are copied for every span that sees it: memory, not
    arithmetic.

    Args:
        query: Shape (1, heads, t, d).
        key: Shape (1, key heads, t, d).
        value: Shape (1, key heads, t, d).
        index: Of the sequence.
        kernel: From `find_kernel`.
        scaling: Factor of the products of queries and keys.
        window: Positions that a token sees, its own included; None for all.
        softcap: Bound of the scaled products; None for none.

    Returns:
        Shape (1, t, heads, d).
    """
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    if index.keys is not None:
        k, v = k[index.keys], v[index.keys]
    settings = {"scaling": scaling, "window": window, "softcap": softcap}
    return kernel(q.contiguous(), k.contiguous(), v.contiguous(), index, **settings)[None]


def find_kernel(query: Tensor, value: Tensor, *, softcap: float | None) -> Kernel | None:
    """Return a variable-length kernel that takes these tensors.

    Args:
        query: Shape (1, heads, t, d).
        value: Shape (1, key heads, t, d).
        softcap: Bound of the scaled products; None for none.

    Returns:
        Torch's own kernel, else the one of flash-attn; None off CUDA, in float32, on
        devices before Ampere, and for widths that neither takes.
    """
    width = query.shape[-1]
    if query.device.type != "cuda" or query.dtype not in (torch.float16, torch.bfloat16):
        return None
    if width % 8 or width > 256 or value.shape[-1] != width:
        return None
    if torch.cuda.get_device_capability(query.device) < (8, 0):
        return None
    return (None if softcap is not None else _torch_kernel()) or _flash_kernel()


@functools.cache
def _torch_kernel() -> Kernel | None:
    """Return the kernel of torch; None where it has none with windows (before 2.11)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    takes = inspect.signature(varlen_attn).parameters
    if not {"window_size", "scale"} <= takes.keys():
        return None
    return functools.partial(call_torch, varlen_attn, "enable_gqa" in takes)


@functools.cache
def _flash_kernel() -> Kernel | None:
    """Return the kernel of the package flash-attn; None where it is not installed."""
    try:
        from flash_attn import flash_attn_varlen_func  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return functools.partial(call_flash, flash_attn_varlen_func)


def call_torch(
    varlen_attn: Callable[..., Any],
    takes_groups: bool,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: VarlenIndex,
    *,
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Call `torch.nn.attention.varlen.varlen_attn`."""
    assert softcap is None  # the kernel has none, and is not chosen for it
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and not takes_groups:
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    return varlen_attn(
        query,
        key,
        value,
        index.cu_queries,
        index.cu_keys,
        index.max_queries,
        index.max_keys,
        scale=scaling,
        window_size=_window(window),
        **({"enable_gqa": groups > 1} if takes_groups else {}),
    )


def call_flash(
    flash_attn_varlen_func: Callable[..., Any],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: VarlenIndex,
    *,
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Call `flash_attn.flash_attn_varlen_func`, which takes fewer key heads as they are."""
    return flash_attn_varlen_func(
        query,
        key,
        value,
        cu_seqlens_q=index.cu_queries,
        cu_seqlens_k=index.cu_keys,
        max_seqlen_q=index.max_queries,
        max_seqlen_k=index.max_keys,
        softmax_scale=scaling,
        causal=True,
        window_size=_window(window),
        **({} if softcap is None else {"softcap": softcap}),
    )


def _window(window: int | None) -> tuple[int, int]:
    """Keys to the left and right that a kernel's query sees besides its own."""
    return (-1 if window is None else window - 1, 0)


def _starts(sizes: Sequence[int], device: Any) -> Tensor:
    """Cumulative sums from 0."""
    return torch.tensor([0, *sizes]).cumsum(0).to(device, torch.int32)
