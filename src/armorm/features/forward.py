"""One forward pass of a causal model over a padded or a packed batch; picks the two states.

Knows models by what they take and return; which rows go together is decided elsewhere.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from armorm.features.attention import NAME, Layout, PackingRefused, use_layout
from armorm.features.early_exit import layers_of
from armorm.features.packing import PackableRow, PackedBatch
from armorm.features.pooling import pad_rows, pick_states

# Parts of a layer that look at one token at a time. In the last layer only the tokens whose
# states are picked need them; what the others get is never read.
_TOKEN_WISE = ("mlp", "self_attn.q_proj", "self_attn.o_proj")


def takes_positions(model: Any) -> bool:
    """Say whether a model can be told the position of every token.

    Args:
        model: A causal model without head.

    Returns:
        Whether its `forward` has the argument.
    """
    return "position_ids" in inspect.signature(model.forward).parameters


def carried_state(model: Any) -> str | None:
    """Name what carries state from token to token besides attention, which packing cannot cut.

    Args:
        model: A causal model without head.

    Returns:
        A clause for a sentence; None where attention alone connects tokens.
    """
    config = model.config.get_text_config()
    kinds = {str(kind) for kind in getattr(config, "layer_types", None) or ()}
    others = sorted(kind for kind in kinds if not kind.endswith("attention") or "linear" in kind)
    if others:
        return f"the model has layers of the kind {others[0]!r}, which carry state between tokens"
    stateful = bool(getattr(model, "_is_stateful", False))
    if stateful or any(isinstance(part, nn.Conv1d) for part in model.modules()):
        return "the model has recurrent or convolutional layers, which carry state between tokens"
    return None


def run_padded(
    model: Any, rows: Sequence[PackableRow], *, pad_id: int, side: str, device: str
) -> tuple[Tensor, Tensor]:
    """Run a model on rows brought to one length, with its own attention.

    Args:
        model: Returns `last_hidden_state`; in eval mode, on its device.
        rows: n rows.
        pad_id: Token id of the padding.
        side: `right` or `left`.
        device: Where the model runs.

    Returns:
        Response and prompt features, each of shape (n, d), float32 on the CPU.
    """
    padded = pad_rows([row.token_ids for row in rows], pad_id=pad_id, side=side)
    inputs = {"input_ids": padded.token_ids, "attention_mask": padded.mask}
    if takes_positions(model):
        inputs["position_ids"] = padded.positions
    with torch.no_grad():
        states = model(
            **{name: tensor.to(device) for name, tensor in inputs.items()}, use_cache=False
        ).last_hidden_state
    last = padded.starts + torch.tensor([len(row.token_ids) - 1 for row in rows])
    end = padded.starts + torch.tensor([row.prompt_end for row in rows])
    return (
        pick_states(states, last.to(states.device)).float().cpu(),
        pick_states(states, end.to(states.device)).float().cpu(),
    )


def run_packed(model: Any, batch: PackedBatch, *, device: str) -> tuple[Tensor, Tensor]:
    """Run a model on one packed sequence, with the attention of `armorm.features.attention`.

    Args:
        model: As in `run_padded`; takes positions and attention functions by name.
        batch: n rows.
        device: Where the model runs.

    Returns:
        Response and prompt features, each of shape (n, d), float32 on the CPU, in the
        order of `batch.rows`.

    Raises:
        PackingRefused: the model does not use the function, or asks it for what it does
            not know.
    """
    last, end = batch.last.to(device), batch.end.to(device)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(_packed_implementation(model))
        stack.enter_context(use_layout(Layout(batch.spans)))
        stack.enter_context(_last_layer_only_at(model, torch.cat([last, end]).unique()))
        states = model(
            input_ids=batch.token_ids.to(device)[None],
            position_ids=batch.positions.to(device)[None],
            use_cache=False,
        ).last_hidden_state[0]
    last, end = last.to(states.device), end.to(states.device)  # of the last layer's device
    return states[last].float().cpu(), states[end].float().cpu()


@contextmanager
def _packed_implementation(model: Any) -> Generator[None]:
    """Let a model use our attention function for as long as the block runs."""
    own = model.config._attn_implementation
    logger = logging.getLogger("transformers.modeling_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)  # a model that cannot be switched warns, and is refused here
    try:
        model.set_attn_implementation(NAME)
    finally:
        logger.setLevel(level)
    try:
        if model.config._attn_implementation != NAME:
            raise PackingRefused("it takes no attention function from outside")
        yield
    finally:
        if model.config._attn_implementation != own:
            model.set_attn_implementation(own)


@contextmanager
def _last_layer_only_at(model: Any, kept: Tensor) -> Generator[None]:
    """Compute what is token-wise in the last layer at some tokens, and 0 at the others."""
    n_layers = model.config.get_text_config().num_hidden_layers
    layers = layers_of(model, n_layers)

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not isinstance(args[0], Tensor) or args[0].ndim != 3:
            raise PackingRefused("its last layer hands tokens on in another way")
        sizes[module] = args[0].shape[1]
        return (args[0][:, kept.to(args[0].device)], *args[1:])

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or output.shape[:2] != (1, len(kept)):
            raise PackingRefused("its last layer returns more than one state a token")
        full = output.new_zeros(1, sizes[module], output.shape[2])
        full[:, kept.to(output.device)] = output
        return full

    sizes: dict[nn.Module, int] = {}
    hooks: list[Any] = []
    named = dict(layers[-1].named_modules()) if layers is not None else {}
    for name in _TOKEN_WISE:
        if name in named:
            hooks.append(named[name].register_forward_pre_hook(before))
            hooks.append(named[name].register_forward_hook(after))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
