"""Scores as they come from the model process, with their rows by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

from armorm.model.scores import Explanation
from armorm.serve.frames import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Scores of n conversations, those included that have none."""

    names: tuple[str, ...]
    """Objective names, in the order of axis k."""
    table: np.ndarray
    """Shape (m, 1 + 5 k), float32: score, objective scores, gating, coefficients,
    contributions, debiased objective scores of the rows that have a score."""
    row_of: tuple[int | None, ...]
    """Row of the table for each of the n conversations; None where it has no score."""
    reasons: tuple[str | None, ...]
    """Why a conversation has no score; None where it has one."""
    n_tokens: tuple[int, ...]
    """Tokens that the backbone saw, of the m rows."""
    n_truncated: tuple[int, ...]
    """Tokens cut from the left, of the m rows."""
    is_gated: bool
    """Whether the score is made by the gating; else by fixed weights."""

    def __len__(self) -> int:
        """Return the number of conversations."""
        return len(self.row_of)

    def spread(self, reasons: Sequence[str | None]) -> Answer:
        """Return the same with rows between that were never sent to the model.

        Args:
            reasons: Of all conversations, why one was not sent; None for those of this answer.

        Returns:
            As many conversations as there are reasons.
        """
        rows, whys = iter(self.row_of), iter(self.reasons)
        row_of = tuple(next(rows) if reason is None else None for reason in reasons)
        whole = tuple(next(whys) if reason is None else reason for reason in reasons)
        return replace(self, row_of=row_of, reasons=whole)

    def score(self, i: int) -> float | None:
        """Return one score; None where there is none."""
        row = self.row_of[i]
        return None if row is None else float(self.table[row, 0])

    def debiased(self, i: int) -> dict[str, float] | None:
        """Return the debiased objective scores of one conversation, nuisances included."""
        row, k = self.row_of[i], len(self.names)
        if row is None:
            return None
        return dict(zip(self.names, self.table[row, 1 + 4 * k :].tolist(), strict=True))

    def tokens(self, i: int) -> int:
        """Return the tokens of one conversation; 0 where it was not computed."""
        row = self.row_of[i]
        return 0 if row is None else self.n_tokens[row]

    def explanation(self, i: int, id: str = "") -> Explanation | None:
        """Return a score and everything it is made of; None where there is none.

        Args:
            i: Which conversation.
            id: Its identifier.

        Returns:
            What `RewardModel.explain` returns for it.
        """
        row, k = self.row_of[i], len(self.names)
        if row is None:
            return None
        values = self.table[row].tolist()

        def named(part: int) -> dict[str, float]:
            return dict(zip(self.names, values[1 + part * k : 1 + (part + 1) * k], strict=True))

        return Explanation(
            id=id,
            score=values[0],
            objectives=named(0),
            gating=named(1) if self.is_gated else None,
            coefficients=named(2),
            contributions=named(3),
            n_tokens=self.n_tokens[row],
            n_truncated=self.n_truncated[row],
        )


def read_answer(frame: Frame, names: Sequence[str], n_rows: int) -> Answer:
    """Read the scores of a request.

    Args:
        frame: What the model process sent.
        names: Objective names.
        n_rows: Conversations of the request.

    Returns:
        The answer.
    """
    said = frame.header
    width = 1 + 5 * len(names)
    row_of: list[int | None] = [None] * n_rows
    for row, place in enumerate(said["places"]):
        row_of[place] = row
    reasons: list[str | None] = [None] * n_rows
    for place, reason in said["reasons"]:
        reasons[place] = reason
    return Answer(
        names=tuple(names),
        table=np.frombuffer(frame.block, dtype="<f4").reshape(-1, width),
        row_of=tuple(row_of),
        reasons=tuple(reasons),
        n_tokens=tuple(said["n_tokens"]),
        n_truncated=tuple(said["n_truncated"]),
        is_gated=said["is_gated"],
    )


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a server knows of its model."""

    content: dict[str, Any]
    """As the model process sent it."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.content["name"]

    @property
    def objectives(self) -> tuple[str, ...]:
        """Objective names, in the order of axis k."""
        return tuple(self.content["objectives"])

    @property
    def kept(self) -> tuple[str, ...]:
        """Objectives that are no nuisance."""
        return tuple(n for n in self.objectives if n not in self.content["nuisances"])

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest objective score seen in training; empty where it is not known."""
        found = self.content["ranges"] or {}
        return {name: (low, high) for name, (low, high) in found.items()}

    def beta(self, *, is_gated: bool) -> float | None:
        """Return the steepness of the preference probability; None where none was learned."""
        return float(self.content["beta"]) if is_gated else None

    def bounded(self, score: float, *, is_gated: bool) -> float:
        """Return a score between 0 and 1: the preference over a response of score 0.

        Args:
            score: Of a response.
            is_gated: Whether the gating made it; beta was not learned for fixed weights, and
                1 takes its place.

        Returns:
            sigmoid(beta * score).
        """
        return float(expit((self.beta(is_gated=is_gated) or 1.0) * score))
