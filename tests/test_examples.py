"""What the README and the examples show is run as it is shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from armorm.data.quickstart import RECIPE, write_examples
from armorm.train.recipe import load_recipe
from armorm.train.run import train

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
COMMANDS = [
    line
    for line in re.findall(r"^armorm .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    if "runs/quickstart" in line
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a quick start whose bundle is quickly made: few folds and steps."""
    folder = tmp_path_factory.mktemp("readme")
    quick = ["evaluation.folds=3", "evaluation.rounds=1", "gating.max_steps=5"]
    train(load_recipe(RECIPE, quick), folder / "runs/quickstart")
    write_examples(folder / "runs/quickstart")
    return folder


def test_examples_are_short():
    assert len(EXAMPLES) == 5
    for path in EXAMPLES:
        assert len(path.read_text().splitlines()) < 80


def test_every_python_block_of_the_readme_compiles():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")


def test_recipe_of_the_quick_start_is_the_packaged_one():
    assert (ROOT / "recipes/quickstart.yaml").resolve() == RECIPE.resolve()


@pytest.mark.parametrize("recipe", sorted(p.name for p in (ROOT / "recipes").glob("*.yaml")))
def test_every_recipe_is_one(recipe):
    assert load_recipe(ROOT / "recipes" / recipe).name


def test_every_file_of_the_readme_tree_exists():
    text = (ROOT / "README.md").read_text()
    tree = text.split("## The files")[1].split("```text\n")[1].split("```")[0]
    named = re.findall(r"^((?:  )*)([\w./-]+)", tree, re.MULTILINE)
    parents = {}
    for indent, name in named:
        depth = len(indent) // 2
        parents[depth] = name
        path = ROOT.joinpath(*(parents[d] for d in range(depth)), name)
        assert path.exists(), path


def test_every_module_is_in_the_readme_tree():
    tree = (ROOT / "README.md").read_text().split("## The files")[1]
    for path in (ROOT / "src/armorm").rglob("*.py"):
        if path.name != "__init__.py":
            assert f" {path.name} " in tree, path


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(folder, example):
    done = subprocess.run(
        [sys.executable, example], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_readme_runs(folder, command):
    armorm = [sys.executable, "-m", "armorm", *command.split()[1:]]
    done = subprocess.run(armorm, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
