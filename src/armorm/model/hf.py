"""The layout of the released ArmoRM checkpoint: here, the ridge head that it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from armorm.errors import BundleError
from armorm.features.published import OBJECTIVES

RELEASED_OBJECTIVES = OBJECTIVES
"""Order of the 19 objectives of ArmoRM-Llama3-8B-v0.1; its config does not name them."""

_WEIGHT = "regression_layer.weight"
_INDEX = "model.safetensors.index.json"


def is_released_layout(folder: Path) -> bool:
    """Say whether a folder is a checkpoint in the released layout.

    Args:
        folder: Any path.

    Returns:
        True where its config has `num_objectives`.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "num_objectives" in content


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
    k, d, names = _read_config(folder / "config.json")
    weight = _read_tensor(folder, _WEIGHT).float()
    if (found := tuple(weight.shape)) != (k, d):
        raise BundleError(f"{folder}: {_WEIGHT!r} must have shape ({k}, {d}); got {found}")
    if n_bad := int((~weight.isfinite()).sum()):
        raise BundleError(
            f"{folder}: {_WEIGHT!r} must be finite; {n_bad} of {weight.numel()} entries are not"
        )
    return weight, names


def _read_config(path: Path) -> tuple[int, int, tuple[str, ...]]:
    """Number of objectives, width of the features and names of the objectives."""
    config = _read_json(path)
    sizes: list[int] = []
    for name in ("num_objectives", "hidden_size"):
        size = config.get(name)
        if not isinstance(size, int) or size < 1:
            raise BundleError(f"{path}: `{name}` must be a positive whole number; got {size!r}")
        sizes.append(size)
    k, d = sizes
    spare = RELEASED_OBJECTIVES if k == len(RELEASED_OBJECTIVES) else ()
    names = config.get("objective_names", spare)
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        raise BundleError(f"{path}: `objective_names` must be a list of names; got {names!r}")
    if len(names) != k or len(set(names)) != k:
        raise BundleError(
            f"{path}: `objective_names` must name {k} objectives; got {len(names)} names, "
            f"{len(set(names))} of them different"
        )
    return k, d, tuple(str(name) for name in names)


def _read_json(path: Path) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: must be a JSON file; {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: must hold a JSON object; got {type(content).__name__}")
    return content


def _read_tensor(folder: Path, name: str) -> Tensor:
    """Read one tensor of a checkpoint, sharded or not."""
    path = folder / "model.safetensors"
    if (folder / _INDEX).is_file():
        places = _read_json(folder / _INDEX).get("weight_map")
        if not isinstance(places, dict) or name not in places:
            raise BundleError(
                f"{folder / _INDEX}: the tensor {name!r} must be there; it is missing"
            )
        path = folder / str(places[name])
    try:
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118
                return file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    raise BundleError(f"{path}: the tensor {name!r} must be there; it is missing")
