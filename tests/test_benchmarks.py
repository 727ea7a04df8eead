"""The README quotes figures of benchmarks that are stored, and no others."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROWS = re.findall(
    r"^\| .* \| ([\d.,]+)(?: times| GiB)? \| `python benchmarks/(\w+)\.py[ \w-]*` \| `(\w+)` \|$",
    (ROOT / "README.md").read_text(),
    re.MULTILINE,
)


def stored(name):
    """The stored results of a benchmark in its full form."""
    found = sorted((ROOT / "benchmarks/results").glob(f"{name}[-_]*.json"))
    return [r for r in map(json.loads, (f.read_text() for f in found)) if not r["fast"]]


def test_the_readme_has_a_table_of_every_benchmark():
    assert {name for _, name, _ in ROWS} == {"extract", "score", "ridge", "gating"}
    # A row that is written in another way would be held against nothing.
    assert len(ROWS) == (ROOT / "README.md").read_text().count("| `python benchmarks/")


@pytest.mark.parametrize(("figure", "name", "key"), ROWS)
def test_figure_of_the_readme_is_a_stored_one(figure, name, key):
    digits = len(figure.partition(".")[2])
    values = [result[key] for result in stored(name)]
    assert values
    assert figure in {f"{value:,.{digits}f}" for value in values}


def test_stored_results_say_where_they_are_from():
    found = sorted((ROOT / "benchmarks/results").glob("*.json"))
    assert found
    for path in found:
        result = json.loads(path.read_text())
        assert {"benchmark", "commit", "date", "versions", "hardware", "fast"} <= result.keys()
        assert {"torch", "python"} <= result["versions"].keys()
        assert {"cpu", "cores", "threads", "device"} <= result["hardware"].keys()
