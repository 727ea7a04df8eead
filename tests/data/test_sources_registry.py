"""The list of published sets: complete, and each with what a user must know."""

import importlib
import pkgutil
import re

import pytest

from armorm.data import sources
from armorm.data.source import DataSource
from armorm.data.sources import published_set, published_sets
from armorm.data.sources.registry import MODULES
from armorm.errors import DataError

NAMES = {
    "rated": {
        "helpsteer",
        "helpsteer2",
        "ultrafeedback",
        "beavertails",
        "code-ultrafeedback",
        "prometheus",
        "capybara",
        "capybara-all",
        "openorca",
        "math-preference",
        "armorm-merged",
    },
    "pairs": {
        "helpsteer-pairs",
        "ultrafeedback-pairs",
        "shp",
        "hh-rlhf",
        "pku-saferlhf",
        "capybara-pairs",
        "math-preference-pairs",
        "code-ultrafeedback-pairs",
        "prm800k",
        "preference-collection",
        "helpsteer3",
        "skywork-reward-preference",
    },
}


def test_every_promised_set_is_there():
    found = {kind: {s.name for s in published_sets().values() if s.kind == kind} for kind in NAMES}
    for kind, names in NAMES.items():
        assert names <= found[kind]


def test_every_module_with_sets_is_listed_once():
    with_sets = {
        module.name
        for module in pkgutil.iter_modules(sources.__path__)
        if hasattr(importlib.import_module(f"armorm.data.sources.{module.name}"), "SETS")
    }
    assert set(MODULES) == with_sets
    assert len(MODULES) == len(with_sets)


def test_rated_sets_come_first():
    kinds = [one.kind for one in published_sets().values()]
    assert kinds == sorted(kinds, reverse=True)


@pytest.mark.parametrize("name", sorted(NAMES["rated"] | NAMES["pairs"]))
def test_a_set_says_what_a_user_must_know(name):
    one = published_set(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.name)
    assert one.licence
    assert one.link.startswith("https://")
    assert one.columns
    assert one.n_rows is None or one.n_rows > 0
    assert DataSource(f"hub:{one.hub}", split=one.split).hub is not None
    assert bool(one.scales) == (one.kind == "rated")


def test_an_unknown_set_is_refused_with_the_nearest():
    with pytest.raises(DataError, match=r"unknown data set 'helpster'; did you mean 'helpsteer"):
        published_set("helpster")
