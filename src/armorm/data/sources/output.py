"""Rows written so that the readers take them without a mapping: Parquet or JSON Lines."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from armorm.data.sources.interface import Row
from armorm.errors import MissingDependency
from armorm.storage import whole_file
from armorm.types import RatedResponse

ENDINGS = (".parquet", ".jsonl")
"""Endings of what can be written."""

ROW_GROUP = 2048
"""Rows in memory at a time."""

Write: TypeAlias = Callable[[Row], None]


def check_ending(path: Path) -> None:
    """Check that rows can be written in the format that the ending of a file names.

    Args:
        path: The file to be written.

    Raises:
        MissingDependency: it is Parquet and pyarrow is not installed.
        ValueError: another ending.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"`output` must end in {' or '.join(ENDINGS)}; got {path.name!r}")
    if path.suffix.lower() == ".parquet":
        _pyarrow()


def row_record(row: Row) -> dict[str, Any]:
    """Return a row as the readers take it, ratings in an object.

    Args:
        row: A rated response or a preference pair.

    Returns:
        Its fields; messages as objects.

    Example:
        >>> row_record(RatedResponse("a", (), "yes", "s", {"x": 3.0}))["ratings"]
        {'x': 3.0}
    """
    prompt = [{"role": message.role, "content": message.content} for message in row.prompt]
    if isinstance(row, RatedResponse):
        said: dict[str, Any] = {"response": row.response}
        rated = {"ratings": dict(row.ratings)}
    else:
        said, rated = {"chosen": row.chosen, "rejected": row.rejected}, {}
    return {"id": row.id, "prompt": prompt, **said, "source": row.source, **rated}


@contextlib.contextmanager
def rows_writer(path: Path, objectives: Sequence[str] | None) -> Generator[Write]:
    """Write rows one by one, in bounded memory; the file is whole or absent.

    Args:
        path: The file; its ending chooses the format.
        objectives: Rating columns, in this order; None for preference pairs.

    Yields:
        A function to call with each row.

    Raises:
        MissingDependency: it is Parquet and pyarrow is not installed.
        StorageError: the disk is full or cannot be written.
        ValueError: another ending than those of `ENDINGS`.
    """
    check_ending(path)
    with whole_file(path) as part:
        if path.suffix.lower() == ".jsonl":
            with part.open("w", encoding="utf-8") as file:
                yield lambda row: _write_line(file, row)
        else:
            with _parquet(part, objectives) as write:
                yield write


def _write_line(file: Any, row: Row) -> None:
    """Write one row as a line of JSON."""
    file.write(json.dumps(row_record(row), ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def _parquet(path: Path, objectives: Sequence[str] | None) -> Generator[Write]:
    """Collect rows and write them a row group at a time."""
    pyarrow, parquet = _pyarrow()
    schema = _schema(pyarrow, objectives)
    waiting: list[dict[str, Any]] = []

    def flush() -> None:
        writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
        waiting.clear()

    def write(row: Row) -> None:
        waiting.append(_flat(row_record(row)))
        if len(waiting) == ROW_GROUP:
            flush()

    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        yield write
        if waiting:
            flush()


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """A record with a column for each rating; a missing one is null."""
    rated = record.pop("ratings", {})
    return {**record, **{f"ratings.{name}": number for name, number in rated.items()}}


def _schema(pyarrow: Any, objectives: Sequence[str] | None) -> Any:
    """Columns of the table."""
    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    texts = ("chosen", "rejected") if objectives is None else ("response",)
    columns = [("id", pyarrow.string()), ("prompt", pyarrow.list_(message))]
    columns += [(name, pyarrow.string()) for name in (*texts, "source")]
    columns += [(f"ratings.{name}", pyarrow.float64()) for name in objectives or ()]
    return pyarrow.schema(columns)


def _pyarrow() -> tuple[Any, Any]:
    """Import what writes Parquet."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("writing Parquet", "data") from error
    return pyarrow, parquet
