"""What the README and the examples show is run as it is shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import file_tree
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
    assert len(EXAMPLES) == 7
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
    folder = ROOT
    for indent, name in re.findall(r"^((?:  )?)([\w./-]+)", tree, re.MULTILINE):
        path = (folder if indent else ROOT) / name
        assert path.exists(), path
        folder = folder if indent else path


def test_page_of_the_modules_is_that_of_their_docstrings():
    assert file_tree.PAGE.read_text() == file_tree.page(), "run python tests/file_tree.py"


def test_table_of_what_it_works_with_names_versions_and_tests_that_are_there():
    table = (ROOT / "README.md").read_text().split("## Works with")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| ") and not line.startswith(("| with", "| ---"))
    ]
    pins = dict(
        line.split("==")
        for name in ("constraints.txt", "constraints-compat.txt")
        for line in (ROOT / name).read_text().splitlines()
        if "==" in line
    )
    newest = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    tested = {pins["transformers"], newest["transformers"]}
    assert len(rows) > 10
    for who, version, _, test in rows:
        if who == "Transformers":
            assert version in tested
        elif who.lower() in newest:
            assert version == newest[who.lower()], who
        for name in re.findall(r"`(tests/[^`]+)`", test):
            path, _, function = name.partition("::")
            assert f"def {function}" in (ROOT / path).read_text(), name


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
