import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from armorm.features.mapped import MappedRows, chunks, in_memory, join_rows, take_rows


def rows(sizes=(3, 0, 2, 4), d=2, dtype=torch.float32):
    """Parts whose rows count on, and the same as one tensor."""
    whole = torch.arange(sum(sizes) * d, dtype=dtype).reshape(-1, d)
    return MappedRows(list(whole.split(list(sizes)))), whole


def test_rows_count_through_the_parts():
    mapped, whole = rows()
    assert (len(mapped), mapped.shape, mapped.dtype) == (9, (9, 2), torch.float32)
    assert torch.equal(mapped[torch.tensor([8, 0, 3])], whole[[8, 0, 3]])


@given(st.lists(st.integers(0, 8), max_size=20), st.lists(st.booleans(), min_size=9, max_size=9))
def test_any_index_mask_or_slice_reads_what_a_tensor_would(index, mask):
    mapped, whole = rows()
    picks = [torch.tensor(index, dtype=torch.int64), torch.tensor(mask), slice(2, 7)]
    for pick in picks:
        assert torch.equal(mapped[pick], whole[pick])


@given(st.lists(st.integers(0, 8), max_size=20), st.data())
def test_choosing_twice_is_choosing_once(index, data):
    mapped, whole = rows()
    first = torch.tensor(index, dtype=torch.int64)
    mask = torch.tensor(
        data.draw(st.lists(st.booleans(), min_size=len(index), max_size=len(index)))
    )
    mask = mask.bool()
    found = take_rows(take_rows(mapped, first), mask)
    assert isinstance(found, MappedRows)
    assert torch.equal(in_memory(found), whole[first][mask])
    assert torch.equal(take_rows(take_rows(whole, first), mask), whole[first][mask])


def test_joined_rows_stay_on_disk_where_all_are():
    (a, a_whole), (b, b_whole) = rows(), rows((1, 5))
    index = torch.tensor([4, 1])
    both = join_rows([take_rows(a, index), b])
    assert isinstance(both, MappedRows)
    assert torch.equal(in_memory(both), torch.cat([a_whole[index], b_whole]))
    mixed = join_rows([a, b_whole])
    assert isinstance(mixed, torch.Tensor)
    assert torch.equal(mixed, torch.cat([a_whole, b_whole]))


def test_chunks_are_all_rows_in_order_in_the_stored_precision():
    mapped, whole = rows(dtype=torch.bfloat16)
    parts = list(chunks(mapped, 4))
    assert [len(part) for part in parts] == [4, 4, 1]
    assert torch.equal(torch.cat(parts), whole)
    assert in_memory(mapped).dtype == torch.float32


def test_no_row_is_one_empty_chunk():
    mapped, _ = rows()
    (part,) = chunks(take_rows(mapped, torch.zeros(0, dtype=torch.int64)))
    assert part.shape == (0, 2)


@pytest.mark.parametrize(
    "parts",
    [[], [torch.zeros(1, 2), torch.zeros(1, 3)], [torch.zeros(1, 2), torch.zeros(1, 2).half()]],
)
def test_parts_of_several_kinds_are_refused(parts):
    with pytest.raises(
        ValueError, match="`parts` must be one or more, of one width and dtype; got"
    ):
        MappedRows(parts)
