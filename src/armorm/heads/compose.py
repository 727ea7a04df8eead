"""From objective scores and gating to a score, and back into the contributions it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from armorm.heads.checks import check_indices, check_shape, check_weights


@dataclass(frozen=True, slots=True)
class Composition:
    """A score and everything that it is made of."""

    score: Tensor
    """Shape (n,). The sum of the contributions; dimensionless."""
    coefficients: Tensor
    """Shape (n, k). Derivative of the score by each objective score; signed."""
    contributions: Tensor
    """Shape (n, k). Coefficient times objective score."""
    gating: Tensor | None
    """Shape (n, k), rows sum to 1; None where fixed coefficients bypass the gating."""


def compose(
    objective_scores: Tensor, gating: Tensor, debias: Tensor, *, score_scale: float = 1.0
) -> Composition:
    """Weigh debiased objective scores by the gating, as a sum of contributions.

    score = s sum_j g_j q_j with q = r @ debias, which is sum_j c_j r_j with coefficients
    c = s * gating @ debias.T on the raw objective scores r.

    Args:
        objective_scores: Shape (n, k). Before debias.
        gating: Shape (n, k). Rows sum to 1.
        debias: Shape (k, k). Row vectors are multiplied from the left; the identity for none.
        score_scale: s; 1 for bundles of this package.

    Returns:
        Score, coefficients and contributions; the contributions add up to the score.

    Raises:
        ValueError: shapes that disagree.

    Example:
        >>> r, g = torch.tensor([[0.8, 0.5]]), torch.tensor([[0.75, 0.25]])
        >>> compose(r, g, torch.tensor([[1.0, 0.0], [-0.4, 0.0]])).coefficients
        tensor([[ 0.7500, -0.3000]])
    """
    check_shape("objective_scores", objective_scores, "n k")
    n, k = objective_scores.shape
    check_shape("gating", gating, "n k", n=n, k=k)
    check_shape("debias", debias, "k k")
    if debias.shape != (k, k):
        raise ValueError(f"`debias` must have shape ({k}, {k}); got {tuple(debias.shape)}")
    coefficients = score_scale * (gating @ debias.T)
    contributions = coefficients * objective_scores
    return Composition(contributions.sum(-1), coefficients, contributions, gating)


def compose_fixed(objective_scores: Tensor, coefficients: Tensor) -> Composition:
    """Score with the same coefficients for every prompt; gating and debias are bypassed.

    Args:
        objective_scores: Shape (n, k). Before debias.
        coefficients: Shape (k,). Any real numbers; they are not normalised.

    Returns:
        Score, coefficients (one equal row a response) and contributions; no gating.

    Raises:
        ValueError: shapes that disagree.

    Example:
        >>> compose_fixed(torch.tensor([[0.5, 0.2]]), torch.tensor([2.0, -1.0])).score
        tensor([0.8000])
    """
    check_shape("objective_scores", objective_scores, "n k")
    check_shape("coefficients", coefficients, "k", k=objective_scores.shape[1])
    rows = coefficients.expand_as(objective_scores).clone()
    contributions = rows * objective_scores
    return Composition(contributions.sum(-1), rows, contributions, None)


def scale_gating(gating: Tensor, factors: Tensor, *, nuisances: Sequence[int] = ()) -> Tensor:
    """Multiply the gating by a factor an objective, and let each row sum to 1 again.

    Args:
        gating: Shape (n, k). Rows sum to 1.
        factors: Shape (k,). At least 0; above 1 an objective counts more, 0 takes it out.
        nuisances: Indices whose debiased score is 0: a factor there could only dilute the
            rest, so that one other than 1 is refused.

    Returns:
        New gating, shape (n, k).

    Raises:
        ValueError: shapes that disagree; a factor that is negative or not finite; a factor
            other than 1 on a nuisance; a row that keeps no weight.

    Example:
        >>> scale_gating(torch.tensor([[0.5, 0.5]]), torch.tensor([3.0, 1.0]))
        tensor([[0.7500, 0.2500]])
    """
    check_shape("gating", gating, "n k")
    check_weights("factors", factors, "k", k=gating.shape[1])
    check_indices("nuisances", nuisances, gating.shape[1])
    for v in nuisances:
        if factors[v] != 1:
            raise ValueError(
                f"`factors` must be 1 for nuisance {v}, whose debiased score is 0; "
                f"got {float(factors[v]):g}"
            )
    scaled = gating * factors
    total = scaled.sum(-1, keepdim=True)
    empty = (total[:, 0] <= 0).nonzero()
    if len(empty):
        raise ValueError(
            f"`factors` must leave every row of the gating some weight; "
            f"row {int(empty[0])} keeps none"
        )
    return scaled / torch.where(total > 0, total, 1.0)
