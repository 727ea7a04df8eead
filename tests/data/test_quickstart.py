"""The shipped corpus keeps its promises, which the quick start and its README rest on."""

from collections import Counter

import pytest

from armorm.data import (
    DataSource,
    check_objectives,
    group_of,
    objectives_of,
    rating_matrix,
    read_pairs,
    read_rated,
    summarise,
)
from armorm.types import Scale

SCALES = {
    "general": dict.fromkeys(
        ("helpfulness", "correctness", "coherence", "complexity", "verbosity"), Scale(0, 4)
    ),
    "instruct": dict.fromkeys(("instruction_following", "truthfulness", "honesty"), Scale(1, 5)),
    "code": dict.fromkeys(
        ("code_correctness", "code_readability", "code_explanation"), Scale(1, 5)
    ),
    "safety": {"is_safe": Scale(0, 1), "respectfulness": Scale(1, 5)},
}


@pytest.fixture
def rated(drops):
    return read_rated([DataSource("quickstart:rated.jsonl")], SCALES, drops=drops)


@pytest.fixture
def pairs(drops):
    return read_pairs([DataSource("quickstart:pairs.jsonl")], drops=drops)


def test_240_prompts_have_4_rated_responses_each(rated):
    assert len(rated) == 960
    assert set(Counter(row.prompt for row in rated).values()) == {4}


def test_each_source_rates_its_own_objectives_on_every_row(rated):
    assert all(row.ratings.keys() == SCALES[row.source].keys() for row in rated)


def test_all_13_objectives_can_be_fitted(rated):
    objectives = objectives_of(SCALES)
    assert len(objectives) == 13
    check_objectives(rating_matrix(rated, objectives, SCALES), objectives)


def test_pairs_ask_other_prompts_than_the_rated_rows(rated, pairs):
    assert not {group_of(row.prompt) for row in rated} & {group_of(pair.prompt) for pair in pairs}


def test_length_says_nothing_about_which_response_is_chosen():
    found = summarise("quickstart:pairs.jsonl")
    assert found.n_longer_chosen + found.n_equal_length / 2 == pytest.approx(100, abs=1)
    assert Counter(found.files[0].reasons) == Counter()


def test_no_response_is_there_twice():
    found = summarise("quickstart:rated.jsonl", "quickstart:pairs.jsonl")
    assert (found.n_duplicate_rows, found.n_duplicate_ids, found.shared) == (0, 0, ())
