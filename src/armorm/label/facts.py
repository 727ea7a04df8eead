"""What a labelling must know of a reward model besides scoring with it; small enough to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from armorm.evaluate.own_scorers import BundleScorer
from armorm.model.reward import RewardModel


@dataclass(frozen=True, slots=True, eq=False)
class ModelFacts:
    """A reward model without its tensors."""

    name: str
    """Name of the bundle."""
    identity: str
    """SHA-256 of heads, backbone and steering: the same for the same scores."""
    objectives: tuple[str, ...]
    """Names, in the order of axis k."""
    gated: bool
    """Whether there is gating; fixed weights have none."""
    dominance: np.ndarray
    """Shape (k, m): turns objective scores into what `pareto` compares."""
    options: Sequence[Any]
    """Options of the backbone that change the last bits of scores, as JSON."""

    @classmethod
    def of(cls, model: RewardModel) -> ModelFacts:
        """Return the facts of a model.

        Args:
            model: The reward model, steered or not.

        Returns:
            Its facts.
        """
        options = model.backbone.options
        return cls(
            name=model.bundle.name,
            identity=BundleScorer(model).identity,
            objectives=model.objectives,
            gated=model.weights is None,
            dominance=dominance(model),
            options=(options.token_budget, options.engine, options.padding_side),
        )


def dominance(model: RewardModel) -> np.ndarray:
    """Return the matrix that turns objective scores into what `pareto` compares.

    With gating these are the debiased objective scores that the gating may weigh, so that
    a nuisance does not count; under fixed weights the objective scores that have one, turned
    where it is negative. Either way a response that is as good in all of them scores at
    least as high.

    Args:
        model: The reward model.

    Returns:
        Shape (k, m).
    """
    bundle = model.bundle
    if model.weights is not None:
        signs = np.sign([float(model.weights.get(name, 0)) for name in model.objectives])
        return np.diag(signs)[:, signs != 0]
    factors = model.factors or {}
    unused = {*bundle.nuisances, *bundle.gating.masked}
    unused |= {i for i, name in enumerate(model.objectives) if factors.get(name, 1) == 0}
    kept = [i for i in range(len(model.objectives)) if i not in unused]
    return bundle.debias.to(torch.float64).numpy()[:, kept]
