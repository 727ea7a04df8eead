"""The run of tokens at which the released layout finds the end of a prompt, from the template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from armorm.errors import FeatureError
from armorm.features.chat import TokenizedConversation, render_conversation
from armorm.types import Conversation

_LEAST = 4  # probe conversations without which a template is not known


def gating_token_pattern(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    rows: Sequence[TokenizedConversation],
) -> tuple[int, ...]:
    """Derive the token pattern of a chat template, and check it on every conversation.

    It is what all conversations have in common from the token that ends the prompt to the end
    of the generation header (Llama-3: `<|eot_id|>`, the assistant header, an empty line), as
    tokenised in whole conversations: a response that begins with white space may take the last
    token of the header with it, and that token is then left out.

    Args:
        tokenizer: A fast tokenizer with a chat template.
        conversations: n conversations of different forms: several messages, responses with
            different beginnings.
        rows: The same as token ids, none of them truncated.

    Returns:
        Token ids whose last occurrence begins, in each of the conversations, at the token that
        ends its prompt.

    Raises:
        FeatureError: fewer than four conversations; in one of them the pattern does not
            point at the end of the prompt, or occurs again after it.
    """
    if len(rows) < _LEAST:
        raise FeatureError(
            f"the end of a prompt must show in at least {_LEAST} conversations; the backbone takes "
            f"{len(rows)} of the probes: raise `max_tokens`"
        )
    common: tuple[int, ...] | None = None
    for conversation, row in zip(conversations, rows, strict=True):
        length = _header_length(tokenizer, conversation, row)
        tail = row.token_ids[row.prompt_end : row.prompt_end + length]
        common = tail if common is None else _common(common, tail)
    assert common is not None
    for conversation, row in zip(conversations, rows, strict=True):
        found = last_occurrence(row.token_ids, common)
        if found != row.prompt_end:
            where = "nowhere" if found < 0 else f"at token {found}"
            raise FeatureError(
                "the chat template must mark the end of a prompt by tokens that occur there and "
                f"not after it; those it has, {_shown(tokenizer, common)}, occur last {where} of "
                f"conversation {conversation.id!r}, whose prompt ends at token {row.prompt_end}: "
                "export as 'classifier', 'objectives' or 'head'"
            )
    return common


def last_occurrence(token_ids: Sequence[int], pattern: Sequence[int]) -> int:
    """Return where a run of tokens begins for the last time, as the released class looks for it.

    Args:
        token_ids: A conversation.
        pattern: The run.

    Returns:
        An index; -1 where there is none or the pattern is empty.

    Example:
        >>> last_occurrence([7, 1, 2, 7, 1, 2, 3], [1, 2])
        4
    """
    ids, wanted = tuple(token_ids), tuple(pattern)
    for start in range(len(ids) - len(wanted), -1, -1):
        if wanted and ids[start : start + len(wanted)] == wanted:
            return start
    return -1


def _header_length(tokenizer: Any, conversation: Conversation, row: TokenizedConversation) -> int:
    """Count the tokens from the end of the prompt to that of the header; all where unknown."""
    rendered = render_conversation(tokenizer, conversation)
    end = _header_end(tokenizer, conversation, rendered.text)
    if end is None:
        return len(row.token_ids)
    batch = tokenizer(
        rendered.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    offsets = batch["offset_mapping"]
    added = len(row.token_ids) - len(offsets)  # a BOS that the text does not have
    inside = [i for i, (_, stop) in enumerate(offsets) if stop <= end]
    return max(inside, default=-1) + 1 + added - row.prompt_end


def _header_end(tokenizer: Any, conversation: Conversation, text: str) -> int | None:
    """Number of characters up to the end of the generation header; None where it is unknown."""
    messages = conversation.messages()[:-1]
    try:
        opened = str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
    except Exception:  # a template that takes no prompt alone
        return None
    return len(opened) if text.startswith(opened) else None


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The common beginning of two runs."""
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:n]


def _shown(tokenizer: Any, pattern: Sequence[int]) -> str:
    """A run of tokens in a message."""
    return repr(tokenizer.decode(list(pattern))) if pattern else "none"
