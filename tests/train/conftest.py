"""A small project in a folder: rows, a recipe and a backbone with random weights."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest
import yaml

from armorm.train.recipe import load_recipe
from armorm.train.run import train
from fakes import save_tiny_encoder

WORDS = ("the", "sea", "is", "wide", "blue", "cold", "old", "red", "green", "salt", "ship")
FOLDS = 3


def rated_rows(n=60):
    """Two responses to each of n / 2 prompts; longer ones are more verbose."""
    draw = random.Random(0)
    rows = []
    for i in range(n):
        n_words = draw.randint(2, 12)
        ratings = {
            "good": draw.randint(0, 4),
            "kind": draw.randint(1, 5),
            "verbosity": min(4, n_words // 3),
        }
        text = " ".join(draw.choices(WORDS, k=n_words))
        rows.append(
            {
                "id": f"r{i}",
                "source": "s",
                "prompt": f"Question {i // 2}?",
                "response": f"{text} {i}",
                "ratings": ratings,
            }
        )
    return rows


def pair_rows(n=30):
    """One pair to each prompt; the chosen responses end in another word."""
    draw = random.Random(1)

    def text(end):
        return " ".join([*draw.choices(WORDS, k=draw.randint(2, 9)), end])

    return [
        {
            "id": f"p{i}",
            "source": "s",
            "prompt": f"Pair {i}?",
            "chosen": text("yes"),
            "rejected": text("no"),
        }
        for i in range(n)
    ]


class Project:
    """Rows and a recipe that a test may change before it writes them."""

    def __init__(self, folder: Path, backbone: Path) -> None:
        self.folder = folder
        self.rated, self.pairs = rated_rows(), pair_rows()
        self.recipe = {
            "name": "tiny",
            "backbone": str(backbone),
            "scales": {"s": {"good": [0, 4], "kind": [1, 5], "verbosity": [0, 4]}},
            "rated": "rated.jsonl",
            "pairs": "pairs.jsonl",
            "features": {"shard_rows": 16},
            "ridge": {"alphas": [0.1, 1.0, 10.0, 100.0]},
            "gating": {"hidden": [4], "max_steps": 10, "eval_every": 5, "patience": 1},
            "evaluation": {"folds": FOLDS, "resamples": 100},
        }

    def write(self) -> Path:
        """Write everything; return the path of the recipe."""
        for name, rows in (("rated", self.rated), ("pairs", self.pairs)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (self.folder / f"{name}.jsonl").write_text(text)
        path = self.folder / "recipe.yaml"
        path.write_text(yaml.safe_dump(self.recipe, sort_keys=False))
        return path

    def train(self, *overrides, folder="run", watch=lambda *_: None):
        """Write everything and run the recipe."""
        return train(load_recipe(self.write(), overrides), self.folder / folder, watch=watch)


def digests(folder):
    """SHA-256 by path of every file in a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """Folder of a BERT with random weights."""
    return save_tiny_encoder(tmp_path_factory.mktemp("backbone") / "encoder")


@pytest.fixture
def project(tmp_path, encoder):
    """A project of its own for a test."""
    return Project(tmp_path, encoder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, encoder):
    """A project that was run once; tests only look at it."""
    made = Project(tmp_path_factory.mktemp("trained"), encoder)
    made.run = made.train()
    return made


@pytest.fixture
def copied(trained, project):
    """A project of its own with a finished run in it."""
    shutil.copytree(trained.folder / "run", project.folder / "run")
    return project


@pytest.fixture
def content():
    """The function that tells folders apart byte by byte."""
    return digests


@pytest.fixture
def armorm(monkeypatch, capsys):
    """Run the command line in this process; gives exit code, stdout and stderr lines."""
    from armorm.cli.main import main

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["armorm", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err.splitlines()

    return call


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory):
    """The shipped recipe, run once; takes minutes, so only slow tests ask for it."""
    from armorm.data.quickstart import RECIPE

    return train(load_recipe(Path(RECIPE)), tmp_path_factory.mktemp("quickstart") / "run")
