"""Fields of foreign records: what counts as a rating, a text, a turn, and what is refused."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.data.drops import RowProblem
from armorm.data.sources.fields import (
    NOT_RATED,
    conversation,
    ends_in_user,
    objects,
    one_turn,
    optional_text,
    rating,
    ratings,
    row_or_problem,
    text,
    turns,
    value,
)
from armorm.types import Message, Scale

FIVE = Scale(1, 5)
MARKS = {"\n\nHuman:": "user", "\n\nAssistant:": "assistant"}


@pytest.mark.parametrize("raw", [4, 4.0, "4", " 4.0 ", "+4", "4e0"])
def test_a_rating_may_be_written_as_a_number_or_a_text(raw):
    assert rating(raw, FIVE, "honesty") == 4.0


@pytest.mark.parametrize("raw", [None, math.nan, "", " ", "N/A", "n/a", "None", "null"])
def test_what_says_that_nobody_rated_is_not_rated(raw):
    assert rating(raw, FIVE, "honesty") is None


def test_true_and_false_are_one_and_zero_on_their_own_scale_only():
    assert rating(True, Scale(0, 1), "is_safe") == 1.0
    assert rating(False, Scale(0, 1), "is_safe") == 0.0
    with pytest.raises(
        RowProblem, match=r"rating 'honesty' must be a number from 1 to 5; got true"
    ):
        rating(True, FIVE, "honesty")


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        ("four", "rating 'honesty' must be a number; got the text 'four'"),
        ("6", "rating 'honesty' must be from 1 to 5; got 6"),
        (0, "rating 'honesty' must be from 1 to 5; got 0"),
        ([4], r"rating 'honesty' must be a number; got \[4\]"),
        ("inf", "rating 'honesty' must be finite; got inf"),
    ],
)
def test_anything_else_is_no_rating(raw, refusal):
    with pytest.raises(RowProblem, match=refusal):
        rating(raw, FIVE, "honesty")


def test_a_response_that_nobody_rated_is_no_rated_row():
    scales = {"a": FIVE, "b": FIVE}
    assert ratings({"a": "N/A", "b": "2"}, scales) == {"b": 2.0}
    with pytest.raises(RowProblem, match="a rated row must have at least one rating; got none"):
        ratings(dict.fromkeys(scales), scales)


def test_a_dotted_name_walks_into_objects_and_a_plain_one_with_a_dot_does_not():
    assert value({"a": {"b": 1}}, "a.b") == 1
    assert value({"a.b": 2, "a": {"b": 1}}, "a.b") == 2


def test_a_missing_field_is_named_with_what_is_there():
    with pytest.raises(RowProblem, match=r"missing field 'a.c'; found 'a'$"):
        value({"a": {"b": 1}}, "a.c")
    with pytest.raises(RowProblem, match=r"missing field 'x'; found none$"):
        value({}, "x")
    with pytest.raises(RowProblem, match=r"missing field 'x'; found 'c0', .*'c7', \.\.\.$"):
        value({f"c{i}": i for i in range(9)}, "x")


def test_a_text_must_be_one_and_an_optional_one_may_be_absent():
    assert text({"a": " b "}, "a") == " b "
    with pytest.raises(RowProblem, match="`a` must not be empty; got ' '"):
        text({"a": " "}, "a")
    with pytest.raises(RowProblem, match="`a` must be text; got 3"):
        text({"a": 3}, "a")
    assert [optional_text(r, "a") for r in ({}, {"a": None}, {"a": " "})] == [None] * 3
    with pytest.raises(RowProblem, match="`a` must be text; got 3"):
        optional_text({"a": 3}, "a")


@pytest.mark.parametrize("found", [None, "a", {"b": 1}, [1]])
def test_a_list_of_objects_is_checked(found):
    assert objects({"a": []}, "a") == []
    with pytest.raises(RowProblem, match="`a` must be a list of objects; got"):
        objects({"a": found}, "a")


def test_a_problem_of_one_row_is_returned_and_an_error_of_ours_is_not():
    assert row_or_problem(text, {"a": "b"}, "a") == "b"
    problem = row_or_problem(text, {}, "a")
    assert isinstance(problem, RowProblem)
    assert problem.reason == "missing field"
    with pytest.raises(ZeroDivisionError):
        row_or_problem(lambda: 1 / 0)


def test_a_system_message_comes_first():
    assert one_turn("q") == (Message("user", "q"),)
    assert one_turn("q", "s") == (Message("system", "s"), Message("user", "q"))


def test_turns_are_split_at_their_markers_by_hand():
    told = "\n\nHuman: Is it?\n\nAssistant: It is.\nTruly.\n\nHuman:Good."
    assert turns(told, MARKS) == (
        Message("user", "Is it?"),
        Message("assistant", "It is.\nTruly."),
        Message("user", "Good."),
    )


def test_of_two_markers_in_one_place_the_longer_is_meant():
    marks = {"\nA": "user", "\nAB": "assistant"}
    assert turns("\nABc\nAd", marks) == (Message("assistant", "c"), Message("user", "d"))


@pytest.mark.parametrize(
    ("told", "first", "refusal"),
    [
        ("Is it?\n\nAssistant: Yes.", None, "`prompt` must start with a marker of a turn; got 'Is"),
        ("Is it?", None, "`prompt` must start with a marker of a turn; got 'Is it?'"),
        ("\n\nHuman: a\n\nAssistant: \n\nHuman: b", None, "`prompt`: turn 2 must have a text"),
        ("\n\nAssistant: a", "user", "`prompt`: turn 1 must have a text"),
    ],
)
def test_turns_that_cannot_be_told_apart_are_refused(told, first, refusal):
    with pytest.raises(RowProblem, match=refusal.replace("?", r"\?")):
        turns(told, MARKS, first=first)


_SAID = (
    st.text(alphabet=st.characters(codec="ascii"), min_size=1)
    .map(str.strip)
    .filter(lambda said: said and not any(mark.strip() in said for mark in MARKS))
)


@given(st.lists(_SAID, min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_splitting_undoes_writing(said):
    roles = [("user", "assistant")[i % 2] for i in range(len(said))]
    mark = {role: marker for marker, role in MARKS.items()}
    told = "".join(f"{mark[role]} {one}" for role, one in zip(roles, said, strict=True))
    assert turns(told, MARKS) == tuple(map(Message, roles, said))


def test_a_prompt_must_end_in_a_user():
    user = one_turn("q")
    assert ends_in_user(user) is user
    with pytest.raises(RowProblem, match="`p` must end with a 'user' message; got 'assistant'"):
        ends_in_user((*user, Message("assistant", "a")), "p")
    with pytest.raises(RowProblem, match="must end with a 'user' message; got 'no message'"):
        ends_in_user(())


def test_a_conversation_comes_apart_into_prompt_and_response():
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert conversation({"c": said}, "c") == (one_turn("q"), "a")
    with pytest.raises(RowProblem, match="`c`: a conversation must end in a response"):
        conversation({"c": said[:1]}, "c")


def test_names_of_what_is_not_rated_are_in_lower_case():
    assert {name.lower() for name in NOT_RATED} == NOT_RATED
