"""Rated rows of any file, with features computed for a model."""

from __future__ import annotations

from collections.abc import Callable

from armorm.data import Drops, as_source, read_rated
from armorm.explain.nearest import RatedRows
from armorm.features.extract import compute_features
from armorm.model.reward import RewardModel
from armorm.model.rows import rows_of


def rows_of_file(
    model: RewardModel, path: str, *, progress: Callable[[int, int], None] | None = None
) -> RatedRows:
    """Read rated rows and compute their features, in memory.

    Args:
        model: The reward model; its bundle knows the scales.
        path: File, folder or hub id.
        progress: Called with (rows done, rows in all).

    Returns:
        The rows.

    Raises:
        DataError: a bad row; a source or objective that the bundle does not know.
        FeatureError: the backbone cannot take a row.
    """
    rows = read_rated([as_source(path)], model.bundle.scales, drops=Drops())
    with rows_of(path):
        features = compute_features(
            model.backbone, [row.conversation for row in rows], progress=progress
        )
    return RatedRows(rows, features.response, scales=model.bundle.scales)
