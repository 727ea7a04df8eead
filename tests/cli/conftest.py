"""The command line in this process, on a bundle with a tiny encoder and random heads."""

import dataclasses
import json
import sys

import pytest

from armorm.cli.main import main
from bundles import encoder_backbone, make_bundle, saved


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        """Stdout as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def armorm(monkeypatch, capfd):
    """Run `armorm` with these arguments; a traceback fails the test."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["armorm", *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capfd.readouterr()
        return Done(int(left.value.code or 0), said.out, said.err)

    return run


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backbone") / "encoder"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory, backbone_folder):
    """Folder of a bundle; its backbone takes 64 tokens."""
    backbone = encoder_backbone(backbone_folder)
    return saved(tmp_path_factory.mktemp("run") / "bundle", make_bundle(backbone.facts()))


CONVERSATIONS = [
    {"id": "sum", "prompt": "What is 2 plus 2?", "response": "It is 4."},
    {
        "id": "sea",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the sea?"},
            {"role": "assistant", "content": "Salt water."},
        ],
    },
    {"prompt": "Is ice cold?", "response": "Yes, below 0 degrees."},
]
PAIRS = [
    {
        "id": f"pair-{i}",
        "prompt": f"What is {i} plus {i}?",
        "chosen": f"It is {2 * i}.",
        "rejected": "I do not know that.",
        "source": "general",
    }
    for i in range(24)
]
RATED = [
    {
        "id": f"rated-{i}",
        "prompt": f"What is {i // 2} plus 1?",
        "response": f"It is {i}, I say.",
        "source": "general",
        "ratings": {"helpfulness": i % 5, "honesty": (i * 3) % 5},
    }
    for i in range(24)
]


@pytest.fixture
def rows(tmp_path):
    """Write rows as JSON Lines and return the path."""

    def write(name, content):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
        return path

    return write


@pytest.fixture
def conversations(rows):
    return rows("conversations.jsonl", CONVERSATIONS)


@pytest.fixture
def pairs(rows):
    return rows("pairs.jsonl", PAIRS)


@pytest.fixture
def rated(rows):
    return rows("rated.jsonl", RATED)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to run in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
