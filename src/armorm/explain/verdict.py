"""Scores both sides of a pair and compares them; it needs a model, `compare` does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from armorm.explain.compare import Comparison, ExplanationLike, compare
from armorm.types import Conversation, PreferencePair, Scale


@runtime_checkable
class ScorerLike(Protocol):
    """What `RewardModel` offers for comparing: scores, fixed weights and a bundle with beta."""

    @property
    def bundle(self) -> Any:
        """Heads and facts; its `beta` belongs to the preference probability."""
        ...

    @property
    def weights(self) -> Mapping[str, float] | None:
        """Fixed weights, or None under the gating."""
        ...

    def score(self, conversations: Sequence[Conversation]) -> Sequence[ExplanationLike] | Any:
        """Return one explanation a conversation."""
        ...


def compare_pair(model: ScorerLike, pair: PreferencePair) -> Comparison:
    """Score the two responses of a pair in one batch and take the margin apart.

    The probability is left out under fixed weights: beta was learned for the gating, and
    other weights give margins of another size.

    Args:
        model: A reward model.
        pair: The pair.

    Returns:
        The comparison, under the pair's id.
    """
    chosen, rejected = model.score(list(pair.conversations))
    beta = None if model.weights is not None else float(model.bundle.beta)
    return compare(chosen, rejected, beta=beta, id=pair.id)


def scales_for(scales: Mapping[str, Mapping[str, Scale]], source: str) -> dict[str, Scale]:
    """Return the scale on which to show each objective for a row of some source.

    Args:
        scales: Scale by source and objective, as a bundle stores them.
        source: Source of the row; empty or unknown where there is none.

    Returns:
        Scale by objective: the source's own, and for objectives it does not rate the
        scale that all others agree on; where they do not agree, none.
    """
    found: dict[str, Scale] = {}
    unclear: set[str] = set()
    for by_objective in scales.values():
        for name, scale in by_objective.items():
            if found.setdefault(name, scale) != scale:
                unclear.add(name)
    agreed = {name: scale for name, scale in found.items() if name not in unclear}
    return {**agreed, **scales.get(source, {})}
