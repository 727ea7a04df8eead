"""The table on published data: its recipe, its cells, and that the page quotes a stored run."""

import importlib
import json
import os
from pathlib import Path

import pytest

from armorm.data import DataSource, Drops, read_pairs, read_rated
from armorm.evaluate.baselines import SCORERS
from armorm.train.output import scales_of
from armorm.train.recipe import load_recipe

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGE = ROOT / "docs/real-data.md"
DATA = os.environ.get("ARMORM_REAL_DATA")


@pytest.fixture(scope="module")
def real_data():
    """The benchmark, whose folder is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("real_data")


@pytest.fixture(scope="module")
def stored():
    """The newest stored run in its full form."""
    found = sorted((ROOT / "benchmarks/results").glob("real-data_*.json"))
    return json.loads(found[-1].read_text())


def ends(value, low, high):
    return {"value": value, "low": low, "high": high}


def one_file(**scorers):
    return {"n_pairs": 1234, "n_prompts": 567, "not_used": {}, "scorers": scorers}


def test_the_recipe_leaves_out_the_prompts_of_every_evaluation_file(real_data):
    recipe = load_recipe(real_data.RECIPE)
    names = [Path(source.path).name.removesuffix(".jsonl.gz") for source in recipe.decontaminate]
    assert tuple(names) == real_data.EVALUATION
    trained_on = {Path(s.path).name for s in (*recipe.rated, *recipe.pairs)}
    assert not trained_on & {f"{name}.jsonl.gz" for name in real_data.EVALUATION}


def test_differences_beyond_noise_are_marked_in_the_table(real_data):
    # By hand: shares times 100, one decimal; a difference of [.01, .05] is above the gated model,
    # one of [-.05, -.01] below, one of [-.01, .05] neither.
    result = {
        "evaluation": {
            "made up": one_file(
                **{
                    "gated": {**ends(0.5, 0.4, 0.6), "difference": None},
                    "uniform mean": {
                        **ends(0.53, 0.43, 0.63),
                        "difference": ends(0.03, 0.01, 0.05),
                    },
                    "black-box head": {
                        **ends(0.47, 0.37, 0.57),
                        "difference": ends(-0.03, -0.05, -0.01),
                    },
                    "longer wins": {
                        **ends(0.52, 0.42, 0.62),
                        "difference": ends(0.02, -0.01, 0.05),
                    },
                }
            )
        }
    }
    assert real_data.table_of(result) == [
        "| pairs (prompts) | gated | uniform mean | black-box head | longer wins |",
        "| --- | --- | --- | --- | --- |",
        "| made up, 1,234 (567) | 50.0 [40.0, 60.0] | 53.0 [43.0, 63.0] > | 47.0 [37.0, 57.0] < "
        "| 52.0 [42.0, 62.0] |",
    ]


def test_objectives_stand_best_first_and_undefined_ones_last(real_data):
    result = {
        "mean_spearman": ends(0.25, 0.2, 0.3),
        "objectives": {
            "constant": {"n": 9, **ends(None, None, None)},
            "few": {"n": 15, **ends(-0.1, None, None)},
            "good": {"n": 1500, **ends(0.5, 0.45, 0.55)},
        },
    }
    assert real_data.objectives_of(result)[2:] == [
        "| mean |  | 0.25 [0.20, 0.30] |",
        "| good | 1,500 | 0.50 [0.45, 0.55] |",
        "| few | 15 | -0.10 |",
        "| constant | 9 | undefined |",
    ]


def test_the_page_quotes_the_stored_run(real_data, stored):
    lines = PAGE.read_text().splitlines()
    for table in (real_data.table_of, real_data.objectives_of, real_data.left_out_of):
        for line in table(stored):
            assert line in lines
    readme = README.read_text().splitlines()
    assert all(line in readme for line in real_data.table_of(stored))


def test_the_stored_run_has_every_file_and_every_rival(real_data, stored):
    assert not stored["fast"]
    assert tuple(stored["evaluation"]) == real_data.EVALUATION == tuple(stored["left_out"])
    for one in stored["evaluation"].values():
        assert {"gated", "gate without debias", "uniform mean", "best fixed weights"} <= one[
            "scorers"
        ].keys()
        assert {"black-box head", "longer wins"} <= one["scorers"].keys() <= SCORERS.keys()


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="ARMORM_REAL_DATA names no folder with the files")
def test_every_row_of_the_published_files_is_read(real_data):
    recipe = load_recipe(real_data.RECIPE)
    drops = Drops()

    def located(sources):
        return [
            DataSource(**{**s.model_dump(), "path": str(Path(DATA) / Path(s.path).name)})
            for s in sources
        ]

    rated = read_rated(located(recipe.rated), scales_of(recipe), drops=drops)
    pairs = read_pairs(located(recipe.pairs), drops=drops)
    assert (len(rated), len(pairs), drops.total) == (14454, 4471, 0)
