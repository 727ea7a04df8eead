"""The keys that the released layout adds to a backbone's config.json; it reads no tensor."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armorm.errors import BundleError
from armorm.features.published import OBJECTIVES
from armorm.types import Scale

RELEASED_OBJECTIVES = OBJECTIVES
"""Order of the 19 objectives of ArmoRM-Llama3-8B-v0.1; its config does not name them."""

HELPSTEER_SCALE = Scale(0, 4, offset=0.5, divisor=5)
"""Of the released model's HelpSteer objectives (its model card: rating = 5 r - 0.5). It is the
only scale that is published."""

_HELPSTEER = "helpsteer"


@dataclass(frozen=True, slots=True)
class ReleasedConfig:
    """What a config says of the heads beside it."""

    objectives: tuple[str, ...]
    """Names, in the order of axis k."""
    width: int
    """Width d of a feature: that of the backbone's states."""
    hidden: tuple[int, ...]
    """Width of each hidden layer of the gate."""
    temperature: float
    """Divisor of the gate's logits."""
    beta: float
    """Steepness of the preference probability; 1 where the config has none, as the published
    loss is on the scaled score."""
    scales: Mapping[str, Mapping[str, Scale]]
    """Source -> objective -> scale of its ratings, as far as they are known."""


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


def read_released_config(path: Path) -> ReleasedConfig:
    """Read what a config.json says of the heads.

    Args:
        path: The file.

    Returns:
        Sizes, names and scales; absent keys have the defaults of the released model's code
        (temperature 10, 3 hidden layers of 1024).

    Raises:
        BundleError: no JSON object; a size, the temperature or a scale that is none; there
            are not k distinct objective names that are text.
    """
    config = read_json(path)
    k, width = _size(path, config, "num_objectives"), _size(path, config, "hidden_size")
    names = _objectives(path, config, k)
    return ReleasedConfig(
        names,
        width,
        _hidden(path, config),
        _positive(path, config, "gating_temperature", 10),
        _positive(path, config, "preference_beta", 1),
        _scales(path, config, names),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Parse a JSON object of a checkpoint.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        BundleError: the file is missing, no JSON or no object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: must be a JSON file; {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: must hold a JSON object; got {type(content).__name__}")
    return content


def _size(path: Path, config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Read a positive whole number."""
    size = config.get(name, default)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise BundleError(f"{path}: `{name}` must be a positive whole number; got {size!r}")
    return size


def _objectives(path: Path, config: Mapping[str, Any], k: int) -> tuple[str, ...]:
    """The names of the config, or the released ones where there are as many."""
    spare = RELEASED_OBJECTIVES if k == len(RELEASED_OBJECTIVES) else ()
    names = config.get("objective_names", spare)
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        raise BundleError(f"{path}: `objective_names` must be a list of names; got {names!r}")
    if len(names) != k or len(set(names)) != k:
        raise BundleError(
            f"{path}: `objective_names` must name {k} objectives; got {len(names)} names, "
            f"{len(set(names))} of them different"
        )
    if odd := [n for n in names if any(unicodedata.category(c) in ("Cc", "Cs") for c in n)]:
        raise BundleError(
            f"{path}: `objective_names` must be text without control characters; got {odd[0]!r}"
        )
    return tuple(str(name) for name in names)


def _hidden(path: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    """Widths of the hidden layers: one by one, or one width and a number of layers."""
    given = config.get("gating_hidden")
    if given is not None:
        if not isinstance(given, list) or not all(type(w) is int and w > 0 for w in given):
            raise BundleError(
                f"{path}: `gating_hidden` must be a list of positive whole numbers; got {given!r}"
            )
        return tuple(given)
    if config.get("gating_n_hidden") == 0:
        return ()
    width = _size(path, config, "gating_hidden_dim", 1024)
    return (width,) * _size(path, config, "gating_n_hidden", 3)


def _positive(path: Path, config: Mapping[str, Any], name: str, default: float) -> float:
    """Divisor of the gate's logits."""
    found = config.get(name, default)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if not is_number or not 0 < found < math.inf:
        raise BundleError(f"{path}: `{name}` must be a number above 0; got {found!r}")
    return float(found)


def _scales(
    path: Path, config: Mapping[str, Any], names: tuple[str, ...]
) -> dict[str, dict[str, Scale]]:
    """The scales that the config states, or those that are published of the released names."""
    given = config.get("objective_scales")
    if given is None:
        own = [n for n in names if n in RELEASED_OBJECTIVES and n.startswith(f"{_HELPSTEER}-")]
        return {_HELPSTEER: dict.fromkeys(own, HELPSTEER_SCALE)} if own else {}
    try:
        scales = {
            str(source): {str(name): Scale(**scale) for name, scale in of.items()}
            for source, of in given.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise BundleError(
            f"{path}: `objective_scales` must map source -> objective -> scale: {error}"
        ) from error
    unknown = sorted({name for of in scales.values() for name in of} - set(names))
    if unknown:
        raise BundleError(
            f"{path}: `objective_scales` must be of the objectives; {unknown[0]!r} is none of them"
        )
    return scales
