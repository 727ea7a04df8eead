"""A feature set on disk: safetensors shards, then a manifest with their digests.

A shard holds the features of one fixed block of input rows, and says in its own header
which extraction it belongs to, so that a killed extraction can go on without a manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from armorm.errors import FeatureError
from armorm.storage import digest_file, fingerprint, storage_errors, write_bytes, write_json

SCHEMA = 1
"""Version of the folder's layout; a newer one is refused."""

MANIFEST = "manifest.json"
"""Written last: a folder without it is not finished."""

# The one metadata key of a shard. Several keys come out in a different order every time.
_HEADER = "armorm"

_TENSORS = ("response", "prompt", "rows", "n_tokens", "n_truncated")


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """An input row without features."""

    row: int
    """Number of the input row, from 0."""
    id: str
    """Its id."""
    reason: str
    """Why; the same text for all rows with the same reason."""


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features of n rows, in the order of the input."""

    ids: list[str]
    """n ids, as in the input; both sides of a preference pair have the same."""
    response: Tensor
    """Response features, shape (n, d), float32."""
    prompt: Tensor
    """Prompt features, shape (n, dp), float32."""
    n_tokens: Tensor
    """Length of each conversation in tokens, after truncation; shape (n,), int64."""
    n_truncated: Tensor
    """Tokens cut from the left; shape (n,), int64."""
    rows: Tensor
    """Number of each row in the input, increasing; shape (n,), int64."""
    dropped: list[DroppedRow] = field(default_factory=list)
    """The rows of the input that are not here."""

    def __len__(self) -> int:
        """Return n."""
        return len(self.ids)

    @staticmethod
    def join(parts: Sequence[FeatureSet]) -> FeatureSet:
        """Put feature sets one after the other.

        Args:
            parts: One or more; a single one is returned as it is, without a copy.

        Returns:
            All rows, in the order given.
        """
        if len(parts) == 1:
            return parts[0]
        return FeatureSet(
            ids=[i for part in parts for i in part.ids],
            dropped=[d for part in parts for d in part.dropped],
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS},
        )


def load_features(folder: Path, *, fingerprint: str | None = None) -> FeatureSet | None:
    """Load a finished feature set, after checking every byte of it.

    Args:
        folder: Where `extract_features` wrote it.
        fingerprint: What the set must have been made of, from `feature_fingerprint`;
            None accepts any.

    Returns:
        The features; None where the folder holds no finished set of this fingerprint.

    Raises:
        FeatureError: the manifest cannot be read or is of a newer schema; a shard is
            missing or damaged (its name is in the text).
    """
    parts = list(iter_features(folder, fingerprint=fingerprint))
    return FeatureSet.join(parts) if parts else None


def iter_features(folder: Path, *, fingerprint: str | None = None) -> Iterator[FeatureSet]:
    """Load a finished feature set shard by shard, in bounded memory.

    Args:
        folder: Where `extract_features` wrote it.
        fingerprint: As in `load_features`.

    Yields:
        The rows of one shard, memory-mapped where they are stored as float32; nothing
        at all where the folder holds no finished set of this fingerprint.

    Raises:
        FeatureError: as `load_features`, when the shard's turn comes.
    """
    manifest = read_manifest(folder)
    if manifest is None or (fingerprint is not None and manifest["fingerprint"] != fingerprint):
        return
    for shard in manifest["shards"]:
        path = folder / shard["file"]
        if not path.is_file():
            raise FeatureError(
                f"{path}: the shard is missing; run the same command again to compute it"
            )
        if (found := digest_file(path)) != shard["sha256"]:
            raise FeatureError(
                f"{path}: the SHA-256 must be {shard['sha256'][:12]}…; it is {found[:12]}…: the "
                "shard is damaged; delete it and run the same command again to compute it"
            )
        yield _load_shard(path)[1]


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a feature set; None where there is none.

    Args:
        folder: Where the set is.

    Returns:
        The manifest.

    Raises:
        FeatureError: it is not JSON, lacks an entry, or is of a newer schema.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_bytes())
        schema = manifest["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise FeatureError(
                f"{path}: the schema must be {SCHEMA} or older; it is {schema}: written by a newer "
                "version of armorm"
            )
        claimed = manifest.pop("digest")
        found = fingerprint(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FeatureError(f"{path}: not the manifest of a feature set: {error!r}") from error
    if found != claimed:
        raise FeatureError(
            f"{path}: the content does not match its own digest: it is damaged; delete it and run "
            "the same command again, the shards are kept"
        )
    return manifest


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest, with the schema and a digest of itself.

    Args:
        folder: Where the shards are, all of them.
        content: Entries of the manifest, with `fingerprint` and `shards`.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    manifest = {"schema": SCHEMA, **content}
    write_json(folder / MANIFEST, manifest | {"digest": fingerprint(manifest)})


def shard_name(block: int, n_blocks: int) -> str:
    """Return the file name of a shard.

    Args:
        block: Number of the block of rows, from 0.
        n_blocks: How many there are.

    Returns:
        The name.

    Example:
        >>> shard_name(2, 4)
        'shard-00002-of-00004.safetensors'
    """
    return f"shard-{block:05d}-of-{n_blocks:05d}.safetensors"


def write_shard(
    path: Path, features: FeatureSet, facts: Mapping[str, Any], *, dtype: torch.dtype
) -> dict[str, Any]:
    """Write the features of one block, whole or not at all.

    Args:
        path: The file.
        features: The rows of the block.
        facts: What the shard belongs to, as JSON.
        dtype: Of the stored features.

    Returns:
        The header that was written, as `finished_shard` returns it.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    tensors = {name: getattr(features, name).contiguous() for name in _TENSORS}
    tensors |= {name: tensors[name].to(dtype) for name in ("response", "prompt")}
    header = {
        **facts,
        "ids": features.ids,
        "dropped": [[d.row, d.id, d.reason] for d in features.dropped],
    }
    digest = {"digest": _digest(tensors, header)}
    text = json.dumps(header | digest, ensure_ascii=False, sort_keys=True)
    write_bytes(path, safetensors.torch.save(tensors, {_HEADER: text}))
    return header


def finished_shard(path: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the header of a shard that an earlier, unfinished extraction left.

    Args:
        path: The file; need not exist.
        facts: Entries its header must have.

    Returns:
        The header; None where the file is absent, damaged or belongs to something else.
    """
    if not path.is_file():
        return None
    try:
        header, _ = _load_shard(path)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
        claimed = header.pop("digest")
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        return None
    same = all(header.get(key) == value for key, value in facts.items())
    return header if same and _digest(tensors, header) == claimed else None


def clean_folder(folder: Path, keep: Sequence[str]) -> None:
    """Remove shards and temporary files that do not belong to an extraction.

    Nothing that a feature set does not write is touched.

    Args:
        folder: The folder; need not exist.
        keep: Names of shards that stay.

    Raises:
        StorageError: a file cannot be removed.
    """
    stale = [*folder.glob(".shard-*.part"), *folder.glob(f".{MANIFEST}.*.part")]
    stale += [p for p in folder.glob("shard-*-of-*.safetensors") if p.name not in keep]
    for path in sorted(stale):
        with storage_errors(path):
            path.unlink(missing_ok=True)


def _load_shard(path: Path) -> tuple[dict[str, Any], FeatureSet]:
    """Read the header and the rows of a shard."""
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})[_HEADER])
        tensors = {name: file.get_tensor(name) for name in _TENSORS}
    tensors |= {name: tensors[name].float() for name in ("response", "prompt")}
    dropped = [DroppedRow(*entry) for entry in header["dropped"]]
    return header, FeatureSet(ids=header["ids"], dropped=dropped, **tensors)


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Return the SHA-256 over tensors and header, to be kept in the header."""
    sha = hashlib.sha256(fingerprint(header).encode())
    for name in _TENSORS:
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # A copy, because a view as bytes needs strides that `contiguous` leaves as they are
        # where there is one row.
        copy = tensor.clone(memory_format=torch.contiguous_format)
        sha.update(copy.view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
