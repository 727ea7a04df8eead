"""What a trainer holds becomes a conversation, or says why it is none."""

import numpy as np
import pytest

from armorm import Conversation, DataError, Message
from armorm.features.interface import Unused
from armorm.integrations.rows import EMPTY, as_messages, as_prompt, conversation_of

USER = {"role": "user", "content": "2+2?"}
PROMPT = (Message("user", "2+2?"),)


@pytest.mark.parametrize(
    "value",
    [
        "2+2?",
        [USER],
        (USER,),
        [Message("user", "2+2?")],
        np.array([USER], dtype=object),
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "2+"}, {"type": "text", "text": "2?"}],
            }
        ],
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n",
        [USER | {"token_ids": [1, 2]}],
    ],
    ids=["text", "list", "tuple", "messages", "array", "parts", "rendered", "ids"],
)
def test_every_form_of_a_prompt(value):
    assert as_prompt(value, where="prompts[0]") == PROMPT


@pytest.mark.parametrize(
    ("completion", "response"),
    [
        ("4.", "4."),
        (" 4.", " 4."),
        ([{"role": "assistant", "content": "4."}], "4."),
    ],
)
def test_every_form_of_a_completion(completion, response):
    assert conversation_of(PROMPT, completion) == Conversation(PROMPT, response)


def test_a_completion_of_several_turns_is_judged_by_its_last_one():
    said = [
        {"role": "assistant", "content": "Which base?"},
        {"role": "user", "content": "Ten."},
        {"role": "assistant", "content": "4."},
    ]
    found = conversation_of(PROMPT, said)
    assert found.response == "4."
    assert found.prompt == (*PROMPT, Message("assistant", "Which base?"), Message("user", "Ten."))


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", EMPTY),
        (" \n", EMPTY),
        (None, EMPTY),
        ([], EMPTY),
        ([{"role": "assistant", "content": ""}], EMPTY),
        ([{"role": "assistant", "content": None}], EMPTY),
        ([{"role": "assistant"}], EMPTY),
        ([USER], "no response at the end"),
        (
            [
                {"role": "assistant", "content": "calling"},
                {"role": "tool", "content": "4"},
                {"role": "assistant", "content": "4."},
            ],
            "unknown role",
        ),
        (
            [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
            "prompt without last user message",
        ),
        (3, "completion that is neither text nor messages of text"),
        ([{"role": "assistant", "content": 3}], "completion that is neither text nor messages"),
    ],
)
def test_a_completion_that_cannot_be_scored_says_why(completion, reason):
    found = conversation_of(PROMPT, completion)
    assert isinstance(found, Unused)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", r"prompts\[3\]: `prompt` must not be empty"),
        ([], r"prompts\[3\]: `prompt` must be text or messages; got an empty list"),
        (3, r"prompts\[3\]: must be text or messages; got int"),
        (USER, r"prompts\[3\]: must be text or messages; got dict"),
        (["2+2?"], r"prompts\[3\]\[0\]: must have 'role' and 'content'; got '2\+2\?'"),
        ([{"role": "user", "content": 4}], r"prompts\[3\]\[0\].content: must be text; got int"),
        (
            [{"role": "user", "content": [{"type": "image"}]}],
            r"prompts\[3\]\[0\].content: every part must be a text; got \{'type': 'image'\}",
        ),
        (
            [{"role": "assistant", "content": "4."}],
            r"prompts\[3\]: `prompt` must end with a 'user' message; got 'assistant'",
        ),
        (
            "<|im_start|>tool\n4<|im_end|>",
            r"prompts\[3\]: chat text: `messages\[0\].role` must be 'system', 'user' or",
        ),
    ],
)
def test_a_prompt_that_is_none_is_located(value, message):
    with pytest.raises(DataError, match=message):
        as_prompt(value, where="prompts[3]")


def test_messages_keep_only_role_and_content():
    assert as_messages([USER | {"name": "x"}], where="m") == [USER]
