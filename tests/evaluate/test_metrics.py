import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import r2_score

from armorm.evaluate.metrics import preference_accuracy, preference_wins, r2, spearman

SEEDS = st.integers(0, 2**31)


def test_a_tie_counts_one_half():
    # 2 > 1 wins, 1 = 1 ties, 0 < 1 loses: (1 + 1/2 + 0) / 3
    assert preference_wins([2, 1, 0], [1, 1, 1]).tolist() == [1.0, 0.5, 0.0]
    assert preference_accuracy([2, 1, 0], [1, 1, 1]) == 0.5


def test_a_constant_scorer_reaches_one_half():
    assert preference_accuracy(np.zeros(7), np.zeros(7)) == 0.5


def test_scores_that_differ_by_less_than_their_difference_can_hold_are_no_tie():
    # The margin underflows to a subnormal; the order does not.
    assert preference_accuracy([5e-324], [0.0]) == 1.0


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_swapping_chosen_and_rejected_gives_one_minus_the_accuracy(seed):
    chosen, rejected = np.random.default_rng(seed).integers(0, 4, (2, 20))
    swapped = preference_accuracy(rejected, chosen)
    assert preference_accuracy(chosen, rejected) == pytest.approx(1 - swapped)


def test_spearman_by_hand_with_ties():
    # ranks of 1, 2, 2, 3: 1, 2.5, 2.5, 4; of 1, 3, 2, 4: 1, 3, 2, 4. Around 2.5:
    # (-1.5, 0, 0, 1.5) . (-1.5, .5, -.5, 1.5) = 4.5; lengths sqrt(4.5), sqrt(5)
    assert spearman([1, 2, 2, 3], [10, 30, 20, 40]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


@pytest.mark.parametrize("levels", [3, 7, 1000])
@pytest.mark.parametrize("n", [3, 20, 500])
def test_spearman_and_r2_equal_scipy_and_sklearn(n, levels):
    rng = np.random.default_rng(n + levels)
    predicted = rng.integers(0, levels, n) / levels
    rated = np.where(rng.random(n) < 0.5, predicted, rng.integers(0, levels, n) / levels)
    predicted[0], predicted[1], rated[0], rated[1] = 0.1, 0.7, 0.3, 0.9
    assert spearman(predicted, rated) == pytest.approx(spearmanr(predicted, rated).statistic)
    assert r2(predicted, rated) == pytest.approx(r2_score(rated, predicted))


def test_rows_without_a_rating_are_left_out():
    rng = np.random.default_rng(0)
    predicted, rated = rng.normal(size=(2, 40))
    holes = rated.copy()
    holes[::3] = np.nan
    kept = ~np.isnan(holes)
    assert spearman(predicted, holes) == spearman(predicted[kept], rated[kept])
    assert r2(predicted, holes) == r2(predicted[kept], rated[kept])


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_spearman_ignores_increasing_changes_and_row_order(seed):
    rng = np.random.default_rng(seed)
    predicted, rated = rng.normal(size=(2, 25)).round(1)
    order = rng.permutation(25)
    same = spearman(np.exp(predicted[order]), 3 * rated[order] - 7)
    assert same == pytest.approx(spearman(predicted, rated), abs=1e-12)
    assert spearman(-predicted, rated) == pytest.approx(-same, abs=1e-12)


def test_predicting_the_mean_of_the_rows_gives_r2_zero_and_not_against_zero():
    rated = np.array([0.5, 0.7, 0.9])
    assert r2(np.full(3, rated.mean()), rated) == pytest.approx(0.0, abs=1e-12)
    assert r2(np.zeros(3), rated) < 0


def test_r2_is_unchanged_when_ratings_and_scores_change_scale_together():
    rng = np.random.default_rng(1)
    predicted, rated = rng.normal(size=(2, 30))
    assert r2(5 * predicted + 3, 5 * rated + 3) == pytest.approx(r2(predicted, rated))


@pytest.mark.parametrize(
    ("predicted", "rated"),
    [
        ([0.1, 0.2], [1, 2]),
        ([0.1, 0.2, 0.3], [1, 2, np.nan]),
        ([0.1, 0.2, 0.3], [2, 2, 2]),
    ],
    ids=["two rows", "two rated rows", "equal ratings"],
)
def test_undefined_figures_are_nan(predicted, rated):
    assert np.isnan(spearman(predicted, rated))
    assert np.isnan(r2(predicted, rated))


def test_equal_scores_have_no_rank_correlation_but_an_r2():
    assert np.isnan(spearman([0.5, 0.5, 0.5], [1, 2, 3]))
    assert r2([2, 2, 2], [1, 2, 3]) == 0.0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: preference_wins([1.0, np.nan, np.inf], [0, 0, 0]),
            r"`chosen_scores` must be finite; 2 of 3 entries are not, the first at index 1",
        ),
        (
            lambda: preference_wins([1.0, 2.0], [0.0]),
            r"`rejected_scores` must have shape \(p,\); got \(1,\): axis 0 \(p\) must be 2",
        ),
        (lambda: preference_wins([[1.0]], [0.0]), r"`chosen_scores` must have shape \(p,\); got"),
        (lambda: preference_wins([], []), r"`chosen_scores` must have at least 1 entry"),
        (lambda: preference_wins(["a"], [0.0]), r"`chosen_scores` must be an array of numbers"),
        (lambda: spearman([np.nan, 1, 2], [1, 2, 3]), r"`predicted` must be finite; 1 of 3"),
        (
            lambda: r2([0, 1, 2], [1, np.inf, np.nan]),
            r"`rated` must be finite or NaN; 1 of 3 entries are infinite, the first at index 1",
        ),
        (lambda: r2([0, 1, 2], [1, 2]), r"`rated` must have shape \(n,\); got \(2,\): axis 0"),
    ],
)
def test_arguments_are_refused_with_the_value_at_fault(call, text):
    with pytest.raises(ValueError, match=text):
        call()
