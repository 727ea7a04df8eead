import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.features.chat import TokenizedConversation as Row
from armorm.features.packing import group_rows, pack_rows, unique_tokens

# Few tokens from a small alphabet, so that beginnings are often shared.
drawn = st.lists(
    st.tuples(st.lists(st.integers(1, 2), min_size=1, max_size=7), st.integers(0, 6)),
    min_size=1,
    max_size=12,
)


def make_rows(drawn):
    return [Row(tuple(ids), min(end, len(ids) - 1)) for ids, end in drawn]


def read_back(batch, place):
    """The conversation that a row of a batch stands for, by its spans alone."""
    [span] = [s for s in batch.spans if s.stop - 1 == int(batch.last[place])]
    seen = [*range(span.prefix_start, span.prefix_stop), *range(span.start, span.stop)]
    positions = batch.positions[seen].tolist()
    return batch.token_ids[seen].tolist(), positions, seen


def test_layout_by_hand():
    rows = [Row((1, 2, 7, 8), 1), Row((5, 6), 0), Row((1, 2, 7, 9, 9), 1)]
    [batch] = pack_rows(rows, budget=100)
    # The two rows of prompt (1, 2) share its tokens and the 7 that opens both responses.
    assert batch.token_ids.tolist() == [1, 2, 7, 8, 9, 9, 5, 6]
    assert batch.positions.tolist() == [0, 1, 2, 3, 3, 4, 0, 1]
    assert [tuple(span) for span in batch.spans] == [
        (0, 3, 0, 0),
        (3, 4, 0, 3),
        (4, 6, 0, 3),
        (6, 8, 6, 6),
    ]
    assert batch.rows == (0, 2, 1)
    assert batch.last.tolist() == [3, 5, 7]
    assert batch.end.tolist() == [1, 1, 6]
    assert batch.shares
    assert unique_tokens(rows) == 8


@given(drawn=drawn, budget=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_every_row_is_read_back_once_whatever_the_budget(drawn, budget):
    rows = make_rows(drawn)
    batches = pack_rows(rows, budget=budget)
    assert sorted(i for batch in batches for i in batch.rows) == list(range(len(rows)))
    for batch in batches:
        for place, i in enumerate(batch.rows):
            token_ids, positions, seen = read_back(batch, place)
            assert tuple(token_ids) == rows[i].token_ids
            assert positions == list(range(len(token_ids)))
            assert seen[rows[i].prompt_end] == int(batch.end[place])


@given(drawn=drawn, budget=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_sequences_keep_the_budget_or_are_one_row(drawn, budget):
    rows = make_rows(drawn)
    for batch in pack_rows(rows, budget=budget):
        assert len(batch.token_ids) <= budget or len(batch.rows) == 1


@given(drawn=drawn, budget=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_spans_cover_the_sequence_and_prefixes_come_first(drawn, budget):
    rows = make_rows(drawn)
    for batch in pack_rows(rows, budget=budget):
        assert [s.start for s in batch.spans] == [0, *[s.stop for s in batch.spans[:-1]]]
        assert batch.spans[-1].stop == len(batch.token_ids)
        for span in batch.spans:
            assert span.start < span.stop
            assert span.prefix_stop <= span.start or span.prefix_start == span.prefix_stop


@given(drawn=drawn)
@settings(max_examples=30, deadline=None)
def test_unique_tokens_are_those_of_one_sequence_of_everything(drawn):
    rows = make_rows(drawn)
    [batch] = pack_rows(rows, budget=10**6)
    assert unique_tokens(rows) == len(batch.token_ids) <= sum(row.n_tokens for row in rows)


def test_identical_rows_share_all_but_their_last_token():
    rows = [Row((1, 2, 3, 4), 1)] * 3
    assert group_rows(rows) == [((0, 1, 2), 3)]
    assert unique_tokens(rows) == 6


def test_row_that_another_begins_with_keeps_a_token():
    rows = [Row((1, 2, 3), 1), Row((1, 2, 3, 4, 5), 1)]
    assert group_rows(rows) == [((0, 1), 2)]


def test_row_that_ends_with_its_prompt_has_the_prompt_end_among_its_own_tokens():
    rows = [Row((1, 2), 1), Row((1, 2, 9), 1)]
    [batch] = pack_rows(rows, budget=100)
    assert batch.token_ids.tolist() == [1, 2, 2, 9]
    assert batch.end.tolist() == [1, 2]
    assert batch.last.tolist() == [1, 3]


def test_prompts_that_begin_alike_are_not_one_group():
    rows = [Row((1, 2, 3, 9), 2), Row((1, 2, 4, 9), 2)]
    assert group_rows(rows) == [((0,), 0), ((1,), 0)]


def test_group_larger_than_the_budget_repeats_its_prefix():
    rows = [Row((1, 2, 3, i, i), 2) for i in range(4, 9)]
    batches = pack_rows(rows, budget=7)  # 3 shared tokens and two rows of 2
    assert [batch.rows for batch in batches] == [(0, 1), (2, 3), (4,)]
    assert [len(batch.token_ids) for batch in batches] == [7, 7, 5]
    assert [batch.shares for batch in batches] == [True, True, False]


@pytest.mark.parametrize(
    ("rows", "budget", "text"),
    [
        ([Row((1,), 0)], 0, "`budget` must be 1 or more; got 0"),
        ([Row((1,), 0), Row((), 0)], 9, "row 1 has 0 tokens and `prompt_end` 0"),
        ([Row((1,), 1)], 9, "row 0 has 1 tokens and `prompt_end` 1"),
    ],
)
def test_wrong_arguments_are_named(rows, budget, text):
    with pytest.raises(ValueError, match=text):
        pack_rows(rows, budget=budget)
