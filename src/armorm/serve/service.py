"""From checked rows to answers: what every route does with the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armorm.data.conversation import as_conversation
from armorm.errors import DataError
from armorm.serve.answers import Answer, ModelFacts
from armorm.serve.engine import Engine
from armorm.serve.errors import Refusal, bad_row
from armorm.serve.metrics import Metrics
from armorm.serve.settings import Limits
from armorm.types import Conversation

Where = Callable[[int], str]
"""Place of a row in a request."""


@dataclass(frozen=True, slots=True)
class Unscorable:
    """A row without a conversation to score."""

    reason: str
    """Why."""


Row = Conversation | Unscorable


@dataclass(frozen=True, slots=True)
class Rewards:
    """What a trainer is given for n rows; every row has a number."""

    score: list[float]
    """n scores."""
    values: list[dict[str, float]]
    """Debiased objective scores of the n rows, nuisances left out."""
    unscored: list[bool]
    """Whether a row has the server's number for rows without a score."""
    is_gated: bool
    """Whether the gating made the scores."""
    n_tokens: list[int]
    """Tokens of the n rows."""


@dataclass(frozen=True, eq=False)
class Service:
    """An engine with what routes need beside it."""

    engine: Engine
    """Scores conversations."""
    limits: Limits
    """What one request may hold."""
    metrics: Metrics
    """What was counted."""
    unscored: float | None = None
    """Reward of rows that cannot be scored, for trainers that know no missing one."""

    @property
    def facts(self) -> ModelFacts:
        """What is known of the model."""
        return self.engine.facts

    def conversation(self, value: Any, where: str) -> Conversation:
        """Check a conversation.

        Args:
            value: As `as_conversation` takes it.
            where: Its place in the request.

        Returns:
            The conversation.

        Raises:
            Refusal: it is none; it has more messages than are taken.
        """
        try:
            row = as_conversation(value, where=where)
        except DataError as error:
            raise bad_row(where, str(error)) from None
        if len(row.prompt) > self.limits.messages:
            raise Refusal(
                413,
                "too_large",
                f"{where}: a prompt must have at most {self.limits.messages:,} messages; it has "
                f"{len(row.prompt):,}",
            )
        return row

    async def score(
        self,
        rows: Sequence[Row],
        *,
        where: Where,
        weights: Mapping[str, float] | None = None,
        factors: Mapping[str, float] | None = None,
        drop: bool = False,
    ) -> Answer:
        """Score rows, of which some may have no conversation.

        Args:
            rows: n rows.
            where: Place of each in the request.
            weights: As `Engine.score`.
            factors: As `Engine.score`.
            drop: Rows without a score are part of the answer; else they refuse the request.

        Returns:
            The answer, in the order given.

        Raises:
            Refusal: as `Engine.score`; a row has no conversation and `drop` is not set.
        """
        reasons = [row.reason if isinstance(row, Unscorable) else None for row in rows]
        if not drop:
            for i, reason in enumerate(reasons):
                if reason is not None:
                    raise bad_row(where(i), reason)
        places = [i for i, reason in enumerate(reasons) if reason is None]
        answer = await self.engine.score(
            [row for row in rows if isinstance(row, Conversation)],
            weights=weights,
            factors=factors,
            drop=drop,
            where=lambda i: where(places[i]),
        )
        return answer.spread(reasons)

    async def rewards(self, rows: Sequence[Row], *, where: Where) -> Rewards:
        """Score rows for a trainer that knows no missing reward.

        Args:
            rows: n rows.
            where: Place of each in the request.

        Returns:
            A number for every row.

        Raises:
            Refusal: as `score`; a row cannot be scored and there is no number for it.
        """
        answer = await self.score(rows, where=where, drop=True)
        for i, reason in enumerate(answer.reasons):
            if reason is not None and self.unscored is None:
                raise bad_row(
                    where(i),
                    f"cannot be scored: {reason}; start the server with --unscored NUMBER to give "
                    "such rows a reward",
                )
        spare = 0.0 if self.unscored is None else self.unscored
        kept = self.facts.kept
        scores = [answer.score(i) for i in range(len(rows))]
        values = [answer.debiased(i) or dict.fromkeys(kept, spare) for i in range(len(rows))]
        return Rewards(
            score=[spare if score is None else score for score in scores],
            values=[{name: of[name] for name in kept} for of in values],
            unscored=[score is None for score in scores],
            is_gated=answer.is_gated,
            n_tokens=[answer.tokens(i) for i in range(len(rows))],
        )
