import pytest

from armorm.data.drops import RowProblem
from armorm.data.messages import (
    parse_conversation,
    parse_messages,
    parse_prompt,
    parse_response,
    parse_text,
    read_cell,
)
from armorm.types import Message

USER = {"role": "user", "content": "hi"}
BOT = {"role": "assistant", "content": "hello"}
SYSTEM = {"role": "system", "content": "Be kind."}


def test_a_text_prompt_is_one_user_message_unchanged():
    assert parse_prompt("  hi\n") == (Message("user", "  hi\n"),)


@pytest.mark.parametrize(
    "roles",
    [
        "u",
        "su",
        "uau",
        "suau",
        "au",  # the assistant opens with a greeting
        "uaau",  # two messages of one side, as in recorded chats
        "uu",
    ],
)
def test_every_order_that_ends_with_the_user_is_a_prompt(roles):
    names = {"u": USER, "a": BOT, "s": SYSTEM}
    assert [m.role[0] for m in parse_prompt([names[r] for r in roles])] == list(roles)


def test_other_keys_of_a_message_are_not_looked_at():
    assert parse_messages([{**USER, "weight": None}], "prompt") == (Message("user", "hi"),)


def test_messages_split_before_the_last():
    prompt, response = parse_conversation([SYSTEM, USER, BOT], "messages")
    assert (len(prompt), response) == (2, "hello")


def test_a_response_may_be_its_one_message_or_repeat_the_prompt():
    prompt = parse_prompt([USER])
    assert parse_response([BOT], "chosen", prompt) == "hello"
    assert parse_response([USER, BOT], "chosen", prompt) == "hello"
    assert parse_response("hello", "chosen", prompt) == "hello"


def test_a_cell_with_messages_is_json_and_any_other_cell_is_text():
    assert read_cell('[{"role": "user", "content": "hi"}]', "prompt") == [USER]
    for cell in ("hi", "[1, 2]", '[{"a": 1}]', "{", ""):
        assert read_cell(cell, "prompt") == cell


@pytest.mark.parametrize(
    ("value", "reason", "text"),
    [
        ("", "empty prompt", "`prompt` must not be empty; got ''"),
        (" \n\u3000", "empty prompt", r"`prompt` must not be empty; got ' \n\u3000'"),
        (None, "prompt not text", "`prompt` must be text; got null"),
        (4, "prompt not text", "`prompt` must be text; got 4"),
        ({"a": 1}, "prompt not text", "`prompt` must be text; got an object"),
        ("ok \ud83d", "prompt not text", r"got half a surrogate pair (\ud83d) at character 4"),
    ],
)
def test_a_text_is_refused(value, reason, text):
    with pytest.raises(RowProblem) as caught:
        parse_text(value, "prompt")
    assert caught.value.reason == reason
    assert text in caught.value.text


def test_characters_outside_the_basic_plane_are_text():
    assert parse_text("\U0001f600", "prompt") == "\U0001f600"


@pytest.mark.parametrize(
    ("value", "reason", "text"),
    [
        ([], "prompt not messages", "`prompt` must be text or messages; got an empty list"),
        (None, "prompt not messages", "`prompt` must be text or messages; got null"),
        ({}, "prompt not messages", "`prompt` must be text or messages; got an object"),
        (["hi"], "prompt not messages", "`prompt[0]` must have 'role' and 'content'; got text"),
        (
            [{"from": "human", "value": "hi"}],
            "prompt not messages",
            "`prompt[0]` must have 'role' and 'content'; got 'from', 'value'",
        ),
        (
            [{"role": "human", "content": "hi"}],
            "unknown role",
            "`prompt[0].role` must be 'system', 'user' or 'assistant'; got 'human'",
        ),
        (
            [{"role": ["user"], "content": "hi"}],
            "unknown role",
            "`prompt[0].role` must be 'system', 'user' or 'assistant'; got ['user']",
        ),
        (
            [USER, SYSTEM, USER],
            "system not first",
            "`prompt[1]`: only the first message may be 'system'",
        ),
        (
            [USER, {"role": "assistant", "content": " "}, USER],
            "empty message in prompt",
            "`prompt[1].content` must not be empty; got ' '",
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "message in prompt not text",
            "`prompt[0].content` must be text; got a list",
        ),
        (
            [USER, BOT],
            "prompt without last user message",
            "`prompt` must end with a 'user' message; got 'assistant'",
        ),
        ([SYSTEM], "prompt without last user message", "must end with a 'user' message; got 'sys"),
    ],
)
def test_a_prompt_is_refused(value, reason, text):
    with pytest.raises(RowProblem) as caught:
        parse_prompt(value)
    assert caught.value.reason == reason
    assert text in caught.value.text


def test_system_is_refused_at_a_place_whose_number_ends_in_0():
    with pytest.raises(RowProblem, match=r"`prompt\[10\]`: only the first message may be 'system'"):
        parse_prompt([USER] * 10 + [SYSTEM, USER])


@pytest.mark.parametrize(
    ("value", "reason", "text"),
    [
        (
            [USER],
            "no response at the end",
            "`messages`: a conversation must end in a response; the last message is a 'user'",
        ),
        ([BOT], "no prompt", "`messages` must hold a prompt before the response; got none"),
        (
            [SYSTEM, BOT],
            "prompt without last user message",
            "`messages` must have a 'user' message before the response; got 'system'",
        ),
        (
            [USER, BOT, BOT],
            "prompt without last user message",
            "`messages` must have a 'user' message before the response; got 'assistant'",
        ),
    ],
)
def test_a_conversation_is_refused(value, reason, text):
    with pytest.raises(RowProblem) as caught:
        parse_conversation(value, "messages")
    assert caught.value.reason == reason
    assert text in caught.value.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([USER], "`chosen` must be one 'assistant' message; got 'user'"),
        (
            [{"role": "user", "content": "bye"}, BOT],
            "`prompt` and `chosen` must share the messages before the response; "
            "they differ from message 0 on",
        ),
        ([USER, USER, BOT], "they differ from message 1 on"),
    ],
)
def test_a_response_is_refused(value, text):
    with pytest.raises(RowProblem) as caught:
        parse_response(value, "chosen", parse_prompt([USER]))
    assert text in caught.value.text


def test_messages_in_python_notation_are_refused_not_read_as_text():
    """Tables that went through str() hold single quotes; as text they would be one prompt."""
    text = r"`prompt` must hold messages as JSON with double quotes; got \"\[\{'role': 'user'"
    with pytest.raises(RowProblem, match=text):
        read_cell(str([USER]), "prompt")
