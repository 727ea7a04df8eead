"""A feature set on disk: safetensors shards, then a manifest with their digests.

A shard holds the features of one fixed block of input rows, and says in its own header
which extraction it belongs to, so that a killed extraction can go on without a manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.feature_set import BY_ROW, DroppedRow, FeatureSet, StoredFeatures
from armorm.features.mapped import MappedRows
from armorm.storage import digest_file, fingerprint, storage_errors, write_bytes, write_json

SCHEMA = 2
"""Version of the folder's layout; a newer one is refused. In version 1 every row had a prompt
feature of its own."""

MANIFEST = "manifest.json"
"""Written last: a folder without it is not finished."""

# The one metadata key of a shard. Several keys come out in a different order every time.
_HEADER = "armorm"

# In a shard a prompt's feature stands once, and `prompt_of` says which is whose.
_STORED = ("response", "prompt", "prompt_of", "rows", "n_tokens", "n_truncated")


def load_features(folder: Path, *, fingerprint: str | None = None) -> FeatureSet | None:
    """Load a finished feature set into memory, after checking every byte of it.

    Args:
        folder: Where `extract_features` wrote it.
        fingerprint: What the set must have been made of, from `feature_fingerprint`;
            None accepts any.

    Returns:
        The features, in the order of the input; None where the folder holds no finished
        set of this fingerprint.

    Raises:
        FeatureError: the manifest cannot be read or is of a newer schema; a shard is
            missing or damaged (its name is in the text).
    """
    stored = open_features(folder, fingerprint=fingerprint)
    return None if stored is None else stored.load()


def open_features(folder: Path, *, fingerprint: str | None = None) -> StoredFeatures | None:
    """Open a finished feature set where it lies, after checking every byte of it.

    Args:
        folder: Where `extract_features` wrote it.
        fingerprint: As in `load_features`.

    Returns:
        The features, memory-mapped; None where the folder holds no finished set of this
        fingerprint.

    Raises:
        FeatureError: as `load_features`.
    """
    manifest = read_manifest(folder)
    if manifest is None or (fingerprint is not None and manifest["fingerprint"] != fingerprint):
        return None
    shards = [_read_shard(path) for path in _checked_shards(folder, manifest)]
    by_row = {
        name: torch.cat([tensors[name] for _, tensors in shards])
        for name in ("rows", "n_tokens", "n_truncated")
    }
    order = by_row["rows"].argsort(stable=True)
    n_prompts = [len(tensors["prompt"]) for _, tensors in shards]
    before = torch.tensor([0, *n_prompts]).cumsum(0)[:-1]
    prompt_of = [
        tensors["prompt_of"] + start for (_, tensors), start in zip(shards, before, strict=True)
    ]
    ids = [i for header, _ in shards for i in header["ids"]]
    dropped = [DroppedRow(*entry) for header, _ in shards for entry in header["dropped"]]
    return StoredFeatures(
        ids=[ids[i] for i in order.tolist()],
        response=MappedRows([tensors["response"] for _, tensors in shards], order),
        prompt=MappedRows(
            [tensors["prompt"] for _, tensors in shards], torch.cat(prompt_of)[order]
        ),
        dropped=sorted(dropped, key=lambda dropped: dropped.row),
        manifest=manifest,
        **{name: tensor[order] for name, tensor in by_row.items()},
    )


def find_features(folder: Path, *, fingerprint: str) -> StoredFeatures | None:
    """Open a finished feature set, where no file of it must be computed again.

    Args:
        folder: Where `extract_features` wrote it.
        fingerprint: From `feature_fingerprint`.

    Returns:
        As `open_features`; None also where a file is missing.

    Raises:
        FeatureError: the manifest cannot be read or is of a newer schema; a shard is damaged.
    """
    manifest = read_manifest(folder)
    shards = manifest["shards"] if manifest is not None else ()
    if not all((folder / shard["file"]).is_file() for shard in shards):
        return None
    return open_features(folder, fingerprint=fingerprint)


def iter_features(folder: Path, *, fingerprint: str | None = None) -> Iterator[FeatureSet]:
    """Load a finished feature set shard by shard, in bounded memory.

    Args:
        folder: Where `extract_features` wrote it.
        fingerprint: As in `load_features`.

    Yields:
        The rows of one shard, responses to one prompt side by side; nothing at all where
        the folder holds no finished set of this fingerprint.

    Raises:
        FeatureError: as `load_features`, when the shard's turn comes.
    """
    manifest = read_manifest(folder)
    if manifest is None or (fingerprint is not None and manifest["fingerprint"] != fingerprint):
        return
    for path in _checked_shards(folder, manifest):
        header, tensors = _read_shard(path)
        tensors["prompt"] = tensors["prompt"][tensors.pop("prompt_of")]
        tensors |= {name: tensors[name].float() for name in ("response", "prompt")}
        dropped = [DroppedRow(*entry) for entry in header["dropped"]]
        yield FeatureSet(ids=header["ids"], dropped=dropped, **tensors)


def _checked_shards(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the path of every shard, after checking that it is there and whole."""
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
        yield path


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
    tensors = {name: getattr(features, name).contiguous() for name in BY_ROW}
    tensors |= {name: tensors[name].to(dtype) for name in ("response", "prompt")}
    tensors["prompt"], tensors["prompt_of"] = _distinct(tensors["prompt"])
    header = {
        **facts,
        "ids": features.ids,
        "dropped": [[d.row, d.id, d.reason] for d in features.dropped],
    }
    digest = {"digest": _digest(tensors, header)}
    text = json.dumps(header | digest, ensure_ascii=False, sort_keys=True)
    write_bytes(path, safetensors.torch.save(tensors, {_HEADER: text}))
    return header


def check_shard(path: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the header of a shard that another process has written.

    Args:
        path: The file; need not exist.
        facts: Entries its header must have.

    Returns:
        The header; None where the file is absent.

    Raises:
        FeatureError: it is damaged or belongs to another extraction.
    """
    found = finished_shard(path, facts)
    if found is not None or not path.is_file():
        return found
    if finished_shard(path, {}) is None:
        raise FeatureError(f"{path}: the shard is damaged; delete it and compute its part again")
    raise FeatureError(
        f"{path}: belongs to an extraction of other rows or options; give every shard the same "
        "recipe, or another folder"
    )


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
        header, tensors = _read_shard(path)
        whole = header.pop("digest") == _digest(tensors, header)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        return None
    same = all(header.get(key) == value for key, value in facts.items())
    return header if same and whole else None


def clean_folder(folder: Path, keep: Sequence[str], *, own: Sequence[str] | None = None) -> None:
    """Remove shards and temporary files that do not belong to an extraction.

    Nothing that a feature set does not write is touched.

    Args:
        folder: The folder; need not exist.
        keep: Names of shards that stay.
        own: Names of the shards that this process writes, where others write at the same
            time: what they have not finished is theirs to remove. None: nobody else writes.

    Raises:
        FeatureError: others write, and there are shards of another extraction.
        StorageError: a file cannot be removed.
    """
    names = ("shard-*",) if own is None else own
    stale = [path for name in names for path in folder.glob(f".{name}.*part")]
    foreign = sorted(p for p in folder.glob("shard-*-of-*.safetensors") if p.name not in keep)
    if own is None:
        stale += [*folder.glob(f".{MANIFEST}.*.part"), *foreign]
    elif foreign:
        raise FeatureError(
            f"{foreign[0]}: belongs to an extraction with other blocks; give every shard the same "
            "recipe, or another folder"
        )
    for path in sorted(stale):
        with storage_errors(path):
            path.unlink(missing_ok=True)


def _read_shard(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the header of a shard and map its tensors."""
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})[_HEADER])
        there = set(file.keys())
        tensors = {name: file.get_tensor(name) for name in _STORED if name in there}
    if "prompt_of" not in there:  # schema 1
        tensors["prompt_of"] = torch.arange(len(tensors["prompt"]))
    return header, tensors


def _distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Keep equal rows once, in the order of their first; say where each row went."""
    place: dict[bytes, int] = {}
    as_bytes = rows.clone(memory_format=torch.contiguous_format).view(torch.uint8).numpy()
    of = [place.setdefault(row.tobytes(), len(place)) for row in as_bytes]
    first = {number: row for row, number in reversed(list(enumerate(of)))}
    kept = torch.tensor([first[number] for number in range(len(place))], dtype=torch.int64)
    return rows[kept], torch.tensor(of, dtype=torch.int64)


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Return the SHA-256 over tensors and header, to be kept in the header."""
    sha = hashlib.sha256(fingerprint(header).encode())
    for name in _STORED:
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # A copy, because a view as bytes needs strides that `contiguous` leaves as they are
        # where there is one row.
        copy = tensor.clone(memory_format=torch.contiguous_format)
        sha.update(copy.view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
