"""How two judged responses become a pair: by hand, against the general derivation, as laws."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.data import pairs_from_ratings
from armorm.data.drops import RowProblem
from armorm.data.sources.pairing import comparisons, index, make_pair, number, pair_by_strength
from armorm.data.sources.registry import published_set
from armorm.types import Message, PreferencePair, RatedResponse, Scale

PROMPT = (Message("user", "Name a prime."),)
SCALES = {name: Scale(1, 5) for name in "abcd"}

rated = st.lists(
    st.fixed_dictionaries({name: st.integers(1, 5).map(float) for name in "abcd"}),
    min_size=2,
    max_size=5,
)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8)


def sides(rows):
    """The (chosen, rejected) of the pairs alone."""
    return [(row.chosen, row.rejected) for row in rows if isinstance(row, PreferencePair)]


@settings(max_examples=30, deadline=None)
@given(rated)
def test_comparisons_equal_the_derivation_from_rated_rows(ratings):
    responses = [(f"r{n}", given) for n, given in enumerate(ratings)]
    rows = [RatedResponse(text, PROMPT, text, "s", given) for text, given in responses]
    derived = pairs_from_ratings(rows, {"s": SCALES}, min_gap=0.0)
    assert sides(comparisons(PROMPT, responses)) == [(p.chosen, p.rejected) for p in derived]


@settings(max_examples=30, deadline=None)
@given(rated, st.randoms())
def test_order_of_responses_does_not_matter(ratings, random):
    responses = [(f"r{n}", given) for n, given in enumerate(ratings)]
    shuffled = random.sample(responses, len(responses))
    assert set(sides(comparisons(PROMPT, responses))) == set(sides(comparisons(PROMPT, shuffled)))


@settings(max_examples=30, deadline=None)
@given(rated)
def test_every_two_responses_are_accounted_for(ratings):
    responses = [(f"r{n}", given) for n, given in enumerate(ratings)]
    rows = list(comparisons(PROMPT, responses))
    assert len(rows) == len(responses) * (len(responses) - 1) // 2


def test_decimal_ratings_that_add_up_alike_are_a_tie():
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in floating point, not 0.
    first, second = {"a": 0.1, "b": 0.2, "c": 0.0}, {"a": 0.3, "b": 0.0, "c": 0.0}
    (problem,) = comparisons(PROMPT, [("x", first), ("y", second)])
    assert isinstance(problem, RowProblem)
    assert problem.reason == "tie"
    assert problem.text == "two responses must differ in rating; gap on ['a', 'b', 'c']: 0"


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([-3, -2, -1, 1, 2, 3]))
def test_swapped_responses_and_sign_give_the_same_pair(strength):
    one = pair_by_strength(PROMPT, "x", "y", strength, name="s")
    assert one == pair_by_strength(PROMPT, "y", "x", -strength, name="s")


@settings(max_examples=30, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5).filter(lambda turns: len(turns) % 2), texts, texts)
def test_transcript_of_any_conversation_is_read_back(turns, first, second):
    speakers = ["\n\nHuman: ", "\n\nAssistant: "] * len(turns)
    history = "".join(map("".join, zip(speakers, turns, strict=False))) + "\n\nAssistant: "
    record = {"chosen": history + first, "rejected": history + second}
    (row,) = published_set("hh-rlhf").convert([record])
    if first == second:
        assert isinstance(row, RowProblem)
        return
    assert [message.content for message in row.prompt] == turns
    assert (row.chosen, row.rejected) == (first, second)


def test_responses_must_differ_in_more_than_white_space():
    with pytest.raises(RowProblem, match=r"`chosen` and `rejected` must differ; both are 'x '"):
        make_pair(PROMPT, "x ", "x")


@pytest.mark.parametrize("raw", [None, float("nan"), "", "N/A", " n/a ", "None"])
def test_nothing_is_no_number(raw):
    assert number({"score": raw}, "score") is None


def test_text_is_no_number():
    with pytest.raises(RowProblem, match=r"rating 'score' must be a number; got the text 'good'"):
        number({"score": "good"}, "score")


def test_index_must_be_there():
    with pytest.raises(RowProblem, match=r"missing field 'labels'; found 'label'"):
        index({"label": 1}, "labels")
