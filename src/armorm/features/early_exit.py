"""Runs a model no further than the layer whose states are wanted; it changes no state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class _Enough(Exception):
    """The last wanted state is there."""


def layers_of(model: nn.Module, n_layers: int) -> nn.ModuleList | None:
    """Return the list of a model's layers.

    Args:
        model: An encoder.
        n_layers: How many layers its config says it has.

    Returns:
        The only module list of that length; None where there is none or more than one.
    """
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == n_layers]
    return lists[0] if len(lists) == 1 else None


def run_until(layers: nn.ModuleList, last: int, run: Callable[[], Any]) -> list[Tensor] | None:
    """Run a model and stop it when the states of a layer are there.

    State 0 is what the first layer receives, state i what layer i returns, as in the
    `hidden_states` of a full run. The layers above are not computed: for the middle layer
    that is half of the work.

    Args:
        layers: From `layers_of`.
        last: Number of the last state that is wanted; below the number of layers.
        run: Calls the model.

    Returns:
        States 0 to `last`; None where the model does not run its layers one after the
        other, once each.
    """
    states: list[Tensor] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        state = args[0] if args else kwargs.get("hidden_states")
        if isinstance(state, Tensor):
            states.append(state)
        if len(states) > last:
            raise _Enough

    hooks = [
        layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers[: last + 1]
    ]
    try:
        run()
    except _Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return states if len(states) == last + 1 else None
