"""How a model weighs its objectives, as far as a change of the weights can turn a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from armorm.explain.flip import Applied, Flip, flip_gating, flip_weights
from armorm.heads.checks import check_shape
from armorm.model.reward import RewardModel
from armorm.model.scores import Scores

_SAME = 1e-4  # difference of two gatings of one prompt, computed in float32


@dataclass(frozen=True, slots=True, eq=False)
class Weighing:
    """From raw objective scores to a score: a gating with debias, or fixed weights."""

    debias: Tensor
    """Debias matrix, shape (k, k); not used under fixed weights."""
    nuisances: tuple[str, ...] = ()
    """What the debias step has removed."""
    held: frozenset[str] = frozenset()
    """Objectives whose weight stays as it is: nuisances and those that the gating masks."""
    score_scale: float = 1.0
    """Factor of the score."""
    beta: float | None = None
    """Steepness of the preference probability; None where there is none."""
    factors: Mapping[str, float] | None = None
    """That the gating is multiplied by."""
    weights: Mapping[str, float] | None = None
    """Fixed weights in place of gating and debias."""

    @classmethod
    def of(cls, model: RewardModel) -> Weighing:
        """Return how a model weighs, steered or not.

        The probability is left out under fixed weights: beta was learned for the gating, and
        other weights give margins of another size.

        Args:
            model: The reward model.

        Returns:
            Its weighing.
        """
        bundle = model.bundle
        names = model.objectives
        held = {*bundle.nuisances, *bundle.gating.masked}
        return cls(
            debias=bundle.debias,
            nuisances=tuple(names[v] for v in bundle.nuisances),
            held=frozenset(names[j] for j in held),
            score_scale=bundle.score_scale,
            beta=None if model.weights is not None else float(bundle.beta),
            factors=model.factors,
            weights=model.weights,
        )

    def flips(
        self,
        chosen: Scores,
        rejected: Scores,
        *,
        applied: Applied | None = None,
    ) -> list[Flip | None]:
        """Find for each pair the smallest change that makes the other response win.

        Args:
            chosen: Scores of the chosen responses of p pairs.
            rejected: Scores of the rejected ones, of the same prompts.
            applied: Margin under other factors or weights, of the one pair there is; None
                computes it from gating and differences.

        Returns:
            One a pair; None for a tie.

        Raises:
            ValueError: another number of rejected than of chosen responses; sides of different
                prompts, by their gating; `applied` with another number of pairs than 1; as
                `flip_gating` and `flip_weights`.
        """
        check_shape("rejected.score", rejected.score, "p", p=len(chosen))
        if applied is not None and len(chosen) != 1:
            raise ValueError(f"`applied` is for 1 pair; got {len(chosen)}")
        raw = chosen.objectives.double() - rejected.objectives.double()
        margins = (chosen.score.double() - rejected.score.double()).tolist()
        if self.weights is not None:
            return [
                flip_weights(self.weights, _named(chosen.names, row), margin=m, applied=applied)
                for row, m in zip(raw, margins, strict=True)
            ]
        assert chosen.gating is not None  # scores without fixed weights have one
        assert rejected.gating is not None
        apart = (chosen.gating - rejected.gating).abs().amax(1)
        if (bad := (apart > _SAME).nonzero().flatten()).numel():
            raise ValueError(
                "`chosen` and `rejected` must be of the same prompts; the gating of pair "
                f"{int(bad[0])} differs by {float(apart[bad[0]]):.2g}"
            )
        debiased = self.score_scale * (raw @ self.debias.double())
        return [
            flip_gating(
                _named(chosen.names, weights),
                _named(chosen.names, row),
                margin=margin,
                held=self.held,
                factors=self.factors,
                applied=applied,
            )
            for weights, row, margin in zip(chosen.gating, debiased, margins, strict=True)
        ]


def margin_when_steered(model: RewardModel, response: Tensor, prompt: Tensor) -> Applied:
    """Return the margin of one pair as a function of the steering of a model.

    Args:
        model: The reward model, steered or not.
        response: Response features of the chosen and the rejected side, shape (2, d).
        prompt: Prompt features of both, shape (2, dp).

    Returns:
        From all fixed weights, where this model has some, else from all factors of the
        gating, to the margin that the model so steered gives.
    """
    check_shape("response", response, "n d", n=2)
    plain = RewardModel(model.bundle, model.backbone)
    steer = plain.scaled if model.weights is None else plain.with_weights

    def margin(settings: Mapping[str, float]) -> float:
        chosen, rejected = steer(settings).score_features(response, prompt).score.tolist()
        return chosen - rejected

    return margin


def _named(names: tuple[str, ...], values: Tensor) -> dict[str, float]:
    """One row by objective name."""
    return dict(zip(names, values.to(torch.float64).tolist(), strict=True))
