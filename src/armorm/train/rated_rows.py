"""The rated rows of a finished run, with their features, found beside its bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from armorm.data import Drops
from armorm.errors import ArmormError, DataError, FeatureError
from armorm.explain.nearest import NoRows, RatedRows
from armorm.features.extract import feature_fingerprint
from armorm.features.store import open_features, read_manifest
from armorm.model.bundle import Bundle
from armorm.storage import fingerprint
from armorm.train.config import Recipe
from armorm.train.features import RATED, read_recipe_rows
from armorm.train.given import load_given_ridge
from armorm.train.inputs import Rows, rated_conversations
from armorm.train.output import rated_fingerprint
from armorm.train.place import DONE, FEATURES, RECIPE
from armorm.train.recipe import load_recipe

HOW_TO_GIVE = "`--rated FILE` gives some"
"""What to do where a run has no rated rows to show."""


def rows_of_run(folder: Path, bundle: Bundle, *, lenient: bool = False) -> RatedRows | NoRows:
    """Open the rated rows that a bundle was trained on, where its run folder is still there.

    The features stay on disk and are read when they are needed; every byte of them is checked
    against its digest, and the rated files against what the run was trained on.

    Args:
        folder: The bundle; its run folder is the folder above it.
        bundle: The same, loaded.
        lenient: Whether rows that cannot be used are a reason for having none, and no error.

    Returns:
        The rows, or why there are none.

    Raises:
        DataError: the rated files cannot be read, or have changed since.
        FeatureError: the features are damaged, or of another backbone than the bundle's.
        RecipeError: the recipe of the run cannot be read.
        BundleError: the ridge head that the recipe names cannot be read.
    """
    try:
        return _rows_of_run(folder.resolve().parent, bundle)
    except ArmormError as error:
        if not lenient:
            raise
        return NoRows(f"No rated rows are at hand: {error}.")


def _rows_of_run(run: Path, bundle: Bundle) -> RatedRows | NoRows:
    """The rows of a run folder, or why there are none."""
    if not all((run / name).is_file() for name in (DONE, RECIPE)):
        return _none("the bundle is not in the folder of its run")
    recipe = load_recipe(run / RECIPE)
    if not recipe.rated:
        return _none(f"{run / RECIPE} names none")
    for path in (source.path for source in recipe.rated):
        if ":" not in path and not Path(path).expanduser().exists():
            return _none(f"{path} is no longer there")
    manifest = read_manifest(run / FEATURES / RATED)
    if manifest is None:
        return _none(f"{run / FEATURES / RATED} has no features")
    _check_backbone(run, manifest["backbone"], bundle)
    given = load_given_ridge(recipe.ridge) if isinstance(recipe.ridge, str) else None
    rows = read_recipe_rows(recipe, given, Drops())
    found = open_features(
        run / FEATURES / RATED, fingerprint=_feature_key(recipe, rows, manifest["backbone"])
    )
    place = {} if found is None else {id: i for i, id in enumerate(found.ids)}
    kept = [row for row in rows.rated if row.id in place]
    if found is None or _ratings_of(run) not in (None, rated_fingerprint(kept)):
        raise DataError(
            f"{run}: the rated files of its recipe must be those it was trained on; they have "
            f"changed since: train again, or give rated rows with `--rated FILE`, or none with "
            "`--neighbours 0`"
        )
    features = found.response.chosen(torch.tensor([place[row.id] for row in kept]))
    return RatedRows(kept, features, scales=rows.scales, measured=bundle.measured)


def _ratings_of(run: Path) -> str | None:
    """Fingerprint of the ratings that the run was trained on; None where it was not kept."""
    try:
        return json.loads((run / DONE).read_bytes()).get("rated")
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise DataError(f"{run / DONE}: must be the JSON object of a finished run") from error


def _feature_key(recipe: Recipe, rows: Rows, backbone: dict[str, Any]) -> str:
    """What the features of these rows are known by."""
    return feature_fingerprint(
        backbone,
        rated_conversations(rows),
        options=recipe.features.options(recipe.bad_rows),
        shard_rows=recipe.features.shard_rows,
        store_dtype=recipe.features.store_dtype,
    )


def _check_backbone(run: Path, backbone: dict[str, Any], bundle: Bundle) -> None:
    """Refuse features that the heads of the bundle do not belong to."""
    for name in ("digest", "dtype", "options"):
        ours, theirs = (fingerprint(facts[name]) for facts in (bundle.backbone, backbone))
        if ours != theirs:
            raise FeatureError(
                f"{run / FEATURES / RATED}: must be features of the backbone of the bundle; "
                f"their {name} is another: give rated rows with `--rated FILE`, or none with "
                "`--neighbours 0`"
            )


def _none(why: str) -> NoRows:
    """No rows, why, and what can be done."""
    return NoRows(f"No rated rows are at hand: {why}; {HOW_TO_GIVE}.")
