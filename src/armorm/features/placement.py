"""Where a backbone runs: one device, or its layers spread over several."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

import torch

from armorm.errors import FeatureError, MissingDependency
from armorm.features.interface import DEVICES

DeviceMap = str | Mapping[str, int | str]
"""Which layers of a backbone run where, as accelerate takes it."""

_DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


def find_device(device: str) -> str:
    """Return the device that is meant.

    Args:
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda`, `cuda:1` or `mps`.

    Returns:
        Its name, as torch has it.

    Raises:
        FeatureError: it is not there.
        ValueError: it is no name of a device.
    """
    if not re.fullmatch(DEVICES, device):
        raise ValueError(f"`device` must be auto, cpu, cuda, cuda:1 or mps; got {device!r}")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    kind, _, index = device.partition(":")
    n_devices = {"cpu": 1, "cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}[kind]
    if len(index) > 9 or int(index or 0) >= n_devices:
        raise FeatureError(
            f"`device` must be there; got {device!r}, and torch sees {n_devices} {kind} devices"
        )
    return device


def check_device_map(device_map: DeviceMap, device: str) -> None:
    """Refuse a map that cannot be followed.

    Args:
        device_map: Which layers run where.
        device: What was asked for beside it.

    Raises:
        MissingDependency: accelerate is not installed.
        ValueError: the map has an unknown name; `device` says another place than `auto`.
    """
    if device != "auto":
        raise ValueError(
            f"`device` must be 'auto' beside `device_map`, which says where layers run; got "
            f"{device!r}"
        )
    if isinstance(device_map, str) and device_map not in _DEVICE_MAPS:
        known = ", ".join(repr(kind) for kind in _DEVICE_MAPS)
        raise ValueError(
            f"`device_map` must be {known} or map modules to devices; got {device_map!r}"
        )
    if importlib.util.find_spec("accelerate") is None:
        raise MissingDependency("a backbone on several devices", "multi-gpu")


def main_device(model: Any) -> str:
    """Return the device that a spread model takes its tokens on; layers fetch what they need.

    Args:
        model: Loaded with a device map.

    Returns:
        The first accelerator of the map, or `cpu`.
    """
    places = [str(place) for place in getattr(model, "hf_device_map", {}).values()]
    places = [place for place in places if place not in ("cpu", "disk")]
    if not places:
        return "cpu"
    return f"cuda:{places[0]}" if places[0].isdigit() else places[0]
