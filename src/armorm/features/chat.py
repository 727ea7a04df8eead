"""From a conversation to token ids and the place where its prompt ends, by the chat template.

Knows tokenizers by what they do, not by where they come from; knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armorm.errors import FeatureError
from armorm.features.interface import Unused
from armorm.features.template import (
    RenderedConversation,
    Renderer,
    check_tokenizer,
    render_conversation,
)
from armorm.types import Conversation, Prompt

__all__ = [
    "RenderedConversation",
    "TokenizedConversation",
    "check_tokenizer",
    "prompt_cuts",
    "render_conversation",
    "tokenize_conversation",
    "tokenize_conversations",
]


@dataclass(frozen=True, slots=True)
class TokenizedConversation:
    """Prompt plus response as token ids."""

    token_ids: tuple[int, ...]
    """The whole conversation, one BOS where the tokenizer has one; shape (t,)."""
    prompt_end: int
    """Index of the token that holds the last non-white-space character of the prompt."""
    n_truncated: int = 0
    """Tokens cut from the left, after BOS."""

    @property
    def n_tokens(self) -> int:
        """Length in tokens, after truncation."""
        return len(self.token_ids)


def tokenize_conversations(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    *,
    max_tokens: int,
    too_long: str = "drop",
    bad_rows: str = "stop",
    cuts: Mapping[Prompt, int] | None = None,
) -> list[TokenizedConversation | Unused]:
    """Turn conversations into token ids, with the place where each prompt ends.

    The text of the chat template is tokenised once and as it is; one BOS is added only
    where the template writes none and the tokenizer would. Special tokens that the
    *content* spells out are tokenised like any others, but the prompt ends where the
    template says, whatever a response contains. A template that prints today's date is
    given 26 July 2024.

    With `too_long="truncate"` all responses to one prompt lose the same tokens, so that
    the prompt feature is the same for all of them: as many as the longest response that
    can be used needs. They are cut from the left, after BOS, and never reach the end of
    the prompt; a response that would need that is not used.

    Args:
        tokenizer: A fast Hugging Face tokenizer with a chat template.
        conversations: n rows.
        max_tokens: Longest conversation; at least 2.
        too_long: `drop` or `truncate`.
        bad_rows: `stop` raises for a row that the template refuses, `drop` returns
            `Unused` for it.
        cuts: Tokens that each prompt loses, from `prompt_cuts` on all rows of a run;
            None means that these are all of them.

    Returns:
        n results, in the order given.

    Raises:
        FeatureError: the tokenizer is slow or has no chat template; a prompt or a
            response is empty; the template refuses a conversation, or its text has no
            place where the prompt ends.
    """
    encoded = _encode(tokenizer, conversations, bad_rows=bad_rows)
    if too_long == "truncate" and cuts is None:
        cuts = _cuts(conversations, encoded, max_tokens)
    cuts = cuts if too_long == "truncate" and cuts is not None else {}
    results: list[TokenizedConversation | Unused] = []
    for conversation, row in zip(conversations, encoded, strict=True):
        if isinstance(row, Unused):
            results.append(row)
        elif too_long == "truncate" and not row.fits_after_cut(max_tokens):
            results.append(Unused(f"response alone longer than {max_tokens:,} tokens"))
        else:
            cut = row.cut(cuts.get(conversation.prompt, 0))
            fits = cut.n_tokens <= max_tokens
            results.append(cut if fits else Unused(f"longer than {max_tokens:,} tokens"))
    return results


def tokenize_conversation(
    tokenizer: Any, conversation: Conversation, *, max_tokens: int, too_long: str = "drop"
) -> TokenizedConversation | None:
    """Turn one conversation into token ids; None where it is too long.

    Args:
        tokenizer: A fast Hugging Face tokenizer with a chat template.
        conversation: The row.
        max_tokens: Longest conversation; at least 2.
        too_long: `drop` or `truncate`.

    Returns:
        Token ids and the end of the prompt, as `tokenize_conversations` gives them.
    """
    [row] = tokenize_conversations(
        tokenizer, [conversation], max_tokens=max_tokens, too_long=too_long
    )
    return None if isinstance(row, Unused) else row


def prompt_cuts(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    *,
    max_tokens: int,
    bad_rows: str = "stop",
    part: int = 1024,
) -> dict[Prompt, int]:
    """Return how many tokens every prompt loses so that its longest response fits.

    Args:
        tokenizer: A fast Hugging Face tokenizer with a chat template.
        conversations: All rows of a run.
        max_tokens: Longest conversation.
        bad_rows: As in `tokenize_conversations`.
        part: Rows that are tokenised at a time; bounds the memory.

    Returns:
        Tokens by prompt, for prompts that lose some.

    Raises:
        FeatureError: as `tokenize_conversations`.
    """
    cuts: dict[Prompt, int] = {}
    for start in range(0, len(conversations), part):
        rows = conversations[start : start + part]
        found = _cuts(rows, _encode(tokenizer, rows, bad_rows=bad_rows), max_tokens)
        for prompt, cut in found.items():
            cuts[prompt] = max(cut, cuts.get(prompt, 0))
    return cuts


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Token ids before truncation."""

    token_ids: list[int]
    prompt_end: int
    n_bos: int

    def fits_after_cut(self, max_tokens: int) -> bool:
        """Say whether BOS and everything from the end of the prompt on fit."""
        return self.n_bos + len(self.token_ids) - self.prompt_end <= max_tokens

    def cut(self, n: int) -> TokenizedConversation:
        """Cut n tokens after BOS."""
        kept = self.token_ids[: self.n_bos] + self.token_ids[self.n_bos + n :]
        return TokenizedConversation(tuple(kept), self.prompt_end - n, n)


def _encode(
    tokenizer: Any, conversations: Sequence[Conversation], *, bad_rows: str
) -> list[_Encoded | Unused]:
    """Render and tokenise, without a limit."""
    check_tokenizer(tokenizer)
    renderer = Renderer(tokenizer)
    rendered: list[RenderedConversation | Unused] = []
    for conversation in conversations:
        try:
            rendered.append(renderer.render(conversation))
        except FeatureError:
            if bad_rows == "stop":
                raise
            rendered.append(Unused("refused by the chat template"))
    texts = [r.text for r in rendered if isinstance(r, RenderedConversation)]
    if not texts:
        return [r for r in rendered if isinstance(r, Unused)]
    batch = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    found = iter(zip(batch["input_ids"], batch["offset_mapping"], strict=True))
    bos = _added_bos(tokenizer)
    encoded: list[_Encoded | Unused] = []
    for conversation, row in zip(conversations, rendered, strict=True):
        if isinstance(row, Unused):
            encoded.append(row)
            continue
        ids, offsets = next(found)
        prompt_end = _covering(offsets, row, f"conversation {conversation.id!r}")
        has_bos = tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id
        if bos is not None and not has_bos:
            ids, prompt_end, has_bos = [bos, *ids], prompt_end + 1, True
        encoded.append(_Encoded(ids, prompt_end, int(has_bos)))
    return encoded


def _covering(offsets: list[tuple[int, int]], row: RenderedConversation, where: str) -> int:
    """Return the index of the last token that holds the last character of the prompt.

    Several do when that character is spelled in bytes.
    """
    last = row.prompt_end - 1
    index = max((i for i, (start, end) in enumerate(offsets) if start <= last < end), default=-1)
    if index < 0:
        raise FeatureError(
            f"{where}: no token holds the last character of the prompt, {row.text[last]!r}"
        )
    if offsets[index][1] > row.response_start:
        start, end = offsets[index]
        raise FeatureError(
            f"{where}: the prompt must end with a token of its own; {row.text[start:end]!r} also "
            "holds the beginning of the response: the chat template puts nothing between them"
        )
    return index


def _added_bos(tokenizer: Any) -> int | None:
    """Return the id of the BOS that the tokenizer puts before a plain text, if it does."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return None
    ids = tokenizer("A", add_special_tokens=True, verbose=False)["input_ids"]
    return bos if ids[:1] == [bos] else None


def _cuts(
    conversations: Sequence[Conversation], encoded: Sequence[_Encoded | Unused], max_tokens: int
) -> dict[Prompt, int]:
    """Return the largest excess over the limit by prompt, among rows that can be used."""
    cuts: dict[Prompt, int] = {}
    for conversation, row in zip(conversations, encoded, strict=True):
        if isinstance(row, Unused) or not row.fits_after_cut(max_tokens):
            continue
        excess = len(row.token_ids) - max_tokens
        if excess > cuts.get(conversation.prompt, 0):
            cuts[conversation.prompt] = excess
    return cuts
