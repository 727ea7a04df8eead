"""Scorers side by side differ where the pairs say so, and noise is not called a difference."""

import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from armorm.evaluate import accuracy_interval, paired_interval
from armorm.evaluate.scorers import SideBySide, side_by_side, side_by_side_table

N = 300
PROMPTS = np.arange(N)


def drawn(share, seed, n=N):
    return (np.random.default_rng(seed).random(n) < share).astype(float)


@pytest.fixture(scope="module")
def found():
    """Two alike scorers, one far behind, one that has no verdict on the first 30 pairs."""
    unsure = drawn(0.8, 3)
    unsure[:30] = math.nan
    wins = {"ours": drawn(0.8, 0), "alike": drawn(0.8, 1), "worse": drawn(0.5, 2), "judge": unsure}
    return wins, side_by_side(wins, PROMPTS)


def test_intervals_are_those_of_the_single_functions(found):
    wins, table = found
    assert table.scorers[0].accuracy == accuracy_interval(wins["ours"], PROMPTS)
    first = table.differences[0]
    assert (first.first, first.second) == ("ours", "alike")
    assert first.difference == paired_interval(wins["ours"], wins["alike"], PROMPTS)


def test_every_two_scorers_are_compared_once_in_the_order_given(found):
    wins, table = found
    names = list(wins)
    expected = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    assert [(one.first, one.second) for one in table.differences] == expected
    assert (table.n_pairs, table.n_prompts, table.level) == (N, N, 0.95)
    assert table.joint_level == pytest.approx(1 - 0.05 / 6)


def test_what_is_far_behind_is_called_so_and_what_is_alike_is_not(found):
    _, table = found
    findings = {(one.first, one.second): one.finding for one in table.differences}
    assert findings["ours", "worse"] == "ahead"
    assert findings["worse", "judge"] == "behind"
    assert findings["ours", "alike"] == "no clear difference"
    assert table.clear("worse") == ((), ("ours", "alike", "judge"))
    assert table.clear("ours") == (("worse",), ())


def test_pairs_without_a_verdict_count_for_nobody(found):
    wins, table = found
    judge = table.scorers[3]
    assert (judge.n_without, judge.accuracy.n_rows) == (30, 270)
    assert judge.accuracy.value == wins["judge"][30:].mean()
    against = table.differences[2]
    assert against.second == "judge"
    assert against.difference.n_rows == 270
    expected = wins["ours"][30:].mean() - wins["judge"][30:].mean()
    assert against.difference.value == pytest.approx(expected, abs=1e-12)


def test_a_difference_of_one_interval_is_not_one_of_the_whole_table():
    # By hand: 60 of 100 pairs differ, 38 for a and 22 for b: z = 16 / sqrt(60) = 2.07, beyond
    # 1.96 of one comparison and within 2.64, that of six.
    a = np.r_[np.ones(38), np.zeros(22), np.ones(240)]
    b = np.r_[np.zeros(38), np.ones(22), np.ones(240)]
    alone = side_by_side({"a": a, "b": b}, PROMPTS)
    assert alone.differences[0].finding == "ahead"
    more = side_by_side({"a": a, "b": b, "c": a, "d": b}, PROMPTS)
    assert more.differences[0].difference.low > 0
    assert more.differences[0].finding == "no clear difference"


def test_tables_without_a_true_difference_seldom_show_one():
    # 4 scorers, 6 differences, 40 tables: at most 5 % of tables may show one, so 2 are
    # expected at most; more than 7 have a probability below 0.1 %. Unadjusted, a fifth would.
    n_wrong = 0
    for seed in range(40):
        wins = {name: drawn(0.7, 100 * seed + i, 100) for i, name in enumerate("abcd")}
        table = side_by_side(wins, np.arange(100), n_resamples=100, seed=seed)
        n_wrong += any(one.finding != "no clear difference" for one in table.differences)
    assert n_wrong <= 7


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_swapping_two_scorers_negates_their_difference(seed):
    wins = {"a": drawn(0.6, seed, 60), "b": drawn(0.7, seed + 1, 60)}
    one = side_by_side(wins, np.arange(60), n_resamples=200)
    other = side_by_side(dict(reversed(wins.items())), np.arange(60), n_resamples=200)
    assert one.differences[0].difference.value == pytest.approx(
        -other.differences[0].difference.value, abs=1e-12
    )


def test_pairs_of_one_prompt_are_not_news_twice():
    wins = {"a": np.repeat(drawn(0.7, 0, 60), 5), "b": np.repeat(drawn(0.5, 1, 60), 5)}
    apart = side_by_side(wins, np.arange(300)).differences[0].difference
    together = side_by_side(wins, np.repeat(np.arange(60), 5)).differences[0].difference
    assert together.n_groups == 60
    assert together.high - together.low > 1.8 * (apart.high - apart.low)


def test_fewer_than_20_prompts_have_values_alone():
    table = side_by_side({"a": np.ones(19), "b": np.zeros(19)}, np.arange(19))
    assert not table.scorers[0].accuracy.has_interval
    assert table.differences[0].finding == "unknown"
    assert table.differences[0].difference.value == 1.0
    assert table.clear("a") == ((), ())


def test_scorers_without_a_pair_in_common_have_no_difference():
    half = np.r_[np.ones(20), np.full(20, math.nan)]
    table = side_by_side({"a": half, "b": half[::-1]}, np.arange(40))
    assert math.isnan(table.differences[0].difference.value)
    assert table.differences[0].finding == "unknown"


def test_one_scorer_alone_has_no_differences():
    table = side_by_side({"a": drawn(0.5, 0)}, PROMPTS)
    assert table.differences == ()
    assert table.joint_level == 0.95


def test_the_figures_survive_json(found):
    _, table = found
    text = table.model_dump_json()
    assert SideBySide.model_validate_json(text) == table
    assert json.loads(text)["differences"][1]["finding"] == "ahead"


@pytest.mark.parametrize(
    ("wins", "text"),
    [
        ({}, "`wins` must have one scorer or more; got none"),
        (
            {"a": [1.0, 0.0], "b": [1.0]},
            r"scorer 'b': `wins` must have shape \(p,\); got \(1,\): axis 0",
        ),
        ({"a": [[1.0]]}, r"scorer 'a': `wins` must have shape \(p,\); got \(1, 1\)"),
        (
            {"a": [1.0, 1.5]},
            r"scorer 'a': `wins` must lie within \[0, 1\] or be NaN; got 1.5 at index 1",
        ),
        ({"a": [1.0, -math.inf]}, "got -inf at index 1"),
        ({"a": [math.nan] * 2}, "scorer 'a': `wins` must have a verdict on one pair or more"),
    ],
)
def test_wins_are_checked_and_the_scorer_named(wins, text):
    with pytest.raises(ValueError, match=text):
        side_by_side(wins, ["p", "q"])


# The table


def render(renderable, width=80):
    file = io.StringIO()
    Console(width=width, file=file).print(renderable)
    return file.getvalue()


def test_the_table_fits_80_columns_and_marks_what_exceeds_noise(found):
    _, table = found
    text = render(side_by_side_table(table))
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    ours = next(line for line in lines if " ours " in line)
    assert f"{100 * table.scorers[0].accuracy.value:.1f} %" in ours
    assert ours.split()[0] == "A"
    assert ours.rstrip().endswith("C")
    marked = [line.strip().split("  ")[0].strip() for line in lines if line.rstrip().endswith(" *")]
    assert marked == ["A - C", "B - C", "C - D"]
    assert "judge: 30 of 300 pairs without a verdict are left out." in text
    assert "in at most 5 % of such tables (all 6 differences together)" in " ".join(text.split())


def test_names_are_not_markup_and_give_way_before_numbers():
    long = "[red]" + "x" * 90
    text = render(
        side_by_side_table(side_by_side({long: drawn(0.5, 0), "b": drawn(0.9, 1)}, PROMPTS))
    )
    assert "[red]xx" in text
    assert "…" in text
    assert f"{100 * drawn(0.5, 0).mean():.1f} %" in text


def test_a_table_without_intervals_says_why():
    text = render(side_by_side_table(side_by_side({"a": np.ones(3), "b": np.zeros(3)}, [0, 1, 2])))
    assert "unknown: fewer than 20 prompts, too few for an interval." in text
    assert "+100.0" in text


def test_more_than_26_scorers_have_letters_of_their_own():
    table = side_by_side({f"s{i}": np.ones(3) for i in range(28)}, [0, 1, 2])
    text = render(side_by_side_table(table))
    assert "A2 - B2" in text
