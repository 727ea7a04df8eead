"""Rules for pairs: by hand, against a slow reading of the rule, and what holds for all of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm.label.select import (
    EQUAL_SCORES,
    NOT_DOMINATED,
    ONE_TEXT,
    PairOptions,
    PairRule,
    Scored,
    choose_pairs,
)

RULES = ["best-worst", "best-random", "top-1", "top-2", "margin>=0.3", "pareto"]


def scored(scores, *, texts=None, lengths=None, values=None, number=0):
    n = len(scores)
    scores = np.array(scores, dtype=float)
    return Scored(
        number,
        texts or [f"text {i}" for i in range(n)],
        scores,
        np.array(lengths if lengths is not None else [1] * n),
        np.array(values, dtype=float) if values is not None else scores[:, None],
    )


def pairs(group, rule, **options):
    return choose_pairs(group, PairOptions(rule=PairRule.parse(rule), **options)).pairs


def why(group, rule="best-worst", **options):
    choice = choose_pairs(group, PairOptions(rule=PairRule.parse(rule), **options))
    assert choice.pairs == ()
    return choice.reason


# Scores .2 .9 .5 .1 of candidates 0 to 3: the order is 1, 2, 0, 3.
FOUR = scored([0.2, 0.9, 0.5, 0.1])


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("best-worst", [(1, 3)]),
        ("top-1", [(1, 3)]),
        ("top-2", [(1, 3), (2, 0)]),
        ("top-9", [(1, 3), (2, 0)]),
        ("margin>=0.35", [(1, 3), (1, 0), (1, 2), (2, 3)]),
        ("margin>=0.75", [(1, 3)]),
    ],
)
def test_pairs_of_four_scores(rule, wanted):
    assert list(pairs(FOUR, rule)) == wanted


def test_pareto_wants_no_objective_worse_and_one_better():
    group = scored([0.9, 0.5, 0.4, 0.4], values=[[1, 1], [1, 0], [0, 2], [1, 0]])
    # 0 is better than 1 and 3 on the second value; 2 is better than 0 there, worse on the first.
    assert list(pairs(group, "pareto")) == [(0, 3), (0, 1)]
    assert why(scored([0.9, 0.5], values=[[1, 0], [0, 1]]), "pareto") == NOT_DOMINATED


def test_equal_texts_are_never_a_pair():
    group = scored([0.9, 0.1, 0.5], texts=["a", "a", "b"])
    assert pairs(group, "best-worst") == ((0, 2),)
    assert why(scored([0.9, 0.1], texts=["a", "a"])) == ONE_TEXT
    assert why(scored([0.9])) == ONE_TEXT


def test_two_texts_stand_in_one_pair_once():
    group = scored([0.9, 0.9, 0.1], texts=["a", "a", "b"])
    assert pairs(group, "margin>=0") == ((0, 2),)


def test_equal_scores_are_no_pair_unless_asked_for():
    group = scored([0.5, 0.5])
    assert why(group) == EQUAL_SCORES
    assert pairs(group, "best-worst", ties=True) == ((0, 1),)
    assert pairs(scored([0.5, 0.5, 0.5]), "margin>=0", ties=True) == ((0, 2), (0, 1), (1, 2))


def test_margin_rule_takes_a_margin_that_is_just_as_large():
    group = scored([0.75, 0.5])
    assert pairs(group, "best-worst", min_margin=0.25) == ((0, 1),)
    assert why(group, min_margin=0.26) == "margin below 0.26"


def test_rejected_response_may_be_shorter_by_so_much():
    group = scored([0.9, 0.1, 0.5], lengths=[100, 79, 80])
    assert pairs(group, "best-worst", max_shorter=21) == ((0, 1),)
    assert pairs(group, "best-worst", max_shorter=20) == ((0, 2),)
    said = "rejected response shorter by more than 19 characters"
    assert why(group, max_shorter=19) == said
    longer = scored([0.9, 0.1], lengths=[10, 5000])
    assert pairs(longer, "best-worst", max_shorter=0) == ((0, 1),)


def test_a_best_response_that_cannot_be_paired_gives_way_to_an_equal_one():
    group = scored([0.9, 0.9, 0.1], lengths=[100, 10, 10])
    assert pairs(group, "best-worst", max_shorter=0) == ((1, 2),)


def test_top_responses_without_a_pair_say_why_whatever_others_could_be_paired():
    """The best has its own text or its own score against it; only the second best could pair."""
    texts = ["same", "same", "other", "same"]
    assert why(scored([8.0, 8.25, 8.25, 8.0], texts=texts), "top-1") == "equal scores"


def test_the_reason_is_that_of_the_best_response():
    # 1 and 2 could be paired, but the rule wants the best one.
    group = scored([0.9, 0.5, 0.1], lengths=[100, 10, 10])
    assert why(group, max_shorter=0).startswith("rejected response shorter")
    assert pairs(group, "margin>=0", max_shorter=0) == ((1, 2),)


def test_best_random_draws_every_other_response_and_the_same_one_again():
    drawn = [
        pairs(scored([0.2, 0.9, 0.5, 0.1], number=i), "best-random", seed=3)[0] for i in range(60)
    ]
    assert {chosen for chosen, _ in drawn} == {1}
    # Each is missed with probability (2/3) ** 60, about 3e-11.
    assert {rejected for _, rejected in drawn} == {0, 2, 3}
    again = [
        pairs(scored([0.2, 0.9, 0.5, 0.1], number=i), "best-random", seed=3)[0] for i in range(60)
    ]
    other = [
        pairs(scored([0.2, 0.9, 0.5, 0.1], number=i), "best-random", seed=4)[0] for i in range(60)
    ]
    assert again == drawn != other


@st.composite
def groups(draw):
    n = draw(st.integers(1, 7))
    scores = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n))
    texts = draw(st.lists(st.sampled_from("abcd"), min_size=n, max_size=n))
    lengths = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    values = draw(
        st.lists(st.lists(st.sampled_from([0, 1]), min_size=2, max_size=2), min_size=n, max_size=n)
    )
    return {"scores": scores, "texts": texts, "lengths": lengths, "values": values}


@given(
    groups(),
    st.sampled_from(RULES),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([None, 0, 2]),
)
def test_every_rule_keeps_every_limit(drawn, rule, min_margin, max_shorter):
    group = scored(**drawn)
    choice = choose_pairs(
        group,
        PairOptions(PairRule.parse(rule), min_margin=min_margin, max_shorter=max_shorter),
    )
    assert bool(choice.pairs) != bool(choice.reason)
    for chosen, rejected in choice.pairs:
        margin = group.scores[chosen] - group.scores[rejected]
        assert group.texts[chosen] != group.texts[rejected]
        assert margin > 0
        assert margin >= min_margin
        shorter = group.lengths[chosen] - group.lengths[rejected]
        assert max_shorter is None or shorter <= max_shorter
    texts = [(group.texts[i], group.texts[j]) for i, j in choice.pairs]
    if rule.startswith("top"):
        used = [i for pair in choice.pairs for i in pair]
        assert len(used) == len(set(used))
    elif not rule.startswith("best"):
        assert len(set(texts)) == len(texts)


@given(groups())
def test_all_pairs_rule_equals_a_slow_reading_of_it(drawn):
    group = scored(**drawn)
    wanted = {
        (group.texts[i], group.texts[j])
        for i, j in itertools.permutations(range(len(group.scores)), 2)
        if group.texts[i] != group.texts[j] and group.scores[i] - group.scores[j] >= 0.3
    }
    found = {(group.texts[i], group.texts[j]) for i, j in pairs(group, "margin>=0.3")}
    assert found == wanted


@given(groups())
def test_pairs_do_not_depend_on_a_shift_of_the_scores(drawn):
    group = scored(**drawn)
    shifted = scored(**drawn | {"scores": [score + 8.0 for score in drawn["scores"]]})
    for rule in RULES:
        assert pairs(shifted, rule) == pairs(group, rule)


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_written_as_it_is_read(rule):
    assert str(PairRule.parse(rule)) == rule


@pytest.mark.parametrize("rule", ["best", "top-0", "top-", "margin>=", "margin>=-1", "margin>=nan"])
def test_unknown_rule_is_refused(rule):
    with pytest.raises(ValueError, match=r"must be best-worst.* or pareto; got '" + rule):
        PairRule.parse(rule)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_margin": -1.0}, "`min_margin` must be 0 or more, and finite; got -1.0"),
        ({"min_margin": float("inf")}, "`min_margin` must be 0 or more, and finite; got inf"),
        ({"max_shorter": -1}, "`max_shorter` must be 0 or more; got -1"),
        ({"unit": "words"}, "`unit` must be 'characters' or 'tokens'; got 'words'"),
        ({"ties": True, "min_margin": 0.5}, "`ties` must not be allowed together .* got 0.5"),
    ],
)
def test_options_are_checked_when_they_are_made(options, text):
    with pytest.raises(ValueError, match=text):
        PairOptions(**options)
