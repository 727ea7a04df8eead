import numpy as np
import pytest

from armorm.evaluate.bootstrap import bootstrap_interval
from armorm.evaluate.metrics import r2, spearman
from armorm.evaluate.objectives import evaluate_objectives


def table(seed=0, n_prompts=60):
    """Scores and ratings of two objectives, each rated by its own half of the prompts."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_prompts), 4)
    scores = rng.normal(size=(groups.size, 2))
    ratings = scores * [0.5, 0.9] + rng.normal(size=scores.shape)
    ratings[groups % 2 == 0, 0] = np.nan
    ratings[groups % 2 == 1, 1] = np.nan
    return scores, ratings, groups


def test_each_objective_is_measured_on_its_rated_rows():
    scores, ratings, groups = table()
    results = evaluate_objectives(scores, ratings, groups, objectives=["a", "b"])
    for j, one in enumerate(results.objectives):
        rated = ~np.isnan(ratings[:, j])
        x, y = scores[rated, j], ratings[rated, j]
        assert one.n == 120
        assert one.spearman.n_groups == 30
        assert one.spearman.value == pytest.approx(spearman(x, y))
        assert one.r2.value == pytest.approx(r2(x, y))
        assert one.rmse == pytest.approx(np.sqrt(((x - y) ** 2).mean()))
        assert one.spearman.low < one.spearman.value < one.spearman.high


def test_intervals_equal_those_of_the_slow_path():
    scores, ratings, groups = table(1)
    rows = ~np.isnan(ratings[:, 1])
    fast = evaluate_objectives(scores, ratings, groups, objectives=["a", "b"], n_resamples=200)
    slow = bootstrap_interval(
        r2, (scores[rows, 1], ratings[rows, 1]), groups[rows], n_resamples=200
    )
    assert fast.objectives[1].r2.low == pytest.approx(slow.low)
    assert fast.objectives[1].r2.high == pytest.approx(slow.high)


def test_mean_is_drawn_over_all_prompts_at_once():
    scores, ratings, groups = table(2)
    results = evaluate_objectives(scores, ratings, groups, objectives=["a", "b"], n_resamples=200)

    def mean_of_both(x, y):
        return np.mean([spearman(x[:, j], y[:, j]) for j in range(2)])

    slow = bootstrap_interval(mean_of_both, (scores, ratings), groups, n_resamples=200)
    assert results.mean_spearman.value == pytest.approx(slow.value)
    assert results.mean_spearman.low == pytest.approx(slow.low)
    assert results.mean_spearman.high == pytest.approx(slow.high)
    assert results.mean_spearman.n_rows == 240


def test_prompts_without_any_rating_do_not_count():
    scores, ratings, groups = table(3)
    ratings[groups >= 40] = np.nan
    results = evaluate_objectives(scores, ratings, groups, objectives=["a", "b"], n_resamples=200)
    assert results.mean_spearman.n_groups == 40
    assert results.objectives[0].spearman.n_groups == 20


def test_few_prompts_give_the_value_alone():
    scores, ratings, groups = table(4)
    ratings[groups > 20, 0] = np.nan
    one, other = evaluate_objectives(
        scores, ratings, groups, objectives=["a", "b"], n_resamples=200
    ).objectives
    assert one.spearman.n_groups == 10
    assert np.isfinite(one.spearman.value)
    assert not one.spearman.has_interval
    assert other.spearman.has_interval


def test_an_undefined_objective_is_nan_and_left_out_of_the_mean():
    scores, ratings, groups = table(5)
    ratings = np.column_stack([ratings, np.full(len(ratings), 0.5), np.full(len(ratings), np.nan)])
    scores = np.column_stack([scores, scores])
    names = ["a", "b", "constant", "unrated"]
    results = evaluate_objectives(scores, ratings, groups, objectives=names, n_resamples=200)
    constant, unrated = results.objectives[2:]
    assert np.isnan(constant.spearman.value)
    assert np.isnan(constant.r2.value)
    assert constant.rmse > 0
    assert unrated.n == 0
    assert np.isnan(unrated.rmse)
    defined = [o.spearman.value for o in results.objectives[:2]]
    assert results.mean_spearman.value == pytest.approx(np.mean(defined))


def test_a_constant_score_has_an_r2_but_no_rank_correlation():
    scores, ratings, groups = table(6)
    scores[:, 0] = 0.5
    one = evaluate_objectives(
        scores, ratings, groups, objectives=["a", "b"], n_resamples=200
    ).objectives[0]
    assert np.isnan(one.spearman.value)
    assert one.r2.value == pytest.approx(r2(scores[:, 0], ratings[:, 0]))


def test_no_defined_objective_leaves_the_mean_undefined():
    results = evaluate_objectives(
        np.zeros((4, 1)), np.full((4, 1), np.nan), np.arange(4), objectives=["a"]
    )
    assert np.isnan(results.mean_spearman.value)
    assert results.mean_spearman.n_rows == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"objective_scores": np.zeros((4, 3))},
            r"`objective_scores` must have shape \(n, k\) with k = 2 objectives; got \(4, 3\)",
        ),
        ({"ratings": np.zeros((3, 2))}, r"`ratings` must have shape \(4, 2\); got \(3, 2\)"),
        (
            {"objective_scores": np.array([[0, 0], [0, np.nan], [0, 0], [0, 0]])},
            r"`objective_scores` must be finite; 1 of 8 entries are not, the first at row 1, "
            r"objective 'b'",
        ),
        (
            {"ratings": np.array([[0, 0], [0, 0], [np.inf, np.nan], [0, 0]])},
            r"`ratings` must be finite or NaN; 1 of 8 .* at row 2, objective 'a'",
        ),
        ({"groups": np.arange(3)}, r"`groups` must name one prompt a row; got shape \(3,\) for 4"),
    ],
)
def test_arguments_are_refused_with_the_value_at_fault(change, text):
    arguments = {
        "objective_scores": np.zeros((4, 2)),
        "ratings": np.zeros((4, 2)),
        "groups": np.arange(4),
    } | change
    with pytest.raises(ValueError, match=text):
        evaluate_objectives(**arguments, objectives=["a", "b"])
