"""All published data sets by name."""

from __future__ import annotations

import importlib
from functools import cache

from armorm.data.sources.interface import PublishedSet
from armorm.errors import DataError, nearest

MODULES = (
    "helpsteer",
    "ultrafeedback",
    "beavertails",
    "code_ultrafeedback",
    "prometheus_feedback",
    "capybara",
    "openorca",
    "math_preference",
    "armorm_merged",
    "helpsteer_pairs",
    "ultrafeedback_pairs",
    "shp",
    "hh_rlhf",
    "pku_saferlhf",
    "capybara_pairs",
    "math_preference_pairs",
    "openorca_pairs",
    "code_ultrafeedback_pairs",
    "prm800k",
    "preference_collection",
    "helpsteer3",
    "skywork",
    "rlhflow_pairs",
)
"""Modules of this package with a tuple `SETS`, in the order in which their sets are listed."""


@cache
def published_sets() -> dict[str, PublishedSet]:
    """Return all published data sets.

    Returns:
        Data set by name, rated ones first.
    """
    found: dict[str, PublishedSet] = {}
    for module in MODULES:
        sets: tuple[PublishedSet, ...] = importlib.import_module(
            f"armorm.data.sources.{module}"
        ).SETS
        for published in sets:
            assert published.name not in found, published.name
            found[published.name] = published
    return found


def published_set(name: str) -> PublishedSet:
    """Return one published data set.

    Args:
        name: Its name on the command line.

    Returns:
        The data set.

    Raises:
        DataError: there is none of that name.

    Example:
        >>> published_set("helpsteer").hub
        'nvidia/HelpSteer'
    """
    sets = published_sets()
    if name not in sets:
        raise DataError(f"unknown data set {name!r}{nearest(name, sets)}")
    return sets[name]
