import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.length import PairScores, length_curve, quantile_bins
from armorm.evaluate.length_sections import length_parts

FEW = Resampling(n_resamples=100)


def curve(chosen, rejected, lengths, **more):
    chosen, rejected = np.asarray(chosen, float), np.asarray(rejected, float)
    groups = [f"p{i}" for i in range(chosen.size)]
    scores = PairScores(chosen, rejected)
    return length_curve(scores, lengths[0], lengths[1], groups, resampling=FEW, **more)


def test_shares_and_means_by_hand():
    # Lengths 10 against 5, 10 against 20, and a pair of equal length, which does not count.
    found = curve([3.0, 1.0, 2.0], [1.0, 2.0, 0.0], [[10, 10, 7], [5, 20, 7]])
    (one,) = found.longer_wins
    assert (one.n, one.low, one.high) == (2, 2.0, 2.0)
    assert one.value.value == 1.0  # the chosen of the first pair, the rejected of the second
    assert one.preferred.value == 0.5
    (all_,) = found.score
    assert (all_.low, all_.high, all_.n) == (5.0, 20.0, 6)
    assert all_.value.value == pytest.approx(0.0)
    assert found.n_pairs == 3


def test_a_score_that_is_length_rises_bin_by_bin_and_always_wins():
    rng = np.random.default_rng(0)
    lengths = rng.permuted(np.arange(1, 801)).reshape(2, 400)
    found = curve(lengths[0], lengths[1], lengths)
    means = [one.value.value for one in found.score]
    assert len(means) == 8
    assert means == sorted(means)
    assert all(one.value.value == 1.0 for one in found.longer_wins)
    assert all(0.3 < one.preferred.value < 0.7 for one in found.longer_wins)


def test_a_tie_counts_one_half():
    (one,) = curve([1.0, 1.0], [1.0, 1.0], [[5, 9], [9, 5]]).longer_wins
    assert one.value.value == 0.5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), factor=st.floats(0.1, 10.0), shift=st.floats(-5, 5))
def test_unit_of_the_scores_and_order_of_the_pairs_do_not_matter(seed, factor, shift):
    rng = np.random.default_rng(seed)
    chosen, rejected = rng.normal(0, 1, (2, 60))
    lengths = rng.integers(1, 50, (2, 60))
    order = rng.permutation(60)
    one = curve(chosen, rejected, lengths)
    other = curve(
        factor * chosen[order] + shift, factor * rejected[order] + shift, lengths[:, order]
    )
    for kind in ("score", "longer_wins"):
        for a, b in zip(getattr(one, kind), getattr(other, kind), strict=True):
            assert (a.n, a.low, a.high) == (b.n, b.low, b.high)
            assert a.value.value == pytest.approx(b.value.value, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=300))
def test_bins_hold_every_row_once_and_equal_values_together(values):
    numbers = np.array(values, dtype=float)
    bins = quantile_bins(numbers)
    assert sorted(np.concatenate(bins).tolist()) == list(range(len(values)))
    assert len(bins) <= 8
    ends = [(numbers[rows].min(), numbers[rows].max()) for rows in bins]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))


def test_before_debias_stands_in_the_tables_where_it_is_known():
    rng = np.random.default_rng(1)
    chosen, rejected, lengths = (
        rng.normal(size=50),
        rng.normal(size=50),
        rng.integers(1, 9, (2, 50)),
    )
    before = PairScores(rejected, chosen)
    with_before = length_parts(curve(chosen, rejected, lengths, before=before))
    assert "before debias" in with_before[1].head
    assert "before debias, %" in with_before[2].head
    assert "before debias" not in length_parts(curve(chosen, rejected, lengths))[1].head


def test_an_empty_response_and_a_constant_score_have_a_curve():
    found = curve([1.0, 1.0], [1.0, 1.0], [[0, 4], [3, 4]])
    assert found.longer_wins[0].low == 3.0  # as if the empty one had one character
    assert found.score[0].value.value == 0.0
    assert curve([1.0], [0.0], [[4], [4]]).longer_wins == ()


@pytest.mark.parametrize(
    ("chosen", "lengths", "text"),
    [
        ([], [[], []], r"`scores.chosen` must have at least 1 entry"),
        ([math.nan], [[1], [1]], r"`scores.chosen` must be finite; 1 of 1"),
        ([1.0], [[-1], [1]], r"`chosen_lengths` must not be negative; got -1 at index 0"),
        ([1.0], [[1], [1, 2]], r"`rejected_lengths` must have shape \(p,\).*must be 1"),
    ],
)
def test_what_is_no_curve_is_refused(chosen, lengths, text):
    with pytest.raises(ValueError, match=text):
        curve(chosen, np.zeros(len(chosen)), lengths)
