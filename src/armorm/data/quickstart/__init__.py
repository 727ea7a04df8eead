"""The shipped corpus, the recipe that trains on it, and a few fresh rows to try the model on."""

from __future__ import annotations

from pathlib import Path

from armorm.storage import write_bytes

_HERE = Path(__file__).parent

RECIPE = _HERE / "recipe.yaml"
"""The recipe of `armorm demo`."""
EXAMPLES = ("kettle", "recursion", "landlord", "refund")
"""Ids of the fresh preference pairs; they are not part of the corpus."""


def write_examples(folder: Path) -> Path:
    """Write the fresh preference pairs where a person can edit them.

    Args:
        folder: Folder of a run.

    Returns:
        The file.
    """
    path = folder / "example-pairs.jsonl"
    if not path.exists():
        write_bytes(path, (_HERE / "examples.jsonl").read_bytes())
    return path
