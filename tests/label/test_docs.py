"""What docs/labelling.md shows is what there is."""

import re
from pathlib import Path

from armorm import RewardModel
from armorm.label.formats import FORMATS
from armorm.label.select import PairRule
from armorm.label.shapes import SHAPES
from label_rows import lines, prompts

TEXT = (Path(__file__).resolve().parents[2] / "docs/labelling.md").read_text()


def first_column(heading):
    """Names in the first column of the table below a heading of it."""
    table = TEXT[TEXT.index(f"| {heading} |") :].split("\n\n")[0]
    return [found for row in table.splitlines()[2:] for found in re.findall(r"^\| `([^`]+)`", row)]


def test_tables_name_every_shape_format_and_rule():
    assert tuple(first_column("shape")) == SHAPES
    assert tuple(first_column("`--format`")) == FORMATS
    rules = [name.replace("K", "2").replace("M", "1") for name in first_column("`--pairs`")]
    assert [str(PairRule.parse(rule)) for rule in rules] == rules
    assert len(rules) == 5


def test_python_block_runs(model, write, tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(from armorm import .*?)```", TEXT, re.DOTALL)
    write(prompts(5), "in.jsonl")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RewardModel, "load", lambda _: model)
    exec(compile(block, "labelling.md", "exec"), {})
    assert len(lines(tmp_path / "out.jsonl")) == 5
