"""Features of a causal language model: two states of one forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.chat import (
    TokenizedConversation,
    check_tokenizer,
    prompt_cuts,
    tokenize_conversations,
)
from armorm.features.interface import Backbone, FeatureOptions, Unused
from armorm.features.pooling import pad_rows, pick_states, token_batches
from armorm.types import Conversation, Prompt


class DecoderBackbone(Backbone):
    """A causal model without head.

    The response feature is the state after the final norm at the last token of the
    conversation, the prompt feature the one at the token that ends the prompt. What
    follows a token cannot reach its state, so all responses to a prompt share its
    feature.
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
            model: Returns `last_hidden_state`; in eval mode, on its device.
            tokenizer: A fast tokenizer with a chat template.
            facts: As `Backbone.facts` returns them.
            options: How conversations become features.
            device: Where the model runs.

        Raises:
            FeatureError: the tokenizer is slow or has no chat template; the model takes
                no positions and rows are to be padded on the left.
        """
        super().__init__(facts, options=options, device=device)
        check_tokenizer(tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        if options.padding_side == "left" and not self._takes_positions:
            raise FeatureError(
                f"{self.name}: the model takes no positions, so padding on the left would change "
                "its features; use `padding_side` 'right'"
            )

    def cuts(self, conversations: Sequence[Conversation]) -> dict[Prompt, int]:
        """Return how many tokens every prompt must lose for its longest response to fit."""
        if self.options.too_long == "drop":
            return {}
        return prompt_cuts(
            self.tokenizer,
            conversations,
            max_tokens=self.max_tokens,
            bad_rows=self.options.bad_rows,
        )

    def tokenize(
        self, conversations: Sequence[Conversation], *, cuts: Mapping[Prompt, int] | None = None
    ) -> list[Any]:
        """Turn conversations into token ids; see `armorm.features.chat`."""
        rows: list[TokenizedConversation | Unused] = tokenize_conversations(
            self.tokenizer,
            conversations,
            max_tokens=self.max_tokens,
            too_long=self.options.too_long,
            bad_rows=self.options.bad_rows,
            cuts=cuts,
        )
        return rows

    def features(
        self, rows: Sequence[TokenizedConversation], *, token_budget: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the model; see `Backbone.features`."""
        response = torch.zeros(len(rows), self.response_width)
        prompt = torch.zeros(len(rows), self.prompt_width)
        budget = token_budget or self.options.token_budget
        for batch in token_batches([row.n_tokens for row in rows], budget=budget):
            response[batch], prompt[batch] = self._forward([rows[i] for i in batch])
        return response, prompt

    def _forward(self, rows: Sequence[TokenizedConversation]) -> tuple[Tensor, Tensor]:
        """Run one batch."""
        padded = pad_rows(
            [row.token_ids for row in rows],
            pad_id=self.tokenizer.pad_token_id or 0,
            side=self.options.padding_side,
        )
        inputs = {"input_ids": padded.token_ids, "attention_mask": padded.mask}
        if self._takes_positions:
            inputs["position_ids"] = padded.positions
        with torch.no_grad():
            states = self.model(
                **{name: tensor.to(self.device) for name, tensor in inputs.items()},
                use_cache=False,
            ).last_hidden_state
        last = padded.starts + torch.tensor([row.n_tokens - 1 for row in rows])
        end = padded.starts + torch.tensor([row.prompt_end for row in rows])
        return (
            pick_states(states, last.to(states.device)).float().cpu(),
            pick_states(states, end.to(states.device)).float().cpu(),
        )
