"""Rows as JSON Lines or Parquet, written whole and read one after the other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from armorm.errors import MissingDependency
from armorm.storage import storage_errors, whole_file

ENDINGS = {".jsonl": "jsonl", ".parquet": "parquet"}
"""Kind of file by its ending."""

Row = dict[str, Any]


def file_kind(path: Path) -> str:
    """Return how rows are written into a file of this name.

    Args:
        path: The file; need not exist.

    Returns:
        `jsonl` or `parquet`.

    Raises:
        ValueError: another ending.
        MissingDependency: Parquet without the package for it.
    """
    kind = ENDINGS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"the output must end in .jsonl or .parquet; got {path.name!r}")
    if kind == "parquet":
        _pyarrow()
    return kind


def write_rows(path: Path, batches: Iterable[Sequence[Row]], schema: Any) -> int:
    """Write rows into a file, whole or not at all, in bounded memory.

    Args:
        path: The file; its ending says how.
        batches: Rows, some at a time.
        schema: Of the table, from `armorm.label.schema`; JSON Lines keep to it too, since
            rows are made to fit it.

    Returns:
        How many rows there were.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    n = 0
    with whole_file(path) as part:
        if file_kind(path) == "jsonl":
            with part.open("w", encoding="utf-8") as file:
                for rows in batches:
                    file.writelines(_line(row) for row in rows)
                    n += len(rows)
            return n
        pyarrow, parquet = _pyarrow()
        table = arrow_schema(schema)
        with parquet.ParquetWriter(part, table, compression="zstd") as writer:
            for rows in batches:
                if rows:
                    writer.write_table(pyarrow.Table.from_pylist(list(rows), schema=table))
                n += len(rows)
    return n


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file that `write_rows` wrote.

    Args:
        path: The file.

    Yields:
        Rows in the order written.
    """
    if file_kind(path) == "jsonl":
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
        return
    _, parquet = _pyarrow()
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
        yield from batch.to_pylist()


def join_files(path: Path, parts: Sequence[Path], schema: Any) -> None:
    """Write the rows of many files into one, in bounded memory.

    Args:
        path: The file.
        parts: Files of the same kind, in order.
        schema: As in `write_rows`.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    with whole_file(path) as whole:
        if file_kind(path) == "jsonl":
            with whole.open("wb") as file:
                for part in parts:
                    with part.open("rb") as rows:
                        shutil.copyfileobj(rows, file, 1 << 20)
            return
        _, parquet = _pyarrow()
        with parquet.ParquetWriter(whole, arrow_schema(schema), compression="zstd") as writer:
            for part in parts:
                writer.write_table(parquet.read_table(part))


def arrow_schema(schema: Any) -> Any:
    """Return the Parquet schema of a description by plain values.

    Args:
        schema: `str`, `int`, `float` or `bool`; a list with the description of its items;
            or a mapping of fields.

    Returns:
        A `pyarrow.Schema`; numbers are int64 and float32.
    """
    pyarrow, _ = _pyarrow()
    return pyarrow.schema([(name, _arrow_type(value)) for name, value in schema.items()])


def _arrow_type(description: Any) -> Any:
    """The type of one column."""
    pyarrow, _ = _pyarrow()
    if isinstance(description, dict):
        return pyarrow.struct([(name, _arrow_type(value)) for name, value in description.items()])
    if isinstance(description, list):
        return pyarrow.list_(_arrow_type(description[0]))
    plain = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float32(),
        bool: pyarrow.bool_(),
    }
    return plain[description]


def _line(row: Row) -> str:
    """One row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _pyarrow() -> tuple[Any, Any]:
    """The packages that Parquet needs."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("reading or writing Parquet", "data") from error
    return pyarrow, parquet


def remove_leftovers(folder: Path, names: Sequence[str]) -> None:
    """Remove what a killed process has not finished writing.

    Args:
        folder: Where the files are; need not exist.
        names: Names, or patterns of them, of the files that would have been written.

    Raises:
        StorageError: one cannot be removed.
    """
    for name in names:
        for path in sorted(folder.glob(f".{name}.*.part")):
            with storage_errors(path):
                path.unlink(missing_ok=True)
