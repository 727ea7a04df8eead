import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm.features.blocks import Shard, cut_blocks, group_rows
from armorm.types import Conversation, Message


def rows_of(prompts):
    return [
        Conversation((Message("user", str(p)),), "answer", str(i)) for i, p in enumerate(prompts)
    ]


def test_responses_to_one_prompt_come_side_by_side():
    assert group_rows(rows_of("abacb")) == [0, 2, 1, 4, 3]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_grouping_is_a_permutation_that_keeps_grouped_rows_where_they_are(prompts):
    order = group_rows(rows_of(prompts))
    assert sorted(order) == list(range(len(prompts)))
    grouped = rows_of([prompts[i] for i in order])
    assert group_rows(grouped) == list(range(len(prompts)))


@given(st.integers(0, 40), st.integers(1, 9))
def test_shards_share_the_blocks_evenly_and_in_order(n_blocks, count):
    parts = [list(Shard(i + 1, count).blocks(n_blocks)) for i in range(count)]
    assert [block for part in parts for block in part] == list(range(n_blocks))
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 30), st.integers(1, 9))
def test_blocks_hold_every_row_once_in_order(n, rows):
    blocks = cut_blocks(range(n), rows)
    assert [i for block in blocks for i in block] == list(range(n))
    assert all(len(block) == rows for block in blocks[:-1])


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0"])
def test_number_outside_the_count_is_refused(text):
    with pytest.raises(ValueError, match=f"must be `i/n` with i from 1 to n; got '{text}'"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["", "2", "1/2/3", "a/b", "-1/2", "1 / 2"])
def test_other_form_is_refused(text):
    with pytest.raises(ValueError, match="a shard must be `i/n` with i from 1 to n; got"):
        Shard.parse(text)


def test_shard_reads_back_what_it_writes():
    assert str(Shard.parse("2/8")) == "2/8"
