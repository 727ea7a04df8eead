"""Traps of the pair sets whose responses are rated: ties, missing ratings, what decides."""

import pytest

from pair_records import (
    binarised,
    capybara,
    code,
    completion,
    converted,
    helpsteer,
    helpsteer3,
    math,
    orca,
    pairs,
    refusal,
    said,
    strength,
    ultrafeedback,
)


def test_helpsteer_makes_all_comparisons_of_a_prompt():
    records = [helpsteer("A prime?", f"r{n}", n) for n in (0, 2, 1, 2)]
    assert pairs("helpsteer-pairs", *records) == [
        ("r2", "r0"),
        ("r1", "r0"),
        ("r2", "r0"),
        ("r2", "r1"),
        ("r2", "r1"),
    ]


def test_helpfulness_decides_and_not_the_other_ratings():
    better = {**helpsteer("A prime?", "Seven.", 4), "correctness": 0, "coherence": 0}
    worse = helpsteer("A prime?", "Nine.", 3)
    assert pairs("helpsteer-pairs", better, worse) == [("Seven.", "Nine.")]


def test_helpsteer_response_alone_makes_no_pair():
    problem = refusal("helpsteer2-pairs", helpsteer("A prime?", "Seven.", 4))
    assert problem.text == "a prompt must have two responses or more; got 1"


def test_helpsteer_unusable_response_costs_its_comparisons_only():
    records = [
        helpsteer("A prime?", "Seven.", 4),
        helpsteer("A prime?", " ", 3),
        helpsteer("A prime?", "Nine.", 1),
    ]
    rows = converted("helpsteer-pairs", *records)
    assert [getattr(row, "reason", "pair") for row in rows] == [
        "empty response",
        "pair",
        "empty response",
    ]


@pytest.mark.parametrize(
    ("value", "chosen"), [(-3, "Seven."), (-1, "Seven."), (1, "Nine."), (3, "Nine.")]
)
@pytest.mark.parametrize("name", ["helpsteer2-preference", "helpsteer3"])
def test_negative_strength_prefers_the_first(name, value, chosen):
    record = helpsteer3(value) if name == "helpsteer3" else strength(value)
    ((found, _),) = pairs(name, record)
    assert found == chosen


def test_helpsteer3_tie_is_dropped_and_not_made_a_pair_of_equals():
    problem = refusal("helpsteer3", helpsteer3(0))
    assert problem.reason == "tie"
    assert problem.text == "`overall_preference` must prefer one response; got 0"


def test_strength_outside_its_scale_is_refused():
    problem = refusal("helpsteer2-preference", strength(-100))
    assert problem.text == "rating 'preference_strength' must be from -3 to 3; got -100"


def test_other_split_of_the_same_file_is_left_out():
    problem = refusal("helpsteer2-preference", strength(2, split="val"))
    assert problem.text == "`split` must be 'train'; got 'val'"


def test_helpsteer3_context_that_ends_with_the_assistant_is_refused():
    record = {**helpsteer3(1), "context": said("Hi", "Yes?")}
    assert refusal("helpsteer3", record).reason == "prompt without last user message"


def test_ultrafeedback_mean_of_aspects_decides_and_not_the_overall_score():
    record = ultrafeedback(
        completion("Seven.", "4", "4", "4", "5", overall=1.0),
        completion("Nine.", "4", "4", "4", "4", overall=10.0),
    )
    assert pairs("ultrafeedback-pairs", record) == [("Seven.", "Nine.")]


def test_ultrafeedback_overall_score_outside_its_scale_costs_nothing():
    # Revisions before 2023-12-29 wrote 10 for 1; some writers give 0 for "none".
    record = ultrafeedback(
        completion("Seven.", "5", "5", "5", "5", overall=0.0),
        completion("Nine.", "4", "4", "4", "4", overall=None),
    )
    assert pairs("ultrafeedback-pairs", record) == [("Seven.", "Nine.")]


def test_ultrafeedback_only_aspects_rated_for_both_count():
    # Over all rated aspects the second would win: 5 against (5 + 5 + 5 + 2) / 4.
    record = ultrafeedback(
        completion("Seven.", "5", "5", "5", "2"),
        completion("Nine.", "4", "5", "N/A", "N/A"),
    )
    assert pairs("ultrafeedback-pairs", record) == [("Seven.", "Nine.")]


def test_ultrafeedback_no_common_aspect_makes_no_pair():
    record = ultrafeedback(
        completion("Seven.", "5", "N/A", "N/A", "N/A"),
        completion("Nine.", "N/A", "1", "N/A", "N/A"),
    )
    problem = refusal("ultrafeedback-pairs", record)
    assert problem.text == "two responses must be rated on one same objective; got none"


def test_ultrafeedback_equal_means_of_different_aspects_are_a_tie():
    record = ultrafeedback(
        completion("Seven.", "5", "3", "4", "4"), completion("Nine.", "4", "4", "3", "5")
    )
    assert refusal("ultrafeedback-pairs", record).reason == "tie"


def test_ultrafeedback_prompt_is_the_instruction_without_the_system_prompts():
    record = ultrafeedback(
        completion("Seven.", "5", "5", "5", "5"), completion("Nine.", "1", "1", "1", "1")
    )
    (row,) = converted("ultrafeedback-pairs", record)
    assert [(message.role, message.content) for message in row.prompt] == [
        ("user", "Name a prime.")
    ]


def test_ultrafeedback_four_responses_make_six_comparisons():
    ratings = "1234"
    record = ultrafeedback(*(completion(f"r{n}", n, n, n, n) for n in ratings))
    found = pairs("ultrafeedback-pairs", record)
    assert len(found) == 6
    assert all(chosen > rejected for chosen, rejected in found)


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [(4.0, 4.0, "tie"), (3.0, 4.0, "ratings against the order"), (None, 4.0, "no rating")],
)
def test_ultrafeedback_binarised_ratings_must_agree(chosen, rejected, reason):
    assert refusal("ultrafeedback-cleaned", binarised(chosen, rejected)).reason == reason


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason", "text"),
    [
        (4, 4, "tie", "`chosen_rating` must be above `rejected_rating`; both are 4"),
        (
            3,
            4,
            "ratings against the order",
            "`chosen_rating` must be above `rejected_rating`; got 3 and 4",
        ),
        (5, None, "no rating", "`rejected_rating` must be a number; got none"),
        (float("nan"), 3, "no rating", "`chosen_rating` must be a number; got none"),
    ],
)
@pytest.mark.parametrize("name", ["capybara-pairs", "math-preference-pairs"])
def test_ratings_must_agree_with_the_order(name, chosen, rejected, reason, text):
    make = {"capybara-pairs": capybara, "math-preference-pairs": math}[name]
    problem = refusal(name, make(chosen, rejected))
    assert (problem.reason, problem.text) == (reason, text)


def test_capybara_keeps_all_turns():
    (row,) = converted("capybara-pairs", capybara())
    assert [message.role for message in row.prompt] == ["user", "assistant", "user"]


def test_orca_tie_and_missing_score_are_dropped():
    assert refusal("openorca-pairs", orca("tie")).text == "`status` must not be 'tie'"
    problem = refusal("openorca-pairs", orca(chosen_score=None))
    assert problem.text == "`chosen_score` must be a number; got none"


def test_orca_system_text_opens_the_prompt():
    (row,) = converted("openorca-pairs", orca("swapped"))
    assert [message.role for message in row.prompt] == ["system", "user"]


def test_code_ratings_are_joined_by_model_and_not_by_place():
    # The annotations stand in reverse order.
    assert pairs("code-ultrafeedback-pairs", code("1", "5")) == [("code b", "code a")]


def test_code_unrated_model_costs_its_comparisons_only():
    rows = converted("code-ultrafeedback-pairs", code("4", "N/A", "2"))
    assert [getattr(row, "reason", "pair") for row in rows] == [
        "no rating",
        "pair",
        "no rating",
    ]


def test_code_texts_are_compared_as_numbers():
    record = code("4", "4.0")
    assert refusal("code-ultrafeedback-pairs", record).reason == "tie"
