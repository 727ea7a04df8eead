import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from armorm.evaluate import bootstrap
from armorm.evaluate.bootstrap import (
    Resampling,
    accuracy_interval,
    bootstrap_interval,
    count_intervals,
    paired_interval,
)
from armorm.evaluate.groups import group_rows
from armorm.evaluate.interval import (
    Interval,
    bonett_price,
    effective_rows,
    value_only,
    wilson,
)
from armorm.evaluate.metrics import r2, spearman
from armorm.evaluate.rank_counts import r2_of_counts, spearman_of_counts

SEEDS = st.integers(0, 2**31)


def clustered(rng, n_prompts, n_rows=4, share=0.7, spread=5.0):
    """Wins of pairs that share a prompt and hence a difficulty; the true accuracy is `share`."""
    difficulty = rng.beta(spread * share, spread * (1 - share), n_prompts)
    wins = rng.random((n_prompts, n_rows)) < difficulty[:, None]
    return wins.ravel().astype(float), np.repeat(np.arange(n_prompts), n_rows)


def test_interval_of_a_mean_is_near_the_one_by_students_formula():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 300)
    interval = bootstrap_interval(np.mean, values, np.arange(300), seed=1)
    half = stats.t.ppf(0.975, 299) * values.std(ddof=1) / np.sqrt(300)
    assert interval.value == pytest.approx(values.mean())
    # 2000 resamples give an end with a standard error of about 2.6 % of the half width;
    # beyond 12 % by chance once in a hundred thousand.
    assert interval.low == pytest.approx(values.mean() - half, abs=0.12 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.12 * half)
    assert (interval.n_rows, interval.n_groups, interval.method) == (300, 300, "bootstrap")


def test_rows_that_repeat_a_prompt_add_nothing():
    rng = np.random.default_rng(1)
    wins = (rng.random(150) < 0.7).astype(float)
    once = accuracy_interval(wins, np.arange(150))
    copies = accuracy_interval(np.repeat(wins, 6), np.repeat(np.arange(150), 6))
    assert copies.low == pytest.approx(once.low)
    assert copies.high == pytest.approx(once.high)
    # Were rows resampled, six copies would shrink the interval by sqrt(6).
    assert (copies.n_rows, copies.n_groups) == (900, 150)


def test_generic_and_fast_paths_draw_the_same_resamples():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 160)).round(1)
    groups = np.repeat(np.arange(40), 4)
    grouping = group_rows(groups, n_rows=160)
    resampling = Resampling(n_resamples=200, seed=3)
    for slow, fast in [(spearman, spearman_of_counts), (r2, r2_of_counts)]:
        one = bootstrap_interval(slow, (x, y), groups, n_resamples=200, seed=3)
        other = count_intervals(fast(x, y, grouping), grouping, resampling)[0]
        assert one.value == pytest.approx(other.value, abs=1e-12)
        assert one.low == pytest.approx(other.low, abs=1e-12)
        assert one.high == pytest.approx(other.high, abs=1e-12)


@pytest.mark.parametrize(
    ("statistic", "fast"), [(spearman, spearman_of_counts), (r2, r2_of_counts)]
)
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_counts_mean_repeated_rows(statistic, fast, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 5, (2, 24)) / 4
    groups = rng.integers(0, 6, 24)
    grouping = group_rows(groups, n_rows=24)
    counts = rng.integers(0, 4, grouping.n_groups).astype(float)
    counts[0] += 1
    rows = np.repeat(np.arange(24), counts[grouping.index].astype(int))
    found = fast(x, y, grouping)(counts[None])[0, 0]
    if rows.size:
        assert found == pytest.approx(statistic(x[rows], y[rows]), abs=1e-9, nan_ok=True)


def test_a_resample_of_equal_ratings_is_undefined():
    x, y = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.3, 0.3, 0.9])
    grouping = group_rows([0, 0, 0, 1], n_rows=4)
    only_equal = np.array([[1.0, 0.0]])
    assert np.isnan(spearman_of_counts(x, y, grouping)(only_equal)[0, 0])
    assert np.isnan(r2_of_counts(x, y, grouping)(only_equal)[0, 0])


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_order_of_rows_and_names_of_prompts_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    wins, groups = clustered(rng, 30)
    order = rng.permutation(wins.size)
    names = np.array([f"prompt {g:03d}" for g in groups])
    rival = np.roll(wins, 1)
    for one, other in [
        (accuracy_interval(wins, groups), accuracy_interval(wins[order], names[order])),
        (
            paired_interval(wins, rival, groups, n_resamples=200, seed=5),
            paired_interval(wins[order], rival[order], names[order], n_resamples=200, seed=5),
        ),
    ]:
        assert other.low == pytest.approx(one.low)
        assert other.high == pytest.approx(one.high)


def test_the_draws_do_not_depend_on_the_size_of_the_chunks(monkeypatch):
    wins, groups = clustered(np.random.default_rng(3), 120)
    rival = np.roll(wins, 1)
    whole = paired_interval(wins, rival, groups, n_resamples=500)
    monkeypatch.setattr(bootstrap, "_CHUNK_ENTRIES", 7 * wins.size)
    assert whole.method == "bootstrap"
    assert paired_interval(wins, rival, groups, n_resamples=500) == whole


def test_one_seed_gives_one_interval_and_another_seed_another():
    wins, groups = clustered(np.random.default_rng(4), 120)
    rival = np.roll(wins, 1)
    again = [paired_interval(wins, rival, groups, seed=seed).low for seed in (7, 7, 8)]
    assert again[0] == again[1] != again[2]


def test_a_higher_level_gives_a_wider_interval():
    wins, groups = clustered(np.random.default_rng(5), 150)
    rival = np.roll(wins, 1)
    for interval_of in (
        lambda level: accuracy_interval(wins, groups, level=level),
        lambda level: paired_interval(wins, rival, groups, level=level),
        lambda level: paired_interval(wins, wins, groups, level=level),
    ):
        narrow, wide = interval_of(0.8), interval_of(0.99)
        assert wide.low < narrow.low < narrow.high < wide.high


def test_paired_interval_is_antisymmetric_and_sees_through_shared_difficulty():
    rng = np.random.default_rng(6)
    hard = rng.random(400) < 0.3
    a = np.where(hard, 0.0, 1.0)
    b = np.where(rng.random(400) < 0.08, 0.0, a)
    groups = np.arange(400)
    forward, back = paired_interval(a, b, groups), paired_interval(b, a, groups)
    assert forward.value == pytest.approx(a.mean() - b.mean())
    assert forward.value == -back.value
    assert forward.low == pytest.approx(-back.high)
    # Two separate intervals overlap; the paired one does not hold 0.
    assert accuracy_interval(a, groups).low < accuracy_interval(b, groups).high
    assert forward.low > 0


def test_few_discordant_pairs_get_an_interval_and_not_a_point():
    same = np.ones(200)
    interval = paired_interval(same, same, np.arange(200))
    assert interval.method == "bonett-price"
    assert interval.low < 0 < interval.high < 0.02


def test_bonett_price_by_hand():
    # 3 of 98 pairs won by a alone, 1 by b alone: (3 - 1) / 100 -+ t sqrt(4 + 2 - 4 / 100) / 100
    sums = np.array([1.0] * 3 + [-1.0] + [0.0] * 94)
    interval = bonett_price(sums, np.ones(98), level=0.95)
    half = stats.t.ppf(0.975, 97) * np.sqrt(5.96) / 100
    assert interval.value == pytest.approx(2 / 98)
    assert (interval.low, interval.high) == pytest.approx((0.02 - half, 0.02 + half))


def test_wilson_by_hand_and_close_to_scipy():
    # One pair a prompt and no clusters: n_eff = n (n - 1) / n, so 49 of 50 rows.
    wins = np.array([1.0] * 40 + [0.0] * 10)
    interval = wilson(wins, np.ones(50), level=0.95)
    textbook = stats.binomtest(40, 50).proportion_ci(0.95, method="wilson")
    assert interval.value == 0.8
    # Student's quantile and the 49 widen it by about 3 %.
    assert interval.low == pytest.approx(textbook.low, abs=0.006)
    assert interval.high == pytest.approx(textbook.high, abs=0.006)
    assert interval.low < textbook.low < textbook.high < interval.high


def test_wilson_does_not_believe_that_nothing_is_ever_lost():
    interval = accuracy_interval(np.ones(400), np.arange(400))
    assert interval.method == "wilson"
    assert 0.98 < interval.low < 1.0 == interval.high


def test_wilson_counts_prompts_where_rows_of_a_prompt_agree():
    wins = (np.random.default_rng(7).random(60) < 0.6).astype(float)
    once = wilson(wins, np.ones(60), level=0.95)
    copies = wilson(6 * wins, np.full(60, 6.0), level=0.95)
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high))


def test_effective_rows_by_hand():
    # Share .9, 20 prompts of 5 rows. Independent rows would give a variance of .09 / 100; rows
    # that agree .09 / 20. Of 3 prompts with a loss and a pull of (1 - 1.8)^2 = .64 comes
    # (3 * .0009 + .64 * .0045) / 3.64 = .00153, and .09 / .00153 = 58.7 rows.
    mass = np.full(20, 1 / 20)
    assert effective_rows(0.9, 0.0009, mass, n_events=3) == pytest.approx(58.7, abs=0.05)
    # Many losses: the variance stands as it was measured. Even shares: so it does with few.
    assert effective_rows(0.9, 0.0009, mass, n_events=10**6) == pytest.approx(100, abs=0.01)
    assert effective_rows(0.5, 0.0025, mass, n_events=1) == pytest.approx(100)
    # Nothing lost at all: what is known is the number of prompts.
    assert effective_rows(1.0, 0.0, mass, n_events=0) == pytest.approx(20)
    uneven = np.array([0.5, 0.25, 0.25])  # 1 / (.25 + .0625 + .0625)
    assert effective_rows(1.0, 0.0, uneven, n_events=0) == pytest.approx(8 / 3)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_effective_rows_lie_between_prompts_and_rows(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, 30).astype(float)
    share, mass = rng.uniform(0.01, 0.99), sizes / sizes.sum()
    spread = share * (1 - share)
    variance = spread * rng.uniform(1 / sizes.sum(), mass @ mass)
    found = effective_rows(share, variance, mass, n_events=int(rng.integers(0, 30)))
    assert 1 / (mass @ mass) * (1 - 1e-9) <= found <= spread / variance * (1 + 1e-9)


def test_swapping_wins_and_losses_mirrors_the_interval():
    wins, groups = clustered(np.random.default_rng(9), 40, share=0.9)
    one, other = accuracy_interval(wins, groups), accuracy_interval(1 - wins, groups)
    assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low))


def test_a_statistic_that_is_often_undefined_has_no_interval():
    values = np.arange(40.0)
    often = bootstrap_interval(
        lambda x: np.nan if x[0] % 2 else x.mean(), values, np.arange(40), n_resamples=200
    )
    assert not often.has_interval
    assert often.method == "none"


def coverage(draw, interval_of, truth, n_trials):
    """Share of made-up samples whose interval holds the truth."""
    held = 0
    for trial in range(n_trials):
        interval = interval_of(*draw(np.random.default_rng(1000 + trial)))
        held += interval.low <= truth <= interval.high
    return held / n_trials


# Over 600 trials an interval that truly covers 95 % is seen to cover less than 92 % once in
# 1,500 times and more than 98 % once in 20,000; one that truly covers 90 % passes once in
# 18. The seeds are fixed, so that the tests fail only when the code changes.
TRIALS = 600


@pytest.mark.parametrize("n_prompts", [30, 100])
def test_accuracy_intervals_cover_the_true_accuracy_of_clustered_pairs(n_prompts):
    held = coverage(
        lambda rng: clustered(rng, n_prompts),
        accuracy_interval,
        0.7,
        TRIALS,
    )
    assert 0.92 <= held <= 0.98


def test_accuracy_intervals_cover_a_high_accuracy_on_few_prompts():
    held = coverage(
        lambda rng: ((rng.random(25) < 0.93).astype(float), np.arange(25)),
        accuracy_interval,
        0.93,
        TRIALS,
    )
    assert held >= 0.92


def test_resampling_rows_instead_of_prompts_would_not_cover():
    held = coverage(
        lambda rng: clustered(rng, 100, n_rows=8, spread=2.0),
        lambda wins, groups: accuracy_interval(wins, np.arange(wins.size)),
        0.7,
        200,
    )
    assert held < 0.85


def test_spearman_intervals_cover_with_few_prompts():
    # Of a bivariate normal with correlation r, Spearman's is 6 / pi arcsin(r / 2).
    r = 0.5
    truth = 6 / np.pi * np.arcsin(r / 2)

    def draw(rng):
        prompt = rng.normal(size=(2, 30, 1)) * np.sqrt(0.5)
        x, e = (prompt + rng.normal(size=(2, 30, 4)) * np.sqrt(0.5)).reshape(2, -1)
        return x, r * x + np.sqrt(1 - r * r) * e

    groups = np.repeat(np.arange(30), 4)
    grouping = group_rows(groups, n_rows=120)
    held = coverage(
        draw,
        lambda x, y: count_intervals(
            spearman_of_counts(x, y, grouping), grouping, Resampling(n_resamples=400)
        )[0],
        truth,
        TRIALS,
    )
    assert 0.92 <= held <= 0.98


def test_paired_intervals_cover_the_true_difference():
    def draw(rng):
        difficulty = rng.beta(3, 1.5, 60)[:, None]
        a = (rng.random((60, 2)) < difficulty).astype(float)
        # b repeats a, except for one pair in six, which it draws anew
        b = np.where(rng.random((60, 2)) < 1 / 6, rng.random((60, 2)) < 0.5, a)
        return a.ravel(), b.ravel()

    truth = (3 / 4.5 - 0.5) / 6
    groups = np.repeat(np.arange(60), 2)
    held = coverage(
        draw, lambda a, b: paired_interval(a, b, groups, n_resamples=400), truth, TRIALS
    )
    assert 0.92 <= held <= 0.98


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: accuracy_interval(np.ones(19), np.arange(19)),
            r"`groups` must name at least 20 prompts for an interval; got 19: report the value",
        ),
        (
            lambda: paired_interval(np.ones(40), np.ones(40), np.arange(40) // 4),
            r"at least 20 prompts for an interval; got 10",
        ),
        (
            lambda: bootstrap_interval(np.mean, np.ones(5), np.arange(5)),
            r"at least 20 prompts for an interval; got 5",
        ),
        (
            lambda: accuracy_interval(np.ones(30), np.arange(29)),
            r"`groups` must name one prompt a row; got shape \(29,\) for 30 rows",
        ),
        (
            lambda: accuracy_interval([0.5, 1.5, 2.0], np.arange(3)),
            r"`wins` must lie within \[0, 1\]; got 1.5 at index 1",
        ),
        (
            lambda: paired_interval([0.5, 1.0], [0.5], np.arange(2)),
            r"`wins_b` must have shape \(p,\); got \(1,\): axis 0 \(p\) must be 2",
        ),
        (
            lambda: bootstrap_interval(np.mean, (np.ones(4), np.ones(3)), np.arange(4)),
            r"`rows` must be arrays of one length of at least 1; got \[4, 3\]",
        ),
        (
            lambda: accuracy_interval(np.ones(30), np.arange(30), level=1.0),
            r"`level` must lie between 0 and 1; got 1.0",
        ),
        (
            lambda: accuracy_interval([0.5, float("nan")], np.arange(2)),
            r"`wins` must be finite; 1 of 2 entries are not, the first at index 1",
        ),
        (
            lambda: paired_interval(np.ones(30), np.ones(30), np.arange(30), level=0.0),
            r"`level` must lie between 0 and 1; got 0.0",
        ),
        (
            lambda: paired_interval(np.ones(30), np.ones(30), np.arange(30), n_resamples=99),
            r"`n_resamples` must be at least 100; got 99",
        ),
    ],
)
def test_arguments_are_refused_with_the_value_at_fault(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_an_undefined_figure_is_null_in_json_and_nan_again():
    text = value_only(float("nan"), n_rows=3, n_groups=2).model_dump_json()
    assert '"value":null,"low":null,"high":null' in text
    assert np.isnan(Interval.model_validate_json(text).value)
