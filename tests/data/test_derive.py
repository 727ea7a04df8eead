import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.data import pairs_from_ratings
from armorm.types import Message, PreferencePair, RatedResponse, Scale

SCALES = {"s": {"x": Scale(0, 4), "y": Scale(0, 10)}, "t": {"x": Scale(0, 1)}}


def row(identity, prompt="p", source="s", response=None, **ratings):
    text = identity if response is None else response
    return RatedResponse(identity, (Message("user", prompt),), text, source, ratings)


def ids(rows, min_gap=0.0, weights=None):
    return [pair.id for pair in pairs_from_ratings(rows, SCALES, weights=weights, min_gap=min_gap)]


def test_the_higher_weighted_mean_of_normalised_ratings_is_chosen():
    # x of 4, y of 10: a = (3 * 1 + 1 * 0) / 4 = .75, b = (3 * .5 + 1 * .8) / 4 = .575
    rows = [row("b", x=2, y=8), row("a", x=4, y=0)]
    (pair,) = pairs_from_ratings(rows, SCALES, weights={"x": 3, "y": 1}, min_gap=0.1)
    assert pair == PreferencePair("a>b", (Message("user", "p"),), "a", "b", "s")
    # with equal weights a = .5, b = .65: the other way round
    assert ids(rows) == ["b>a"]


def test_a_negative_weight_counts_against_a_response():
    rows = [row("long", x=4, y=10), row("short", x=4, y=0)]
    assert ids(rows, weights={"x": 1, "y": -1}) == ["short>long"]


def test_objectives_without_weight_do_not_count_and_need_not_be_rated_alike():
    rows = [row("a", x=4), row("b", x=0, y=10)]
    assert ids(rows) == []
    assert ids(rows, weights={"x": 1.0}) == ["a>b"]
    assert ids(rows, weights={"x": 1.0, "y": 0.0}) == ["a>b"]


def test_rows_of_other_prompts_sources_or_rated_sets_make_no_pair():
    rows = [row("a", x=4), row("b", "q", x=0), row("c", source="t", x=0), row("d", x=0, y=0)]
    assert ids(rows) == []


def test_a_gap_as_written_counts_in_spite_of_rounding():
    """On a scale of 10, .8 - .5 = .30000000000000004 but .4 - .1 = .30000000000000004 and
    .7 - .4 = .29999999999999993: the same three points are a gap of .3 everywhere."""
    for low in range(8):
        assert len(ids([row("a", y=low + 3), row("b", y=low)], 0.3)) == 1
        assert ids([row("a", y=low + 3), row("b", y=low)], 0.31) == []


def test_a_tie_never_makes_a_pair_even_one_by_rounding():
    # 0.1 + 0.2 and 0.3 as raw ratings differ in the last bit only.
    assert ids([row("a", x=0.1 + 0.2), row("b", x=0.3)]) == []


def test_equal_responses_make_no_pair():
    assert ids([row("a", response="same", x=4), row("b", response="same", x=0)]) == []


def test_pairs_come_by_prompt_then_by_row():
    rows = [
        row("a", "p", x=1),
        row("b", "q", x=1),
        row("c", "p", x=2),
        row("d", "q", x=0),
        row("e", "p", x=3),
        row("f", "p", source="t", x=0),
        row("g", "p", source="t", x=1),
    ]
    assert ids(rows) == ["c>a", "e>a", "e>c", "g>f", "b>d"]


@settings(max_examples=30, deadline=None)
@given(
    ratings=st.lists(
        st.tuples(st.sampled_from("pq"), st.integers(0, 4), st.none() | st.integers(0, 10)),
        max_size=9,
    ),
    gap=st.sampled_from([0.0, 0.1, 0.25]),
)
def test_pairs_equal_the_definition_over_all_rows(ratings, gap):
    rows = [
        row(f"r{i}", prompt, **({"x": x} if y is None else {"x": x, "y": y}))
        for i, (prompt, x, y) in enumerate(ratings)
    ]

    def aggregate(row):
        values = [raw / {"x": 4, "y": 10}[name] for name, raw in row.ratings.items()]
        return sum(values) / len(values)

    expected = set()
    for first, second in combinations(rows, 2):
        if first.prompt != second.prompt or first.ratings.keys() != second.ratings.keys():
            continue
        low, high = sorted((first, second), key=aggregate)
        difference = aggregate(high) - aggregate(low)
        if difference > 1e-9 and difference >= gap - 1e-9:
            expected.add((high.id, low.id))
    found = pairs_from_ratings(rows, SCALES, min_gap=gap)
    assert {(pair.chosen, pair.rejected) for pair in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("weights", "min_gap", "text"),
    [
        (None, -0.1, "`min_gap` must be 0 or more; got -0.1"),
        (None, math.nan, "`min_gap` must be 0 or more; got nan"),
        ({"z": 1.0}, 0.1, "`weights`: unknown objective 'z'; known: 'x', 'y'"),
        ({"x": math.inf}, 0.1, "`weights` must be finite; 'x' is inf"),
        ({"x": 0.0}, 0.1, r"`weights` must have one that is not 0; got \{'x': 0.0\}"),
        ({}, 0.1, r"`weights` must have one that is not 0; got \{\}"),
    ],
)
def test_arguments_are_refused(weights, min_gap, text):
    with pytest.raises(ValueError, match=text):
        ids([row("a", x=1)], min_gap, weights)


def test_a_row_off_its_scale_is_refused():
    with pytest.raises(ValueError, match="row 'a': rating 'x' must be from 0 to 4; got 9"):
        ids([row("a", x=9)])
