"""Runs a backbone over blocks of rows: tokenises ahead, halves the budget, checks what comes out.

Knows nothing of files.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.feature_set import DroppedRow, FeatureSet
from armorm.features.interface import Backbone, Tokenized, Unused
from armorm.types import Conversation, Prompt

_ASKED = 12  # rows by which a backbone decides how it computes


@dataclass(slots=True)
class Budget:
    """Tokens of a batch, and how often memory has made it smaller."""

    tokens: int
    """Tokens a batch."""
    halved: int = 0
    """How often it was halved because a batch did not fit."""


@dataclass(slots=True)
class Speed:
    """What was computed since the beginning."""

    rows: int = 0
    """Conversations."""
    tokens: int = 0
    """Their tokens."""
    unique_tokens: int = 0
    """Tokens that went through the model: a shared prompt counts once."""
    seconds: float = 0.0
    """Time that the backbone took, tokenising not included where it was done meanwhile."""

    def __str__(self) -> str:
        """Return the rates as the progress bar shows them; empty before the first block."""
        if not self.seconds:
            return ""
        rows, tokens, unique = (
            n / self.seconds for n in (self.rows, self.tokens, self.unique_tokens)
        )
        return f"{rows:,.1f} rows/s, {tokens:,.0f} tokens/s, {unique:,.0f} unique"


class Computation:
    """Features of blocks of rows, one block after the other."""

    def __init__(
        self, backbone: Backbone, conversations: Sequence[Conversation], cuts: Mapping[Prompt, int]
    ) -> None:
        """Start with nothing computed.

        Args:
            backbone: Tokenises and runs the model.
            conversations: All rows.
            cuts: What `backbone.cuts` returned for all rows of the run.
        """
        self._backbone = backbone
        self._conversations = conversations
        self._cuts = cuts
        self.budget: Budget | None = None
        """Found when the first block is computed; may be set before."""
        self.speed = Speed()

    def prepare(self, order: Sequence[int]) -> None:
        """Let the backbone decide how it computes, by the first prompt with several responses.

        Whoever computes which part of the run, and after whichever restart, asks the same
        rows.

        Args:
            order: Numbers of all rows of the run, from `group_rows`.
        """
        rows = self._conversations
        places = (
            i
            for i, (one, other) in enumerate(itertools.pairwise(order))
            if rows[one].prompt == rows[other].prompt
        )
        first = next(places, 0)
        tokenized = self._tokenize(order[first : first + _ASKED])
        self._backbone.prepare([row for row in tokenized if not isinstance(row, Unused)])

    def run(self, blocks: Sequence[Sequence[int]]) -> Iterator[FeatureSet]:
        """Compute blocks; the next one is tokenised while one is computed.

        Args:
            blocks: Numbers of the rows of each block.

        Yields:
            Features of each block, in the order given.

        Raises:
            FeatureError: a row cannot be tokenised; features are not finite; one row alone
                does not fit into the device's memory.
        """
        with ThreadPoolExecutor(1) as ahead:
            following: Future[list[Tokenized | Unused]] | None = None
            for number, block in enumerate(blocks):
                tokenized = following.result() if following else self._tokenize(block)
                following = None
                if number + 1 < len(blocks):
                    following = ahead.submit(self._tokenize, blocks[number + 1])
                yield self._features(block, tokenized)

    def _tokenize(self, block: Sequence[int]) -> list[Tokenized | Unused]:
        """Turn the rows of a block into what the backbone takes."""
        return self._backbone.tokenize([self._conversations[i] for i in block], cuts=self._cuts)

    def _features(self, block: Sequence[int], tokenized: list[Tokenized | Unused]) -> FeatureSet:
        """Run the model on a block."""
        started = time.monotonic()
        rows: list[Tokenized] = []
        kept: list[int] = []
        dropped: list[DroppedRow] = []
        for i, row in zip(block, tokenized, strict=True):
            if isinstance(row, Unused):
                dropped.append(DroppedRow(i, self._conversations[i].id, row.reason))
            else:
                rows.append(row)
                kept.append(i)
        response, prompt = self.run_rows(rows)
        prompts = [self._conversations[i].prompt for i in kept]
        found = FeatureSet(
            ids=[self._conversations[i].id for i in kept],
            response=response,
            prompt=one_a_prompt(prompt, prompts),
            n_tokens=torch.tensor([row.n_tokens for row in rows], dtype=torch.int64),
            n_truncated=torch.tensor([row.n_truncated for row in rows], dtype=torch.int64),
            rows=torch.tensor(kept, dtype=torch.int64),
            dropped=dropped,
        )
        for name in ("response", "prompt"):
            _check_finite(getattr(found, name), name, found.ids, self._backbone.dtype)
        self.speed.rows += len(rows)
        self.speed.tokens += int(found.n_tokens.sum())
        self.speed.unique_tokens += self._backbone.unique_tokens(rows)
        self.speed.seconds += time.monotonic() - started
        return found

    def run_rows(self, rows: Sequence[Tokenized]) -> tuple[Tensor, Tensor]:
        """Run the model, with half the token budget as often as memory runs out.

        Args:
            rows: n results of `tokenize`, none of them `Unused`.

        Returns:
            Response features (n, d) and prompt features (n, dp).

        Raises:
            FeatureError: one row alone does not fit into the device's memory.
        """
        if self.budget is None:
            self.budget = Budget(self._backbone.find_budget())
        while True:
            try:
                return self._backbone.features(rows, token_budget=self.budget.tokens)
            except torch.OutOfMemoryError as error:
                longest = max(row.n_tokens for row in rows)
                if self.budget.tokens <= longest:
                    raise FeatureError(
                        f"{self._backbone.name}: a batch must fit into the memory of "
                        f"{self._backbone.device!r}; one conversation of {longest:,} tokens does "
                        "not: lower `max_tokens`"
                    ) from error
                self.budget.tokens = max(self.budget.tokens // 2, 1)
                self.budget.halved += 1


def one_a_prompt(features: Tensor, prompts: Sequence[Prompt]) -> Tensor:
    """Give all rows of a prompt the feature of its first row: others differ in the last bits.

    Args:
        features: Prompt features, shape (n, dp).
        prompts: The n prompts.

    Returns:
        Shape (n, dp).
    """
    first: dict[Prompt, int] = {}
    return features[[first.setdefault(prompt, i) for i, prompt in enumerate(prompts)]]


def _check_finite(features: Tensor, name: str, ids: Sequence[str], dtype: str) -> None:
    """Raise where a feature is NaN or infinite."""
    bad = (~features.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if bad:
        raise FeatureError(
            f"conversation {ids[bad[0]]!r}: the {name} feature must be finite; in dtype "
            f"{dtype!r} {len(bad)} of {len(ids)} rows of its block are not"
        )
