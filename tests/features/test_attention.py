import functools
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from armorm.features import attention
from armorm.features.attention import (
    Layout,
    PackingRefused,
    Settings,
    block_attention,
    packed_attention,
    packed_mask,
    use_layout,
)
from armorm.features.chat import TokenizedConversation as Row
from armorm.features.packing import Span, pack_rows
from armorm.features.varlen import (
    VarlenIndex,
    call_flash,
    call_torch,
    find_kernel,
    varlen_attention,
)

LAYER = SimpleNamespace(is_causal=True)
# A prefix of 5 with responses of 1, 7 and 3, then a row of 9 by itself.
SPANS = (Span(0, 5, 0, 0), Span(5, 6, 0, 5), Span(6, 13, 0, 5), Span(13, 16, 0, 5))
SPANS = (*SPANS, Span(16, 25, 16, 16))


def draw(t, *, heads=4, key_heads=2, width=8, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, heads, t, width), (1, key_heads, t, width), (1, key_heads, t, width)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def slowly(query, key, value, spans, settings):
    """The formula, query by query, with the keys it sees in the order of their positions."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    out = torch.zeros(1, query.shape[2], query.shape[1], value.shape[-1], dtype=query.dtype)
    for span in spans:
        for i in range(span.start, span.stop):
            seen = [*range(span.prefix_start, span.prefix_stop), *range(span.start, i + 1)]
            seen = seen[-settings.window :] if settings.window else seen
            products = (key[0, :, seen] @ query[0, :, i, :, None])[..., 0] * settings.scaling
            if settings.softcap:
                products = settings.softcap * torch.tanh(products / settings.softcap)
            weights = products.softmax(dim=-1)
            out[0, i] = (weights[:, None] @ value[0, :, seen])[:, 0]
    return out


def bottom_right(query, key, value, cu_q, cu_k, *, scale, window, softcap=None):
    """What a variable-length kernel computes, with its own words: a pure-torch stand-in.

    `window` is (left, right): keys that a query sees besides the one it is aligned with,
    -1 for all; the last query is aligned with the last key.
    """
    repeats = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    out = torch.empty_like(query)
    for i in range(len(cu_q) - 1):
        own, seen = slice(cu_q[i], cu_q[i + 1]), slice(cu_k[i], cu_k[i + 1])
        q, k, v = (x.transpose(0, 1) for x in (query[own], key[seen], value[seen]))
        offset = k.shape[1] - q.shape[1]
        distance = torch.arange(q.shape[1])[:, None] + offset - torch.arange(k.shape[1])
        mask = distance >= -window[1]
        if window[0] >= 0:
            mask &= distance <= window[0]
        products = q @ k.transpose(1, 2) * scale
        if softcap:
            products = softcap * torch.tanh(products / softcap)
        out[own] = (products.masked_fill(~mask, -torch.inf).softmax(-1) @ v).transpose(0, 1)
    return out


def like_torch(query, key, value, cu_q, cu_k, max_q, max_k, *, scale, window_size, enable_gqa):
    assert enable_gqa == (query.shape[1] != key.shape[1])
    assert cu_q.dtype == cu_k.dtype == torch.int32
    assert (max_q, max_k) == (int(cu_q.diff().max()), int(cu_k.diff().max()))
    return bottom_right(query, key, value, cu_q, cu_k, scale=scale, window=window_size)


def like_old_torch(*args, scale, window_size):
    return like_torch(*args, scale=scale, window_size=window_size, enable_gqa=False)


def like_flash(query, key, value, *, softmax_scale, causal, window_size, softcap=None, **sizes):
    assert causal
    assert sizes["max_seqlen_q"] == int(sizes["cu_seqlens_q"].diff().max())
    assert sizes["max_seqlen_k"] == int(sizes["cu_seqlens_k"].diff().max())
    cu_q, cu_k = sizes["cu_seqlens_q"], sizes["cu_seqlens_k"]
    return bottom_right(
        query, key, value, cu_q, cu_k, scale=softmax_scale, window=window_size, softcap=softcap
    )


KERNELS = {
    "torch": functools.partial(call_torch, like_torch, True),
    "torch without groups": functools.partial(call_torch, like_old_torch, False),
    "flash-attn": functools.partial(call_flash, like_flash),
}


@pytest.mark.parametrize("chunk", [2, 256])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 1, 3, 8, 100])
def test_blocks_equal_the_formula_query_by_query(window, softcap, chunk, monkeypatch):
    monkeypatch.setattr(attention, "_CHUNK", chunk)
    settings = Settings(0.3, window, softcap)
    tensors = draw(25)
    found = block_attention(*tensors, Layout(SPANS), settings)
    assert_close(found, slowly(*tensors, SPANS, settings))


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    prefix=st.integers(1, 9),
    window=st.sampled_from([None, 2, 5]),
    key_heads=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=30, deadline=None)
def test_blocks_equal_the_formula_for_any_group(lengths, prefix, window, key_heads):
    spans, start = [Span(0, prefix, 0, 0)], prefix
    for n in lengths:
        spans.append(Span(start, start + n, 0, prefix))
        start += n
    asked = Settings(0.5, window, None)
    tensors = draw(start, key_heads=key_heads)
    assert_close(block_attention(*tensors, Layout(spans), asked), slowly(*tensors, spans, asked))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("window", [None, 1, 3, 8])
@pytest.mark.parametrize("spans", [SPANS, (Span(0, 4, 0, 0), Span(4, 25, 4, 4))])
def test_variable_length_calls_equal_the_blocks(spans, window, kernel):
    settings = Settings(0.3, window, 2.0 if kernel == "flash-attn" else None)
    tensors = draw(25)
    index = VarlenIndex.of(spans, "cpu")
    found = varlen_attention(*tensors, index, KERNELS[kernel], **settings._asdict())
    assert_close(found, block_attention(*tensors, Layout(spans), settings))


def test_index_of_a_group_by_hand():
    index = VarlenIndex.of(SPANS[:3], "cpu")
    # The prefix sees itself, the first response 5 + 1 keys, the second 5 + 7.
    assert index.cu_queries.tolist() == [0, 5, 6, 13]
    assert index.cu_keys.tolist() == [0, 5, 11, 23]
    assert index.keys.tolist() == [*range(5), *range(6), *range(5), *range(6, 13)]
    assert (index.max_queries, index.max_keys) == (7, 12)
    assert VarlenIndex.of([Span(0, 2, 0, 0), Span(2, 5, 2, 2)], "cpu").keys is None


def test_no_variable_length_kernel_is_used_on_the_cpu():
    query, _, value = draw(3, dtype=torch.bfloat16)
    assert find_kernel(query, value, softcap=None) is None


def test_no_mask_of_the_whole_sequence_is_built():
    # 64 rows of 64 tokens: a mask of the sequence would have 4096 x 4096 entries.
    rows = [Row((i, *range(100, 163)), 0) for i in range(64)]
    [batch] = pack_rows(rows, budget=10**6)
    layout = Layout(batch.spans)
    assert layout.n_tokens == 64 * 64
    block_attention(*draw(64 * 64), layout, Settings(0.3, 8, None))
    assert max(mask.numel() for mask in layout._masks.values()) <= 64 * 128
    assert packed_mask(q_length=4096, kv_length=4096) is None


def attend(tensors, module=LAYER, spans=SPANS, mask=None, **asked):
    with use_layout(Layout(spans)):
        return packed_attention(module, *tensors, mask, **asked)


def test_function_of_the_interface_takes_scaling_window_and_cap():
    tensors = draw(25)
    asked = {"scaling": 0.7, "sliding_window": 4, "softcap": 3.0, "position_ids": torch.ones(1)}
    found, weights = attend(tensors, **asked)
    assert weights is None
    assert_close(found, slowly(*tensors, SPANS, Settings(0.7, 4, 3.0)))
    # Without a scaling the products are divided by the root of the width, 8.
    assert_close(attend(tensors)[0], slowly(*tensors, SPANS, Settings(8**-0.5, None, None)))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"s_aux": torch.ones(4)}, "its attention takes `s_aux`"),
        ({"position_bias": 1, "head_mask": 2}, "takes `head_mask`, `position_bias`"),
        ({"mask": torch.ones(1)}, "takes a mask or dropout of its own"),
        ({"dropout": 0.1}, "takes a mask or dropout of its own"),
        ({"is_causal": False}, "its attention is not causal"),
        ({"module": SimpleNamespace(is_causal=False)}, "its attention is not causal"),
        ({"spans": SPANS[:3]}, "tokens or heads that are not in the layout"),
    ],
)
def test_what_packing_does_not_have_is_refused(asked, text):
    with pytest.raises(PackingRefused, match=text):
        attend(draw(25), **asked)


def test_attention_outside_a_layout_is_refused():
    with pytest.raises(PackingRefused, match="not that of one sequence by itself"):
        packed_attention(LAYER, *draw(25), None)
    with pytest.raises(PackingRefused, match="not that of one sequence by itself"):
        attend([torch.cat([x, x]) for x in draw(25)])


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"use_vmap": True}, "adds rules of its own to the attention mask"),
        ({"config": SimpleNamespace(attention_chunk_size=64)}, "attends in chunks of 64 tokens"),
    ],
)
def test_masks_with_rules_of_their_own_are_refused(asked, text):
    with pytest.raises(PackingRefused, match=text):
        packed_mask(**asked)


def test_layers_on_several_devices_get_masks_and_indices_of_their_own():
    layout = Layout(SPANS)
    for device in ("cpu", "meta", "cpu"):
        assert layout.mask(2, 2, None, torch.device(device)).device.type == device
        assert layout.index(torch.device(device)).cu_queries.device.type == device


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernel_of_the_device_equals_the_blocks(dtype, window):
    query, key, value = (x.cuda() for x in draw(25, width=64, dtype=dtype))
    kernel = find_kernel(query, value, softcap=None)
    if kernel is None:
        pytest.skip("there is no variable-length kernel for this device")
    settings = Settings(0.125, window, None)
    index = VarlenIndex.of(SPANS, "cuda")
    found = varlen_attention(query, key, value, index, kernel, **settings._asdict())
    exact = [x.float().cpu() for x in (query, key, value)]
    expected = slowly(*exact, SPANS, settings)
    assert_close(found.float().cpu(), expected, rtol=0.02, atol=0.02)
