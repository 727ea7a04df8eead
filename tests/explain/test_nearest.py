import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.explain import nearest as module
from armorm.explain.nearest import RatedRows
from armorm.features.mapped import MappedRows
from armorm.types import Message, RatedResponse, Scale

SCALES = {"s": {"a": Scale(0, 4), "b": Scale(1, 5)}}
SEEDS = st.integers(0, 2**31)


def rated(n, ratings=lambda i: {"a": float(i % 5)}):
    prompt = (Message("user", "hi"),)
    return [RatedResponse(f"r{i}", prompt, f"text {i}", "s", ratings(i)) for i in range(n)]


def drawn(seed, n, d=8):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + 3


def found_ids(lists):
    return [[one.row.id for one in found] for found in lists]


def test_the_nearest_by_hand():
    # The mean is (1, 1); from there the rows point east, north, west and south.
    features = torch.tensor([[2.0, 1.0], [1.0, 2.0], [0.0, 1.0], [1.0, 0.0]])
    rows = RatedRows(rated(4), features, scales=SCALES)
    # (4, 4) from the mean: cosine with east 0.8 / 1 by (4, 3).
    found = rows.nearest(torch.tensor([[5.0, 4.0]]), ["a"], n=2)[0]
    assert [(one.row.id, one.rating) for one in found] == [("r0", 0.0), ("r1", 1.0)]
    assert [one.similarity for one in found] == pytest.approx([0.8, 0.6])
    assert found[0].scale == Scale(0, 4)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, q=st.integers(1, 5), n=st.integers(1, 6))
def test_the_search_equals_sorting_all_similarities(seed, q, n):
    features, queries = drawn(seed, 30), drawn(seed + 1, q)
    ratings = [{"a": 1.0} if i % 3 else {"b": 2.0} for i in range(30)]
    rows = RatedRows(rated(30, ratings.__getitem__), features, scales=SCALES)
    wanted = ["a" if i % 2 else "b" for i in range(q)]
    mean = features.double().mean(0)
    for query, name, found in zip(queries, wanted, rows.nearest(queries, wanted, n=n), strict=True):
        cosine = torch.cosine_similarity((query - mean)[None], features - mean).tolist()
        there = [i for i in range(30) if name in ratings[i]]
        best = sorted(there, key=lambda i: -cosine[i])[:n]
        assert [one.row.id for one in found] == [f"r{i}" for i in best]
        assert [one.similarity for one in found] == pytest.approx(
            [cosine[i] for i in best], abs=1e-5
        )
        assert {one.objective for one in found} == {name}


def test_blocks_and_features_on_disk_change_nothing(monkeypatch):
    features, queries = drawn(0, 50), drawn(1, 4)
    some = rated(50, lambda i: {"a": 1.0} if i < 9 or i % 4 == 1 else {"b": 2.0})
    whole = RatedRows(some, features, scales=SCALES).nearest(queries, ["a"] * 4)
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", 7 * 8)
    parts = MappedRows([features[:20], features[20:]])
    pieces = RatedRows(some, parts, scales=SCALES).nearest(queries, ["a"] * 4)
    assert found_ids(pieces) == found_ids(whole)


def test_equal_rows_keep_their_order():
    features = torch.cat([drawn(0, 5), drawn(2, 1).expand(4, 8)])
    found = RatedRows(rated(9), features, scales=SCALES).nearest(features[5:6], ["a"], n=4)
    assert found_ids(found) == [["r5", "r6", "r7", "r8"]]
    assert found[0][0].similarity == pytest.approx(1)


def test_fewer_rows_than_wanted_are_all_there_are():
    rows = RatedRows(
        rated(5, lambda i: {"b": 3.0} if i < 2 else {"a": 1.0}), drawn(0, 5), scales=SCALES
    )
    assert sorted(found_ids(rows.nearest(drawn(1, 1), ["b"]))[0]) == ["r0", "r1"]
    assert rows.nearest(drawn(1, 1), ["c"]) == [[]]
    assert (rows.n_rated("b"), rows.n_rated("c"), len(rows)) == (2, 0, 5)


def test_a_row_that_is_the_mean_has_no_neighbour_and_is_none():
    one = RatedRows(rated(1), torch.ones(1, 4), scales=SCALES)
    assert one.nearest(torch.zeros(1, 4), ["a"]) == [[]]
    rows = RatedRows(rated(3), torch.tensor([[0.0, 1], [2, 1], [1, 1]]), scales=SCALES)
    assert found_ids(rows.nearest(torch.tensor([[3.0, 1]]), ["a"])) == [["r1", "r0"]]
    assert rows.nearest(torch.tensor([[1.0, 1]]), ["a"]) == [[]]


def test_what_was_measured_was_not_rated():
    rows = RatedRows(
        rated(4, lambda i: {"a": 1.0, "log_length": 3.0}),
        drawn(0, 4),
        scales=SCALES,
        measured=["log_length"],
    )
    assert rows.n_rated("log_length") == 0
    assert rows.nearest(drawn(1, 1), ["log_length"]) == [[]]


def test_rows_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match="`rows` must have at least one rated row; it has none"):
        RatedRows([], torch.ones(0, 2), scales=SCALES)
    with pytest.raises(ValueError, match=r"`features` must have shape \(n, d\) with n = 3 rows"):
        RatedRows(rated(3), torch.ones(2, 2), scales=SCALES)
    with pytest.raises(ValueError, match="row 'r0' of source 's' is rated on 'x', which has none"):
        RatedRows(rated(1, lambda _: {"x": 1.0}), torch.ones(1, 2), scales=SCALES)


def test_features_that_cannot_be_compared_are_refused():
    rows = RatedRows(rated(3), drawn(0, 3), scales=SCALES)
    with pytest.raises(ValueError, match=r"`features` must have shape \(q, d\)"):
        rows.nearest(torch.ones(1, 9), ["a"])
    with pytest.raises(ValueError, match="`objectives` must name one a response; got 2 for 1"):
        rows.nearest(torch.ones(1, 8), ["a", "a"])
    with pytest.raises(ValueError, match="`n` must be at least 1; got 0"):
        rows.nearest(torch.ones(1, 8), ["a"], n=0)
    with pytest.raises(ValueError, match="`features` must be finite; row 0 is not"):
        rows.nearest(torch.full((1, 8), torch.nan), ["a"])
    damaged = drawn(0, 3)
    damaged[2, 0] = torch.inf
    with pytest.raises(ValueError, match="`features of rated rows` must be finite; row 2 is not"):
        RatedRows(rated(3), damaged, scales=SCALES).nearest(torch.ones(1, 8), ["a"])
