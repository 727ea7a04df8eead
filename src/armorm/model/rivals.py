"""What the gated model is held against, on the same features and rows."""

from __future__ import annotations

import torch
from torch import Tensor

from armorm.heads.checks import check_shape
from armorm.heads.compose import compose
from armorm.model.bundle import Baselines

WITHOUT_DEBIAS = "gate without debias"
WITHOUT_MEASURED = "debias without measured"
UNIFORM = "uniform mean"
FIXED_WEIGHTS = "best fixed weights"
BLACK_BOX = "black-box head"


def rival_scores(
    objective_scores: Tensor,
    response: Tensor,
    prompt: Tensor,
    *,
    debias: Tensor,
    nuisances: tuple[int, ...],
    baselines: Baselines,
) -> dict[str, Tensor]:
    """Score responses with everything that the gated model is held against.

    The uniform mean and the best fixed weights are over debiased objective scores, the
    former without the nuisances; the gate without debias is over raw ones; the black-box
    head sees the features and no objective.

    Args:
        objective_scores: Raw, shape (n, k).
        response: Response features, shape (n, d).
        prompt: Prompt features, shape (n, dp).
        debias: Debias matrix, shape (k, k).
        nuisances: Positions of the nuisance objectives.
        baselines: The fitted ones.

    Returns:
        Scorer -> scores of shape (n,); those that were not fitted are left out.
    """
    check_shape("objective_scores", objective_scores, "n k")
    n, k = objective_scores.shape
    with torch.no_grad():
        plain = baselines.gating_without_debias(prompt)
    scores = {
        WITHOUT_DEBIAS: compose(objective_scores, plain, torch.eye(k)).score,
        UNIFORM: uniform_scores(objective_scores, debias=debias, nuisances=nuisances),
    }
    if baselines.fixed_weights is not None:
        fixed = baselines.fixed_weights.expand(n, k)
        scores[FIXED_WEIGHTS] = compose(objective_scores, fixed, debias).score
    if baselines.bradley_terry is not None:
        scores[BLACK_BOX] = response @ baselines.bradley_terry
    return scores


def uniform_scores(
    objective_scores: Tensor, *, debias: Tensor, nuisances: tuple[int, ...]
) -> Tensor:
    """Score responses with the mean of the debiased objective scores, the nuisances left out.

    It is the one rival that nothing was fitted for.

    Args:
        objective_scores: Raw, shape (n, k).
        debias: Debias matrix, shape (k, k).
        nuisances: Positions of the nuisance objectives.

    Returns:
        Scores, shape (n,).
    """
    check_shape("objective_scores", objective_scores, "n k")
    uniform = torch.ones(objective_scores.shape[1])
    uniform[list(nuisances)] = 0
    weights = (uniform / uniform.sum()).expand(objective_scores.shape)
    return compose(objective_scores, weights, debias).score
