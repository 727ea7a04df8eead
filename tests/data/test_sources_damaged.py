"""Records with any one value replaced: each becomes rows or is counted, and nothing breaks."""

import copy
import json
import math

import pytest

from armorm.data import DataSource, Drops, read_pairs, read_rated
from armorm.data.sources import convert_set, published_set
from armorm.errors import DataError
from paper_records import PAIRS
from rated_records import RECORDS

JUNK = (None, 3, 2.5, math.nan, True, "", "x", "N/A", "\ud800", [], [1], ["a", "b"], {}, {"a": 1})
"""What stands in the place of a value."""


def places(value, path=()):
    """Every place in a record, outermost first."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inside:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def replaced(record, path, junk):
    """The record with another value in one place."""
    changed = copy.deepcopy(record)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = junk
    return changed


@pytest.mark.parametrize("name", [*RECORDS, *PAIRS])
def test_a_damaged_value_is_used_or_counted(name, tmp_path):
    one, records = published_set(name), (RECORDS | PAIRS)[name]
    damaged = [replaced(r, path, junk) for r in records for path in places(r) for junk in JUNK]
    given, made = tmp_path / "given.jsonl", tmp_path / "made.parquet"
    # The first records are whole, so that the columns are there.
    lines = [json.dumps(record) for record in [*records, *damaged]]
    given.write_text("".join(line + "\n" for line in lines))
    drops = Drops()
    done = convert_set(one, output=made, source=DataSource(str(given)), drops=drops)
    assert done.n_records == len(lines)
    assert drops.total > 0
    source = [DataSource(str(made))]
    read = (
        read_rated(source, {name: one.scales}, drops=Drops())
        if one.kind == "rated"
        else read_pairs(source, drops=Drops())
    )
    assert len(read) == done.n_rows


def keys(value, path=()):
    """Every path of names in a record, list items taken together."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for key, inside in item.items():
                yield (*path, key)
                yield from keys(inside, (*path, key))


def renamed(value, path):
    """The record with the column at a path under another name."""
    if isinstance(value, list):
        return [renamed(item, path) for item in value]
    if not isinstance(value, dict) or path[0] not in value:
        return value
    key, *rest = path
    inside = renamed(value[key], rest) if rest else value[key]
    return {
        (k if k != key or rest else f"{k}_new"): inside if k == key else v for k, v in value.items()
    }


@pytest.mark.parametrize("name", [*RECORDS, *PAIRS])
def test_a_renamed_column_is_not_used_or_named(name, tmp_path):
    """None becomes another row: system prompts and overall scores once went missing so."""
    one, records = published_set(name), (RECORDS | PAIRS)[name]
    given, made = tmp_path / "given.json", tmp_path / "made.jsonl"

    def convert(written):
        given.write_text(json.dumps(written))
        convert_set(one, output=made, source=DataSource(str(given)), drops=Drops())
        return made.read_text()

    rows = convert(records)
    for path in dict.fromkeys(path for record in records for path in keys(record)):
        column = ".".join(path)
        try:
            assert convert([renamed(record, path) for record in records]) == rows, column
        except DataError as error:
            said = str(error)
            assert "needs the columns" in said, said
            assert f"{column}_new'" in said, said
