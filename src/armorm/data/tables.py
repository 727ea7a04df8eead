"""Records of Parquet files and of hub data sets, through optional packages."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from io import BufferedIOBase
from typing import Any

from armorm.data.files import DataFile, Record
from armorm.data.source import HubName
from armorm.errors import DataError, MissingDependency

_BATCH = 1024
"""Rows in memory at a time."""

_PREFIX = "ratings."


def nest_ratings(record: dict[str, Any]) -> dict[str, Any]:
    """Collect the columns `ratings.x` of a flat table under `ratings`.

    Args:
        record: Cells by column; changed and returned.

    Returns:
        The record, with `ratings` as an object when there were such columns.

    Example:
        >>> nest_ratings({"id": "a", "ratings.honesty": 4})
        {'id': 'a', 'ratings': {'honesty': 4}}
    """
    flat = [name for name in record if name.startswith(_PREFIX)]
    if flat and not isinstance(record.get("ratings"), dict):
        record["ratings"] = {name.removeprefix(_PREFIX): record.pop(name) for name in flat}
    return record


def parquet_records(file: DataFile, stream: BufferedIOBase) -> Iterator[Record]:
    """Yield the rows of a Parquet file in batches.

    Args:
        file: The file, for messages.
        stream: Its bytes.

    Yields:
        Records located by row, from 1.

    Raises:
        DataError: the bytes are not Parquet or are damaged.
        MissingDependency: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("reading Parquet or hub data", "data") from error
    number = 0
    try:
        for batch in parquet.ParquetFile(stream).iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield Record("row", number, nest_ratings(row))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file.name}: the file must be Parquet; {_first_line(error)}") from error


def hub_records(file: DataFile) -> Iterator[Record]:
    """Yield the rows of one split of a hub data set.

    The split is downloaded once, kept in the cache of `datasets` and read from disk.
    Code of the data set is never run.

    Args:
        file: The entry whose data source names the data set.

    Yields:
        Records located by row, from 1.

    Raises:
        DataError: the data set, its configuration, revision or split cannot be loaded.
        MissingDependency: datasets is not installed.
    """
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise MissingDependency("reading Parquet or hub data", "data") from error
    source, hub = file.source, file.source.hub
    assert hub is not None
    split = source.split or "train"
    try:
        with _quiet():
            table = _load(datasets, hub, split)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise DataError(
            f"{file.name}: split {split!r} cannot be loaded: {_first_line(error)}"
        ) from error
    assert isinstance(table, datasets.Dataset)
    for number, row in enumerate(table, 1):
        yield Record("row", number, nest_ratings(dict(row)))


def _load(datasets: Any, hub: HubName, split: str) -> Any:
    """Load a split; a third part that is no configuration is a folder of the repository."""
    given = {"split": split, "revision": hub.revision}
    try:
        return datasets.load_dataset(hub.name, hub.config, **given)
    except ValueError as error:
        if hub.config is None or "BuilderConfig" not in str(error):
            raise
        return datasets.load_dataset(hub.name, data_dir=hub.config, **given)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep the hub client from printing every attempt to connect; what fails is one error."""
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _first_line(error: Exception) -> str:
    """Return the first line of an error text, or the name of its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
