"""Heads that the published ArmoRM scripts wrote: `.pt` files of tensors, and of nothing else."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from armorm.errors import BundleError

LOGIT_SCALE = "logit_scale"
"""Name of the factor of the score in a gate's file."""


def read_published_ridge(path: Path) -> Tensor:
    """Read the ridge head that `stage-1_train.py` wrote.

    Args:
        path: A `.pt` file with one tensor, `weight`.

    Returns:
        Weight (k, d) in float32.

    Raises:
        BundleError: the file is missing, no archive of tensors, or holds anything but
            tensors; there is not one finite matrix `weight`.

    Source:
        armo-rm/stage-1_train.py at commit fc39179f; it fits no intercept.
    """
    tensors = _read(path)
    if set(tensors) != {"weight"}:
        raise BundleError(f"{path}: must hold one tensor, 'weight'; got {_listing(tensors)}")
    weight = tensors["weight"]
    if weight.ndim != 2 or 0 in weight.shape:
        raise BundleError(f"{path}: 'weight' must have shape (k, d); got {tuple(weight.shape)}")
    _check_finite(path, tensors)
    return weight


def read_published_gate(path: Path) -> dict[str, Tensor]:
    """Read the gating network that `stage-2_train.py` wrote.

    Args:
        path: A `.pt` file with the state of the network.

    Returns:
        `layers.{i}.weight`, `layers.{i}.bias` and `logit_scale`, as far as they are there:
        `bundle_from_heads` holds them against each other.

    Raises:
        BundleError: the file is missing, no archive of tensors, or holds anything but
            tensors; one is not finite.

    Source:
        armo-rm/stage-2_train.py at commit fc39179f: temperature, names and debias matrix
        are not in the file.
    """
    tensors = _read(path)
    _check_finite(path, tensors)
    return tensors


def looks_untrained(gate: Mapping[str, Tensor]) -> bool:
    """Say whether every entry of a gate lies where PyTorch draws it before the first step.

    A layer starts uniform within 1 / sqrt(inputs). The published training script takes its
    softmax along the axis of chosen and rejected, so that no layer has a gradient.

    Args:
        gate: As `read_published_gate` returns it, each layer with weight and bias.

    Returns:
        True where nothing shows that a layer was trained.
    """
    for name, tensor in gate.items():
        if name == LOGIT_SCALE:
            continue
        n_inputs = gate[name.rpartition(".")[0] + ".weight"].shape[1]
        if float(tensor.abs().max()) > (1 + 1e-6) / math.sqrt(n_inputs):
            return False
    return True


def _read(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors in float32 without running what it may hold besides."""
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file")
    try:
        with warnings.catch_warnings():  # what it would say of other pickles is an error here
            warnings.simplefilter("ignore")
            # The restricted reader: tensors and plain containers, no code.
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise BundleError(
            f"{path}: must hold tensors alone; it holds other objects, which are never loaded"
        ) from error
    except Exception as error:  # the reader has another one for every damage
        said = (str(error).strip() or repr(error)).splitlines()[0]
        raise BundleError(f"{path}: must be a file that `torch.save` wrote; {said}") from error
    if not isinstance(content, Mapping) or not content:
        found = "nothing" if isinstance(content, Mapping) else type(content).__name__
        raise BundleError(f"{path}: must hold named tensors; got {found}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise BundleError(
                f"{path}: must hold tensors alone; {name!r} is a {type(value).__name__}"
            )
        if not value.is_floating_point():
            raise BundleError(f"{path}: {name!r} must be floating point; got {value.dtype}")
        if value.layout != torch.strided or value.is_nested or value.is_meta:
            raise BundleError(
                f"{path}: {name!r} must be a plain tensor; it is sparse, nested or without entries"
            )
    return {name: value.detach().float() for name, value in content.items()}


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise for an entry that is no number."""
    for name, tensor in tensors.items():
        if n_bad := int((~tensor.isfinite()).sum()):
            raise BundleError(
                f"{path}: {name!r} must be finite; {n_bad} of {tensor.numel()} entries are not"
            )


def _listing(names: Collection[str]) -> str:
    """Names, not more than fit a line."""
    shown = ", ".join(repr(name) for name in list(names)[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
