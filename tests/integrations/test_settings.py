"""The environment names the model; what cannot be read is said with its variable."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from armorm.integrations.settings import (
    cached_scorer,
    check_names,
    parse_weights,
    scorer_from_environment,
    unscored_from_environment,
)
from armorm.integrations.shared import RowScorer


def test_settings_are_read(settings, bundle):
    settings(bundle=bundle, device="cpu", weights="honesty=1,verbosity=-0.5", values="raw")
    scorer = scorer_from_environment()
    assert scorer.model == str(bundle)
    assert (scorer.device, scorer.values) == ("cpu", "raw")
    assert scorer.weights == {"honesty": 1.0, "verbosity": -0.5}


def test_the_same_settings_are_the_same_model(settings, bundle):
    settings(bundle=bundle)
    first = scorer_from_environment()
    assert scorer_from_environment() is first
    settings(device="cpu")
    assert scorer_from_environment() is not first


def test_threads_that_ask_at_once_get_the_same_model(settings, monkeypatch):
    # Regression: OpenRLHF and verl call in threads; two that came first loaded a model each.
    both, making = threading.Event(), []

    class Slow(RowScorer):
        def __post_init__(self):
            making.append(self)
            if len(making) == 1:
                both.wait(0.2)  # until the other thread is here as well, which it must not be
            both.set()

    monkeypatch.setattr("armorm.integrations.settings.RowScorer", Slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: cached_scorer("bundle"), range(2))
    assert first is second
    assert len(making) == 1


def test_another_place_of_the_backbone_is_used(settings, bundle, loaded, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(loaded.bundle.backbone["name"], copy)
    settings(bundle=bundle, backbone=copy, device="cpu")
    assert scorer_from_environment().scorer().backbone.name == str(copy)


def test_weights_as_json():
    assert parse_weights('{"honesty": 1, "a=b,c": 2.5}') == {"honesty": 1.0, "a=b,c": 2.5}
    # The last equals sign divides: names of data sets hold some.
    assert parse_weights("a=b=2") == {"a=b": 2.0}


def test_the_reward_of_unscored_rows_is_a_number_or_nothing(settings):
    assert unscored_from_environment() is None
    settings(unscored="-1.5")
    assert unscored_from_environment() == -1.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "`ARMORM_BUNDLE` must name the folder or hub id of a bundle; it is not set"),
        ({"bundle": " "}, "`ARMORM_BUNDLE` must name the folder or hub id of a bundle"),
        (
            {"bundle": "b", "weights": "honesty"},
            "`ARMORM_WEIGHTS` must be name=number,name=number, every name once; got 'honesty'",
        ),
        (
            {"bundle": "b", "weights": "a=1,a=2"},
            "`ARMORM_WEIGHTS` must be name=number,name=number, every name once; got 'a=2'",
        ),
        (
            {"bundle": "b", "weights": "a=much"},
            "`ARMORM_WEIGHTS` must be a finite number; got 'much'",
        ),
        (
            {"bundle": "b", "weights": '{"a": true}'},
            "`ARMORM_WEIGHTS` must be a finite number; got True",
        ),
        ({"bundle": "b", "weights": "{a"}, "`ARMORM_WEIGHTS` must be a JSON object"),
        ({"bundle": "b", "values": "mean"}, "`values` must be 'debiased' or 'raw'; got 'mean'"),
    ],
)
def test_settings_that_cannot_be_read_are_refused(settings, values, message):
    settings(**values)
    with pytest.raises(ValueError, match=message):
        scorer_from_environment()


def test_a_reward_of_unscored_rows_that_is_no_number_is_refused(settings):
    settings(unscored="nan")
    with pytest.raises(ValueError, match="`ARMORM_UNSCORED` must be a finite number; got 'nan'"):
        unscored_from_environment()


def test_an_objective_with_a_reserved_name_is_refused():
    check_names(("honesty",), {"score": "the reward"})
    with pytest.raises(
        ValueError, match="an objective must not be called 'score', which is the reward here"
    ):
        check_names(("honesty", "score"), {"score": "the reward"})
