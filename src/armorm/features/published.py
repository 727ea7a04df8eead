"""Feature files written by the published ArmoRM scripts, read as they are.

Such a file holds vectors without rows: neither texts nor ids nor the backbone that made them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.mapped import MappedRows

OBJECTIVES = (
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
"""Columns of `labels`, in the order of the released model (model card of
RLHFlow/ArmoRM-Llama3-8B-v0.1, revision eb2676d)."""

_SHARD = re.compile(r"(?P<name>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})")


@dataclass(frozen=True, slots=True)
class PublishedRated:
    """Features and ratings of n responses, without their rows."""

    response: MappedRows
    """Response features, shape (n, d), in the stored dtype."""
    ratings: Tensor
    """Normalised, shape (n, k), float32; NaN where not rated."""


@dataclass(frozen=True, slots=True)
class PublishedPairs:
    """Features of p preference pairs, without their rows."""

    prompt: MappedRows
    """Prompt features, shape (p, d); the file holds one for each side, which are equal."""
    chosen: MappedRows
    """Response features, shape (p, d)."""
    rejected: MappedRows
    """Response features, shape (p, d)."""


def read_published_rated(paths: Path | Sequence[Path]) -> PublishedRated:
    """Read what `stage-1_prepare.py` wrote, memory-mapped.

    Args:
        paths: A file, several, or a folder of them; shards are put in the order of their
            numbers.

    Returns:
        `embeddings` and `labels`.

    Raises:
        FeatureError: no file; a file that is not safetensors, or lacks one of the two;
            other shapes than (n, d) and (n, k); shards that are missing or of several runs.

    Source:
        RLHFlow/RLHF-Reward-Modeling, armo-rm/stage-1_prepare.py at fc39179f.
    """
    parts = [_read(path, {"embeddings": "n d", "labels": "n k"}) for path in _files(paths)]
    return PublishedRated(
        MappedRows([part["embeddings"] for part in parts]),
        torch.cat([part["labels"] for part in parts]).float(),
    )


def read_published_pairs(paths: Path | Sequence[Path]) -> PublishedPairs:
    """Read what `stage-2_prepare.py` wrote, memory-mapped.

    Args:
        paths: As in `read_published_rated`.

    Returns:
        `embeddings` apart into chosen and rejected, and one of the `prompt_embeddings` of
        each pair: what follows a token does not reach its state.

    Raises:
        FeatureError: as `read_published_rated`; other shapes than (p, 2, d).

    Source:
        RLHFlow/RLHF-Reward-Modeling, armo-rm/stage-2_prepare.py at fc39179f.
    """
    names = {"embeddings": "p 2 d", "prompt_embeddings": "p 2 d"}
    parts = [_read(path, names) for path in _files(paths)]
    sides = [[part["embeddings"][:, side] for part in parts] for side in (0, 1)]
    prompts = [part["prompt_embeddings"][:, 0] for part in parts]
    return PublishedPairs(MappedRows(prompts), MappedRows(sides[0]), MappedRows(sides[1]))


def _files(paths: Path | Sequence[Path]) -> list[Path]:
    """The files that are meant, shards in order and all of them there."""
    given = [paths] if isinstance(paths, Path) else list(paths)
    found = [f for p in given for f in (sorted(p.glob("*.safetensors")) if p.is_dir() else [p])]
    if not found:
        where = ", ".join(map(str, given)) or "no path"
        raise FeatureError(f"{where}: there must be a safetensors file; there is none")
    shards = [m for f in found if (m := _SHARD.fullmatch(f.stem))]
    if not shards:
        return found
    names = {(m["name"], m["count"]) for m in shards}
    if len(names) > 1 or len(shards) < len(found):
        raise FeatureError(
            f"{found[0].parent}: the shards must be of one run; found "
            f"{', '.join(sorted(f.name for f in found))}"
        )
    count = int(shards[0]["count"])
    missing = sorted({*range(1, count + 1)} - {int(m["number"]) for m in shards})
    if missing:
        raise FeatureError(f"{found[0].parent}: shard {missing[0]} of {count} is missing")
    return sorted(found, key=lambda file: file.stem)


def _read(path: Path, axes: dict[str, str]) -> dict[str, Tensor]:
    """Map the named tensors of a file, after a look at their shapes."""
    try:
        with safe_open(path, framework="pt") as file:
            there = set(file.keys())
            absent = [name for name in axes if name not in there]
            if absent:
                raise FeatureError(
                    f"{path}: must hold `{absent[0]}`; it holds {', '.join(sorted(there))}"
                )
            found = {name: file.get_tensor(name) for name in axes}
    except (SafetensorError, OSError) as error:
        raise FeatureError(f"{path}: not a safetensors file: {error}") from error
    n = len(found["embeddings"])
    for name, letters in axes.items():
        shape, wanted = found[name].shape, letters.split()
        fits = len(shape) == len(wanted) and shape[0] == n
        if not fits or ("2" in wanted and shape[1] != 2):
            raise FeatureError(
                f"{path}: `{name}` must have shape ({', '.join(wanted)}) with {n} rows; got "
                f"{tuple(shape)}"
            )
    return found
