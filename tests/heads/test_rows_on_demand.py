import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import armorm.heads.rows_on_demand as rows_on_demand
from armorm.heads.rows_on_demand import (
    FeatureRows,
    IndexedRows,
    check_feature_rows,
    read_rows,
    row_moments,
)


class Recorded:
    """Rows that note which of them are asked for."""

    def __init__(self, features):
        self.features, self.asked = features, []

    @property
    def shape(self):
        return self.features.shape

    def __len__(self):
        return len(self.features)

    def __getitem__(self, rows):
        self.asked.append(rows.tolist())
        return self.features[rows]


class Wrong(Recorded):
    def __init__(self, features, given):
        super().__init__(features)
        self.given = given

    def __getitem__(self, rows):
        return self.given


def features(seed, n, d, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(n, d, generator=generator) + 50).to(dtype)


def test_tensors_and_other_classes_are_feature_rows():
    x = features(0, 3, 2)
    assert isinstance(x, FeatureRows)
    assert isinstance(Recorded(x), FeatureRows)
    assert isinstance(IndexedRows(x, torch.tensor([0])), FeatureRows)
    assert not isinstance([x], FeatureRows)


@given(seed=st.integers(0, 2**31), m=st.integers(1, 12))
def test_any_order_and_number_comes_from_ascending_distinct_reads(seed, m):
    x = features(seed, 6, 3, torch.bfloat16)
    wanted = torch.randint(6, (m,), generator=torch.Generator().manual_seed(seed))
    source = Recorded(x)
    torch.testing.assert_close(
        read_rows("prompt", source, wanted), x.float()[wanted], rtol=0.0, atol=0.0
    )
    assert all(a < b for asked in source.asked for a, b in itertools.pairwise(asked))
    assert len(source.asked) == 1
    assert torch.equal(read_rows("prompt", x, wanted), x.float()[wanted])


def test_shared_rows_are_read_once():
    # Places 0, 1, 2 have rows 2, 0, 2; places 2, 0, 1 in that order are rows 2, 2, 0.
    source = Recorded(torch.tensor([[1.0], [2.0], [3.0]]))
    shared = IndexedRows(source, torch.tensor([2, 0, 2]))
    assert shared.shape == (3, 1)
    assert len(shared) == 3
    found = read_rows("prompt", shared, torch.tensor([2, 0, 1]))
    assert found.tolist() == [[3.0], [3.0], [1.0]]
    assert source.asked == [[0, 2]]


def test_moments_by_hand(monkeypatch):
    # Chunks of two rows of (1, 2, 3, 6): mean 3, spread sqrt((4 + 1 + 0 + 9) / 4).
    monkeypatch.setattr(rows_on_demand, "CHUNK_ENTRIES", 2)
    found = row_moments("prompt", torch.tensor([[1.0], [2.0], [3.0], [-6.0]]).abs())
    assert found.mean.item() == 3.0
    assert found.spread.item() == pytest.approx(3.5**0.5)
    assert found.largest.item() == 6.0


@pytest.mark.parametrize("chunk", [1, 7, 40, 10_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_moments_equal_those_of_all_rows_at_once(monkeypatch, chunk, dtype):
    monkeypatch.setattr(rows_on_demand, "CHUNK_ENTRIES", chunk)
    x = features(1, 101, 4, dtype)
    x[:, 2] += 1000  # a mean that would cost digits in a sum of squares
    found = row_moments("prompt", Recorded(x))
    exact = x.float().double()
    torch.testing.assert_close(found.mean, exact.mean(0))
    torch.testing.assert_close(found.spread, exact.std(0, correction=0), rtol=1e-9, atol=0.0)
    torch.testing.assert_close(found.largest, exact.abs().amax(0))


@given(seed=st.integers(0, 2**31), p=st.integers(1, 30))
def test_moments_of_shared_rows_count_each_place(seed, p):
    x = features(seed, 5, 2)
    index = torch.randint(5, (p,), generator=torch.Generator().manual_seed(seed))
    shared, repeated = row_moments("prompt", IndexedRows(x, index)), row_moments("prompt", x[index])
    torch.testing.assert_close(shared.mean, repeated.mean)
    torch.testing.assert_close(shared.spread, repeated.spread, rtol=1e-9, atol=1e-12)
    assert torch.equal(shared.largest, repeated.largest)


def test_entry_that_is_not_finite_is_located_in_the_source():
    x = features(2, 9, 3)
    x[7, 1] = torch.nan
    text = r"^`prompt` must be finite; 1 of 6 entries read is not, the first at index \(7, 1\)$"
    with pytest.raises(ValueError, match=text):
        read_rows("prompt", Recorded(x), torch.tensor([8, 7]))
    with pytest.raises(ValueError, match=text.replace("6", "27")):
        row_moments("prompt", Recorded(x))
    x[8, 0] = torch.inf
    with pytest.raises(ValueError, match=r"2 of 6 entries read are not, the first at index \(8, 0"):
        read_rows("prompt", x, torch.tensor([8, 7]))
    assert torch.equal(read_rows("prompt", x, torch.tensor([6])), x[6:7])


def test_finite_rows_whose_sum_is_not_are_let_through():
    x = torch.full((2, 2), 3e38)
    assert torch.equal(read_rows("prompt", x, torch.tensor([0, 1])), x)


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        (torch.zeros(1, 3), r"got float32 of shape \(1, 3\)$"),
        (torch.zeros(2, 3, dtype=torch.int64), r"got int64 of shape \(2, 3\)$"),
        ([[0.0] * 3] * 2, "got list$"),
    ],
)
def test_source_that_gives_something_else_is_refused(given_, text):
    source = Wrong(features(3, 4, 3), given_)
    must = r"^`prompt` must give a floating-point tensor of shape \(2, 3\) for 2 rows; "
    with pytest.raises(ValueError, match=must + text):
        read_rows("prompt", source, torch.tensor([0, 1]))


def test_bad_shapes_are_refused_without_a_read():
    source = Recorded(features(4, 3, 2))
    with pytest.raises(
        ValueError, match=r"^`prompt` must have shape \(n, d\); got \(3, 2\): axis 1"
    ):
        check_feature_rows("prompt", source, "n d", d=5)
    with pytest.raises(ValueError, match=r"^`prompt` must have shape \(n,\); got \(3, 2\)$"):
        check_feature_rows("prompt", source, "n")
    with pytest.raises(ValueError, match=r"^`prompt` must have at least 1 row; got 0$"):
        check_feature_rows("prompt", torch.zeros(0, 2), "n d")
    assert source.asked == []


def test_bad_index_is_refused():
    x = features(5, 3, 2)
    with pytest.raises(ValueError, match=r"^`index` must have shape \(p,\); got \(1, 1\)$"):
        IndexedRows(x, torch.tensor([[0]]))
    with pytest.raises(ValueError, match=r"^`index` must hold int64 row numbers; got float32$"):
        IndexedRows(x, torch.tensor([0.0]))
    for number in (-1, 3):
        text = rf"^`index` must hold row numbers from 0 to 2; got {number} at 1$"
        with pytest.raises(ValueError, match=text):
            IndexedRows(x, torch.tensor([0, number]))
