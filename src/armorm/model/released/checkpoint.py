"""The safetensors files of a checkpoint in the released layout: what they hold, and the heads.

Headers alone are read of the backbone's tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from armorm.errors import BundleError
from armorm.model.released.config import ReleasedConfig, read_json, read_released_config

WEIGHT = "regression_layer.weight"
TRANSFORM = "reward_transform_matrix"
GATING = "gating."
LOGIT_SCALE = f"{GATING}logit_scale"
BACKBONE = "model."
"""Starts the names of the backbone's tensors; all others are heads."""

_INDEX = "model.safetensors.index.json"
_FEW = 5
_PRECISIONS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class Stored(NamedTuple):
    """A tensor of a checkpoint, by its header."""

    file: Path
    """Where it is."""
    shape: tuple[int, ...]
    """Its shape."""
    dtype: str
    """As safetensors spells it: F32, BF16, …"""


def read_released_ridge(folder: Path) -> tuple[Tensor, tuple[str, ...]]:
    """Read the ridge head of a checkpoint in the released layout.

    Args:
        folder: A folder with `config.json` and safetensors files.

    Returns:
        Weight (k, d) in float32, and the k objective names: those of the config's
        `objective_names`, or the released ones where there are 19.

    Raises:
        BundleError: the config or an index is not JSON with its sizes; the head is
            missing, misshapen or not finite; there are not k distinct names.
    """
    config = read_released_config(folder / "config.json")
    shape = len(config.objectives), config.width
    stored = {n: of for n, of in stored_tensors(folder, [WEIGHT]).items() if n == WEIGHT}
    _refuse_misfits(folder, _misfits(stored, {WEIGHT: shape}))
    return _read(folder, stored)[WEIGHT], config.objectives


def read_heads(folder: Path, config: ReleasedConfig) -> tuple[dict[str, Tensor], str]:
    """Read every head of a checkpoint, after a look at all names and shapes.

    Args:
        folder: A folder with safetensors files.
        config: What the config says of them.

    Returns:
        Name -> tensor in float32, and the dtype that the backbone's tensors are stored in:
        the most precise one where there are several.

    Raises:
        BundleError: a file is missing or not safetensors; tensors are missing, left over,
            misshapen (all of them are named) or not finite; the backbone's are missing or
            of a dtype that it cannot run in.
    """
    stored = stored_tensors(folder)
    heads = {name: of for name, of in stored.items() if not name.startswith(BACKBONE)}
    _refuse_misfits(folder, _misfits(heads, head_shapes(config)))
    backbone = {name: of for name, of in stored.items() if name.startswith(BACKBONE)}
    return _read(folder, heads), _backbone_dtype(folder, backbone)


def head_shapes(config: ReleasedConfig) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every head that a config describes.

    Args:
        config: The config.

    Returns:
        Name -> shape.
    """
    k = len(config.objectives)
    widths = (config.width, *config.hidden, k)
    shapes: dict[str, tuple[int, ...]] = {WEIGHT: (k, config.width), TRANSFORM: (k, k)}
    for i, (inner, outer) in enumerate(itertools.pairwise(widths)):
        shapes[f"{GATING}layers.{i}.weight"] = (outer, inner)
        shapes[f"{GATING}layers.{i}.bias"] = (outer,)
    return shapes | {LOGIT_SCALE: (1,)}


def stored_tensors(folder: Path, wanted: Iterable[str] | None = None) -> dict[str, Stored]:
    """Read the headers of a checkpoint's files, sharded or not.

    Args:
        folder: The checkpoint.
        wanted: Look into no other files than those that the index names for these.

    Returns:
        Name -> where it is and what shape it has; with `wanted`, only names of files that
        were looked into.

    Raises:
        BundleError: the index is damaged; a file is missing or not safetensors; a tensor is
            not in the file that the index names.
    """
    if not (folder / _INDEX).is_file():
        return _header(folder / "model.safetensors")
    places = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise BundleError(f"{folder / _INDEX}: `weight_map` must map tensors to files")
    needed = {n: places[n] for n in wanted if n in places} if wanted is not None else places
    missing = sorted(file for file in set(needed.values()) if not (folder / file).is_file())
    if missing:
        raise BundleError(
            f"{folder / _INDEX}: every file that it names must be there; {len(missing)} are not, "
            f"{missing[0]!r} among them"
        )
    stored: dict[str, Stored] = {}
    for file in sorted(set(needed.values())):
        stored |= _header(folder / file)
    for name, file in needed.items():
        if name not in stored or stored[name].file != folder / file:
            raise BundleError(f"{folder / file}: the tensor {name!r} must be there; it is missing")
    return stored


def _header(path: Path) -> dict[str, Stored]:
    """Names, shapes and dtypes of one file."""
    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, Stored] = {}
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                found[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())
            return found
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error


def _misfits(stored: Mapping[str, Stored], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Say of every tensor that is missing, misshapen or left over what is wrong with it."""
    misfits = [
        f"{name!r} must have shape {shape}, "
        + (f"got {stored[name].shape}" if name in stored else "it is missing")
        for name, shape in expected.items()
        if name not in stored or stored[name].shape != shape
    ]
    return misfits + [
        f"{name!r} {of.shape} is not part of the layout"
        for name, of in stored.items()
        if name not in expected
    ]


def _refuse_misfits(folder: Path, misfits: list[str]) -> None:
    """Raise with the first few of them."""
    if misfits:
        more = f"; and {len(misfits) - _FEW} more" if len(misfits) > _FEW else ""
        raise BundleError(
            f"{folder}: the heads must be as config.json describes them: "
            + "; ".join(misfits[:_FEW])
            + more
        )


def _read(folder: Path, stored: Mapping[str, Stored]) -> dict[str, Tensor]:
    """Read tensors in float32 and check that they are finite."""
    tensors: dict[str, Tensor] = {}
    for name, of in stored.items():
        with safe_open(of.file, framework="pt") as file:
            tensors[name] = tensor = file.get_tensor(name).float()
        if n_bad := int((~tensor.isfinite()).sum()):
            raise BundleError(
                f"{folder}: {name!r} must be finite; {n_bad} of {tensor.numel()} entries are not"
            )
    return tensors


def _backbone_dtype(folder: Path, backbone: Mapping[str, Stored]) -> str:
    """The precision that keeps every value of a backbone's tensors."""
    if not backbone:
        raise BundleError(f"{folder}: the backbone must be there, as `{BACKBONE}*`; it is missing")
    kinds = {of.dtype for of in backbone.values()}
    if unknown := sorted(kinds - set(_PRECISIONS)):
        raise BundleError(
            f"{folder}: the backbone must be stored as {', '.join(_PRECISIONS)}; it has "
            f"tensors of {unknown[0]}"
        )
    return _PRECISIONS[kinds.pop()] if len(kinds) == 1 else "float32"
