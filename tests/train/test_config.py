"""Defaults and ranges of a recipe's parts."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from armorm.data import DataSource
from armorm.features.interface import FeatureOptions
from armorm.heads.gating import GatingSettings
from armorm.train.config import (
    DebiasRecipe,
    EvaluationRecipe,
    FeaturesRecipe,
    GatingRecipe,
    Recipe,
    RidgeRecipe,
    ScaleRecipe,
    SourceRecipe,
)
from armorm.types import Scale


def defaults(kind):
    made = kind(path="x") if kind in (DataSource, SourceRecipe) else kind()
    if dataclasses.is_dataclass(made):
        return {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    return made.model_dump()


@pytest.mark.parametrize(
    ("part", "code", "only_code", "only_recipe"),
    [
        (FeaturesRecipe, FeatureOptions, {"bad_rows"}, {"shard_rows", "store_dtype"}),
        (GatingRecipe, GatingSettings, {"masked", "seed"}, set()),
        (SourceRecipe, DataSource, set(), set()),
    ],
)
def test_defaults_are_those_of_the_code_they_configure(part, code, only_code, only_recipe):
    ours, theirs = defaults(part), defaults(code)
    assert ours.keys() - theirs.keys() == only_recipe
    assert theirs.keys() - ours.keys() == only_code
    assert {n: v for n, v in ours.items() if n in theirs} == {
        n: v for n, v in theirs.items() if n in ours
    }


def test_scale_has_the_fields_of_the_scale_it_becomes():
    assert list(ScaleRecipe.model_fields) == [f.name for f in dataclasses.fields(Scale)]


def test_options_carry_every_setting_to_the_backbone():
    part = FeaturesRecipe(
        max_tokens=99, too_long="truncate", layers=(1, 2), blocks=("response",), normalise=True
    )
    options = part.options("drop")
    assert (options.max_tokens, options.too_long, options.bad_rows) == (99, "truncate", "drop")
    assert (options.layers, options.blocks, options.normalise) == ((1, 2), ("response",), True)


@pytest.mark.parametrize(
    ("part", "values", "text"),
    [
        (FeaturesRecipe, {"blocks": ["respons"]}, "unknown name 'respons'; did you mean 'respons"),
        (FeaturesRecipe, {"layers": [1, 1]}, "`layers` must be one or more different numbers"),
        (ScaleRecipe, {"low": 4, "high": 0}, r"`low` must be below `high`; got \(4, 0\)"),
        (ScaleRecipe, {"low": 0, "high": float("inf")}, "finite number"),
        (RidgeRecipe, {"alphas": [1, 0]}, "every alpha must be positive; got 0"),
        (RidgeRecipe, {"alphas": [float("nan")]}, "finite number"),
        (GatingRecipe, {"hidden": [8, 0]}, "every width must be at least 1; got 0"),
        (GatingRecipe, {"temperature": float("inf")}, "finite number"),
        (EvaluationRecipe, {"folds": 3, "rounds": 4}, "`rounds` must be at most `folds` = 3; got"),
        (EvaluationRecipe, {"folds": 2}, "greater than or equal to 3"),
        (DebiasRecipe, {"reference": "none"}, "'rated', 'pairs' or 'all'"),
    ],
)
def test_value_outside_its_range_is_named(part, values, text):
    with pytest.raises(ValidationError, match=text):
        part(**values)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6))
def test_alphas_become_an_ascending_grid_without_copies(alphas):
    grid = RidgeRecipe(alphas=tuple(alphas)).alphas
    assert list(grid) == sorted(set(alphas))


def test_objectives_of_equal_name_share_one_place():
    scale = {"low": 0, "high": 4}
    scales = {"a": {"x": scale, "y": scale}, "b": {"z": scale, "x": {"low": 1, "high": 5}}}
    recipe = Recipe(name="n", backbone={"name": "b"}, scales=scales)
    assert recipe.objectives == ("x", "y", "z")


def test_fingerprint_follows_every_setting():
    recipe = Recipe(name="n", backbone={"name": "b"})
    same = Recipe(name="n", backbone={"name": "b"}, seed=0)
    other = Recipe(name="n", backbone={"name": "b"}, gating={"temperature": 9.0})
    assert recipe.fingerprint() == same.fingerprint() != other.fingerprint()
