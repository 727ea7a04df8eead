"""From files to records, one at a time; it does not know what a record means.

Text is read line by line. Only a JSON array is loaded whole. JSON Lines, JSON and CSV
need nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Generator, Iterator
from typing import Any, cast

from armorm.data.drops import RowProblem
from armorm.data.files import DataFile, Record
from armorm.data.ratings import short
from armorm.data.tables import hub_records, nest_ratings, parquet_records
from armorm.errors import DataError

_LARGEST_CELL = 1 << 24
"""Characters; a CSV quote that is never closed is refused here, not at the end of memory."""

_BOM = b"\xef\xbb\xbf"


def records_of(file: DataFile) -> Iterator[Record]:
    """Yield the records of one file in order.

    Args:
        file: One file.

    Yields:
        Records whose value is a mapping, or the `RowProblem` of a line that is none.

    Raises:
        DataError: the file cannot be opened, is empty, has no rows, is damaged gzip,
            Parquet or JSON array, or has a header that names two columns alike.
        MissingDependency: it is Parquet or on the hub and the packages are absent.
    """
    n_records = 0
    with _reading(file):
        for record in _records(file):
            n_records += 1
            yield record
    if not n_records:
        raise DataError(f"{file.name}: the file must have at least one row; it has none")


def _records(file: DataFile) -> Iterator[Record]:
    """Choose the reader of a format."""
    if file.format == "hub":
        yield from hub_records(file)
        return
    with _open(file) as stream:
        if file.format == "parquet":
            yield from parquet_records(file, stream)
        elif file.textual:
            yield from _csv_records(file, stream)
        elif file.format == "json" and _starts_array(stream):
            yield from _array_records(file, stream)
        else:
            yield from _line_records(stream)


@contextlib.contextmanager
def _open(file: DataFile) -> Generator[io.BufferedIOBase, None, None]:
    """Open the bytes of a file, unzipped; an empty file is refused."""
    assert file.location is not None
    with cast(io.BufferedIOBase, file.location.open("rb")) as stream:
        if not stream.read(1):
            raise DataError(f"{file.name}: the file must have at least one row; it is empty")
        stream.seek(0)
        if not file.zipped:
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as unzipped:
            yield unzipped


@contextlib.contextmanager
def _reading(file: DataFile) -> Generator[None, None, None]:
    """Turn failures of the disk and of gzip into located errors."""
    try:
        yield
    except EOFError as error:
        raise DataError(f"{file.name}: the gzip data must be whole; it ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file.name}: the file must be gzip; {error}") from error
    except OSError as error:
        raise DataError(f"{file.name}: cannot be read: {error.strerror or error}") from error


def _lines(stream: io.BufferedIOBase) -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines, without the byte order mark that some editors write."""
    for number, line in enumerate(stream, 1):
        yield number, line.removeprefix(_BOM) if number == 1 else line


def _decode(line: bytes) -> str | RowProblem:
    """Return the text of a line or where it is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        found = f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line"
        return RowProblem("not UTF-8", found)


def _line_records(stream: io.BufferedIOBase) -> Iterator[Record]:
    """Yield one record a line; blank lines count but are no rows."""
    for number, line in _lines(stream):
        if not line.strip():
            continue
        # Without its end, so that a JSON error counts columns on this line.
        text = _decode(line.rstrip(b"\r\n"))
        value = _parse_json(text) if isinstance(text, str) else text
        yield Record("line", number, value)


def _parse_json(text: str) -> object:
    """Return the object of a line, or the problem with it."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RowProblem as problem:
        return problem
    except json.JSONDecodeError as error:
        return RowProblem("malformed JSON", f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return RowProblem("malformed JSON", f"not JSON that can be read: {error}")
    return _as_object(value)


def _once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; one that names a field twice would silently lose a value."""
    made = dict(fields)
    if len(made) < len(fields):
        names = [name for name, _ in fields]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowProblem(
            "field given twice", f"field {twice!r} must be given once; it stands twice"
        )
    return made


def _as_object(value: object) -> object:
    """Return a mapping as it is and anything else as a problem."""
    if isinstance(value, dict):
        return value
    found = short(value)
    if isinstance(value, list):
        found = "a list (a file that is one JSON array must end in .json)"
    return RowProblem("not an object", f"a row must be a JSON object; got {found}")


def _starts_array(stream: io.BufferedIOBase) -> bool:
    """Say whether the first character that is no white space opens an array."""
    head = stream.read(4096).removeprefix(_BOM).lstrip()
    stream.seek(0)
    return head.startswith(b"[")


def _array_records(file: DataFile, stream: io.BufferedIOBase) -> Iterator[Record]:
    """Yield the items of a JSON array, which is loaded whole."""
    content = stream.read().removeprefix(_BOM)
    try:
        items = _items(content.decode())
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file.name}:{number}: not UTF-8: byte 0x{content[error.start]:02x}"
        ) from (error)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file.name}:{error.lineno}: not JSON: {error.msg} at column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file.name}: not JSON that can be read: {error}") from error
    for number, item in enumerate(items, 1):
        yield Record("item", number, item if isinstance(item, RowProblem) else _as_object(item))


def _items(text: str) -> list[Any]:
    """Return the items of a JSON array, problems in the place of those that have one."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RowProblem:  # one by one, to find the item
        plain, gap = json.JSONDecoder(), re.compile(r"[\s,]*")
        json.loads(text)  # what is no JSON is told of the whole file
    items: list[Any] = []
    at = _end(gap, text, text.index("[") + 1)
    while text[at] != "]":
        start = at
        _, at = plain.raw_decode(text, start)
        items.append(_parse_json(text[start:at]))
        at = _end(gap, text, at)
    return items


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Return where a match that may be empty ends."""
    found = pattern.match(text, start)
    assert found is not None
    return found.end()


def _csv_records(file: DataFile, stream: io.BufferedIOBase) -> Iterator[Record]:
    """Yield the rows below a header; a row is located by its first line."""
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_CELL))
    delimiter = "\t" if file.format == "tsv" else ","
    reader = csv.reader(_csv_lines(file, stream), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = 1
    try:
        for cells in reader:
            start, number = number, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = _check_header(file, cells)
            elif len(cells) == len(header):
                yield Record("line", start, nest_ratings(dict(zip(header, cells, strict=True))))
            else:
                found = f"a row must have {len(header)} cells as the header; got {len(cells)}"
                yield Record("line", start, RowProblem("wrong number of cells", found))
    except csv.Error as error:
        raise DataError(f"{file.name}:{number}: not CSV: {error}") from error


def _csv_lines(file: DataFile, stream: io.BufferedIOBase) -> Iterator[str]:
    """Yield decoded lines; a row may span several, so that one bad byte stops the file."""
    for number, line in _lines(stream):
        text = _decode(line)
        if isinstance(text, RowProblem):
            raise DataError(f"{file.name}:{number}: {text.text}")
        yield text


def _check_header(file: DataFile, cells: list[str]) -> list[str]:
    """Return the header, every named column once."""
    header = [cell.strip() for cell in cells]
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise DataError(f"{file.name}:1: a header must name a column once; got {twice[0]!r} twice")
    return header
