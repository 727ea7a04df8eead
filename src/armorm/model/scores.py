"""What a reward model returns: scores with everything they are made of, by row and by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Explanation:
    """The score of one conversation and the parts it is made of, by objective name."""

    id: str
    """Identifier of the row; empty where the caller gave none."""
    score: float
    """The sum of the contributions."""
    objectives: dict[str, float]
    """Predicted normalised rating, before debias."""
    gating: dict[str, float] | None
    """Weight of each objective for this prompt, sums to 1; None under fixed weights."""
    coefficients: dict[str, float]
    """Derivative of the score by each objective score; signed."""
    contributions: dict[str, float]
    """Coefficient times objective score."""
    n_tokens: int
    """Tokens of the conversation that the backbone saw."""
    n_truncated: int
    """Tokens cut from the left."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that the command line writes."""
        return {
            "id": self.id,
            "score": shortest(self.score),
            "objectives": {n: shortest(v) for n, v in self.objectives.items()},
            "gating": None
            if self.gating is None
            else {n: shortest(v) for n, v in self.gating.items()},
            "coefficients": {n: shortest(v) for n, v in self.coefficients.items()},
            "contributions": {n: shortest(v) for n, v in self.contributions.items()},
            "n_tokens": self.n_tokens,
            "n_truncated": self.n_truncated,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of n conversations with everything they are made of."""

    names: tuple[str, ...]
    """Objective names, in the order of axis k."""
    ids: tuple[str, ...]
    """Identifiers of the rows."""
    score: Tensor
    """Shape (n,)."""
    objectives: Tensor
    """Predicted normalised ratings before debias, shape (n, k)."""
    gating: Tensor | None
    """Shape (n, k), rows sum to 1; None under fixed weights."""
    coefficients: Tensor
    """Shape (n, k), signed."""
    contributions: Tensor
    """Shape (n, k), rows sum to the score."""
    n_tokens: Tensor
    """Shape (n,)."""
    n_truncated: Tensor
    """Shape (n,)."""

    def __len__(self) -> int:
        """Return the number of conversations."""
        return len(self.ids)

    def __getitem__(self, index: int) -> Explanation:
        """Return one row by name instead of by position."""

        def named(values: Tensor) -> dict[str, float]:
            return dict(zip(self.names, values[index].tolist(), strict=True))

        return Explanation(
            id=self.ids[index],
            score=float(self.score[index]),
            objectives=named(self.objectives),
            gating=None if self.gating is None else named(self.gating),
            coefficients=named(self.coefficients),
            contributions=named(self.contributions),
            n_tokens=int(self.n_tokens[index]),
            n_truncated=int(self.n_truncated[index]),
        )

    def __iter__(self) -> Iterator[Explanation]:
        """Yield every row by name."""
        return (self[i] for i in range(len(self)))


def shortest(value: float) -> float:
    """Return the shortest decimal that is the same number in float32.

    Args:
        value: A number that float32 holds, or close to one.

    Returns:
        A float whose decimal form has no digits that float32 does not carry.

    Example:
        >>> shortest(0.10000000149011612)
        0.1
    """
    return float(str(np.float32(value)))
