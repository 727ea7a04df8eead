"""From a data source to the files it stands for, in a fixed order; it parses none of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from armorm.data.source import QUICKSTART, DataSource
from armorm.errors import DataError, nearest

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""Format by file ending; all but Parquet may carry `.gz` behind it."""

_ENDINGS = ", ".join(FORMATS)


class Record(NamedTuple):
    """One record of a file and where it stands."""

    unit: str
    """`line`, `row` (Parquet, hub) or `item` (JSON array)."""
    number: int
    """Its number in that unit, from 1."""
    value: object
    """What was found there, or the `RowProblem` that kept it from being read."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file, or one split of a hub data set."""

    name: str
    """As it is called in errors and counts."""
    stem: str
    """Name without folder and endings; starts generated ids."""
    format: str
    """A value of `FORMATS`, or `hub`."""
    zipped: bool
    """Whether it is gzip."""
    location: Traversable | None
    """What to open; None for the hub."""
    source: DataSource
    """The data source it belongs to."""

    @property
    def textual(self) -> bool:
        """Whether cells are text, so that numbers are written as text too."""
        return self.format in ("csv", "tsv")

    def locate(self, record: Record) -> str:
        """Return `a.jsonl:3`, `a.parquet: row 3` or `a.json: item 3`."""
        if record.unit == "line":
            return f"{self.name}:{record.number}"
        return f"{self.name}: {record.unit} {record.number}"


def files_of(source: DataSource) -> list[DataFile]:
    """List the files of a data source.

    A folder stands for the data files in it and its subfolders, sorted by path;
    hidden ones and those with other endings (README.md) are skipped, but not one that
    looks like data in a form that cannot be read (`a.jsonl.zst`, `a.csv.part`).

    Args:
        source: The data source.

    Returns:
        At least one file; for the hub exactly one entry.

    Raises:
        DataError: the path does not exist or cannot be read; a file has an unknown ending
            or is not a regular file; a folder has no data file; the shipped corpus has no
            such part.
    """
    if source.hub is not None:
        stem = source.hub.name.rsplit("/", 1)[-1]
        return [DataFile(source.path, stem, "hub", False, None, source)]
    if source.path.startswith(QUICKSTART):
        return [_shipped_file(source)]
    try:
        path = Path(source.path).expanduser()
        if path.is_dir():
            return list(_folder_files(path, source))
        if not path.exists():
            raise DataError(f"{source.path}: no such file or folder")
        return [_data_file(path.name, source.path, path, source)]
    except RuntimeError as error:  # `~nobody`
        raise DataError(f"{source.path}: cannot be read: {error}") from error
    except OSError as error:
        raise DataError(f"{source.path}: cannot be read: {error.strerror}") from error


def _folder_files(folder: Path, source: DataSource) -> Iterator[DataFile]:
    """Yield the data files below a folder; at least one."""
    found = False
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.is_dir() or not FORMATS.keys() & {s.lower() for s in path.suffixes}:
            continue
        found = True
        yield _data_file(path.name, str(path), path, source)
    if not found:
        raise DataError(f"{source.path}: the folder must hold a data file ({_ENDINGS}); none found")


def _shipped_file(source: DataSource) -> DataFile:
    """Find a part of the corpus that comes with the package."""
    folder = resources.files("armorm.data") / "quickstart"
    name = source.path.removeprefix(QUICKSTART)
    known = sorted(f.name for f in folder.iterdir() if f.name.endswith(".jsonl"))
    if name not in known:
        raise DataError(f"{source.path}: no such part of the shipped corpus{nearest(name, known)}")
    return _data_file(name, source.path, folder / name, source)


def _data_file(file: str, name: str, location: Traversable, source: DataSource) -> DataFile:
    """Describe one file by its endings."""
    lower = file.lower()
    zipped = lower.endswith(".gz")
    bare = lower.removesuffix(".gz")
    ending = next((e for e in FORMATS if bare.endswith(e)), None)
    if ending is None or (zipped and ending == ".parquet"):
        found = "".join(Path(file).suffixes[-2 if zipped else -1 :])
        raise DataError(f"{name}: the file must end in {_ENDINGS} (or .gz of them); got {found!r}")
    if not location.is_file():
        raise DataError(f"{name}: not a regular file")
    stem = file[: len(bare) - len(ending)] or file
    return DataFile(name, stem, FORMATS[ending], zipped, location, source)
