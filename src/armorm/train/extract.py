"""The first step of a run by itself, so that many processes can share it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from armorm.data import Drops
from armorm.features.blocks import Shard
from armorm.features.extract import WHOLE
from armorm.train.config import Recipe
from armorm.train.features import PAIRS, RATED, FeatureStep, read_recipe_rows, threads
from armorm.train.folds import Watch
from armorm.train.given import load_given_ridge
from armorm.train.inputs import count_unused, pair_conversations, rated_conversations
from armorm.train.place import check_place, hold_run


@dataclass(frozen=True, slots=True)
class Extraction:
    """What `extract` hands back."""

    n_rows: dict[str, int]
    """Conversations with features by feature set; only of sets that are finished."""
    missing: tuple[str, ...]
    """Feature sets of which other shards have not finished their part."""
    notes: tuple[str, ...]
    """Remarks for a person."""
    seconds: float
    """Wall time of this call."""

    @property
    def work(self) -> str:
        """One sentence on what is there now."""
        if self.missing:
            return (
                f"this shard is done in {self.seconds:.0f} s; {' and '.join(self.missing)} wait "
                "for other shards"
            )
        rows = ", ".join(f"{n:,} of {name}" for name, n in self.n_rows.items())
        return f"features are complete: {rows} conversations, in {self.seconds:.0f} s"


def extract(
    recipe: Recipe, folder: Path, *, shard: Shard = WHOLE, watch: Watch = lambda *_: None
) -> Extraction:
    """Extract the features of a recipe into its run folder, where `train` finds them.

    Every process of a sharded extraction is given the same recipe and folder. The bytes
    are those that one process would have left.

    Args:
        recipe: The checked recipe.
        folder: The run folder; made when absent.
        shard: Which of several processes this is.
        watch: Called with (stage, done, total, rates).

    Returns:
        What is there now.

    Raises:
        DataError: a row or a file is not what it must be.
        FeatureError: the backbone cannot be loaded or used.
        StorageError: the disk is full or fails; a run is using the folder.
        MissingDependency: data or backbone need an extra.
    """
    started = time.monotonic()
    with threads(recipe.threads):
        check_place(folder)
        given = load_given_ridge(recipe.ridge) if isinstance(recipe.ridge, str) else None
        drops = Drops()
        rows = read_recipe_rows(recipe, given, drops)
        n_read = len(rows.rated) + len(rows.pairs) + drops.total
        step = FeatureStep(recipe, folder, watch, shard=shard)
        if given is not None:
            given.check(step.facts())
        sets = {RATED: rated_conversations(rows), PAIRS: pair_conversations(rows)}
        n_rows: dict[str, int] = {}
        missing: list[str] = []
        with hold_run(folder, part="" if shard.count == 1 else str(shard)):
            for name, conversations in sets.items():
                if not conversations:
                    continue
                found, _ = step.of(name, conversations)
                if found is None:
                    missing.append(name)
                else:
                    n_rows[name] = len(found)
                    count_unused(found, name, drops, sides=2 if name == PAIRS else 1)
    notes = [*rows.decontamination.notes(), *step.notes]
    if drops.total or drops.total_truncated:
        notes.append(drops.sentence(n_read))
    return Extraction(n_rows, tuple(missing), tuple(notes), time.monotonic() - started)
