"""A gate as the released layout holds it: no standardisation, no mask, no factors of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from armorm.heads.gating import GatingNetwork

MASKED_BIAS = -1e30
"""Bias of a masked objective: divided by any temperature that a gate may have it stays finite
and far below where a float32 softmax is exactly 0, about 104 under the largest logit."""


def steered_gate(
    network: GatingNetwork, factors: Mapping[str, float], objectives: Sequence[str]
) -> GatingNetwork:
    """Build factors of the gating into the gate, so that it needs no steering.

    softmax(z / T)_j f_j, renormalised, is softmax((z + T log f) / T)_j: factors are a change
    of the last bias; a factor of 0 is a mask.

    Args:
        network: The gate; not changed.
        factors: Objective name -> factor >= 0; those that are not named have 1.
        objectives: The k names, in the order of the gate's outputs.

    Returns:
        A gate of the same sizes.

    Example:
        >>> gate = steered_gate(GatingNetwork(2, 2, hidden=()), {"b": 0.0}, ["a", "b"])
        >>> gate(torch.ones(1, 2))
        tensor([[1., 0.]])
    """
    by = [float(factors.get(name, 1)) for name in objectives]
    masked = {*network.masked, *(j for j, factor in enumerate(by) if factor == 0)}
    steered = GatingNetwork(
        network.in_features,
        network.n_objectives,
        hidden=network.hidden,
        temperature=network.temperature,
        masked=sorted(masked),
    )
    steered.load_state_dict(network.state_dict())
    log = torch.tensor([factor or 1.0 for factor in by], dtype=torch.float64).log()
    with torch.no_grad():
        bias = _linear(steered)[-1].bias
        bias.copy_(bias.double() + network.temperature * log)
    return steered.eval().requires_grad_(False)


def gate_tensors(network: GatingNetwork, *, score_scale: float) -> dict[str, Tensor]:
    """Return the tensors of a gate in the released layout.

    W ((x - m) / s) + b = (W / s) x + (b - W (m / s)): the standardisation of the prompt
    feature goes into the first layer, in float64. A masked objective gets a row of zeros and
    a bias at which the softmax is exactly 0.

    Args:
        network: The gate; not changed.
        score_scale: Becomes `gating.logit_scale`.

    Returns:
        Name -> tensor, float32: `gating.layers.i.weight`, `.bias` and `gating.logit_scale`.
    """
    layers = _linear(network)
    weights = [layer.weight.detach().cpu().double() for layer in layers]
    biases = [layer.bias.detach().cpu().double() for layer in layers]
    mean, scale = (t.detach().cpu().double() for t in (network.mean, network.scale))
    biases[0] = biases[0] - weights[0] @ (mean / scale)
    weights[0] = weights[0] / scale
    masked = list(network.masked)
    weights[-1] = weights[-1].index_fill(0, torch.tensor(masked, dtype=torch.int64), 0.0)
    biases[-1] = biases[-1].index_fill(0, torch.tensor(masked, dtype=torch.int64), MASKED_BIAS)
    tensors: dict[str, Tensor] = {}
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        tensors[f"gating.layers.{i}.weight"] = weight.float()
        tensors[f"gating.layers.{i}.bias"] = bias.float()
    tensors["gating.logit_scale"] = torch.tensor([score_scale], dtype=torch.float32)
    return tensors


def _linear(network: GatingNetwork) -> list[nn.Linear]:
    """The layers of a gate, with their type."""
    return [layer for layer in network.layers if isinstance(layer, nn.Linear)]
