"""Small files and scales that the tests of the readers share."""

import json

import pytest

from armorm.data import Drops
from armorm.types import Scale

RATED = {
    "id": "a",
    "prompt": "What is 2 + 2?",
    "response": "4",
    "source": "general",
    "ratings": {"helpfulness": 3, "honesty": 0.5},
}
PAIR = {"id": "p", "prompt": "What is 2 + 2?", "chosen": "4", "rejected": "5"}


@pytest.fixture
def scales():
    return {
        "general": {"helpfulness": Scale(0, 4), "honesty": Scale(0, 4)},
        "safety": {"is_safe": Scale(0, 1)},
    }


@pytest.fixture
def drops():
    return Drops()


@pytest.fixture
def rated():
    """Make a rated row, with changes; `...` takes a field away."""
    return lambda **changes: _changed(RATED, changes)


@pytest.fixture
def pair():
    """Make a pair, with changes; `...` takes a field away."""
    return lambda **changes: _changed(PAIR, changes)


@pytest.fixture
def jsonl(tmp_path, monkeypatch):
    """Write rows, or lines as they are, into a file of the current folder; return its name."""
    monkeypatch.chdir(tmp_path)

    def write(*rows, name="f.jsonl"):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return name

    return write


def _changed(row, changes):
    merged = {**row, **changes}
    return {key: value for key, value in merged.items() if value is not ...}
