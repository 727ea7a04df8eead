"""The layout of the released ArmoRM checkpoint: here, the ridge head that it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from armorm.errors import BundleError

RELEASED_OBJECTIVES = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
)
"""Order of the 19 objectives of ArmoRM-Llama3-8B-v0.1; its config does not name them
(model card of RLHFlow/ArmoRM-Llama3-8B-v0.1, revision eb2676d)."""

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
        return "num_objectives" in json.loads(path.read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def read_released_ridge(folder: Path) -> tuple[Tensor, tuple[str, ...]]:
    """Read the ridge head of a checkpoint in the released layout.

    Args:
        folder: A folder with `config.json` and safetensors files.

    Returns:
        Weight (k, d) in float32, and the k objective names: those of the config's
        `objective_names`, or the released ones where there are 19.

    Raises:
        BundleError: the head is missing or misshapen; the number of names is not k.
    """
    config = json.loads((folder / "config.json").read_bytes())
    weight = _read_tensor(folder, _WEIGHT).float()
    k, d = config["num_objectives"], config["hidden_size"]
    if tuple(weight.shape) != (k, d):
        found = tuple(weight.shape)
        raise BundleError(f"{folder}: {_WEIGHT!r} must have shape ({k}, {d}); got {found}")
    names = _names(config, k)
    if len(names) != k:
        raise BundleError(
            f"{folder}/config.json: `objective_names` must name {k} objectives; got {len(names)}"
        )
    return weight, names


def _names(config: dict[str, Any], k: int) -> tuple[str, ...]:
    """Objective names of the config, or the released ones."""
    if "objective_names" in config:
        return tuple(config["objective_names"])
    return RELEASED_OBJECTIVES if k == len(RELEASED_OBJECTIVES) else ()


def _read_tensor(folder: Path, name: str) -> Tensor:
    """Read one tensor of a checkpoint, sharded or not."""
    path = folder / "model.safetensors"
    if (folder / _INDEX).is_file():
        places = json.loads((folder / _INDEX).read_bytes())["weight_map"]
        path = folder / places.get(name, "model.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118
                return file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    raise BundleError(f"{folder}: the tensor {name!r} must be there; it is missing")
