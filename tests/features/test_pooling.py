import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from armorm.features.pooling import (
    combine_blocks,
    mean_states,
    pad_rows,
    pick_states,
    token_batches,
    unit_rows,
)

lengths = st.lists(st.integers(1, 50), max_size=40)


@given(lengths=lengths, budget=st.integers(1, 120))
@settings(max_examples=30, deadline=None)
def test_batches_hold_every_row_once_and_keep_the_budget(lengths, budget):
    batches = token_batches(lengths, budget=budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= budget or len(batch) == 1
    assert batches == token_batches(lengths, budget=budget)


@given(lengths=lengths, budget=st.integers(1, 120))
@settings(max_examples=30, deadline=None)
def test_batches_are_of_similar_length_from_long_to_short(lengths, budget):
    order = [lengths[i] for batch in token_batches(lengths, budget=budget) for i in batch]
    assert order == sorted(lengths, reverse=True)


def test_padding_on_either_side_by_hand():
    right = pad_rows([[5, 6, 7], [8]], pad_id=9)
    assert right.token_ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert right.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert right.positions.tolist() == [[0, 1, 2], [0, 0, 0]]
    assert right.starts.tolist() == [0, 0]
    left = pad_rows([[5, 6, 7], [8, 4]], pad_id=9, side="left")
    assert left.token_ids.tolist() == [[5, 6, 7], [9, 8, 4]]
    assert left.mask.tolist() == [[1, 1, 1], [0, 1, 1]]
    assert left.positions.tolist() == [[0, 1, 2], [0, 0, 1]]
    assert left.starts.tolist() == [0, 1]


def test_picked_states_equal_indexing_row_by_row():
    states = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([2, 0, 1, 2])
    expected = torch.stack([states[i, p] for i, p in enumerate(positions)])
    assert torch.equal(pick_states(states, positions), expected)


@given(seed=st.integers(0, 1000), n=st.integers(1, 4), t=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_mean_equals_the_mean_of_the_marked_tokens(seed, n, t):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(n, t, 3, generator=generator)
    mask = torch.rand(n, t, generator=generator) < 0.5
    mask[:, 0] = True
    expected = torch.stack([states[i][mask[i]].mean(0) for i in range(n)])
    assert_close(mean_states(states, mask), expected)


def test_mean_ignores_padding_that_is_not_a_number():
    states = torch.tensor([[[1.0], [3.0], [float("nan")]]])
    assert mean_states(states, torch.tensor([[1, 1, 0]])).tolist() == [[2.0]]


def test_mean_of_half_precision_is_summed_in_float32():
    # The sum is 131,072, twice what float16 can hold.
    states = torch.full((1, 4096, 1), 32.0, dtype=torch.float16)
    assert mean_states(states, torch.ones(1, 4096)).tolist() == [[32.0]]


def test_blocks_by_hand():
    u, v = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 1.0]])
    u2, v2 = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 2.0]])
    pooled = {"prompt": [u, u2], "response": [v, v2]}
    found = combine_blocks(pooled, ["product", "prompt", "difference"])
    # product: (1*3, -2*1), (0*2, 1*2); prompt: u, u2; difference: |1-3|, |-2-1|, |0-2|, |1-2|
    assert found.tolist() == [[3.0, -2.0, 0.0, 2.0, 1.0, -2.0, 0.0, 1.0, 2.0, 3.0, 2.0, 1.0]]


def test_normalised_blocks_do_not_depend_on_the_length_of_a_state():
    u, v = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    blocks = ["prompt", "response", "product", "difference"]
    one = combine_blocks({"prompt": [u], "response": [v]}, blocks, normalise=True)
    scaled = combine_blocks({"prompt": [5 * u], "response": [v / 7]}, blocks, normalise=True)
    assert_close(one, scaled)
    assert_close(one, torch.tensor([[0.6, 0.8, 0.0, 1.0, 0.0, 0.8, 0.6, 0.2]]))


def test_unit_rows_have_length_one_and_zero_stays():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]])
    assert unit_rows(rows).norm(dim=1).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: token_batches([1], budget=0), "`budget` must be 1 or more; got 0"),
        (lambda: pad_rows([[1]], pad_id=0, side="up"), "must be 'right' or 'left'; got 'up'"),
        (lambda: pad_rows([], pad_id=0), "`rows` must be one or more rows with at least one token"),
        (lambda: pad_rows([[1], []], pad_id=0), "`rows` must be one or more rows"),
        (lambda: pick_states(torch.ones(2, 3), torch.zeros(2)), r"\(n, t, d\); got \(2, 3\)"),
        (
            lambda: pick_states(torch.ones(2, 3, 1), torch.zeros(3)),
            r"`positions` must have shape \(n,\); got \(3,\): axis 0 \(n\) must be 2",
        ),
        (
            lambda: pick_states(torch.ones(2, 3, 1), torch.tensor([0, 3])),
            r"`positions` must lie in 0\.\.2; got 0\.\.3",
        ),
        (
            lambda: mean_states(torch.ones(2, 3, 1), torch.ones(2, 2)),
            r"`mask` must have shape \(n, t\); got \(2, 2\): it must be \(2, 3\)",
        ),
        (
            lambda: mean_states(torch.ones(2, 1, 1), torch.tensor([[1], [0]])),
            "`mask` must mark a token in every row; row 1 has none",
        ),
    ],
)
def test_wrong_arguments_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
