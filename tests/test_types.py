"""Rows are frozen values; scales map raw ratings to [0, 1] and back."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm import Candidates, Conversation, Message, PreferencePair, RatedResponse, Scale

PROMPT = (Message("system", "Be brief."), Message("user", "2+2?"))
FINITE = st.floats(-1e6, 1e6)


def test_messages_of_a_conversation_end_in_the_response():
    assert Conversation(PROMPT, "4.").messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4."},
    ]


def test_a_pair_has_the_chosen_conversation_first():
    chosen, rejected = PreferencePair("p", PROMPT, "4.", "5.").conversations
    assert (chosen.response, rejected.response) == ("4.", "5.")
    assert chosen.prompt == rejected.prompt == PROMPT
    assert chosen.id == rejected.id == "p"


def test_a_rated_response_without_its_ratings_is_a_conversation():
    row = RatedResponse("r", PROMPT, "4.", "general", {"honesty": 3.0})
    assert row.conversation == Conversation(PROMPT, "4.", "r")


@pytest.mark.parametrize(
    "row",
    [
        Conversation(PROMPT, "4."),
        RatedResponse("r", PROMPT, "4.", "general", {"honesty": 3.0}),
        PreferencePair("p", PROMPT, "4.", "5."),
        Candidates("c", PROMPT, ("4.", "5.")),
        Scale(0, 1),
    ],
)
def test_rows_are_frozen_and_can_be_counted(row):
    name = dataclasses.fields(row)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(row, name, "other")
    assert {row: 1}[dataclasses.replace(row)] == 1


def test_a_scale_by_hand():
    # Half way from 1 to 5; the released map (x + .5) / 5 of 3.
    assert Scale(1, 5).normalise(3) == 0.5
    assert Scale(0, 4, offset=0.5, divisor=5).normalise(3) == 0.7
    assert Scale(0, 4, divisor=8).normalise(4) == 0.5


@settings(max_examples=30)
@given(FINITE, st.floats(1e-3, 1e6), st.floats(0, 1))
def test_a_scale_maps_its_ends_to_0_and_1_and_back(low, width, share):
    scale = Scale(low, low + width)
    assert scale.normalise(scale.low) == 0
    assert scale.normalise(scale.high) == pytest.approx(1)
    raw = low + share * width
    # Restoring divides and multiplies by the width, on numbers of the size of `low`.
    assert scale.restore(scale.normalise(raw)) == pytest.approx(raw, abs=1e-8 * (1 + abs(low)))


@settings(max_examples=30)
@given(FINITE, FINITE, st.none() | FINITE, st.none() | st.floats(1e-3, 1e3))
def test_a_scale_keeps_the_order_of_ratings(first, second, offset, divisor):
    scale = Scale(-1e6, 1e6, offset=offset, divisor=divisor)
    low, high = sorted((first, second))
    assert scale.normalise(low) <= scale.normalise(high)


def test_what_lies_on_a_scale():
    scale = Scale(1, 5)
    assert scale.contains(1)
    assert scale.contains(5)
    for raw in (0.999, 5.001, math.nan, math.inf, -math.inf):
        assert not scale.contains(raw)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (math.nan, 1), (0, math.inf), (-math.inf, 0)])
def test_ends_that_do_not_span_a_scale_are_refused(ends):
    with pytest.raises(ValueError, match=r"`low` must be below `high`; got \("):
        Scale(*ends)


@pytest.mark.parametrize("divisor", [0, -1, math.nan, math.inf])
def test_a_divisor_that_maps_nothing_is_refused(divisor):
    with pytest.raises(ValueError, match="`divisor` must be positive and finite; got "):
        Scale(0, 1, divisor=divisor)


@pytest.mark.parametrize("offset", [math.nan, math.inf])
def test_an_offset_that_is_not_finite_is_refused(offset):
    with pytest.raises(ValueError, match="`offset` must be finite; got "):
        Scale(0, 1, offset=offset)
