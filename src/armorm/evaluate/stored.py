"""Figures that were written as JSON, read again with every check of their schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError

from armorm.errors import DataError

Figures = TypeVar("Figures", bound=BaseModel)


def read_figures(file: Path, figures: type[Figures], *, schemas: Sequence[int]) -> Figures:
    """Read what a report or an audit holds.

    Args:
        file: A JSON file with an object that has a `schema`.
        figures: Type of its content.
        schemas: Versions that this type can hold, the one that it describes last.

    Returns:
        The figures, of the newest version whatever the file's; null ones are NaN.

    Raises:
        DataError: there is no such file; it is not JSON; its schema is another; a field
            is missing, unknown or of another type (the first one is named).
    """
    try:
        content: object = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: must be a JSON file in UTF-8; {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: must hold a JSON object; found {type(content).__name__}")
    content, newest = cast("dict[str, object]", content), schemas[-1]
    version = content.get("schema")
    if version not in schemas or isinstance(version, bool):
        newer = isinstance(version, int) and version > newest
        raise DataError(
            f"{file}: `schema` must be {' or '.join(map(str, schemas))}; found {version!r}"
            + (", written by a newer armorm" if newer else "")
        )
    try:
        return figures.model_validate({**content, "schema": newest})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{file}: `{where}` does not fit the schema: {first['msg'].lower()}; "
            f"found {_short(first['input'])}"
        ) from error


def _short(value: object) -> str:
    """A value as it is shown in an error, never longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
