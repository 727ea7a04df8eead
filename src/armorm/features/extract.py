"""Features of many conversations, written to disk so that a kill loses at most one shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from armorm.errors import FeatureError
from armorm.features.blocks import Shard, cut_blocks, group_rows
from armorm.features.compute import Budget, Computation
from armorm.features.feature_set import FeatureSet, StoredFeatures
from armorm.features.interface import Backbone, FeatureOptions
from armorm.features.store import (
    MANIFEST,
    SCHEMA,
    check_shard,
    clean_folder,
    find_features,
    finished_shard,
    open_features,
    read_manifest,
    shard_name,
    write_manifest,
    write_shard,
)
from armorm.storage import digest_file, fingerprint, storage_errors
from armorm.types import Conversation

Progress = Callable[[int, int, str], None]
"""Called with (rows done, rows in all, rates in words)."""

SHARD_ROWS = 256
"""Input rows a file, where nothing else is asked for."""

STORE_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions of a feature set on disk by name."""

WHOLE = Shard()
"""One process that computes every block."""


def extract_features(
    backbone: Backbone,
    conversations: Sequence[Conversation],
    *,
    folder: Path,
    shard: Shard = WHOLE,
    shard_rows: int = SHARD_ROWS,
    store_dtype: str = "bfloat16",
    progress: Progress | None = None,
) -> StoredFeatures | None:
    """Compute the features of conversations into a folder, or find them there.

    Rows are ordered so that responses to one prompt stand side by side. Every block of
    `shard_rows` of them becomes one file, and a batch never crosses a block, so a run that
    was killed goes on with the first block it had not finished, several processes can
    share the blocks, and all of it ends with the same bytes as one undisturbed run (same
    machine, thread count and token budget). A finished set of the same inputs is found
    without running the model; one of other inputs is replaced. Where a batch does not fit
    into the memory of the device, the token budget is halved, recorded in the file, and
    stays halved for the blocks after it. The next block is tokenised while one is computed.

    Args:
        backbone: Tokenises and runs the model.
        conversations: n rows, the same for every shard; ids need not be unique.
        folder: Where the feature set is, or will be. Files of other names are not
            touched.
        shard: Which of several processes this is: each computes consecutive blocks, and
            the last one to finish writes the manifest.
        shard_rows: Rows a file.
        store_dtype: `bfloat16`, which keeps 8 significant bits, or `float32`.
        progress: Called after every block of this shard.

    Returns:
        Features of all rows that have them, in the order of the input, and the dropped
        rows with their reasons; None where blocks of other shards are not finished.

    Raises:
        FeatureError: a row cannot be tokenised; features are not finite (the first row
            is in the text); one row alone does not fit into the device's memory; the
            finished set in the folder is damaged.
        StorageError: the disk is full or cannot be written; finished files stay.
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
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if (found := find_features(folder, fingerprint=wanted)) is not None:
        if progress is not None:
            progress(len(conversations), len(conversations), "")
        return found
    work = _Extraction(backbone, conversations, folder, wanted, shard, shard_rows, store_dtype)
    work.clean()
    entries = work.compute(progress)
    if not work.finish(entries):
        return None
    return open_features(folder, fingerprint=wanted)


def compute_features(
    backbone: Backbone,
    conversations: Sequence[Conversation],
    *,
    progress: Callable[[int, int], None] | None = None,
    part_rows: int = SHARD_ROWS,
) -> FeatureSet:
    """Compute the features of conversations in memory; every row must get them.

    Args:
        backbone: Tokenises and runs the model.
        conversations: n rows, in any number.
        progress: Called after every part.
        part_rows: Rows a part; responses to one prompt come into one part where they fit.

    Returns:
        Features of all rows, in the order given.

    Raises:
        FeatureError: a row is too long or cannot be tokenised, or its features are not
            finite (the first one is in the text); one row alone does not fit into the
            device's memory.
    """
    work = Computation(backbone, conversations, backbone.cuts(conversations))
    order = group_rows(conversations)
    work.prepare(order)
    blocks = cut_blocks(order, part_rows) or [[]]
    parts: list[FeatureSet] = []
    for part in work.run(blocks):
        if part.dropped:
            first = part.dropped[0]
            raise FeatureError(
                f"conversation {first.id!r} (row {first.row}) gets no features: {first.reason}"
            )
        parts.append(part)
        if progress is not None and len(part):
            progress(sum(map(len, parts)), len(conversations))
    return FeatureSet.join(parts).in_input_order()


def feature_fingerprint(
    facts: Mapping[str, Any],
    conversations: Sequence[Conversation],
    *,
    options: FeatureOptions,
    shard_rows: int = SHARD_ROWS,
    store_dtype: str = "bfloat16",
) -> str:
    """Return the name of everything the bytes of a feature set depend on.

    With the facts of `describe_backbone` it tells, before a weight is loaded, whether a
    folder already holds the features.

    Args:
        facts: Of the backbone.
        conversations: n rows.
        options: As the backbone's; the token budget, the padding side and what happens
            to refused rows are not among its facts.
        shard_rows: Rows a file.
        store_dtype: `bfloat16` or `float32`.

    Returns:
        64 hexadecimal digits.
    """
    rows = hashlib.sha256()
    for c in conversations:
        rows.update(json.dumps([c.id, c.prompt, c.response]).encode() + b"\n")
    return fingerprint(
        {
            "schema": SCHEMA,
            "backbone": dict(facts),
            "rows": rows.hexdigest(),
            "shard_rows": shard_rows,
            "store_dtype": store_dtype,
            "token_budget": options.token_budget,
            "engine": options.engine,
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


def how_extracted(manifest: Mapping[str, Any]) -> list[str]:
    """Say what a reader of a feature set should know of how it was computed.

    Args:
        manifest: Of the set.

    Returns:
        Sentences: what the backbone did differently from what was asked for; that batches
        did not fit into memory, and what was done.
    """
    shards = manifest["shards"]
    said = list(dict.fromkeys(note for shard in shards for note in shard.get("notes", ())))
    halved = max((shard.get("halved", 0) for shard in shards), default=0)
    if not halved:
        return said
    budget = min(shard["token_budget"] for shard in shards)
    times = "once" if halved == 1 else f"{halved} times"
    return [
        *said,
        f"batches did not fit into the memory of the device at first: the token budget was halved "
        f"{times}, to {budget:,}",
    ]


class _Extraction:
    """One pass of one process over its blocks of a feature set."""

    def __init__(
        self,
        backbone: Backbone,
        conversations: Sequence[Conversation],
        folder: Path,
        wanted: str,
        shard: Shard,
        shard_rows: int,
        store_dtype: str,
    ) -> None:
        self._backbone = backbone
        self._conversations = conversations
        self._folder = folder
        self._wanted = wanted
        self._shard_rows = shard_rows
        self._store_dtype = store_dtype
        self._order = group_rows(conversations)
        self._blocks = cut_blocks(self._order, shard_rows)
        n = len(self._blocks)
        self._names = [shard_name(block, n) for block in range(n)]
        self._mine = shard.blocks(n)
        self._alone = shard.count == 1

    def clean(self) -> None:
        """Remove a manifest that says something else, and what other extractions left."""
        own = None if self._alone else [self._names[block] for block in self._mine]
        clean_folder(self._folder, self._names, own=own)
        with storage_errors(self._folder / MANIFEST):
            (self._folder / MANIFEST).unlink(missing_ok=True)

    def compute(self, progress: Progress | None) -> dict[int, dict[str, Any]]:
        """Compute the blocks of this shard that are not there; return the header of each."""
        headers: dict[int, dict[str, Any]] = {}
        for block in self._mine:
            found = finished_shard(self._folder / self._names[block], self._facts(block))
            if found is not None:
                headers[block] = found
        missing = [block for block in self._mine if block not in headers]
        rows = [self._conversations[i] for block in missing for i in self._blocks[block]]
        prompts = {row.prompt for row in rows}
        related = [row for row in self._conversations if row.prompt in prompts]
        work = Computation(self._backbone, self._conversations, self._backbone.cuts(related))
        if missing:
            work.prepare(self._order)
        computed = work.run([self._blocks[block] for block in missing])
        done = 0
        for block in self._mine:
            if block not in headers:
                self._continue_with(work, headers.get(block - 1))
                headers[block] = self._write(block, next(computed), work)
            done += len(self._blocks[block])
            if progress is not None:
                progress(done, self._n_rows, str(work.speed))
        return headers

    @property
    def _n_rows(self) -> int:
        """Input rows of this shard."""
        return sum(len(self._blocks[block]) for block in self._mine)

    def _facts(self, block: int) -> dict[str, Any]:
        """What the header of a block must say for its file to be this block."""
        return {"fingerprint": self._wanted, "block": block}

    def _continue_with(self, work: Computation, before: Mapping[str, Any] | None) -> None:
        """Take over the budget of the block before, as an undisturbed run would."""
        if before is not None:
            work.budget = Budget(before["token_budget"], before["halved"])

    def _write(self, block: int, features: FeatureSet, work: Computation) -> dict[str, Any]:
        """Write the file of a block; return its header."""
        assert work.budget is not None  # it has computed this block
        how = {
            "token_budget": work.budget.tokens,
            "halved": work.budget.halved,
            "engine": self._backbone.engine,
            "notes": list(self._backbone.notes),
            "threads": torch.get_num_threads(),
            "device": self._backbone.device,
            "software": software(),
        }
        path = self._folder / self._names[block]
        dtype = STORE_DTYPES[self._store_dtype]
        return write_shard(path, features, self._facts(block) | how, dtype=dtype)

    def finish(self, headers: dict[int, dict[str, Any]]) -> bool:
        """Write the manifest if every block is there; say whether it is."""
        for block, name in enumerate(self._names):
            if block not in headers:
                found = check_shard(self._folder / name, self._facts(block))
                if found is None:
                    return False
                headers[block] = found
        shards = [self._entry(block, headers[block]) for block in range(len(self._names))]
        write_manifest(
            self._folder,
            {
                "fingerprint": self._wanted,
                "backbone": self._backbone.facts(),
                "store_dtype": self._store_dtype,
                "shard_rows": self._shard_rows,
                "n_rows": sum(shard["n_rows"] for shard in shards),
                "n_dropped": sum(len(shard["dropped"]) for shard in shards),
                "shards": shards,
            },
        )
        return True

    def _entry(self, block: int, header: Mapping[str, Any]) -> dict[str, Any]:
        """What the manifest says of a file."""
        kept = ("token_budget", "halved", "engine", "notes", "threads", "device", "software")
        return {
            "file": self._names[block],
            "n_rows": len(header["ids"]),
            "sha256": digest_file(self._folder / self._names[block]),
            **{name: header[name] for name in (*kept, "dropped")},
        }


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
