"""Heads that the published ArmoRM scripts wrote: `.pt` files of tensors, and of nothing else."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from armorm.errors import BundleError

_LAYER = re.compile(r"layers\.(0|[1-9][0-9]{0,3})\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class PublishedGate:
    """The state of a gating network as `stage-2_train.py` writes it."""

    tensors: Mapping[str, Tensor]
    """`layers.{i}.weight`, `layers.{i}.bias` and `logit_scale`, in float32."""
    n_features: int
    """Width of the prompt feature."""
    n_objectives: int
    """Number of outputs k."""

    @property
    def looks_untrained(self) -> bool:
        """Whether every entry lies where PyTorch draws it before the first step.

        A layer starts uniform within 1 / sqrt(inputs). The published training script takes
        its softmax along the axis of chosen and rejected, so that no layer has a gradient.
        """
        return all(
            float(tensor.abs().max()) <= 1 / math.sqrt(self._n_inputs(name)) * (1 + 1e-6)
            for name, tensor in self.tensors.items()
            if name != "logit_scale"
        )

    def _n_inputs(self, name: str) -> int:
        """Inputs of the layer that a tensor belongs to."""
        return self.tensors[name.rpartition(".")[0] + ".weight"].shape[1]


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
    return weight.float()


def read_published_gate(path: Path) -> PublishedGate:
    """Read the gating network that `stage-2_train.py` wrote.

    Args:
        path: A `.pt` file with the state of the network.

    Returns:
        The network's tensors, each layer of the width that the next one takes.

    Raises:
        BundleError: the file is missing, no archive of tensors, or holds anything but
            tensors; a layer is missing, misshapen or not finite; a tensor is left over.

    Source:
        armo-rm/stage-2_train.py at commit fc39179f: temperature, names and debias matrix
        are not in the file.
    """
    tensors = _read(path)
    n_layers = len([name for name in tensors if name.endswith(".weight")])
    wanted = {f"layers.{i}.{part}" for i in range(n_layers) for part in ("weight", "bias")}
    wanted.add("logit_scale")
    if not n_layers or set(tensors) != wanted:
        lacking, spare = sorted(wanted - set(tensors)), sorted(set(tensors) - wanted)
        found = f"it lacks {_listing(lacking)}" if lacking else f"it also holds {_listing(spare)}"
        raise BundleError(
            f"{path}: must hold `logit_scale` and the weight and bias of `layers.0` and on; {found}"
        )
    if (found := tuple(tensors["logit_scale"].shape)) != (1,):
        raise BundleError(f"{path}: 'logit_scale' must have shape (1,); got {found}")
    _check_finite(path, tensors)
    width = _check_layers(path, tensors, n_layers)
    first = tensors["layers.0.weight"]
    return PublishedGate({n: t.float() for n, t in tensors.items()}, first.shape[1], width)


def _check_layers(path: Path, tensors: Mapping[str, Tensor], n_layers: int) -> int:
    """Raise unless each layer takes what the one below gives; return the last width."""
    width: int | None = None
    for i in range(n_layers):
        weight, bias = tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]
        takes = "inputs" if width is None else str(width)
        if weight.ndim != 2 or 0 in weight.shape or width not in (None, weight.shape[1]):
            raise BundleError(
                f"{path}: 'layers.{i}.weight' must have shape (outputs, {takes}); got "
                f"{tuple(weight.shape)}"
            )
        width = weight.shape[0]
        if tuple(bias.shape) != (width,):
            raise BundleError(
                f"{path}: 'layers.{i}.bias' must have shape ({width},); got {tuple(bias.shape)}"
            )
    assert width is not None
    return width


def _read(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors without running what it may hold besides."""
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
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError) as error:
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
    return dict(content)


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
