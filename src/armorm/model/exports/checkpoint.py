"""The weights of a backbone copied into an export, shard by shard, with heads added.

One shard is in memory at a time; what the tensors mean is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from armorm.errors import BundleError
from armorm.features.checkpoint import weight_files
from armorm.storage import json_bytes

SHARD_BYTES = 5 * 10**9
"""Largest shard, as the libraries of the field write them; one tensor may be larger."""

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
_FLOATS = ("F64", "F32", "F16", "BF16")
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tensor of the export and where it comes from."""

    name: str
    """In the export."""
    n_bytes: int
    """As it will be written."""
    file: Path | None = None
    """Of the backbone; None for a head."""
    key: str = ""
    """In that file."""


def write_weights(
    folder: Path,
    heads: Mapping[str, Tensor],
    *,
    source: Path,
    prefixes: tuple[str, str],
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the weights of a backbone and its heads as safetensors files.

    Args:
        folder: Where to; must exist.
        heads: Name -> tensor, written as they are.
        source: Folder of the backbone's checkpoint, with or without a language model head.
        prefixes: What the names of the backbone's tensors start with, without the dot: in the
            source, where some do (the others are heads, and left out), and in the export.
        dtype: What floating-point tensors of the backbone are cast to; None: as they are.
        shard_bytes: Largest file, unless one tensor alone is larger.
        progress: Called with (bytes written, bytes in all).

    Raises:
        BundleError: a file of the source cannot be read.
        FeatureError: a file of the source is missing.
        StorageError: from the folder's writer, where the disk is full.
    """
    entries = _backbone_entries(source, prefixes, dtype)
    entries += [_Entry(name, t.numel() * t.element_size()) for name, t in heads.items()]
    shards = list(_shards(entries, shard_bytes))
    total, done = sum(entry.n_bytes for entry in entries), 0
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = (
            _SINGLE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        )
        save_file(_read(shard, heads, dtype), folder / file, metadata={"format": "pt"})
        places |= {entry.name: file for entry in shard}
        done += sum(entry.n_bytes for entry in shard)
        if progress is not None:
            progress(done, total)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (folder / _INDEX).write_bytes(json_bytes(index))


def _backbone_entries(
    source: Path, prefixes: tuple[str, str], dtype: torch.dtype | None
) -> list[_Entry]:
    """The tensors of the backbone under their names in the export."""
    found: list[tuple[Path, str, int]] = []
    for name in weight_files(source.name, source):
        with _opened(source / name) as file:
            for key in file.keys():  # noqa: SIM118
                found.append((source / name, key, _n_bytes(file.get_slice(key), dtype)))
    old, new = (f"{prefix}." for prefix in prefixes)
    prefixed = any(key.startswith(old) for _, key, _ in found)
    return [
        _Entry(new + (key.removeprefix(old) if prefixed else key), n_bytes, path, key)
        for path, key, n_bytes in found
        if not prefixed or key.startswith(old)
    ]


def _n_bytes(piece: Any, dtype: torch.dtype | None) -> int:
    """Bytes of a tensor as it will be written, from the header of its file."""
    kind = piece.get_dtype()
    size = dtype.itemsize if dtype is not None and kind in _FLOATS else _BYTES.get(kind, 1)
    n = size
    for length in piece.get_shape():
        n *= length
    return n


def _shards(entries: Sequence[_Entry], limit: int) -> Iterator[list[_Entry]]:
    """Fill shards in the order of the tensors."""
    shard: list[_Entry] = []
    for entry in entries:
        if shard and sum(e.n_bytes for e in shard) + entry.n_bytes > limit:
            yield shard
            shard = []
        shard.append(entry)
    yield shard


def _read(
    shard: Sequence[_Entry], heads: Mapping[str, Tensor], dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """The tensors of one shard."""
    tensors: dict[str, Tensor] = {}
    with ExitStack() as stack:
        files: dict[Path, Any] = {}
        for entry in shard:
            if entry.file is None:
                tensors[entry.name] = heads[entry.name].contiguous()
                continue
            if entry.file not in files:
                files[entry.file] = stack.enter_context(_opened(entry.file))
            tensor = files[entry.file].get_tensor(entry.key)
            floating = dtype is not None and tensor.is_floating_point()
            tensors[entry.name] = tensor.to(dtype) if floating else tensor
        return tensors


def _opened(path: Path) -> Any:
    """Open a file of weights, mapped into memory."""
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint; an empty one where there is no such file.

    Args:
        path: The file.

    Returns:
        Its content.
    """
    return json.loads(path.read_bytes()) if path.is_file() else {}
