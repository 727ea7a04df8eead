"""Ridge heads from sufficient statistics: one exact solution an objective.

Missing ratings are left out of it. Knows nothing of how alpha was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from armorm.heads.checks import check_finite, check_shape
from armorm.heads.ridge_system import check_determined, systems
from armorm.heads.statistics import Statistics


@dataclass(frozen=True, slots=True)
class RidgeFit:
    """Fitted ridge head: objective score = features @ weight.T + bias."""

    weight: Tensor
    """Shape (k, d), float32."""
    bias: Tensor
    """Shape (k,), float32; 0 without an intercept."""
    alpha: Tensor
    """Shape (k,), float64. Ridge penalty of each objective."""
    noise_variance: Tensor
    """Shape (k,), float64. Variance of a rating about its prediction, in squared normalised
    units; NaN where the fit leaves no degrees of freedom."""
    n_rows: Tensor
    """Shape (k,), int64. Rows in which the objective is rated."""


def fit_ridge(statistics: Statistics, *, alpha: Tensor | float, intercept: bool = True) -> RidgeFit:
    """Fit one ridge regression an objective.

    For objective j, over the rows in which j is rated: minimise
    ||X w + b - y||^2 + alpha_j ||w||^2. The bias b is not penalised; features are neither
    centred nor scaled by the caller's units, and nothing is clipped. Objectives rated in the
    same rows and with the same alpha share one Cholesky factorisation of the smaller of
    X'X + alpha I and XX' + alpha I; an eigendecomposition takes its place where alpha is 0 or
    rounding has hidden it. Float64 on the CPU, rounded to float32 once at the end. Cost:
    2 min(n, d)^3 / 3 a factorisation, half of it for the degrees of freedom. An alpha far
    below 1e-16 of the largest eigenvalue of X'X is lost in the sums, and so is the solution.

    Args:
        statistics: Sums over the rated rows, with k objectives.
        alpha: Shape (k,), or one number for all. 0 is least squares; large values shrink
            the weight to 0 and leave the bias, the mean rating.
        intercept: False fixes the bias at 0, as in the released model.

    Returns:
        The head, with the variance of the noise that it leaves.

    Raises:
        ValueError: alpha of another shape, negative or not finite; an objective without a
            rating; alpha = 0 where fewer than d feature directions are spanned.

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [2.0]])
        >>> sums = Statistics.from_features(rows, rows / 2, objectives=["honesty"])
        >>> fit_ridge(sums, alpha=2.0).weight  # 1 / (2 + 2) of the slope's numerator 1
        tensor([[0.2500]])
    """
    k = len(statistics.objectives)
    alphas = torch.as_tensor(alpha, dtype=torch.float64)
    alphas = alphas.expand(k) if alphas.ndim == 0 else alphas
    _check_alpha(statistics, alphas)
    weight = np.zeros((k, statistics.d))
    bias, noise = np.zeros(k), np.zeros(k)
    for system in systems(statistics, intercept=intercept):
        members = list(system.members)
        own = alphas[members].numpy()
        for j in members:
            check_determined(system, statistics.objectives[j], float(alphas[j]))
        found = system.fit(own)
        weight[members], bias[members] = found.weight, found.bias
        noise[members] = found.noise_variance
    n_rows = torch.tensor([statistics.n_rated(j) for j in range(k)])
    return RidgeFit(
        torch.from_numpy(weight).float(),
        torch.from_numpy(bias).float(),
        alphas.clone(),
        torch.from_numpy(noise),
        n_rows,
    )


def predict(weight: Tensor, bias: Tensor, features: Tensor) -> Tensor:
    """Apply a ridge head: objective scores = features @ weight.T + bias.

    Args:
        weight: Shape (k, d).
        bias: Shape (k,).
        features: Shape (n, d). Any floating dtype; converted to that of the weight.

    Returns:
        Objective scores before debias, shape (n, k), in the dtype of the weight.

    Raises:
        ValueError: shapes that disagree.

    Example:
        >>> predict(torch.ones(1, 2), torch.tensor([0.5]), torch.tensor([[1.0, 2.0]]))
        tensor([[3.5000]])
    """
    check_shape("weight", weight, "k d")
    check_shape("bias", bias, "k", k=len(weight))
    check_shape("features", features, "n d", d=weight.shape[1])
    return features.to(weight.dtype) @ weight.T + bias


def _check_alpha(statistics: Statistics, alpha: Tensor) -> None:
    """Check the penalties, and that every objective has rows."""
    check_shape("alpha", alpha, "k", k=len(statistics.objectives))
    check_finite("alpha", alpha)
    for j, name in enumerate(statistics.objectives):
        if alpha[j] < 0:
            raise ValueError(f"`alpha` must be at least 0; got {float(alpha[j]):g} for {name!r}")
        if statistics.n_rated(j) == 0:
            raise ValueError(f"every objective must have a rating; {name!r} has none")
