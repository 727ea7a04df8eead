import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.errors import FeatureError
from armorm.features.chat import (
    prompt_cuts,
    render_conversation,
    tokenize_conversation,
    tokenize_conversations,
)
from armorm.features.interface import Unused
from armorm.types import Conversation, Message
from fakes import FAMILIES, chat_tokenizer

PROMPT = (Message("user", "What is the capital of France?"),)
PLAIN = "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '\n' }}{% endfor %}"

text = st.text(min_size=1, max_size=40).filter(lambda s: s.strip())


def row(response="It is Paris.", prompt=PROMPT, id="x7"):
    return Conversation(prompt, response, id)


def tokenize(family, rows, **settings):
    return tokenize_conversations(chat_tokenizer(family), rows, **({"max_tokens": 512} | settings))


@pytest.mark.parametrize("family", FAMILIES)
def test_token_ids_spell_the_template_with_one_bos(family):
    # The published scripts tokenise the rendered text once more, with a second BOS.
    tokenizer = chat_tokenizer(family)
    found = tokenize_conversation(tokenizer, row(), max_tokens=512)
    bos = tokenizer.bos_token
    rendered = render_conversation(tokenizer, row()).text
    spelled = tokenizer.decode(found.token_ids)
    assert spelled == (rendered if not bos or rendered.startswith(bos) else bos + rendered)
    if bos:
        assert found.token_ids.count(tokenizer.bos_token_id) == 1
        assert found.token_ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize(
    ("family", "token"),
    [
        ("llama3", "<|eot_id|>"),
        ("gemma2", "<end_of_turn>"),
        ("qwen3", "<|im_end|>"),
        ("mistral", "[/INST]"),
        ("zephyr", "</s>"),
    ],
)
def test_prompt_end_is_the_token_that_closes_the_prompt(family, token):
    tokenizer = chat_tokenizer(family)
    found = tokenize_conversation(tokenizer, row(), max_tokens=512)
    assert tokenizer.convert_ids_to_tokens(found.token_ids[found.prompt_end]) == token
    assert found.token_ids[: found.prompt_end + 1].count(found.token_ids[found.prompt_end]) == 1


def test_bos_is_added_only_where_the_template_writes_none():
    zephyr, qwen = chat_tokenizer("zephyr"), chat_tokenizer("qwen3")
    assert "<s>" not in render_conversation(zephyr, row()).text
    found = tokenize_conversation(zephyr, row(), max_tokens=512)
    assert zephyr.decode(found.token_ids[: found.prompt_end + 1]) == (
        "<s><|user|>\nWhat is the capital of France?</s>"
    )
    assert qwen.decode(tokenize_conversation(qwen, row(), max_tokens=512).token_ids[0]) == (
        "<|im_start|>"
    )


@pytest.mark.parametrize("family", FAMILIES)
@given(question=text, answers=st.tuples(text, text))
@settings(max_examples=30, deadline=None)
def test_prompt_tokens_are_the_same_for_every_response(family, question, answers):
    prompt = (Message("user", question),)
    tokenizer = chat_tokenizer(family)
    rows = [row(answer, prompt) for answer in answers]
    first, second = tokenize_conversations(tokenizer, rows, max_tokens=4096)
    assert first.prompt_end == second.prompt_end
    end = first.prompt_end + 1
    assert first.token_ids[:end] == second.token_ids[:end]
    rendered = render_conversation(tokenizer, rows[0])
    spelled = tokenizer.decode(first.token_ids[:end], clean_up_tokenization_spaces=False)
    assert spelled.endswith(rendered.text[: rendered.prompt_end])


def test_last_character_spelled_in_bytes_ends_with_its_last_token():
    tokenizer = chat_tokenizer("llama3", template=PLAIN)
    found = tokenize_conversation(
        tokenizer, row(prompt=(Message("user", "Name this 🦜"),)), max_tokens=512
    )
    # BOS is added; the parrot is four bytes that no merge joins.
    assert tokenizer.decode(found.token_ids[: found.prompt_end + 1]) == (
        "<|begin_of_text|>user: Name this 🦜"
    )
    assert tokenizer.decode(found.token_ids[found.prompt_end]) == "\ufffd"


def test_token_shared_by_prompt_and_response_is_refused():
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer = chat_tokenizer("llama3", template=template)
    shared = row("a is wide", (Message("user", "the se"),))
    with pytest.raises(FeatureError, match="'x7': the prompt must end with a token of its own; "):
        tokenize_conversation(tokenizer, shared, max_tokens=512)


def test_last_character_that_the_tokenizer_drops_is_refused():
    from tokenizers import normalizers

    tokenizer = chat_tokenizer("llama3", template=PLAIN)
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("#", "")
    dropped = row(prompt=(Message("user", "Why #"),))
    with pytest.raises(FeatureError, match="no token holds the last character of the prompt, '#'"):
        tokenize_conversation(tokenizer, dropped, max_tokens=512)


def test_conversation_as_long_as_the_limit_is_kept_and_one_longer_is_not():
    n_tokens = tokenize("llama3", [row()])[0].n_tokens
    assert tokenize("llama3", [row()], max_tokens=n_tokens)[0].n_truncated == 0
    assert tokenize("llama3", [row()], max_tokens=n_tokens - 1) == [
        Unused(f"longer than {n_tokens - 1} tokens")
    ]
    assert tokenize_conversation(chat_tokenizer(), row(), max_tokens=n_tokens - 1) is None


@pytest.mark.parametrize("family", FAMILIES)
@given(max_tokens=st.integers(8, 120), longest_first=st.booleans())
@settings(max_examples=30, deadline=None)
def test_truncation_is_one_for_all_responses_to_a_prompt(family, max_tokens, longest_first):
    long = (Message("user", "One two three four five six seven eight nine ten. " * 2),)
    answers = ["Yes.", "No, that is eleven words " * 3]
    rows = [row(a, long) for a in sorted(answers, key=len, reverse=longest_first)]
    rows.append(row("Hi.", PROMPT))
    whole = tokenize(family, rows)
    cut = tokenize(family, rows, max_tokens=max_tokens, too_long="truncate")
    bos = 0 if family == "qwen3" else 1
    used = [(w, c) for w, c in zip(whole[:2], cut[:2], strict=True) if not isinstance(c, Unused)]
    assert len({c.n_truncated for _, c in used}) <= 1
    for w, c in used:
        assert c.n_tokens <= max_tokens
        assert c.token_ids == w.token_ids[:bos] + w.token_ids[bos + c.n_truncated :]
        assert c.token_ids[c.prompt_end :] == w.token_ids[w.prompt_end :]
    # No more is cut than the longest response that is used needs.
    if used:
        longest = max(w.n_tokens for w, _ in used)
        assert used[0][1].n_truncated == max(0, longest - max_tokens)
    for w, c in zip(whole, cut, strict=True):
        if isinstance(c, Unused):
            assert c.reason == f"response alone longer than {max_tokens} tokens"
            assert bos + w.n_tokens - w.prompt_end > max_tokens


def test_cuts_of_the_whole_run_hold_in_every_part():
    long = (Message("user", "One two three four five six seven. " * 4),)
    # The longest stands in the middle: a later, shorter one must not undo its cut.
    rows = [row("Yes.", long), row("No, never, and for many reasons.", long), row("Oh.", long)]
    rows.append(row("Hi."))
    tokenizer = chat_tokenizer()
    whole = tokenize_conversations(tokenizer, rows, max_tokens=60, too_long="truncate")
    cuts = prompt_cuts(tokenizer, rows, max_tokens=60, part=1)
    assert list(cuts) == [long]
    parts = [
        tokenize_conversations(tokenizer, [r], max_tokens=60, too_long="truncate", cuts=cuts)[0]
        for r in rows
    ]
    assert parts == whole
    alone = tokenize_conversations(tokenizer, rows[:1], max_tokens=60, too_long="truncate")
    assert alone[0].n_truncated < parts[0].n_truncated


def test_rows_that_the_template_refuses_stop_or_are_dropped():
    refused = row(prompt=(Message("system", "Be brief."), *PROMPT), id="bad")
    with pytest.raises(FeatureError, match="conversation 'bad': the chat template refused it"):
        tokenize("gemma2", [row(), refused])
    found = tokenize("gemma2", [row(), refused, row("Paris.")], bad_rows="drop")
    assert found[1] == Unused("refused by the chat template")
    assert [found[0], found[2]] == tokenize("gemma2", [row(), row("Paris.")])
    assert tokenize("gemma2", [refused], bad_rows="drop") == [found[1]]
