import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.heads.rated_rows import check_features, sort_rows


def plain(found):
    return [(key, rows.tolist()) for key, rows in found]


def test_rows_are_sorted_by_hand():
    rated = np.array([[0, 1], [1, 1], [0, 0], [0, 1], [1, 1]], dtype=bool)
    sources = ["web", "web", "web", "books", "web"]
    assert plain(sort_rows(rated, sources)) == [
        (("web", (1,)), [0]),
        (("web", (0, 1)), [1, 4]),
        (("books", (1,)), [3]),
    ]
    assert plain(sort_rows(rated, None)) == [(("", (1,)), [0, 3]), (("", (0, 1)), [1, 4])]


@given(seed=st.integers(0, 2**31), n=st.integers(1, 40), k=st.sampled_from([1, 5, 32, 33, 100]))
@settings(max_examples=30, deadline=None)
def test_sorting_equals_a_loop_over_the_rows(seed, n, k):
    rng = np.random.default_rng(seed)
    patterns = rng.random((3, k)) < 0.4  # few patterns, so that rows share them
    rated = patterns[rng.integers(0, 3, n)]
    sources = rng.choice(["web", "books"], n).tolist()
    expected = {}
    for row in range(n):
        members = tuple(np.flatnonzero(rated[row]).tolist())
        if members:
            expected.setdefault((sources[row], members), []).append(row)
    assert plain(sort_rows(rated, sources)) == list(expected.items())


def test_no_rows_are_sorted_into_nothing():
    assert sort_rows(np.zeros((0, 3), dtype=bool), []) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_an_entry_that_is_not_finite_is_located_in_any_precision(dtype, bad):
    features = torch.zeros(4, 3, dtype=dtype)
    check_features(features)
    features[2, 1] = bad
    text = r"^`features` must be finite; 1 of 12 entries is not, the first at index \(2, 1\)$"
    with pytest.raises(ValueError, match=text):
        check_features(features)


def test_large_but_harmless_features_are_taken():
    check_features(torch.tensor([[3e38, -3e38]]))
    check_features(torch.tensor([[65504.0, -65504.0]], dtype=torch.float16))
    check_features(torch.zeros(0, 3))


def test_rows_that_differ_in_a_late_objective_alone_are_told_apart():
    rated = np.ones((4, 70), dtype=bool)
    rated[1, 33] = rated[3, 69] = False
    found = sort_rows(rated, None)
    assert [rows.tolist() for _, rows in found] == [[0, 2], [1], [3]]
    assert [len(members) for (_, members), _ in found] == [70, 69, 69]
