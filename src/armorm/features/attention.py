"""Attention of packed sequences: every token sees its own prefix and, causally, its own span.

The function has the form of Transformers' attention interface and knows no model. What it
is asked for and does not know it refuses, so that the caller can do without packing.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from armorm.features.packing import Span
from armorm.features.varlen import VarlenIndex, find_kernel, varlen_attention

NAME = "armorm_packed"
"""Under which the two functions are registered."""

# Queries at a time where a mask is needed: bounds the mask by this times the longest row.
_CHUNK = 256

# What models hand on that attention does not depend on, or that the layout replaces.
_HARMLESS = frozenset(
    {
        "cache_position",
        "cu_seq_lens_k",
        "cu_seq_lens_q",
        "deterministic",
        "is_causal",
        "layer_idx",
        "max_length_k",
        "max_length_q",
        "num_items_in_batch",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "past_key_value",
        "past_key_values",
        "position_embeddings",
        "position_ids",
        "return_dict",
        "use_cache",
    }
)


class PackingRefused(Exception):
    """A model asks for attention that packed sequences do not have."""


class Settings(NamedTuple):
    """What a layer asks for."""

    scaling: float
    """Factor of the products of queries and keys."""
    window: int | None
    """Positions that a token sees, its own included; None for all."""
    softcap: float | None
    """Bound c of the scaled products, as c tanh(x / c); None for none."""


class Layout:
    """Where the spans of one packed sequence lie, with what the kernels need of it."""

    def __init__(self, spans: Sequence[Span]) -> None:
        """Keep the spans; tensors are made when a layer first needs them.

        Args:
            spans: Cover the sequence from left to right.
        """
        self.spans = tuple(spans)
        self.n_tokens = self.spans[-1].stop
        self._longest = max(s.prefix_stop - s.prefix_start + s.stop - s.start for s in self.spans)
        # By device too: the layers of one model may lie on several.
        self._masks: dict[tuple[int | None, str], Tensor] = {}
        self._index: dict[str, VarlenIndex] = {}

    def mask(self, n_queries: int, n_keys: int, window: int | None, device: Any) -> Tensor:
        """Return which keys the last of as many positions see; a view, shape (n_queries, n_keys).

        Args:
            n_queries: At most `_CHUNK`; they are the last positions of the keys.
            n_keys: Neighbouring positions.
            window: As in `Settings`.
            device: Where the mask is needed.

        Returns:
            True where a query (row) sees a key (column).
        """
        key = window, str(device)
        if key not in self._masks:
            # Every mask of the sequence is a part of one: row i sees columns up to n + i.
            n = self._longest
            distance = torch.arange(min(n, _CHUNK), device=device)[:, None] - torch.arange(
                -n, min(n, _CHUNK), device=device
            )
            seen = distance >= 0
            self._masks[key] = seen if window is None else seen & (distance < window)
        n, n_before = self._longest, n_keys - n_queries
        return self._masks[key][:n_queries, n - n_before : n + n_queries]

    def index(self, device: Any) -> VarlenIndex:
        """Return the index tensors of variable-length kernels.

        Args:
            device: Where they are needed.

        Returns:
            The same object on every call for a device.
        """
        if str(device) not in self._index:
            self._index[str(device)] = VarlenIndex.of(self.spans, device)
        return self._index[str(device)]


_LAYOUT: ContextVar[Layout | None] = ContextVar("armorm_layout", default=None)


@contextmanager
def use_layout(layout: Layout) -> Generator[None]:
    """Attend by this layout in every layer that runs inside the block.

    Args:
        layout: Of the sequence that the model is given.

    Yields:
        Nothing.
    """
    token = _LAYOUT.set(layout)
    try:
        yield
    finally:
        _LAYOUT.reset(token)


def packed_mask(*args: Any, **kwargs: Any) -> None:
    """Stand for the mask of a packed sequence, which is never built.

    Args:
        *args: Not looked at.
        **kwargs: What Transformers passes to a mask function.

    Raises:
        PackingRefused: the model attends in chunks or adds rules of its own to the mask.
    """
    del args
    if kwargs.get("use_vmap"):
        raise PackingRefused("it adds rules of its own to the attention mask")
    chunk = getattr(kwargs.get("config"), "attention_chunk_size", None)
    if chunk is not None:
        raise PackingRefused(f"it attends in chunks of {chunk:,} tokens")


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend within a packed sequence, as its layout says.

    A window counts positions of a conversation, whatever lies between its prefix and its
    own tokens in the sequence.

    Args:
        module: The attention layer.
        query: Shape (1, heads, t, width).
        key: Shape (1, key heads, t, width); heads is a multiple of key heads.
        value: Shape (1, key heads, t, value width).
        attention_mask: None; a mask is not looked at and refused.
        scaling: Factor of the products; None means width ** -0.5.
        dropout: Must be 0.
        sliding_window: Positions that a token sees, its own included; None for all.
        softcap: Bound of the scaled products; None for none.
        **others: What else Transformers passes on.

    Returns:
        States of shape (1, t, heads, value width), and None in place of the weights.

    Raises:
        PackingRefused: there is a mask, dropout, a bias, a sink or anything else that is
            not known; the shapes are not those of the layout; attention is not causal.
    """
    layout = _LAYOUT.get()
    unknown = sorted(name for name, found in others.items() if name not in _HARMLESS and _is(found))
    if unknown:
        raise PackingRefused(f"its attention takes {', '.join(f'`{name}`' for name in unknown)}")
    if attention_mask is not None or dropout:
        raise PackingRefused("its attention takes a mask or dropout of its own")
    if others.get("is_causal") is False or not getattr(module, "is_causal", True):
        raise PackingRefused("its attention is not causal")
    if layout is None or query.shape[::2] != key.shape[::2] or len(query) != 1:
        raise PackingRefused("its attention is not that of one sequence by itself")
    if query.shape[2] != layout.n_tokens or query.shape[1] % key.shape[1]:
        raise PackingRefused("its attention has tokens or heads that are not in the layout")
    settings = Settings(
        query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        sliding_window or None,
        softcap or None,
    )
    return attend(query, key, value, layout, settings), None


def attend(query: Tensor, key: Tensor, value: Tensor, layout: Layout, settings: Settings) -> Tensor:
    """Attend with the fastest kernel that can.

    Args:
        query: As in `packed_attention`.
        key: As in `packed_attention`.
        value: As in `packed_attention`.
        layout: Of the sequence.
        settings: What the layer asks for.

    Returns:
        Shape (1, t, heads, value width).
    """
    kernel = find_kernel(query, value, softcap=settings.softcap)
    if kernel is None:
        return block_attention(query, key, value, layout, settings)
    index = layout.index(query.device)
    return varlen_attention(query, key, value, index, kernel, **settings._asdict())


def block_attention(
    query: Float[Tensor, "1 h t d"],
    key: Float[Tensor, "1 g t d"],
    value: Float[Tensor, "1 g t v"],
    layout: Layout,
    settings: Settings,
) -> Float[Tensor, "1 t h v"]:
    """Attend span by span, each with one or a few calls of a dense kernel."""
    n_repeats = query.shape[1] // key.shape[1]
    if n_repeats > 1:
        key, value = (x.repeat_interleave(n_repeats, dim=1) for x in (key, value))
    dense = _dense if settings.softcap is None else _capped
    out = query.new_empty(1, query.shape[2], query.shape[1], value.shape[-1])
    for span in layout.spans:
        own = slice(span.start, span.stop)
        _attend_span(
            query[:, :, own],
            _with_prefix(key, span),
            _with_prefix(value, span),
            out[:, own],
            lambda q, k, window=settings.window: layout.mask(q, k, window, query.device),
            settings,
            dense,
        )
    return out


def _with_prefix(states: Tensor, span: Span) -> Tensor:
    """Keys or values that a span sees, in the order of their positions."""
    own = states[:, :, span.start : span.stop]
    if span.prefix_stop == span.prefix_start:
        return own
    if span.prefix_stop == span.start:
        return states[:, :, span.prefix_start : span.stop]
    return torch.cat([states[:, :, span.prefix_start : span.prefix_stop], own], dim=2)


def _attend_span(
    query: Float[Tensor, "1 h q d"],
    key: Float[Tensor, "1 h k d"],
    value: Float[Tensor, "1 h k v"],
    out: Float[Tensor, "1 q h v"],
    mask: Callable[[int, int], Tensor],
    settings: Settings,
    dense: Callable[..., Tensor],
) -> None:
    """Write the states of the last q of k positions."""
    n_queries, n_keys = query.shape[2], key.shape[2]
    n_before = n_keys - n_queries
    window = settings.window
    if not n_before and (window is None or n_keys <= window) and settings.softcap is None:
        found = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=settings.scaling
        )
        out.copy_(found.transpose(1, 2))
        return
    for start in range(0, n_queries, _CHUNK):
        stop = min(start + _CHUNK, n_queries)
        first = 0 if window is None else max(0, n_before + start - window + 1)
        seen = slice(first, n_before + stop)
        found = dense(
            query[:, :, start:stop],
            key[:, :, seen],
            value[:, :, seen],
            mask(stop - start, seen.stop - seen.start),
            settings,
        )
        out[:, start:stop] = found.transpose(1, 2)


def _dense(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, settings: Settings) -> Tensor:
    """Attend under a mask."""
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=settings.scaling)


def _capped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, settings: Settings) -> Tensor:
    """Attend under a mask, the scaled products bounded; the softmax in float32."""
    cap = settings.softcap
    assert cap is not None  # the caller chose this form for it
    products = query @ key.transpose(2, 3) * settings.scaling
    products = torch.tanh(products / cap) * cap
    products = products.masked_fill(~mask, -torch.inf)
    return products.softmax(dim=-1, dtype=torch.float32).to(value.dtype) @ value


def _is(found: Any) -> bool:
    """Say whether an argument asks for something."""
    return found is not None and found is not False
