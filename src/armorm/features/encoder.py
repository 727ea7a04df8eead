"""Features of a bidirectional model: pooled states of prompt, response and both, combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.early_exit import layers_of, run_until
from armorm.features.interface import Backbone, FeatureOptions, Unused
from armorm.features.pooling import (
    combine_blocks,
    mean_states,
    pad_rows,
    token_batches,
    unit_rows,
)
from armorm.types import Conversation, Prompt

_PAIR_BLOCKS = {"conversation", "context"}


@dataclass(frozen=True, slots=True)
class EncodedText:
    """One text or pair of texts with its special tokens; equal ones are encoded once."""

    token_ids: tuple[int, ...]
    """Shape (t,)."""
    types: tuple[int, ...]
    """Token types, shape (t,); not passed to a model that has none."""
    response: tuple[bool, ...] = ()
    """Marks the tokens of the response in a pair; empty for a single text."""


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """A conversation as an encoder takes it."""

    prompt: EncodedText
    """The prompt as one text, its end where it is too long."""
    response: EncodedText
    """The response, never cut."""
    pair: EncodedText | None
    """Prompt and response as a sentence pair; None where no block needs it."""
    n_tokens: int
    """Length of the pair in tokens, after truncation."""
    n_truncated: int
    """Tokens of the prompt that were cut from the left."""


def prompt_text(prompt: Prompt) -> str:
    r"""Return a prompt as one text.

    A single user message is its content. Otherwise every message is led by its role and
    a colon, and a line break stands between messages.

    Args:
        prompt: The messages before the response.

    Returns:
        The text.

    Example:
        >>> from armorm.types import Message
        >>> prompt_text((Message("system", "Be brief."), Message("user", "Why?")))
        'system: Be brief.\nuser: Why?'
    """
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].content
    return "\n".join(f"{m.role}: {m.content}" for m in prompt)


class EncoderBackbone(Backbone):
    """A bidirectional model such as BERT.

    Prompt and response are encoded as texts of their own (and as a sentence pair where
    a block needs it), each distinct text once a call. The response feature is made of
    the options' `blocks` over their `layers`; the prompt feature is the pooled prompt of
    the last layer. `context` is the mean over the response's tokens within the pair,
    whatever the pooling.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        facts: Mapping[str, Any],
        *,
        options: FeatureOptions,
        device: str,
    ) -> None:
        """Keep a model that is ready to run.

        Args:
            model: Returns `last_hidden_state` and `hidden_states`; in eval mode, on its
                device.
            tokenizer: A fast tokenizer.
            facts: As `Backbone.facts` returns them.
            options: How conversations become features.
            device: Where the model runs.

        Raises:
            FeatureError: the tokenizer is slow.
        """
        super().__init__(facts, options=options, device=device)
        if not getattr(tokenizer, "is_fast", False):
            raise FeatureError(
                f"{self.name}: the tokenizer must be a fast one, which knows the text of every "
                f"token; got a {type(tokenizer).__name__}"
            )
        self.model = model
        self.tokenizer = tokenizer
        # The end of a prompt says what is asked, so prompts are cut from the left.
        self.tokenizer.truncation_side = "left"
        self._pad_id = tokenizer.pad_token_id or 0
        self._n_layers = int(model.config.num_hidden_layers)
        self._layers = layers_of(model, self._n_layers)
        self._with_pairs = bool(_PAIR_BLOCKS & set(options.blocks))
        self._n_types = int(getattr(model.config, "type_vocab_size", 0) or 0)
        self._n_special = tokenizer.num_special_tokens_to_add(pair=False)
        self._n_special_pair = tokenizer.num_special_tokens_to_add(pair=True)

    def tokenize(
        self, conversations: Sequence[Conversation], *, cuts: Mapping[Prompt, int] | None = None
    ) -> list[Any]:
        """Turn conversations into token ids.

        The limit holds for the prompt and the response by themselves, and for the pair
        where a block needs it. What is too long is cut from the left of the prompt, or
        the row is not used, as the options say; a response that is too long by itself is
        never cut.

        Args:
            conversations: n rows.
            cuts: Not needed: a row does not depend on the others.

        Returns:
            n results, in the order given.

        Raises:
            FeatureError: a prompt or a response has no text.
        """
        del cuts
        if not conversations:
            return []
        prompts = [prompt_text(row.prompt) for row in conversations]
        responses = [row.response for row in conversations]
        plans: list[tuple[int, int] | Unused] = []
        for row, n_prompt, n_response in zip(
            conversations, self._lengths(prompts), self._lengths(responses), strict=True
        ):
            if n_prompt and n_response:
                plans.append(self._plan(n_prompt, n_response))
            elif self.options.bad_rows == "drop":
                plans.append(Unused("prompt or response without text"))
            else:
                empty = "response" if n_prompt else "prompt"
                raise FeatureError(
                    f"conversation {row.id!r}: the {empty} must have text; it has none"
                )
        used = [i for i, plan in enumerate(plans) if not isinstance(plan, Unused)]
        rows = iter(self._encode_rows([prompts[i] for i in used], [responses[i] for i in used]))
        results: list[Any] = []
        for plan in plans:
            if isinstance(plan, Unused):
                results.append(plan)
            else:
                n_tokens, n_truncated = plan
                results.append(TokenizedTexts(*next(rows), n_tokens, n_truncated))
        return results

    def features(
        self, rows: Sequence[TokenizedTexts], *, token_budget: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the model; see `Backbone.features`."""
        if not rows:
            return torch.zeros(0, self.response_width), torch.zeros(0, self.prompt_width)
        budget = token_budget or self.find_budget()
        pooled: dict[str, list[Tensor]] = {}
        pooled["prompt"], _, prompt = self._pool([row.prompt for row in rows], budget, last=True)
        pooled["response"], _, _ = self._pool([row.response for row in rows], budget)
        if self._with_pairs:
            pairs = [row.pair for row in rows if row.pair is not None]
            pooled["conversation"], pooled["context"], _ = self._pool(pairs, budget)
        if self.options.normalise:
            prompt = unit_rows(prompt)
        blocks = self.options.blocks
        return combine_blocks(pooled, blocks, normalise=self.options.normalise), prompt

    def _plan(self, n_prompt: int, n_response: int) -> tuple[int, int] | Unused:
        """Say how long a row will be and how many tokens its prompt loses, or why neither.

        Lengths are without special tokens.
        """
        limit = self.max_tokens
        room = limit - self._n_special
        room_in_pair = limit - self._n_special_pair - n_response if self._with_pairs else room
        if n_response > room or room_in_pair < 1:
            return Unused(f"response alone longer than {limit:,} tokens")
        cut = max(0, n_prompt - min(room, room_in_pair))
        if cut and self.options.too_long == "drop":
            return Unused(f"longer than {limit:,} tokens")
        return n_prompt - cut + n_response + self._n_special_pair, cut

    def _lengths(self, texts: list[str]) -> list[int]:
        """Tokens of every text without special tokens."""
        distinct = list(dict.fromkeys(texts))
        found = self.tokenizer(distinct, add_special_tokens=False, verbose=False)["input_ids"]
        length = {text: len(ids) for text, ids in zip(distinct, found, strict=True)}
        return [length[text] for text in texts]

    def _encode_rows(
        self, prompts: list[str], responses: list[str]
    ) -> list[tuple[EncodedText, EncodedText, EncodedText | None]]:
        """Token ids of prompt, response and pair of every row."""
        if not prompts:
            return []
        one = dict(self._encode(list(dict.fromkeys(prompts + responses))))
        pairs: list[EncodedText | None] = [None] * len(prompts)
        if self._with_pairs:
            pairs = [row for _, row in self._encode(prompts, responses)]
        rows = zip(prompts, responses, pairs, strict=True)
        return [(one[prompt], one[response], pair) for prompt, response, pair in rows]

    def _encode(
        self, texts: list[str], responses: list[str] | None = None
    ) -> list[tuple[str, EncodedText]]:
        """Token ids with special tokens, the first text cut from the left to the limit."""
        batch = self.tokenizer(
            texts,
            responses,
            truncation="only_first",
            max_length=self.max_tokens,
            return_token_type_ids=True,
            verbose=False,
        )
        types = batch["token_type_ids"]
        rows: list[tuple[str, EncodedText]] = []
        for i, text in enumerate(texts):
            marks = () if responses is None else tuple(s == 1 for s in batch.sequence_ids(i))
            rows.append((text, EncodedText(tuple(batch["input_ids"][i]), tuple(types[i]), marks)))
        return rows

    def _pool(
        self, texts: Sequence[EncodedText], budget: int, *, last: bool = False
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Encode each distinct text once and pool it.

        Gives, by layer, the pooled states (n, d) and the mean states of the response
        within a pair (no entry for single texts), and the pooled states of the last layer
        (zeros unless `last` asks for them).
        """
        distinct = list(dict.fromkeys(texts))
        shape = (len(distinct), self.prompt_width)
        whole = [torch.zeros(shape) for _ in self.options.layers]
        within = [torch.zeros(shape) for _ in self.options.layers] if distinct[0].response else []
        top = torch.zeros(shape)
        for batch in token_batches([len(text.token_ids) for text in distinct], budget=budget):
            states, mask = self._forward([distinct[i] for i in batch], last=last)
            for number, layer in enumerate(self.options.layers):
                whole[number][batch] = self._pool_one(states[layer], mask)
                if within:
                    marks = pad_marks([distinct[i].response for i in batch], mask.shape[1])
                    marks = marks.to(mask.device)
                    within[number][batch] = mean_states(states[layer], marks).cpu()
            if last:
                top[batch] = self._pool_one(states[-1], mask)
        place = {text: i for i, text in enumerate(distinct)}
        index = torch.tensor([place[text] for text in texts])
        return [s[index] for s in whole], [s[index] for s in within], top[index]

    def _pool_one(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool the states of one layer as the options say."""
        cls = self.options.pooling == "cls"
        return (states[:, 0].float() if cls else mean_states(states, mask)).cpu()

    def _forward(
        self, texts: Sequence[EncodedText], *, last: bool
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Run one batch: the wanted hidden states (n, t, d) by layer, and the mask (n, t)."""
        padded = pad_rows([text.token_ids for text in texts], pad_id=self._pad_id)
        inputs = {"input_ids": padded.token_ids, "attention_mask": padded.mask}
        if self._n_types > 1:
            inputs["token_type_ids"] = pad_marks([text.types for text in texts], len(padded.mask.T))
        inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        mask, n = inputs["attention_mask"], self._n_layers
        wanted = {layer: layer % (n + 1) for layer in self.options.layers}
        deepest = max(wanted.values())
        with torch.no_grad():
            if not last and deepest < n and self._layers is not None:
                states = run_until(self._layers, deepest, lambda: self.model(**inputs))
                if states is not None:
                    return {layer: states[place] for layer, place in wanted.items()}, mask
            result = self.model(**inputs, output_hidden_states=True)
        # Some models list the last layer before its norm; the model's result is after it.
        states = [*result.hidden_states[:-1], result.last_hidden_state]
        return {layer: states[place] for layer, place in (wanted | {-1: n}).items()}, mask


def pad_marks(rows: Sequence[Sequence[int]], n_tokens: int) -> Tensor:
    """Pad rows of numbers with 0 on the right.

    Args:
        rows: n rows of at most `n_tokens` numbers or truth values.
        n_tokens: Length to bring them to.

    Returns:
        Shape (n, n_tokens), int64.

    Example:
        >>> pad_marks([[True], []], 2).tolist()
        [[1, 0], [0, 0]]
    """
    marks = torch.zeros((len(rows), n_tokens), dtype=torch.int64)
    for i, row in enumerate(rows):
        marks[i, : len(row)] = torch.tensor([int(x) for x in row], dtype=torch.int64)
    return marks
