"""Features of a causal language model: two states of one forward pass."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.agreement import disagreement, level, places_to_check
from armorm.features.budget import measure_budget
from armorm.features.chat import (
    TokenizedConversation,
    check_tokenizer,
    prompt_cuts,
    tokenize_conversations,
)
from armorm.features.checkpoint import first_line
from armorm.features.forward import (
    carried_state,
    run_packed,
    run_padded,
    takes_positions,
)
from armorm.features.interface import Backbone, FeatureOptions, Unused
from armorm.features.packing import PackedBatch, pack_rows, unique_tokens
from armorm.features.pooling import token_batches
from armorm.types import Conversation, Prompt

# Tokens a batch where the option leaves it open; see docs/log.md for the CPU.
_BUDGETS = {"cpu": 2048, "mps": 4096}


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
        self._lock = threading.Lock()
        self._engine = options.engine
        self._budget: int | None = None
        self._checked = -1  # how much of packing has been compared, as `agreement.level` counts
        takes = takes_positions(model)
        if options.padding_side == "left" and not takes:
            raise FeatureError(
                f"{self.name}: the model takes no positions, so padding on the left would change "
                "its features; use `padding_side` 'right'"
            )
        state = carried_state(model) if takes else None
        if options.padding_side == "left" and state is not None:
            raise FeatureError(
                f"{self.name}: {state}, so padding on the left would change its features; use "
                "`padding_side` 'right'"
            )
        if self._engine == "packed" and not takes:
            self._pad_from_now_on("the model takes no positions")
        elif self._engine == "packed" and state is not None:
            self._pad_from_now_on(state)

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

    @property
    def engine(self) -> str:
        """How rows are computed now: `packed`, or `padded` where that was asked for or must be."""
        return self._engine

    def find_budget(self) -> int:
        """Return how many tokens a batch may have; see `Backbone.find_budget`.

        On CUDA it is measured once: as many as fit into four fifths of the free memory,
        rounded down to a power of two so that processes on like devices agree.
        """
        if self.options.token_budget is not None:
            return self.options.token_budget
        if self._budget is None:
            kind = self.device.partition(":")[0]
            self._budget = self._measure() if kind == "cuda" else _BUDGETS[kind]
        return self._budget

    def prepare(self, rows: Sequence[TokenizedConversation]) -> None:
        """Compare packing with single conversations on these rows; see `Backbone.prepare`."""
        if self._engine != "packed" or self._checked >= 0 or not rows:
            return
        budget = self.find_budget()
        with self._lock:
            while self._checked < 0 and self._engine == "packed":
                try:
                    self._packed(rows, budget)
                except torch.OutOfMemoryError:
                    budget //= 2
                    if budget < max(row.n_tokens for row in rows):
                        return  # the run will meet it too, and say which row does not fit
            if self._engine == "packed":
                self._checked = 2  # one decision for all rows of the run

    def unique_tokens(self, rows: Sequence[TokenizedConversation]) -> int:
        """Count the tokens that are computed for rows; see `Backbone.unique_tokens`."""
        return unique_tokens(rows) if self._engine == "packed" else super().unique_tokens(rows)

    def features(
        self, rows: Sequence[TokenizedConversation], *, token_budget: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the model; see `Backbone.features`.

        The first rows that are packed together are also computed one by one, with the
        model's own attention. Where the two differ, or the model asks its attention for
        what packing does not have, `notes` says so and rows are padded from then on.
        """
        budget = token_budget or self.find_budget()
        # The attention of the model is switched while a packed batch runs.
        with self._lock:
            found = self._packed(rows, budget) if self._engine == "packed" else None
            return found or self._padded(rows, budget)

    def _padded(self, rows: Sequence[TokenizedConversation], budget: int) -> tuple[Tensor, Tensor]:
        """Run batches of rows of similar length."""
        response = torch.zeros(len(rows), self.response_width)
        prompt = torch.zeros(len(rows), self.prompt_width)
        for batch in token_batches([row.n_tokens for row in rows], budget=budget):
            response[batch], prompt[batch] = self._run_padded([rows[i] for i in batch])
        return response, prompt

    def _packed(
        self, rows: Sequence[TokenizedConversation], budget: int
    ) -> tuple[Tensor, Tensor] | None:
        """Run packed sequences; None where that cannot be done."""
        response = torch.zeros(len(rows), self.response_width)
        prompt = torch.zeros(len(rows), self.prompt_width)
        for batch in pack_rows(rows, budget=budget):
            depth = level(batch)
            try:
                found = run_packed(self.model, batch, device=self.device)
                why = None if depth <= self._checked else self._compare(rows, batch, found)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # a model that was never run like this may raise anything
                if depth <= self._checked:
                    raise
                self._pad_from_now_on(first_line(error))
                return None
            if why is not None:
                self._pad_from_now_on(why)
                return None
            self._checked = max(self._checked, depth)
            response[list(batch.rows)], prompt[list(batch.rows)] = found
        return response, prompt

    def _compare(
        self,
        rows: Sequence[TokenizedConversation],
        batch: PackedBatch,
        found: tuple[Tensor, Tensor],
    ) -> str | None:
        """Compute some rows of a batch one by one; say where that gives other features."""
        for place in places_to_check(batch):
            expected = self._run_padded([rows[batch.rows[place]]])
            for ours, alone in zip(found, expected, strict=True):
                why = disagreement(ours[place], alone[0], dtype=self.dtype)
                if why is not None:
                    return why
        return None

    def _run_padded(self, rows: Sequence[TokenizedConversation]) -> tuple[Tensor, Tensor]:
        """Run one batch with the model's own attention."""
        return run_padded(
            self.model,
            rows,
            pad_id=self.tokenizer.pad_token_id or 0,
            side=self.options.padding_side,
            device=self.device,
        )

    def _pad_from_now_on(self, why: str) -> None:
        """Give packing up and say so."""
        self._engine = "padded"
        self.notes.append(
            f"{self.name}: conversations are not packed, because {why}; they run in padded batches "
            "of similar length, which gives the same features more slowly"
        )

    def _measure(self) -> int:
        """Measure how many tokens a batch may have on a CUDA device."""
        with self._lock:
            try:
                return measure_budget(
                    self._run_equal_rows, device=self.device, longest=self.max_tokens
                )
            except Exception as error:
                if self._engine == "padded" or self._checked >= 0:
                    raise
                self._pad_from_now_on(first_line(error))
            return measure_budget(self._run_equal_rows, device=self.device, longest=self.max_tokens)

    def _run_equal_rows(self, n_rows: int, length: int) -> None:
        """Run a batch of rows of one length that share nothing."""
        rows = [TokenizedConversation((i, *[0] * (length - 1)), 0) for i in range(n_rows)]
        if self._engine == "padded":
            self._run_padded(rows)
        for batch in pack_rows(rows, budget=n_rows * length) if self._engine == "packed" else ():
            run_packed(self.model, batch, device=self.device)
