"""Messages come back out of the text that a chat template made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm import DataError, Message
from armorm.data.chat_text import (
    ResponseProblem,
    is_chat_text,
    parse_chat_text,
    split_chat_text,
)
from fakes import chat_tokenizer

WORDS = st.text("ab<|>[]/\n .?é", min_size=1, max_size=12).map(lambda t: f"x{t}y")
TURNS = st.lists(WORDS, min_size=1, max_size=5)

# A system message is lost in the first two: Gemma has none, Mistral's is part of the user's.
WITH_SYSTEM = ("llama3", "qwen3", "zephyr")


def conversation(contents):
    return [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(contents)]


def render(family, messages, **settings):
    turns = [m._asdict() for m in messages]
    return chat_tokenizer(family).apply_chat_template(turns, tokenize=False, **settings)


@pytest.mark.parametrize("family", ["llama3", "gemma2", "qwen3", "mistral", "zephyr"])
@given(contents=TURNS)
def test_what_a_template_renders_is_parsed_back(family, contents):
    messages = conversation(contents)
    assert parse_chat_text(render(family, messages)) == messages


@pytest.mark.parametrize("family", WITH_SYSTEM)
def test_a_system_message_comes_back(family):
    messages = [Message("system", "Be brief."), *conversation(["2+2?", "4.", "3+3?"])]
    assert parse_chat_text(render(family, messages)) == messages


def test_a_template_that_merges_the_system_message_leaves_it_with_the_user():
    messages = [Message("system", "Be brief."), *conversation(["2+2?", "4."])]
    found = parse_chat_text(render("mistral", messages))
    assert found == conversation(["Be brief.\n\n2+2?", "4."])


@pytest.mark.parametrize("family", ["llama3", "gemma2", "qwen3", "mistral", "zephyr"])
@given(contents=TURNS.filter(lambda c: len(c) % 2 == 1), response=WORDS)
def test_a_query_splits_where_its_prompt_ends(family, contents, response):
    prompt = render(family, conversation(contents), add_generation_prompt=True)
    end = {"qwen3": "<|im_end|>", "llama3": "<|eot_id|>", "gemma2": "<end_of_turn>"}
    query = prompt + response + end.get(family, "</s>")
    assert split_chat_text(query, prompt) == (tuple(conversation(contents)), response)
    # One that was cut off has no end.
    assert split_chat_text(prompt + response, prompt)[1] == response


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "<|begin_of_text|><|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi"
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nho<|eot_id|>"
            "<|end_of_text|><|end_of_text|>",
            ["hi", "ho"],
        ),
        (
            "<|begin_of_text|><|header_start|>user<|header_end|>\n\nhi<|eot|>"
            "<|header_start|>assistant<|header_end|>\n\nho<|eot|>",
            ["hi", "ho"],
        ),
        (
            "<|im_start|>user<|im_sep|>hi<|im_end|><|im_start|>assistant<|im_sep|>ho<|im_end|>",
            ["hi", "ho"],
        ),
        ("<|user|>\nhi<|end|>\n<|assistant|>\nho<|end|>\n<|endoftext|>", ["hi", "ho"]),
        # Tulu closes only what the assistant says.
        ("<|user|>\nhi\n<|assistant|>\nho<|endoftext|>\n<|user|>\nha", ["hi", "ho", "ha"]),
        ("<s>[INST] hi [/INST] ho </s><s>[INST] ha [/INST]", ["hi", "ho", "ha"]),
        ("\n\nHuman: hi\n\nAssistant: ho\n\nHuman: ha\n\nAssistant:", ["hi", "ho", "ha"]),
        ("[PAD][PAD]<s><|user|>\nhi</s>\n<|assistant|>\nho</s>", ["hi", "ho"]),
        # White space is the content's own where the template does not trim it.
        ("<|im_start|>user\n hi \n<|im_end|>\n<|im_start|>assistant\n", [" hi \n"]),
    ],
    ids=["double bos", "llama4", "phi4", "phi3", "tulu", "llama2", "hh", "padded", "spaces"],
)
def test_other_forms_by_hand(text, messages):
    assert parse_chat_text(text) == conversation(messages)


def test_system_messages_of_other_forms_by_hand():
    system = [Message("system", "Be brief."), *conversation(["hi", "ho"])]
    llama2 = "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nhi [/INST] ho </s>"
    mistral = "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]hi[/INST]ho</s>"
    assert parse_chat_text(llama2) == system
    assert parse_chat_text(mistral) == system


def test_an_empty_think_block_and_an_empty_system_message_are_the_templates_own():
    start = (
        "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert parse_chat_text(start + "<think>\n\n</think>\n\nho<|im_end|>") == conversation(
        ["hi", "ho"]
    )
    assert parse_chat_text(start + "<think>\n\n</think>\n\n") == conversation(["hi"])
    kept = "<think>\nwell\n</think>\n\nho"
    assert parse_chat_text(start + kept)[-1].content == kept


def test_a_generation_prompt_that_begins_the_response_stays_with_it():
    prompt = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n"
    messages, response = split_chat_text(prompt + "well\n</think>\n\nho<|im_end|>", prompt)
    assert messages == tuple(conversation(["hi"]))
    assert response == "<think>\nwell\n</think>\n\nho"


def test_a_query_that_was_cut_or_rendered_again_is_parsed_whole():
    prompt = "<|im_start|>user\nhi<|im_end|>\n"
    query = "<|endoftext|>" + prompt + "<|im_start|>assistant\nho<|im_end|>\n"
    assert split_chat_text(query, prompt) == (tuple(conversation(["hi"])), "ho")
    other = query.replace("hi", "hi there")
    assert split_chat_text(other, prompt)[0] == tuple(conversation(["hi there"]))
    assert split_chat_text(prompt, prompt)[1] == ""


def test_what_a_user_types_is_kept_where_the_response_is_concerned():
    # `</s>` also ends struck-through text in HTML; only the one at the end is the template's.
    prompt = "<|user|>\nuse <s>no</s> here</s>\n<|assistant|>\n"
    messages, response = split_chat_text(prompt + "<s>a</s>b</s>", prompt)
    assert messages[0].content == "use <s>no</s> here"
    assert response == "<s>a</s>b"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<|im_start|>user\n", True),
        ("<s>[INST] hi [/INST]", True),
        ("Human: hi\n\nAssistant: ho", True),
        ("Human: a being.", False),
        ("What does <|im_start|> mean?", False),
        ("", False),
    ],
)
def test_only_what_begins_as_a_template_is_chat_text(text, found):
    assert is_chat_text(text) is found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "hello",
            r"chat text: must begin with a message marker: '<\|start_header_id\|>' \(llama3\), "
            r".* 'Human:' \(raw\); got 'hello'",
        ),
        ("", r"chat text: must begin with a message marker: .*; got ''"),
        (
            "[INST] hi",
            r"chat text: every `\[INST\]` must be closed by `\[/INST\]`; got '\[INST\] hi'",
        ),
        (
            "<|im_start|>tool\n4<|im_end|>",
            r"chat text: `messages\[0\].role` must be 'system', 'user' or 'assistant'; got 'tool'",
        ),
        (
            "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\nho<|im_end|>",
            r"chat text: `messages\[0\].content` must not be empty",
        ),
        (
            "<|im_start|>assistant\n",
            r"chat text: `messages` must be text or messages; got an empty",
        ),
    ],
)
def test_text_that_is_no_conversation_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        parse_chat_text(text)


def test_a_response_that_begins_another_message_is_refused():
    # Regression of the field: a policy that writes the next user turn itself, thanks and all,
    # must not be scored on the turn that it made up.
    prompt = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    query = prompt + "ho<|im_end|>\n<|im_start|>user\nThank you!<|im_end|>"
    message = r"a response must be one message; it begins another with"
    with pytest.raises(ResponseProblem, match=message):
        split_chat_text(query, prompt)
    with pytest.raises(ResponseProblem, match=r"chat text: `messages\[1\].content` must"):
        split_chat_text(prompt + "<|im_start|>tool\n4<|im_end|>", prompt)
