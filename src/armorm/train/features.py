"""The features of a run: found in its folder, or extracted into it, alone or by shards."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch

from armorm.data import DataSource, Drops
from armorm.errors import FeatureError
from armorm.features.backbone import describe_backbone, load_backbone
from armorm.features.blocks import Shard
from armorm.features.extract import (
    WHOLE,
    extract_features,
    feature_fingerprint,
    how_extracted,
    made_with_other,
)
from armorm.features.feature_set import StoredFeatures
from armorm.features.interface import Backbone
from armorm.features.store import find_features
from armorm.train.config import Recipe, SourceRecipe
from armorm.train.folds import Watch
from armorm.train.given import GivenRidge
from armorm.train.inputs import Rows, read_rows
from armorm.train.output import scales_of
from armorm.train.place import FEATURES
from armorm.types import Conversation

RATED, PAIRS = "rated", "pairs"
"""Names of the feature sets of a run."""


class FeatureStep:
    """Extracts the feature sets of a recipe; the backbone is loaded at most once."""

    def __init__(self, recipe: Recipe, folder: Path, watch: Watch, *, shard: Shard = WHOLE) -> None:
        """Start without a backbone.

        Args:
            recipe: The checked recipe.
            folder: The run folder.
            watch: Called with (stage, done, total, rates).
            shard: Which of several processes this is.
        """
        self._recipe, self._folder, self._watch, self._shard = recipe, folder, watch, shard
        self._options = recipe.features.options(recipe.bad_rows)
        self._backbone: Backbone | None = None
        self._facts: dict[str, Any] | None = None
        self.notes: list[str] = []
        """Remarks for a person: other versions, an engine that was not used, halved budgets."""

    def facts(self) -> dict[str, Any]:
        """Return the facts of the backbone, without loading its weights."""
        if self._facts is None:
            self._facts = describe_backbone(**self._backbone_id())
        return self._facts

    def of(
        self, name: str, conversations: Sequence[Conversation]
    ) -> tuple[StoredFeatures | None, str]:
        """Find a finished feature set, or extract it.

        Args:
            name: `rated` or `pairs`.
            conversations: Its rows.

        Returns:
            The features, None where other shards have not finished theirs; and their
            fingerprint.

        Raises:
            FeatureError: the backbone cannot be loaded, or cannot take a row.
            StorageError: the disk is full or fails.
        """
        folder = self._folder / FEATURES / name
        settings = self._recipe.features
        how: dict[str, Any] = {
            "shard_rows": settings.shard_rows,
            "store_dtype": settings.store_dtype,
        }
        key = feature_fingerprint(self.facts(), conversations, options=self._options, **how)
        found = find_features(folder, fingerprint=key)
        if found is None:
            try:
                found = extract_features(
                    self._loaded(),
                    conversations,
                    folder=folder,
                    shard=self._shard,
                    progress=lambda *done: self._watch(f"features: {name}", *done),
                    **how,
                )
            except FeatureError as error:
                raise FeatureError(f"features of {name}: {error}") from error
        if found is not None:
            self._remark(name, folder, found)
        return found, key

    def _loaded(self) -> Backbone:
        """The backbone, loaded when it is first needed."""
        if self._backbone is None:
            device = self._recipe.backbone.device
            digest = self.facts()["digest"]
            self._backbone = load_backbone(**self._backbone_id(), device=device, digest=digest)
        return self._backbone

    def _remark(self, name: str, folder: Path, found: StoredFeatures) -> None:
        """Note what a reader of the features should know."""
        if (other := made_with_other(folder)) is not None:
            self.notes.append(f"the features of {name} {other}")
        for said in how_extracted(found.manifest):
            if said not in self.notes:
                self.notes.append(said)

    def _backbone_id(self) -> dict[str, Any]:
        """Arguments that name the backbone."""
        backbone = self._recipe.backbone
        return {
            "name": backbone.name,
            "revision": backbone.revision,
            "dtype": backbone.dtype,
            "options": self._options,
        }


def read_recipe_rows(recipe: Recipe, given: GivenRidge | None, drops: Drops) -> Rows:
    """Read and check every row of a recipe.

    Args:
        recipe: The checked recipe.
        given: The ridge head that it names, whose objectives and scales then hold.
        drops: Counts dropped rows.

    Returns:
        The rows.

    Raises:
        DataError: a row, an objective or a file is not what it must be.
        MissingDependency: data needs an extra.
    """
    return read_rows(
        [_source(s) for s in recipe.rated],
        [_source(s) for s in recipe.pairs],
        scales=given.scales if given else scales_of(recipe),
        objectives=given.objectives if given else recipe.objectives,
        bad_rows=recipe.bad_rows,
        drops=drops,
        decontaminate=[_source(s) for s in recipe.decontaminate],
        measured=() if given else recipe.debias.measured,
    )


def _source(part: SourceRecipe) -> DataSource:
    """A recipe's source as the readers take it."""
    return DataSource(**part.model_dump())


@contextlib.contextmanager
def threads(wanted: int | None) -> Generator[None]:
    """Use a number of CPU threads, and afterwards what there was before.

    Args:
        wanted: How many; None: as torch finds.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
