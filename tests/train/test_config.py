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
    DerivedPairsRecipe,
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
        (RidgeRecipe, {"alphas": [1, 0]}, "every alpha must be from 1e-12 to 1e.12; got 0"),
        (RidgeRecipe, {"alphas": [float("nan")]}, "finite number"),
        # Numbers of which the arithmetic of a run was not finite, or torch gave up.
        (RidgeRecipe, {"alphas": [1e-300]}, "every alpha must be from 1e-12 to 1e.12; got 1e-300"),
        (GatingRecipe, {"temperature": 1e-300}, "greater than or equal to 0.000001"),
        (GatingRecipe, {"beta_init": 1e300}, "less than or equal to 1000000"),
        (GatingRecipe, {"learning_rate": 1e38}, "less than or equal to 10"),
        (GatingRecipe, {"max_steps": 10**400}, "less than or equal to 1000000000"),
        (GatingRecipe, {"hidden": [10**12]}, "every width must be from 1 to 16,384; got 1000000"),
        (GatingRecipe, {"hidden": [1] * 65}, "at most 64 items"),
        (ScaleRecipe, {"low": -1e308, "high": 1e308}, "greater than or equal to -1000000000"),
        (ScaleRecipe, {"low": 0, "high": 1, "divisor": 1e-320}, "greater than or equal to 0.00000"),
        (DerivedPairsRecipe, {"weights": {"a": 1e308}}, "less than or equal to 1000000"),
        (DerivedPairsRecipe, {"weights": {"a": 1}, "loss_weight": 1e-300}, "greater than or equal"),
        (EvaluationRecipe, {"resamples": 10**15}, "less than or equal to 1000000"),
        (Recipe, {"seed": 2**63}, "less than or equal to 9223372036854775807"),
        (Recipe, {"threads": 100_000}, "less than or equal to 1024"),
        (DebiasRecipe, {"nuisances": ["v", "v"]}, "every nuisance must stand once; got 'v' twice"),
        (GatingRecipe, {"hidden": [8, 0]}, "every width must be from 1 to 16,384; got 0"),
        (GatingRecipe, {"temperature": float("inf")}, "finite number"),
        (EvaluationRecipe, {"folds": 3, "rounds": 4}, "`rounds` must be at most `folds` = 3; got"),
        (EvaluationRecipe, {"folds": 2}, "greater than or equal to 3"),
        (DebiasRecipe, {"reference": "none"}, "'rated', 'pairs' or 'all'"),
    ],
)
def test_value_outside_its_range_is_named(part, values, text):
    with pytest.raises(ValidationError, match=text):
        part(**values)


@pytest.mark.parametrize(
    ("part", "values", "text"),
    [
        (GatingRecipe, {"temperature": True}, "valid number"),
        (GatingRecipe, {"temperature": "5"}, "valid number"),
        (GatingRecipe, {"max_steps": True}, "valid integer"),
        (GatingRecipe, {"max_steps": 5.0}, "valid integer"),
        (GatingRecipe, {"max_steps": "5"}, "valid integer"),
        (GatingRecipe, {"standardise": "yes"}, "valid boolean"),
        (FeaturesRecipe, {"layers": [True]}, "valid integer"),
        (RidgeRecipe, {"intercept": 1}, "valid boolean"),
        (SourceRecipe, {"path": "x", "values": {"yes": True}}, "valid number"),
    ],
)
def test_only_a_number_is_a_number_and_only_a_truth_value_a_truth_value(part, values, text):
    with pytest.raises(ValidationError, match=text):
        part(**values)


def test_whole_number_and_exponent_without_a_point_are_numbers():
    # YAML reads `1e-3` as a text.
    made = GatingRecipe(temperature=5, learning_rate="1e-3", weight_decay="+2E-1")
    assert (made.temperature, made.learning_rate, made.weight_decay) == (5.0, 0.001, 0.2)
    assert isinstance(made.temperature, float)


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
