"""Traps of the pair sets with labels, transcripts and steps: who is meant, what is shared."""

import pytest

from armorm.data.drops import RowProblem
from armorm.data.sources.shp import PAIRS_OF_A_POST
from armorm.types import PreferencePair
from pair_records import collection, converted, hh, pairs, pku, prm, refusal, shp, standard, step


def test_hh_marker_inside_a_line_is_text():
    human = "\n\nHuman: What does 'Human: hi Assistant: hello' mean?\n\nAssistant:"
    (row,) = converted("hh-rlhf", hh(f"{human} A dialogue.", f"{human} Nothing."))
    (message,) = row.prompt
    assert message.content == "What does 'Human: hi Assistant: hello' mean?"


def test_hh_marker_after_one_line_break_is_text():
    human = "\n\nHuman: Copy this:\nHuman: hi\n\nAssistant:"
    (row,) = converted("hh-rlhf", hh(f"{human} Human: hi", f"{human} No."))
    assert row.prompt[0].content == "Copy this:\nHuman: hi"
    assert row.chosen == "Human: hi"


def test_hh_response_that_invents_turns_is_dropped():
    human = "\n\nHuman: Hi\n\nAssistant: Yes?"
    problem = refusal("hh-rlhf", hh(human, human + "\n\nHuman: Bye\n\nAssistant: Bye."))
    assert problem.reason == "different histories"


def test_hh_transcripts_of_one_length_with_another_history_are_dropped():
    end = "\n\nHuman: A prime?\n\nAssistant: "
    first = f"\n\nHuman: Hi\n\nAssistant: Yes?{end}"
    second = f"\n\nHuman: Hi\n\nAssistant: What?{end}"
    problem = refusal("hh-rlhf", hh(first + "Seven.", second + "Nine."))
    assert "they differ from message 1 on" in problem.text


def test_hh_human_who_speaks_last_is_refused():
    text = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Bye"
    problem = refusal("hh-rlhf", hh(text, text))
    assert problem.reason == "no response at the end"
    assert problem.text == "`chosen` must end with an 'assistant' turn; got 'user'"


def test_hh_response_alone_is_refused():
    problem = refusal("hh-rlhf", hh("\n\nAssistant: Hi.", "\n\nAssistant: Hello."))
    assert problem.reason == "prompt without last user message"


def test_hh_text_before_the_first_marker_is_refused():
    text = "Once.\n\nHuman: Hi\n\nAssistant: Yes?"
    assert refusal("hh-rlhf", hh(text, text)).reason == "text before the first marker"


def test_hh_responses_that_differ_in_white_space_only_are_equal():
    human = "\n\nHuman: Hi\n\nAssistant:"
    problem = refusal("hh-rlhf", hh(f"{human} Yes?", f"{human}  Yes?\n"))
    assert problem.reason == "equal sides"
    assert problem.text == "`chosen` and `rejected` must differ; both are 'Yes?'"


def test_shp_label_1_means_a():
    assert pairs("shp", shp(1)) == [("Boil it.", "Fry it.")]
    assert pairs("shp", shp(0)) == [("Fry it.", "Boil it.")]


@pytest.mark.parametrize(("ratio", "n_pairs"), [(1.9, 0), (2.0, 0), (2.1, 1)])
def test_shp_ratio_must_be_above_2(ratio, n_pairs):
    assert len(pairs("shp", shp(1, ratio))) == n_pairs


def test_shp_small_ratio_is_said():
    assert refusal("shp", shp(1, 2.0)).text == "`score_ratio` must be above 2; got 2.0"


def test_shp_largest_ratios_of_a_post_are_kept_in_their_order():
    ratios = [3.0, 9.0, 4.0, 8.0, 5.0, 7.0, 1.5, 6.0]
    records = [shp(1, ratio, a=f"a{ratio}") for ratio in ratios]
    rows = converted("shp", *records)
    kept = [row.chosen for row in rows if isinstance(row, PreferencePair)]
    assert kept == ["a9.0", "a8.0", "a5.0", "a7.0", "a6.0"]
    assert [row.reason for row in rows if isinstance(row, RowProblem)] == [
        "more than 5 pairs of one post",
        "more than 5 pairs of one post",
        "score ratio at most 2",
    ]


def test_shp_of_equal_ratios_the_first_are_kept():
    records = [shp(1, 3.0, a=f"a{n}") for n in range(PAIRS_OF_A_POST + 2)]
    assert [chosen for chosen, _ in pairs("shp", *records)] == ["a0", "a1", "a2", "a3", "a4"]


def test_shp_unusable_record_does_not_take_a_place():
    records = [shp(1, 99.0, a=" "), *(shp(1, 3.0, a=f"a{n}") for n in range(5))]
    assert len(pairs("shp", *records)) == 5


def test_shp_label_against_the_scores_is_refused():
    problem = refusal("shp", shp(1, scores=(10, 30)))
    assert problem.reason == "label against the scores"
    assert problem.text == ("`labels` must prefer the higher score; got 1 with A 10 and B 30")


@pytest.mark.parametrize("label", [2, -1, None, True, "2", "A", "", [1]])
def test_shp_label_must_be_0_or_1(label):
    problem = refusal("shp", {**shp(1), "labels": label})
    assert problem.reason == "label not 0 or 1"
    assert problem.text.startswith("`labels` must be 0 or 1; got ")


@pytest.mark.parametrize(
    ("better", "safer", "safe_0", "safe_1", "chosen"),
    [
        (0, 1, True, True, 0),
        (1, 0, True, True, 1),
        (1, 1, True, False, 0),
        (0, 0, False, True, 1),
        (0, 1, False, False, 1),
        (1, 0, False, False, 0),
    ],
)
def test_pku_safety_first_where_it_is_in_question(better, safer, safe_0, safe_1, chosen):
    record = pku(better, safer, safe_0, safe_1)
    assert pairs("pku-saferlhf-30k", record) == [
        (record[f"response_{chosen}"], record[f"response_{1 - chosen}"])
    ]


def test_pku_one_label_alone():
    record = pku(1, 0, True, False)
    assert pairs("pku-saferlhf-30k-helpful", record) == [("Drill it.", "Call a locksmith.")]
    assert pairs("pku-saferlhf-30k-safe", record) == [("Call a locksmith.", "Drill it.")]


def test_labels_and_flags_of_a_table_of_text_are_read():
    """A CSV file has texts in all its cells."""
    assert pairs("shp", {**shp(1), "labels": "1"}) == pairs("shp", shp(1))
    assert pairs("shp", {**shp(0), "labels": "0"}) == pairs("shp", shp(0))
    written = pku("0", "1", "True", "false")
    assert pairs("pku-saferlhf-30k", written) == pairs("pku-saferlhf-30k", pku(0, 1, True, False))
    assert pairs("pku-saferlhf-30k-safe", written) == [("Drill it.", "Call a locksmith.")]
    assert refusal("pku-saferlhf", pku(0, 0, "no", "True")).reason == "flag not true or false"


def test_pku_flag_must_be_true_or_false():
    problem = refusal("pku-saferlhf", pku(0, 0, 1, True))
    assert problem.text == "`is_response_0_safe` must be true or false; got 1"


def test_pku_label_must_be_0_or_1():
    problem = refusal("pku-saferlhf", pku(2, 0, True, True))
    assert problem.text == "`better_response_id` must be 0 or 1; got 2"


def test_prm_every_good_completion_meets_every_bad_one():
    record = prm(step(("a", 1), ("b", -1), ("c", 1), ("d", -1), ("e", 0), chosen=None))
    assert pairs("prm800k", record) == [("a", "b"), ("a", "d"), ("c", "b"), ("c", "d")]


def test_prm_both_sides_share_the_chosen_steps_before():
    record = prm(
        step(("one", 0), ("other", 1), chosen=1),
        step(("two", 1)),
        step(("good", 1), ("bad", -1), chosen=None),
    )
    assert pairs("prm800k", record) == [("other\ntwo\ngood", "other\ntwo\nbad")]


def test_prm_every_step_gives_its_pairs():
    record = prm(step(("a", 1), ("b", -1)), step(("c", 1), ("d", -1), chosen=None))
    assert pairs("prm800k", record) == [("a", "b"), ("a\nc", "a\nd")]


def test_prm_nothing_follows_a_step_without_a_choice():
    record = prm(step(("a", 1), ("b", -1), chosen=None), step(("c", 1), ("d", -1)))
    assert pairs("prm800k", record) == [("a", "b")]


def test_prm_step_written_by_the_labeller_goes_on():
    by_hand = step(("a", -1), chosen=None)
    by_hand["human_completion"] = {"text": "mine", "rating": None, "source": "human"}
    record = prm(by_hand, step(("c", 1), ("d", -1), chosen=None))
    assert pairs("prm800k", record) == [("mine\nc", "mine\nd")]


def test_prm_flagged_and_unrated_completions_are_not_used():
    unsure = step(("a", 1), ("b", -1), ("c", None), chosen=None)
    unsure["completions"][1]["flagged"] = True
    problem = refusal("prm800k", prm(unsure))
    assert problem.reason == "no step rated both ways"
    assert problem.text == ("a solution must have a step with completions rated 1 and -1; got none")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"quality_control": True},
            "`is_quality_control_question` must be false: all labellers rated the same",
        ),
        (
            {"screening": True},
            "`is_initial_screening_question` must be false: all labellers rated the same",
        ),
        (
            {"finish_reason": "bad_problem"},
            "`label.finish_reason` must not be 'bad_problem'",
        ),
    ],
)
def test_prm_checks_and_broken_problems_are_left_out(changes, text):
    record = prm(step(("a", 1), ("b", -1), chosen=None), **changes)
    assert refusal("prm800k", record).text == text


def test_prm_choice_that_is_not_there_is_refused():
    problem = refusal("prm800k", prm(step(("a", 1), ("b", -1), chosen=2)))
    assert problem.text == "`chosen_completion` must be a place below 2; got 2"


def test_prm_choice_read_from_a_float_column_counts():
    record = prm(step(("a", 1), chosen=0.0), step(("c", 1.0), ("d", -1.0), chosen=None))
    assert pairs("prm800k", record) == [("a\nc", "a\nd")]


def test_collection_template_of_the_judge_is_not_in_the_prompt():
    (row,) = converted("preference-collection", collection("B"))
    assert row.prompt[0].content == "Name a prime."
    assert (row.chosen, row.rejected) == ("Nine.", "Seven.")


@pytest.mark.parametrize("preference", ["C", "", None, "A or B", ["A"]])
def test_collection_preference_must_be_a_or_b(preference):
    problem = refusal("preference-collection", collection(preference))
    assert problem.text.startswith("`orig_preference` must be 'A' or 'B'; got ")


def test_implicit_scores_are_not_looked_at():
    record = standard(chosen_score=1.0, rejected_score=2.0, source="offset_bias")
    assert pairs("rlhflow-pair-data-v2", record) == [("Seven.", "Nine.")]
    assert pairs("skywork-reward-preference", record) == [("Seven.", "Nine.")]


def test_implicit_null_scores_are_no_loss():
    record = standard(chosen_score=None, rejected_score=None)
    assert pairs("rlhflow-prm800k", record) == [("Seven.", "Nine.")]


def test_implicit_empty_last_turn_is_refused():
    record = standard(("Do you know primes?", "Yes.", "Name one.", ""))
    assert refusal("rlhflow-helpsteer", record).reason == "empty message in rejected"
