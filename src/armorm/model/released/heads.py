"""A bundle made of heads in the form of the released layout: its tensors, our names for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from armorm.features.backbone import describe_backbone
from armorm.heads.checks import check_finite, check_shape
from armorm.heads.gating import GatingNetwork
from armorm.model.bundle import Bundle, Scales
from armorm.model.released.checkpoint import GATING, TRANSFORM, WEIGHT, read_heads
from armorm.model.released.config import read_released_config
from armorm.model.scores import shortest

_LAYER = re.compile(r"layers\.(\d+)\.(weight|bias)")
_LOGIT_SCALE = "logit_scale"


def released_bundle(
    folder: Path, *, name: str, revision: str | None = None, dtype: str | None = None
) -> Bundle:
    """Read the heads of a checkpoint in the released layout as a bundle.

    The checkpoint is its own backbone, whose loader leaves the heads out. The prompt ends
    where the chat template ends it, not where a pattern of tokens last occurs.

    Args:
        folder: With config, safetensors files and tokenizer.
        name: Folder or hub id, by which the bundle names its backbone.
        revision: Commit of a hub id.
        dtype: What the backbone runs in; that of its stored tensors where None.

    Returns:
        The bundle.

    Raises:
        BundleError: the config or the tensors are not what the layout has.
        FeatureError: the backbone has no tokenizer files or an unknown architecture.
        ValueError: `dtype` is not a name of one.
    """
    config = read_released_config(folder / "config.json")
    heads, stored = read_heads(folder, config)
    backbone = describe_backbone(name, revision=revision, dtype=dtype or stored)
    return bundle_from_heads(
        heads[WEIGHT],
        {n.removeprefix(GATING): t for n, t in heads.items() if n.startswith(GATING)},
        transform=heads[TRANSFORM],
        objectives=config.objectives,
        temperature=config.temperature,
        backbone=backbone,
        name=Path(name).name or folder.resolve().name,  # of `.` there is no last part
        scales=config.scales,
        beta=config.beta,
    )


def bundle_from_heads(
    weight: Tensor,
    gating: Mapping[str, Tensor],
    *,
    transform: Tensor | None = None,
    objectives: Sequence[str],
    temperature: float = 10.0,
    backbone: Mapping[str, Any],
    name: str,
    scales: Scales | None = None,
    beta: float = 1.0,
) -> Bundle:
    """Make a bundle of the tensors that the published scripts and checkpoints hold.

    score = logit_scale * softmax(MLP(prompt) / temperature) . (r T) with r = W x: the bias
    is 0, the debias is T, the gate standardises nothing, `logit_scale` becomes the bundle's
    `score_scale`, and an objective whose column of T is 0 is a nuisance.

    Args:
        weight: Shape (k, d). `regression_layer.weight`, or `weight` of a ridge `.pt` file.
        gating: State dict of the gate: `layers.{i}.weight`, `layers.{i}.bias` from 0 on and
            `logit_scale`, shape (1,).
        transform: Shape (k, k). `reward_transform_matrix`; the identity where None.
        objectives: k distinct names.
        temperature: Divisor of the gate's logits; above 0.
        backbone: Facts, as `describe_backbone` returns them.
        name: Of the model.
        scales: Source -> objective -> scale; none where they are not known.
        beta: Steepness of the preference probability; 1 where the loss was on the score.

    Returns:
        The bundle, its tensors float32 copies.

    Raises:
        ValueError: layers that are missing, left over or do not fit each other, the width
            of the prompt feature or k; a matrix or `logit_scale` of another shape; entries
            that are not finite; as `Bundle`.
    """
    k, d = len(objectives), backbone["response_width"]
    check_shape("weight", weight, "k d", k=k, d=d)
    transform = torch.eye(k) if transform is None else transform
    check_shape("transform", transform, "k k", k=k)
    network = _network(gating, temperature, width=backbone["prompt_width"], k=k)
    scale = gating[_LOGIT_SCALE].detach().float()
    debias = transform.detach().float().clone()
    return Bundle(
        name=name,
        objectives=tuple(objectives),
        nuisances=tuple(j for j in range(k) if not bool(debias[:, j].any())),
        scales=scales or {},
        weight=weight.detach().float().clone(),
        bias=torch.zeros(k),
        debias=debias,
        gating=network,
        beta=beta,
        backbone=dict(backbone),
        score_scale=shortest(float(scale[0])),
    )


def _network(
    gating: Mapping[str, Tensor], temperature: float, *, width: int, k: int
) -> GatingNetwork:
    """The gate with its tensors, after a check of their names, shapes and values."""
    numbers = {found[1] for name in gating if (found := _LAYER.fullmatch(name))}
    n_layers = max(len(numbers), 1)  # not the largest number: a file may name any
    wanted = {f"layers.{i}.{part}" for i in range(n_layers) for part in ("weight", "bias")}
    wanted.add(_LOGIT_SCALE)
    if odd := sorted(wanted ^ set(gating)):
        raise ValueError(
            "`gating` must hold `layers.0.weight`, `layers.0.bias` and so on, and `logit_scale`; "
            f"{odd[0]!r} is {'left over' if odd[0] in gating else 'missing'}"
        )
    outs = [(*gating[f"layers.{i}.weight"].shape, 1)[0] for i in range(n_layers)]
    shapes: dict[str, tuple[int, ...]] = {_LOGIT_SCALE: (1,)}
    for i, (inner, outer) in enumerate(zip([width, *outs[:-1]], [*outs[:-1], k], strict=True)):
        shapes |= {f"layers.{i}.weight": (outer, inner), f"layers.{i}.bias": (outer,)}
    for name, tensor in gating.items():
        if tuple(tensor.shape) != shapes[name]:
            raise ValueError(
                f"`gating` {name!r} must have shape {shapes[name]}; got {tuple(tensor.shape)}"
            )
        check_finite(f"gating {name}", tensor.float())
    network = GatingNetwork(width, k, hidden=outs[:-1], temperature=temperature)
    state = {name: t.detach().float() for name, t in gating.items() if name != _LOGIT_SCALE}
    network.load_state_dict(network.state_dict() | state)
    return network.eval().requires_grad_(False)
