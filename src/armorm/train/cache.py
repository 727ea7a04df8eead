"""Results of stages on disk, named by what they depend on; a stage is fitted once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from armorm import __version__
from armorm.storage import fingerprint, whole_file

# All of it in one entry: safetensors writes several in no fixed order.
_HEADER = "armorm.stage"


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage leaves behind."""

    tensors: Mapping[str, Tensor]
    """Named tensors, any shape."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON facts; infinite and undefined numbers are not allowed."""
    key: str = ""
    """Fingerprint of the inputs; a later stage names it among its own inputs."""


@dataclass(slots=True)
class StageCache:
    """A folder with one file a stage.

    A file holds the result and the fingerprint of the stage's inputs, of this version
    of armorm, of torch and of its thread count. It is used when the fingerprint is the
    one asked for and its content has the digest it was written with; else the stage
    is fitted again and its file replaced.
    """

    folder: Path
    """Where the files are."""
    fitted: list[str] = field(default_factory=list)
    """Stages that were fitted, in order."""
    reused: list[str] = field(default_factory=list)
    """Stages that were up to date, in order."""

    def get(
        self, stage: str, inputs: Mapping[str, Any], fit: Callable[[], StageResult]
    ) -> StageResult:
        """Return the result of a stage, fitted only when its file is not up to date.

        Args:
            stage: Name; `/` makes folders.
            inputs: JSON description of everything that the result depends on.
            fit: Computes the result.

        Returns:
            The result, with its `key`.
        """
        software = {"armorm": __version__, "torch": torch.__version__}
        key = fingerprint([stage, dict(inputs), software, torch.get_num_threads()])
        path = self.folder / f"{stage}.safetensors"
        if (known := read_result(path, key)) is not None:
            self.reused.append(stage)
            return known
        result = fit()
        write_result(path, result, key)
        self.fitted.append(stage)
        return StageResult(result.tensors, result.facts, key)


def read_result(path: Path, key: str) -> StageResult | None:
    """Read a stored result.

    Args:
        path: The file; need not exist.
        key: Fingerprint that it must have been written under.

    Returns:
        The result; None where there is none for this key or it is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
            if header.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return None
    if header.get("digest") != _digest(tensors, header.get("facts")):
        return None
    return StageResult(tensors, header["facts"], key)


def write_result(path: Path, result: StageResult, key: str) -> None:
    """Store a result whole.

    Args:
        path: The file.
        result: Tensors and facts.
        key: Fingerprint of what they depend on.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in result.tensors.items()}
    facts = dict(result.facts)
    header = {"key": key, "facts": facts, "digest": _digest(tensors, facts)}
    text = json.dumps(header, allow_nan=False)
    with whole_file(path) as part:
        save_file(tensors, part, metadata={_HEADER: text})


def _digest(tensors: Mapping[str, Tensor], facts: Any) -> str:
    """SHA-256 over names, types, shapes, bytes and facts."""
    sha = hashlib.sha256(fingerprint(facts).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
