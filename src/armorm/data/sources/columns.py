"""Whether a record has the columns that a published data set had when its converter was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armorm.data.sources.interface import PublishedSet
from armorm.errors import DataError


def check_columns(published: PublishedSet, record: Mapping[str, Any], where: str) -> None:
    """Check the columns of a first record.

    Args:
        published: The data set, with the columns that it must have.
        record: The record.
        where: Its place, for the message.

    Raises:
        DataError: a column is missing; all that are missing and all that are there are named.

    Example:
        >>> from armorm.data.sources.beavertails import SETS
        >>> check_columns(SETS[0], {"prompt": "a", "response": "b", "is_safe": True}, "a.jsonl:1")
    """
    missing = [name for name in published.columns if not _has(record, name.split("."))]
    if missing:
        raise DataError(
            f"{where}: `{published.name}` needs the columns {_listed(published.columns)}; "
            f"missing {_listed(missing)}; found {_listed(_found(record, missing)) or 'none'} "
            f"(documented at {published.link})"
        )


def _has(value: Any, path: Sequence[str]) -> bool:
    """Whether a path leads somewhere; null and an empty list say nothing about what is in them."""
    if not path or value is None:
        return True
    if isinstance(value, list):
        return not value or _has(value[0], path)
    return isinstance(value, Mapping) and path[0] in value and _has(value[path[0]], path[1:])


def _found(record: Mapping[str, Any], missing: Sequence[str]) -> list[str]:
    """Names at the top, and inside the last object on the way to each name that is missing."""
    names = list(record)
    for name in missing:
        inside: Any = record
        place = ""
        for part in name.split("."):
            if not isinstance(inside, Mapping) or part not in inside:
                break
            inside = inside[part]
            inside = inside[0] if isinstance(inside, list) and inside else inside
            place += f"{part}."
        if place and isinstance(inside, Mapping):
            names += [f"{place}{key}" for key in inside]
    return list(dict.fromkeys(names))


def _listed(names: Sequence[str]) -> str:
    """Names in quotes."""
    return ", ".join(map(repr, names))
