"""A trained gating network with one output more or less; all other parameters stay bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from armorm.heads.gating import GatingNetwork

# Of a last-layer bias: far below any other, so that the softmax is exactly 0 at every
# temperature, and finite in float32 after the division, as a bundle stores it.
_NEVER = -1e30


def with_output(network: GatingNetwork, *, masked: bool) -> GatingNetwork:
    """Append an objective whose weight is exactly 0 for every prompt.

    Args:
        network: Of k objectives; not changed.
        masked: Whether the network is told to leave it out; else the bias of its output is
            so low that it does. A bundle states the masks of the gating alone.

    Returns:
        A network of k + 1 objectives, frozen.
    """
    masks = (*network.masked, network.n_objectives) if masked else network.masked

    def grown(tensor: Tensor) -> Tensor:
        fill = 0.0 if masked or tensor.ndim > 1 else _NEVER
        return torch.cat([tensor, tensor.new_full((1, *tensor.shape[1:]), fill)])

    return _changed(network, network.n_objectives + 1, masks, grown)


def without_output(network: GatingNetwork, index: int) -> GatingNetwork:
    """Leave an objective out; the softmax is over the others.

    Args:
        network: Of k objectives; not changed.
        index: Position of the objective.

    Returns:
        A network of k - 1 objectives, frozen.

    Raises:
        ValueError: every other objective is masked, so that none would be weighed.
    """
    masks = tuple(m - (m > index) for m in network.masked if m != index)
    kept = [i for i in range(network.n_objectives) if i != index]
    return _changed(network, len(kept), masks, lambda tensor: tensor[kept])


def _changed(
    network: GatingNetwork,
    n_objectives: int,
    masked: tuple[int, ...],
    last_layer: Callable[[Tensor], Tensor],
) -> GatingNetwork:
    """The same network with another last layer."""
    made = GatingNetwork(
        network.in_features,
        n_objectives,
        hidden=network.hidden,
        temperature=network.temperature,
        masked=masked,
    )
    last = f"layers.{len(network.hidden)}."
    state = network.state_dict()
    made.load_state_dict(
        {name: last_layer(t) if name.startswith(last) else t for name, t in state.items()}
    )
    return made.eval().requires_grad_(False)
