"""The quick start end to end: the figures that the shipped corpus must reach."""

import json
import math

import pytest
import torch
import yaml
from scipy.stats import spearmanr

from armorm.data.quickstart import RECIPE
from armorm.evaluate.report import read_report
from armorm.features.store import load_features
from armorm.model.bundle import load_bundle
from armorm.train.recipe import load_recipe

BASELINES = {
    "gate without debias",
    "uniform mean",
    "best fixed weights",
    "black-box head",
    "longer wins",
}

pytestmark = pytest.mark.slow


def test_objective_scores_follow_the_ratings(quickstart):
    report = quickstart.report
    assert report.mean_spearman.value >= 0.36
    assert [row.n for row in report.objectives] == [240] * 13
    names = load_recipe(RECIPE).objectives
    assert tuple(row.name for row in report.objectives) == names
    mean = sum(row.spearman.value for row in report.objectives) / 13
    assert report.mean_spearman.value == pytest.approx(mean, abs=1e-9)


def test_gated_model_keeps_up_with_the_best_baseline(quickstart):
    rows = {row.scorer: row for row in quickstart.report.preferences}
    gated = rows.pop("gated")
    assert rows.keys() == BASELINES
    assert all(row.n == 200 for row in rows.values())
    assert gated.accuracy.value >= 0.70
    best = max(rows.values(), key=lambda row: row.accuracy.value)
    # The difference to the gated model, whose interval must reach down to no difference.
    assert best.difference_to_gated.low <= 0
    assert best.difference_to_gated.value == pytest.approx(
        best.accuracy.value - gated.accuracy.value, abs=1e-9
    )


def test_shipped_debias_leaves_no_correlation_with_verbosity(quickstart):
    report = quickstart.report
    others = [name for name in report.debias.after if name != "verbosity"]
    assert len(others) == 12
    assert max(abs(report.debias.after[name]) for name in others) <= 0.02
    assert max(abs(report.debias.before[name]) for name in others) > 0.1
    # The same from the bundle and the features on the disk, with scipy.
    bundle = load_bundle(quickstart.folder / "bundle")
    scores = []
    for name in ("rated", "pairs"):
        features = load_features(quickstart.folder / "features" / name)
        scores.append(features.response @ bundle.weight.T + bundle.bias)
    raw = torch.cat(scores)
    clean, at = raw @ bundle.debias, bundle.objectives.index("verbosity")
    assert len(raw) == report.debias.n_rows == 960 + 400
    for j, name in enumerate(bundle.objectives):
        if j != at:
            rho = spearmanr(clean[:, j], raw[:, at]).statistic
            assert abs(rho) <= 0.02, name


def test_run_folder_has_everything_that_is_promised(quickstart):
    folder = quickstart.folder
    for name in ("bundle/bundle.json", "bundle/heads.safetensors", "bundle/README.md", "report.md"):
        assert (folder / name).stat().st_size > 0
    plots = sorted(p.stem for p in (folder / "plots").glob("*.png"))
    assert plots == ["debias", "gating", "objectives", "preferences"]
    assert all((folder / f"plots/{p}.png").read_bytes()[:4] == b"\x89PNG" for p in plots)
    assert json.loads((folder / "dropped-rows.json").read_text()) == {}
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["gating"]["hidden"] == [16]
    assert load_recipe(folder / "recipe.yaml") == load_recipe(RECIPE)


def test_report_has_figures_with_intervals_beside_baselines(quickstart):
    report = json.loads((quickstart.folder / "report.json").read_text())
    for row in report["objectives"]:
        for figure in (row["spearman"], row["r2"]):
            assert figure["low"] < figure["value"] < figure["high"]
            assert figure["level"] == 0.95
            assert figure["n_rows"] == 240
    assert {row["scorer"] for row in report["preferences"]} == BASELINES | {"gated"}
    for row in report["preferences"]:
        assert row["accuracy"]["low"] < row["accuracy"]["value"] < row["accuracy"]["high"]
        assert row["accuracy"]["n_rows"] == 200
    assert report["data"]["rated"] == 960
    assert report["data"]["pairs"] == 200
    assert report["data"]["dropped"] == {}
    assert "5-fold cross-validation grouped by prompt" in report["protocol"]
    assert len(report["backbone"]["digest"]) == 64
    assert set(report["versions"]) >= {"armorm", "torch", "transformers", "python"}
    assert report["hardware"]["threads"] >= 1
    assert math.isclose(sum(report["gating"]["mean"].values()), 1, abs_tol=1e-4)


def test_same_report_comes_back_without_work(quickstart):
    from armorm.train.run import train

    again = train(load_recipe(RECIPE), quickstart.folder)
    assert again.work == "everything is up to date; nothing was run"
    assert again.report == read_report(quickstart.folder) == quickstart.report
