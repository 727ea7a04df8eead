"""Rows of candidates for tests of labelling, and what a labelling has left."""

import json
import os
import signal
from pathlib import Path

from armorm.errors import BundleError
from armorm.model.reward import RewardModel
from bundles import make_bundle
from fakes import HashBackbone


def prompts(n, n_responses=3):
    """Rows with a prompt and several responses of different lengths."""
    return [
        {
            "prompt": f"What is {i} plus {i}?",
            "responses": [f"It is {2 * i + j}, " + "surely " * j for j in range(n_responses)],
        }
        for i in range(n)
    ]


def lines(path):
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def content(folder):
    """Bytes of every file below a folder but the locks, by its name there."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock")
    }


class CountingBackbone(HashBackbone):
    """Counts the rows whose features were computed, copies of it included."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.computed = []

    def features(self, rows, *, token_budget=None):
        self.computed.extend(rows)
        return super().features(rows, token_budget=token_budget)


class DyingBackbone(HashBackbone):
    """Kills its process in the middle of the work, once."""

    def __init__(self, marker):
        super().__init__()
        self.marker = Path(marker)

    def features(self, rows, *, token_budget=None):
        self.n_rows += len(rows)
        if self.n_rows > 12:
            try:
                self.marker.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().features(rows, token_budget=token_budget)


def load(backbone):
    """A reward model with random heads, as a process of its own makes it."""
    return RewardModel(make_bundle(backbone.facts()), backbone)


def fail():
    """What loads a model that is not there."""
    raise BundleError("bundle: not a bundle")
