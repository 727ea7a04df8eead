"""The folder of the parts beside the output: what belongs to which labelling, and who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armorm.errors import StorageError
from armorm.features.blocks import Shard
from armorm.label.tables import file_kind, remove_leftovers
from armorm.storage import (
    check_writable,
    digest_file,
    fingerprint,
    storage_errors,
    try_lock,
    write_json,
)

SCHEMA = 1
"""Version of the folder's layout; a newer one is refused."""

PLAN, SUMMARY, MANIFEST, LOCK = "plan.json", "summary.json", "manifest.json", ".lock"
"""Files of the folder: the plan is written first, the manifest last."""

_SAID = {
    "rows": "other rows",
    "model": "another bundle, backbone or steering",
    "options": "other options",
    "pairs": "other rules for pairs",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a labelling is written."""

    output: Path
    """The file that is asked for."""

    @property
    def folder(self) -> Path:
        """The folder of the parts, beside the output."""
        return self.output.with_name(self.output.name + ".parts")

    @property
    def manifest(self) -> Path:
        """Written last."""
        return self.folder / MANIFEST

    @property
    def summary(self) -> Path:
        """What the labelling found, as JSON."""
        return self.folder / SUMMARY

    def rows(self, part: int, n_parts: int) -> Path:
        """Return the file of the scores of a part."""
        ending = self.output.suffix.lower()
        return self.folder / "scores" / f"part-{part:05d}-of-{n_parts:05d}{ending}"

    def record(self, part: int, n_parts: int) -> Path:
        """Return the file that says that the scores of a part are there, and how they came."""
        return self.folder / "records" / f"part-{part:05d}-of-{n_parts:05d}.json"

    def check(self) -> None:
        """Refuse an output before anything is read.

        Raises:
            ValueError: its name does not end in .jsonl or .parquet.
            MissingDependency: Parquet without the package for it.
            StorageError: it cannot be written; there is a file of that name that no
                labelling wrote.
        """
        file_kind(self.output)
        check_writable(self.output)
        check_writable(self.folder / PLAN)
        if self.output.exists() and not (self.folder / PLAN).exists():
            raise StorageError(
                f"{self.output}: the file is there and no labelling wrote it (there is no "
                f"{self.folder.name}/{PLAN}); name another file, or remove it"
            )

    def claim(self, plan: Mapping[str, Any]) -> str:
        """Write the plan of a labelling, or find that it is there.

        Args:
            plan: Everything that the bytes depend on, by the names of `_SAID`, and `about`,
                for a person, on which they do not.

        Returns:
            The fingerprint of the plan.

        Raises:
            StorageError: the folder holds another labelling; its plan is damaged or of a
                newer schema.
        """
        path = self.folder / PLAN
        facts = {name: fingerprint(plan[name]) for name in _SAID}
        wanted = fingerprint(facts)
        found = _read_json(path)
        if found is None and path.exists():
            raise StorageError(
                f"{path}: must be the plan of a labelling; it is no JSON object: remove "
                f"{self.output.name} and {self.folder.name} to begin anew"
            )
        if found is None:
            content = {"schema": SCHEMA, "fingerprint": wanted, "facts": facts}
            write_json(path, content | {"about": plan["about"]})
            return wanted
        if found.get("schema") != SCHEMA:
            raise StorageError(
                f"{path}: the schema must be {SCHEMA}; it is {found.get('schema')!r}: another "
                "version of armorm has written it"
            )
        if found.get("fingerprint") != wanted:
            then = found.get("facts", {})
            said = [text for name, text in _SAID.items() if then.get(name) != facts[name]]
            raise StorageError(
                f"{self.output}: belongs to a labelling of {' and '.join(said)}; name another "
                f"file with -o, or remove it and {self.folder.name} to begin anew"
            )
        return wanted

    def finished(self, wanted: str) -> dict[str, Any] | None:
        """Return the manifest of a labelling that is finished.

        Args:
            wanted: Fingerprint of its plan.

        Returns:
            The manifest; None where it is absent or the output is not as it was written.
        """
        manifest = _read_json(self.manifest)
        if manifest is None or manifest.get("fingerprint") != wanted:
            return None
        whole = self.output.is_file() and digest_file(self.output) == manifest.get("sha256")
        return manifest if whole and self.summary.is_file() else None

    def read_summary(self) -> dict[str, Any] | None:
        """Return what a finished labelling found; None where it is not there."""
        return _read_json(self.summary)

    @contextlib.contextmanager
    def hold(self, shard: Shard) -> Generator[None]:
        """Hold the folder, so that no part is computed twice at a time; clear what a kill left.

        Args:
            shard: Which of several processes this is; they hold it together.

        Yields:
            Nothing.

        Raises:
            StorageError: another process labels into it, or computes the same shard.
        """
        shared = shard.count > 1
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            if not try_lock(self.folder / LOCK, kind, held):
                raise StorageError(f"{self.output}: another process is labelling into this file")
            own = self.folder / f"{LOCK}-{str(shard).replace('/', '-of-')}"
            if shared and not try_lock(own, fcntl.LOCK_EX, held):
                raise StorageError(f"{self.output}: another process is computing shard {shard}")
            if not shared:
                self._clear()
            yield

    def _clear(self) -> None:
        """Remove temporary files of a process that was killed, and locks of shards."""
        remove_leftovers(self.output.parent, (self.output.name,))
        remove_leftovers(self.folder, (PLAN, SUMMARY, MANIFEST))
        for name in ("scores", "records"):
            remove_leftovers(self.folder / name, ("part-*",))
        for lock in self.folder.glob(f"{LOCK}-*"):
            with storage_errors(lock):
                lock.unlink()


def read_record(
    place: Place, part: int, n_parts: int, facts: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the record of a part whose scores are there and whole.

    Args:
        place: Where.
        part: Number of the part.
        n_parts: How many there are.
        facts: Entries that the record must have.

    Returns:
        The record; None where the part must be computed.
    """
    record = _read_json(place.record(part, n_parts))
    if record is None or any(record.get(key) != value for key, value in facts.items()):
        return None
    path = place.rows(part, n_parts)
    return record if path.is_file() and digest_file(path) == record.get("sha256") else None


def write_manifest(place: Place, wanted: str, parts: Sequence[Mapping[str, Any]]) -> None:
    """Write the manifest, when everything else is there.

    Args:
        place: Where.
        wanted: Fingerprint of the plan.
        parts: Number and SHA-256 of every part.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "fingerprint": wanted,
        "output": place.output.name,
        "sha256": digest_file(place.output),
        "parts": list(parts),
    }
    write_json(place.manifest, content)


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is none that is whole."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None
