"""Errors say where, what must hold and what was found; near names are offered, not guessed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import armorm
from armorm import ArmormError, MissingDependency, RecipeError
from armorm.errors import nearest

NAMES = ["honesty", "helpfulness", "is_safe", "verbosity"]


@pytest.mark.parametrize(
    "name", ["BundleError", "DataError", "FeatureError", "StorageError", "RecipeError"]
)
def test_every_error_of_a_user_has_one_base(name):
    assert issubclass(getattr(armorm, name), ArmormError)


def test_a_missing_dependency_names_the_extra():
    text = r"^the plots needs the optional packages: pip install 'armorm\[plots\]'$"
    with pytest.raises(ArmormError, match=text):
        raise MissingDependency("the plots", "plots")


def test_a_recipe_error_keeps_every_mistake_one_a_line():
    error = RecipeError(f"{key}: must be there" for key in ("name", "backbone"))
    assert error.mistakes == ("name: must be there", "backbone: must be there")
    assert str(error) == "name: must be there\nbackbone: must be there"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("honest", "; did you mean 'honesty'?"),
        ("is_save", "; did you mean 'is_safe'?"),
        ("verbositty", "; did you mean 'verbosity'?"),
        ("q", "; known: 'honesty', 'helpfulness', 'is_safe', 'verbosity'"),
        ("", "; known: 'honesty', 'helpfulness', 'is_safe', 'verbosity'"),
    ],
)
def test_nearest_names(name, said):
    assert nearest(name, NAMES) == said


def test_two_near_names_are_both_offered():
    assert nearest("code_style", ["code-style", "codestyle"]).count("'") == 4


def test_names_from_an_iterator_are_all_listed():
    assert nearest("q", iter(NAMES)) == nearest("q", NAMES)


@settings(max_examples=30)
@given(st.sampled_from(NAMES), st.integers(0, 6))
def test_a_name_without_one_letter_is_found_again(name, place):
    place %= len(name)
    assert f"'{name}'" in nearest(name[:place] + name[place + 1 :], NAMES)
