"""A decoder with a classification head of one label, which is its score.

It knows nothing of checkpoints; loading one is `sequence_classifier.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.chat import TokenizedConversation, tokenize_conversations
from armorm.features.forward import carried_state, takes_positions
from armorm.features.interface import DEFAULT_BUDGET
from armorm.features.pooling import pad_rows, token_batches
from armorm.types import Conversation

_DTYPES = ("float32", "bfloat16", "float16", "stored")
_NO_LIMIT = 10**9
_CPU_BUDGET = 2048

# How far the score of a row in a padded batch may be from the same row alone, as a share of
# its size or of 1: rounding, where kernels differ by shape.
_ROUNDING = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}


@dataclass(frozen=True, slots=True)
class ClassifierOptions:
    """How conversations become scores; checked when it is made."""

    dtype: str = "float32"
    """`float32`, `bfloat16`, `float16`, or `stored`: what the weights are stored in. Half
    precision makes ties of scores that differ."""
    max_tokens: int | None = None
    """Longest conversation in tokens; None means the model's own limit."""
    too_long: str = "truncate"
    """Longer ones: `truncate` cuts them from the left, after BOS; `refuse` is an error."""
    token_budget: int | None = None
    """Tokens a batch, padding included; None means a number that suits the device."""
    padding_side: str = "right"
    """`right` or `left`; scores are the same."""

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            ValueError: an option is outside its range (the value is in the text).
        """
        choices = {
            "dtype": _DTYPES,
            "too_long": ("truncate", "refuse"),
            "padding_side": ("right", "left"),
        }
        for name, known in choices.items():
            if (found := getattr(self, name)) not in known:
                raise ValueError(
                    f"`{name}` must be {' or '.join(repr(k) for k in known)}; got {found!r}"
                )
        if self.max_tokens is not None and self.max_tokens < 2:
            raise ValueError(f"`max_tokens` must be 2 or more; got {self.max_tokens}")
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"`token_budget` must be 1 or more; got {self.token_budget}")


class ClassifierScores(NamedTuple):
    """What a classifier gives for some conversations."""

    scores: Tensor
    """Shape (n,), float32 on the CPU, in the order given."""
    n_truncated: int
    """Conversations that were cut from the left."""


class SequenceClassifier:
    """A reward model whose score is the one logit of a classification head.

    The score of a conversation is what the model's own forward gives for its tokens alone,
    whatever batch it is in: where the padding token of the config is also the last token of
    a conversation, that forward reads the logit at the token before, and so does this.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        facts: Mapping[str, Any],
        *,
        options: ClassifierOptions,
        device: str,
    ) -> None:
        """Keep a model that is ready to run.

        Args:
            model: Returns `logits` of shape (n,) or (n, 1); in eval mode, on its device.
            tokenizer: A fast tokenizer with a chat template.
            facts: `name`, `digest`, `dtype` and `max_tokens` at least.
            options: How conversations become scores.
            device: Where the model runs.

        Raises:
            FeatureError: rows are to be padded on the left, and the model takes no
                positions or carries state from token to token.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.facts = dict(facts)
        self.options = options
        self.device = device
        self.notes: list[str] = []
        """Sentences about what a user may not expect, each once."""
        self._compared = False
        self._alone = False
        self._takes_positions = takes_positions(model)
        state = carried_state(model) if self._takes_positions else "the model takes no positions"
        if options.padding_side == "left" and state is not None:
            raise FeatureError(
                f"{self.name}: `padding_side` must be 'right', because {state}; got 'left'"
            )

    @property
    def name(self) -> str:
        """Hub id or folder, as it was asked for."""
        return self.facts["name"]

    def score(
        self,
        conversations: Sequence[Conversation],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> ClassifierScores:
        """Score conversations.

        Args:
            conversations: n conversations.
            progress: Called with (conversations done, conversations in all).

        Returns:
            Scores in the order given, and how many conversations were cut.

        Raises:
            FeatureError: the chat template refuses a conversation; one is too long and
                `too_long` is `refuse`; a logit is not finite; there is not one logit a row.
        """
        encoded = self._encode(conversations)
        rows = [self._cut(row, of) for row, of in zip(encoded, conversations, strict=True)]
        scores, n_done = torch.zeros(len(rows)), 0
        for batch in token_batches([row.n_tokens for row in rows], budget=self._budget()):
            scores[batch] = self._run([rows[i].token_ids for i in batch])
            n_done += len(batch)
            if progress is not None:
                progress(n_done, len(rows))
        bad = (~scores.isfinite()).nonzero().flatten().tolist()
        if bad:
            raise FeatureError(
                f"{self.name}: scores must be finite; {len(bad)} of {len(rows)} are not, the "
                f"first of conversation {conversations[bad[0]].id!r}"
            )
        return ClassifierScores(scores, sum(row.n_truncated > 0 for row in rows))

    def _encode(self, conversations: Sequence[Conversation]) -> list[TokenizedConversation]:
        """Token ids of whole conversations, one BOS each."""
        found = tokenize_conversations(self.tokenizer, conversations, max_tokens=_NO_LIMIT)
        return [row for row in found if isinstance(row, TokenizedConversation)]

    def _cut(self, row: TokenizedConversation, of: Conversation) -> TokenizedConversation:
        """A row within the limit, cut from the left after BOS."""
        limit = int(self.facts["max_tokens"])
        excess = row.n_tokens - limit
        if excess <= 0:
            return row
        if self.options.too_long == "refuse":
            raise FeatureError(
                f"{self.name}: conversation {of.id!r} must have at most {limit:,} tokens; it has "
                f"{row.n_tokens:,}"
            )
        ids = row.token_ids
        n_bos = int(ids[0] == self.tokenizer.bos_token_id)
        return TokenizedConversation(ids[:n_bos] + ids[n_bos + excess :], 0, excess)

    def _budget(self) -> int:
        """Tokens a batch."""
        return self.options.token_budget or (
            _CPU_BUDGET if self.device == "cpu" else DEFAULT_BUDGET
        )

    def _run(self, rows: list[tuple[int, ...]]) -> Tensor:
        """Scores of one batch, halved where it does not fit into memory."""
        if len(rows) > 1 and not self._compared:
            self._compare(rows)
        if self._alone and len(rows) > 1:
            return torch.cat([self._forward([row]) for row in rows])
        try:
            return self._forward(rows)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
        middle = len(rows) // 2
        return torch.cat([self._run(rows[:middle]), self._run(rows[middle:])])

    def _compare(self, rows: list[tuple[int, ...]]) -> None:
        """Compare the most padded row of a batch with itself alone, once."""
        self._compared = True
        # Its longest and its shortest row: batches are sorted from long to short.
        together = float(self._forward([rows[0], rows[-1]])[1])
        alone = float(self._forward([rows[-1]])[0])
        if abs(together - alone) > _ROUNDING[self.facts["dtype"]] * max(1.0, abs(alone)):
            self._alone = True
            self.notes.append(
                f"{self.name}: a conversation in a padded batch scores {together:.4g} and alone "
                f"{alone:.4g}; every conversation runs alone, more slowly"
            )

    def _forward(self, rows: list[tuple[int, ...]]) -> Tensor:
        """Run the model on rows brought to one length; shape (n,), float32 on the CPU."""
        with self._padding_id(rows) as pad_id:
            padded = pad_rows(rows, pad_id=pad_id, side=self.options.padding_side)
            inputs = {"input_ids": padded.token_ids, "attention_mask": padded.mask}
            if self._takes_positions:
                inputs["position_ids"] = padded.positions
            with torch.no_grad():
                found = self.model(**{k: v.to(self.device) for k, v in inputs.items()})
        logits = found.logits
        if tuple(logits.shape) not in ((len(rows),), (len(rows), 1)):
            raise FeatureError(
                f"{self.name}: `logits` must have shape (n,) or (n, 1); got {tuple(logits.shape)} "
                f"for {len(rows)} rows"
            )
        return logits.reshape(len(rows)).float().cpu()

    @contextlib.contextmanager
    def _padding_id(self, rows: list[tuple[int, ...]]) -> Generator[int]:
        """Give the id to pad with, which the model's forward must know while it runs.

        That forward reads the logit at the last token that is not padding. Where the config
        has no padding token, it reads it at the very last one of a single row and refuses
        batches: then an id serves that no row ends with.
        """
        configs = {id(c): c for c in (self.model.config, self.model.config.get_text_config())}
        text = self.model.config.get_text_config()
        own = text.pad_token_id
        if own is not None and 0 <= own < text.vocab_size:
            if any(row[-1] == own for row in rows):
                self._note_padding(own)
            yield own
            return
        ends = {row[-1] for row in rows}
        free = next(i for i in range(len(ends) + 1) if i not in ends)
        before = {key: config.pad_token_id for key, config in configs.items()}
        try:
            for config in configs.values():
                config.pad_token_id = free
            yield free
        finally:
            for key, config in configs.items():
                config.pad_token_id = before[key]

    def _note_padding(self, pad_id: int) -> None:
        """Say once that scores are read before the last token."""
        token = self.tokenizer.convert_ids_to_tokens(pad_id)
        note = (
            f"{self.name}: its padding token {token!r} also ends conversations, so the model's "
            "own code reads the score at the token before"
        )
        if note not in self.notes:
            self.notes.append(note)
