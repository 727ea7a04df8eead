"""Whether an export scores as the bundle does: what it must give, and how far it may be off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from armorm.errors import BundleError
from armorm.heads.compose import compose
from armorm.heads.ridge import predict
from armorm.model.bundle import Bundle
from armorm.model.reward import RewardModel, Scores

RELATIVE = 1e-4
"""Largest difference in float32, relative to the size of what an output is a sum of."""

_ROUNDING = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
_DRAWS = 4
_MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class Expected:
    """One output that an export must have."""

    values: Tensor
    """As armorm computes it, shape (n, m), float32."""
    tolerance: float
    """Largest difference of any entry."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an export is off."""

    output: str
    """`score`, `objectives` or `gating`."""
    largest: float
    """Over all conversations."""
    tolerance: float
    """What it was held against."""


def outputs_of(
    model: RewardModel, response: Tensor, prompt: Tensor, *, to: str, row: Tensor
) -> dict[str, Tensor]:
    """Compute what an export must give, with the reward model itself.

    Args:
        model: The reward model, steered or not.
        response: Shape (n, d).
        prompt: Shape (n, dp).
        to: Kind of the export.
        row: Of a classifier: coefficients of the objective scores, shape (k,); of an
            objectives export: the matrix that they are multiplied by, shape (k, k).

    Returns:
        Name of the output -> shape (n, m).
    """
    if to in ("classifier", "objectives"):
        scores = predict(model.bundle.weight, model.bundle.bias, response.float())
        name = "score" if to == "classifier" else "objectives"
        return {name: scores @ (row[:, None] if to == "classifier" else row)}
    scored = model.score_features(response, prompt)
    outputs = {"score": scored.score[:, None], "objectives": scored.objectives}
    if scored.gating is not None:
        outputs["gating"] = model.bundle.score_scale * scored.gating
    return outputs


def bundle_outputs(bundle: Bundle, response: Tensor, prompt: Tensor) -> dict[str, Tensor]:
    """Compute what heads alone give.

    Args:
        bundle: The heads.
        response: Shape (n, d).
        prompt: Shape (n, dp).

    Returns:
        `score` (n, 1), `objectives` (n, k) and `gating` (n, k).
    """
    objectives = predict(bundle.weight, bundle.bias, response.float())
    with torch.no_grad():
        gating = bundle.gating(prompt.float())
    parts = compose(objectives, gating, bundle.debias, score_scale=bundle.score_scale)
    return {
        "score": parts.score[:, None],
        "objectives": objectives,
        "gating": bundle.score_scale * gating,
    }


def sizes_of(scores: Scores, outputs: Mapping[str, Tensor]) -> dict[str, float]:
    """Return how large the numbers are that each output is a sum of.

    Of a score that is the largest sum of its contributions without their signs, of any other
    output its largest entry: a score near 0 is no more exact than what cancels in it.

    Args:
        scores: What the model says of the conversations.
        outputs: From `outputs_of`.

    Returns:
        Name of the output -> size, above 0.
    """
    sizes = {name: float(values.abs().max()) for name, values in outputs.items()}
    if "score" in sizes:
        sizes["score"] = max(sizes["score"], float(scores.contributions.abs().sum(-1).max()))
    return {name: size or 1.0 for name, size in sizes.items()}


def state_noise(dtype: torch.dtype, n_layers: int) -> float:
    """Return how far a state is off after a backbone in some precision, relative to its size.

    Each layer adds two branches to the residual stream, each rounded once more; roundings
    are independent, so that they add up as sqrt(2 L) u with u the unit roundoff.

    Args:
        dtype: Precision of the backbone.
        n_layers: L.

    Returns:
        A share of the root mean square of a state.

    Example:
        >>> state_noise(torch.bfloat16, 32)
        0.03125
    """
    return math.sqrt(2 * n_layers) * _ROUNDING[dtype]


def noisy(features: Tensor, share: float, draw: torch.Generator) -> Tensor:
    """Add noise to features, as a share of the root mean square of each row.

    Args:
        features: Shape (n, d).
        share: Of the root mean square.
        draw: Where the noise is from.

    Returns:
        Shape (n, d).
    """
    size = features.square().mean(-1, keepdim=True).sqrt()
    return features + share * size * torch.randn(features.shape, generator=draw)


def expected_outputs(
    model: RewardModel,
    features: tuple[Tensor, Tensor],
    *,
    to: str,
    row: Tensor,
    dtype: torch.dtype,
    n_layers: int,
) -> dict[str, Expected]:
    """Return what an export must give, and how far it may be off.

    In float32 the tolerance is `RELATIVE` times the size of what an output sums up. In half
    precision it is derived: random errors of the size of `state_noise` are added to the
    features, four times, and an output may be off by twice what that changes at most,
    plus two roundings of its own.

    Args:
        model: The reward model.
        features: Response features (n, d) and prompt features (n, dp).
        to: Kind of the export.
        row: As in `outputs_of`.
        dtype: The coarser of the precisions of the bundle's backbone and of the export.
        n_layers: Of the backbone.

    Returns:
        Name of the output -> values and tolerance.
    """
    values = outputs_of(model, *features, to=to, row=row)
    sizes = sizes_of(model.score_features(*features), values)
    if dtype == torch.float32:
        return {name: Expected(v, RELATIVE * sizes[name]) for name, v in values.items()}
    draw, share = torch.Generator().manual_seed(0), state_noise(dtype, n_layers)
    moved = dict.fromkeys(values, 0.0)
    for _ in range(_DRAWS):
        shaken = (noisy(part, share, draw) for part in features)
        for name, found in outputs_of(model, *shaken, to=to, row=row).items():
            moved[name] = max(moved[name], float((found - values[name]).abs().max()))
    own = 2 * _ROUNDING[dtype]
    return {
        name: Expected(v, _MARGIN * moved[name] + own * sizes[name]) for name, v in values.items()
    }


def check_parity(
    expected: Mapping[str, Expected], found: Mapping[str, Tensor]
) -> tuple[Difference, ...]:
    """Hold an export against the bundle.

    Args:
        expected: From `expected_outputs`.
        found: What the export gave, under the same names.

    Returns:
        How far it is off, one entry an output.

    Raises:
        BundleError: an output is missing, misshapen, not finite or too far off.
    """
    differences: list[Difference] = []
    for name, wanted in expected.items():
        values = found.get(name)
        shape = None if values is None else tuple(values.shape)
        if values is None or values.shape != wanted.values.shape:
            raise BundleError(
                f"the export must give {name!r} of shape {tuple(wanted.values.shape)}; it gives "
                f"{shape}"
            )
        largest = float((values - wanted.values).abs().max())
        if not largest <= wanted.tolerance:  # also where it is NaN
            raise BundleError(
                f"the export must score as the bundle does; its {name!r} differs by up to "
                f"{largest:.3g}, more than {wanted.tolerance:.3g}, over {len(values)} conversations"
            )
        differences.append(Difference(name, largest, wanted.tolerance))
    return tuple(differences)
