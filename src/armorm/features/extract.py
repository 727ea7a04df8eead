"""Features of many conversations, written to disk so that a kill loses at most one shard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from armorm.errors import FeatureError
from armorm.features.interface import Backbone, FeatureOptions, Tokenized, Unused
from armorm.features.store import (
    MANIFEST,
    DroppedRow,
    FeatureSet,
    clean_folder,
    finished_shard,
    load_features,
    read_manifest,
    shard_name,
    write_manifest,
    write_shard,
)
from armorm.storage import digest_file, fingerprint, storage_errors
from armorm.types import Conversation, Prompt

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""

STORE_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions of a feature set on disk by name."""


def extract_features(
    backbone: Backbone,
    conversations: Sequence[Conversation],
    *,
    folder: Path,
    shard_rows: int = 256,
    store_dtype: str = "float32",
    progress: Progress | None = None,
) -> FeatureSet:
    """Compute the features of conversations into a folder, or load them from it.

    Every block of `shard_rows` input rows becomes one shard, and a batch never crosses a
    block, so a run that was killed goes on with the first block it had not finished and
    ends with the same bytes as an undisturbed one (same machine, thread count and token
    budget). A finished set of the same inputs is loaded without running the model; one
    of other inputs is replaced. Where a batch does not fit into the memory of the
    device, the token budget is halved, recorded in the shard, and stays halved for the
    blocks after it.

    Args:
        backbone: Tokenises and runs the model.
        conversations: n rows; ids need not be unique.
        folder: Where the feature set is, or will be. Files of other names are not
            touched.
        shard_rows: Input rows a shard.
        store_dtype: `float32` or `bfloat16`; the latter halves the disk space and keeps
            8 significant bits.
        progress: Called after every block.

    Returns:
        Features of all rows that have them, and the dropped rows with their reasons.

    Raises:
        FeatureError: a row cannot be tokenised; features are not finite (the first row
            is in the text); one row alone does not fit into the device's memory; the
            finished set in the folder is damaged.
        StorageError: the disk is full or cannot be written; finished shards stay.
        ValueError: there are no conversations; `shard_rows` is not positive;
            `store_dtype` is neither.
    """
    _check_arguments(conversations, shard_rows, store_dtype)
    wanted = feature_fingerprint(
        backbone.facts(),
        conversations,
        options=backbone.options,
        shard_rows=shard_rows,
        store_dtype=store_dtype,
    )
    n_blocks = -(-len(conversations) // shard_rows)
    names = [shard_name(block, n_blocks) for block in range(n_blocks)]
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if _is_finished(folder, wanted, names):
        done = load_features(folder, fingerprint=wanted)
        assert done is not None  # the manifest was there a moment ago
        if progress is not None:
            progress(len(conversations), len(conversations))
        return done
    with storage_errors(folder / MANIFEST):
        (folder / MANIFEST).unlink(missing_ok=True)
    clean_folder(folder, names)
    work = _Extraction(backbone, conversations, folder, wanted, shard_rows, store_dtype)
    shards: list[dict[str, Any]] = []
    for block, name in enumerate(names):
        shards.append(work.finish_block(block, name))
        if progress is not None:
            progress(min((block + 1) * shard_rows, len(conversations)), len(conversations))
    write_manifest(
        folder,
        {
            "fingerprint": wanted,
            "backbone": backbone.facts(),
            "store_dtype": store_dtype,
            "shard_rows": shard_rows,
            "n_rows": sum(shard["n_rows"] for shard in shards),
            "n_dropped": sum(len(shard["dropped"]) for shard in shards),
            "shards": shards,
        },
    )
    features = load_features(folder, fingerprint=wanted)
    assert features is not None  # written on the line above
    return features


def compute_features(
    backbone: Backbone,
    conversations: Sequence[Conversation],
    *,
    progress: Progress | None = None,
    part_rows: int = 256,
) -> FeatureSet:
    """Compute the features of conversations in memory; every row must get them.

    Args:
        backbone: Tokenises and runs the model.
        conversations: n rows, in any number.
        progress: Called after every part.
        part_rows: Rows a part; a larger one pads less.

    Returns:
        Features of all rows.

    Raises:
        FeatureError: a row is too long or cannot be tokenised, or its features are not
            finite (the first one is in the text); one row alone does not fit into the
            device's memory.
    """
    cuts = backbone.cuts(conversations)
    budget = backbone.options.token_budget
    parts: list[FeatureSet] = []
    for start in range(0, max(len(conversations), 1), part_rows):
        rows = conversations[start : start + part_rows]
        part, budget = _compute(backbone, rows, start, cuts, budget)
        if part.dropped:
            first = part.dropped[0]
            raise FeatureError(
                f"conversation {first.id!r} (row {first.row}) gets no features: {first.reason}"
            )
        parts.append(part)
        if progress is not None and rows:
            progress(start + len(rows), len(conversations))
    return FeatureSet.join(parts)


def feature_fingerprint(
    facts: Mapping[str, Any],
    conversations: Sequence[Conversation],
    *,
    options: FeatureOptions,
    shard_rows: int = 256,
    store_dtype: str = "float32",
) -> str:
    """Return the name of everything the bytes of a feature set depend on.

    With the facts of `describe_backbone` it tells, before a weight is loaded, whether a
    folder already holds the features.

    Args:
        facts: Of the backbone.
        conversations: n rows.
        options: As the backbone's; the token budget, the padding side and what happens
            to refused rows are not among its facts.
        shard_rows: Input rows a shard.
        store_dtype: `float32` or `bfloat16`.

    Returns:
        64 hexadecimal digits.
    """
    rows = [[c.id, [[m.role, m.content] for m in c.prompt], c.response] for c in conversations]
    return fingerprint(
        {
            "backbone": dict(facts),
            "rows": fingerprint(rows),
            "shard_rows": shard_rows,
            "store_dtype": store_dtype,
            "token_budget": options.token_budget,
            "padding_side": options.padding_side,
            "bad_rows": options.bad_rows,
        }
    )


def software() -> dict[str, str]:
    """Return the versions that the last bits of features depend on.

    They are recorded and not part of the fingerprint: features outlive an upgrade.

    Returns:
        Version by package.
    """
    return {name: version(name) for name in ("armorm", "torch", "transformers")}


def made_with_other(folder: Path) -> str | None:
    """Say what a finished feature set was extracted with, where that is not what runs now.

    Args:
        folder: Where `extract_features` wrote it.

    Returns:
        One sentence without the name of the set; None where versions and thread count
        are the same, or there is no set.
    """
    manifest = read_manifest(folder)
    now = {**software(), "threads": str(torch.get_num_threads())}
    found: dict[str, None] = {}
    for shard in manifest["shards"] if manifest is not None else ():
        then = {**shard["software"], "threads": str(shard["threads"])}
        for name, value in then.items():
            if value != now.get(name):
                found[f"{name} {value} (now {now.get(name, 'absent')})"] = None
    if not found:
        return None
    return f"were extracted with {', '.join(found)}; the last bits may differ from a new run"


class _Extraction:
    """One pass over the blocks of a feature set."""

    def __init__(
        self,
        backbone: Backbone,
        conversations: Sequence[Conversation],
        folder: Path,
        wanted: str,
        shard_rows: int,
        store_dtype: str,
    ) -> None:
        self._backbone = backbone
        self._conversations = conversations
        self._folder = folder
        self._wanted = wanted
        self._shard_rows = shard_rows
        self._dtype = STORE_DTYPES[store_dtype]
        self._budget = backbone.options.token_budget
        self._cuts: dict[Prompt, int] | None = None

    def finish_block(self, block: int, name: str) -> dict[str, Any]:
        """Keep the shard of a block or write it; return its entry in the manifest."""
        path = self._folder / name
        facts = {"fingerprint": self._wanted, "block": block}
        header = finished_shard(path, facts)
        if header is None:
            if self._cuts is None:
                self._cuts = self._backbone.cuts(self._conversations)
            start = block * self._shard_rows
            rows = self._conversations[start : start + self._shard_rows]
            features, self._budget = _compute(self._backbone, rows, start, self._cuts, self._budget)
            how = {
                "token_budget": self._budget,
                "threads": torch.get_num_threads(),
                "device": self._backbone.device,
                "software": software(),
            }
            header = write_shard(path, features, facts | how, dtype=self._dtype)
        self._budget = header["token_budget"]
        return {
            "file": name,
            "n_rows": len(header["ids"]),
            "sha256": digest_file(path),
            "token_budget": header["token_budget"],
            "threads": header["threads"],
            "device": header["device"],
            "software": header["software"],
            "dropped": header["dropped"],
        }


def _compute(
    backbone: Backbone,
    conversations: Sequence[Conversation],
    start: int,
    cuts: Mapping[Prompt, int],
    budget: int,
) -> tuple[FeatureSet, int]:
    """Compute the features of a block; return them and the token budget that fitted."""
    tokenized = backbone.tokenize(conversations, cuts=cuts)
    kept = [i for i, row in enumerate(tokenized) if not isinstance(row, Unused)]
    rows = [tokenized[i] for i in kept]
    response, prompt, budget = _run(backbone, rows, budget)
    ids = [conversations[i].id for i in kept]
    for name, features in (("response", response), ("prompt", prompt)):
        _check_finite(features, name, ids, backbone)
    used = [row for row in rows if not isinstance(row, Unused)]
    return (
        FeatureSet(
            ids=ids,
            response=response,
            prompt=prompt,
            n_tokens=torch.tensor([row.n_tokens for row in used], dtype=torch.int64),
            n_truncated=torch.tensor([row.n_truncated for row in used], dtype=torch.int64),
            rows=torch.tensor(kept, dtype=torch.int64) + start,
            dropped=[
                DroppedRow(start + i, conversations[i].id, row.reason)
                for i, row in enumerate(tokenized)
                if isinstance(row, Unused)
            ],
        ),
        budget,
    )


def _run(
    backbone: Backbone, rows: Sequence[Tokenized | Unused], budget: int
) -> tuple[Tensor, Tensor, int]:
    """Run the model, with half the token budget as often as memory runs out."""
    while True:
        try:
            return *backbone.features(rows, token_budget=budget), budget
        except torch.OutOfMemoryError as error:
            longest = max(row.n_tokens for row in rows if not isinstance(row, Unused))
            if budget <= longest:
                raise FeatureError(
                    f"{backbone.name}: a batch must fit into the memory of {backbone.device!r}; "
                    f"one conversation of {longest:,} tokens does not: lower `max_tokens`"
                ) from error
            budget = max(budget // 2, 1)


def _check_finite(features: Tensor, name: str, ids: Sequence[str], backbone: Backbone) -> None:
    """Raise where a feature is NaN or infinite."""
    bad = (~features.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if bad:
        raise FeatureError(
            f"conversation {ids[bad[0]]!r}: the {name} feature must be finite; in dtype "
            f"{backbone.dtype!r} {len(bad)} of {len(ids)} rows of its block are not"
        )


def _check_arguments(
    conversations: Sequence[Conversation], shard_rows: int, store_dtype: str
) -> None:
    """Raise unless there is something to do and a way to do it."""
    if not conversations:
        raise ValueError("`conversations` must have one row or more; it has none")
    if shard_rows < 1:
        raise ValueError(f"`shard_rows` must be 1 or more; got {shard_rows}")
    if store_dtype not in STORE_DTYPES:
        known = " or ".join(repr(d) for d in STORE_DTYPES)
        raise ValueError(f"`store_dtype` must be {known}; got {store_dtype!r}")


def _is_finished(folder: Path, wanted: str, names: Sequence[str]) -> bool:
    """Say whether the folder holds a finished set of this fingerprint, no shard missing."""
    manifest = read_manifest(folder)
    if manifest is None or manifest["fingerprint"] != wanted:
        return False
    return all((folder / name).is_file() for name in names)
