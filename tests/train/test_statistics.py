"""Statistics of the rated rows in the bundle of a run, and on into a run with a given head."""

import shutil

import pytest
import torch

from armorm.heads.ridge import fit_ridge
from armorm.model.bundle import load_bundle, load_statistics
from armorm.model.objectives import add_objective
from armorm.model.sources import drop_source
from armorm.types import Scale
from bundles import saved


@pytest.fixture(scope="session")
def with_statistics(tmp_path_factory, trained):
    """The finished project, run again with statistics."""
    folder = tmp_path_factory.mktemp("statistics")
    shutil.copytree(trained.folder / "run", folder / "run")
    trained.again = trained.train("ridge.keep_statistics=true", folder=folder / "run")
    return folder / "run"


def alphas(bundle):
    return torch.tensor([of["alpha"] for of in bundle.facts["objectives"].values()])


def test_statistics_add_a_file_and_fit_nothing_again(with_statistics, trained):
    assert trained.again.fitted == ()
    ours, theirs = (load_bundle(f / "bundle") for f in (with_statistics, trained.folder / "run"))
    assert torch.equal(ours.weight, theirs.weight)
    assert theirs.statistics is None
    names = {p.name for p in (with_statistics / "bundle").iterdir()}
    assert names - {p.name for p in (trained.folder / "run/bundle").iterdir()} == {
        "statistics.safetensors"
    }


def test_the_heads_of_a_run_are_those_of_its_statistics(with_statistics):
    bundle = load_bundle(with_statistics / "bundle")
    fit = fit_ridge(load_statistics(bundle), alpha=alphas(bundle).double())
    assert torch.equal(fit.weight, bundle.weight)
    assert torch.equal(fit.bias, bundle.bias)


def test_a_run_with_statistics_is_up_to_date_only_with_them(with_statistics, trained):
    on, off = ("ridge.keep_statistics=true",), ()
    assert "up to date; nothing" in trained.train(*on, folder=with_statistics).work
    copy = with_statistics.parent / "copy"
    shutil.copytree(with_statistics, copy)
    assert "fitted 0 stages" in trained.train(*off, folder=copy).work
    assert load_bundle(copy / "bundle").statistics is None
    (with_statistics.parent / "damaged").mkdir()
    damaged = shutil.copytree(with_statistics, with_statistics.parent / "damaged/run")
    (damaged / "bundle/statistics.safetensors").write_bytes(b"")
    assert "fitted 0 stages" in trained.train(*on, folder=damaged).work
    assert load_statistics(load_bundle(damaged / "bundle")) is not None


def with_humour(bundle):
    """A bundle with an objective more."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(30, bundle.weight.shape[1], generator=draw)
    return add_objective(
        bundle,
        "humour",
        features=features,
        ratings=(0.5 + 0.1 * features[:, 0]).double(),
        folds=torch.arange(30) % 5,
        scale=Scale(0, 4),
        source="jokes",
    )


def test_a_gate_refitted_on_a_changed_bundle_weighs_the_added_objective(with_statistics, project):
    changed = with_humour(load_bundle(with_statistics / "bundle"))
    saved(project.folder / "given", changed)
    for key in ("rated", "scales"):
        del project.recipe[key]
    project.recipe["ridge"] = "given"
    project.train()
    found = load_bundle(project.folder / "run/bundle")
    assert found.objectives == ("good", "kind", "verbosity", "humour")
    assert torch.equal(found.weight, changed.weight)
    assert found.gating.masked == (2,)
    prompt = torch.randn(5, found.backbone["prompt_width"])
    assert bool((found.gating(prompt)[:, 3] > 0).all())
    assert bool((found.baselines.gating_without_debias(prompt)[:, 3] > 0).all())
    assert "changes" not in found.facts
    # Statistics and alphas go on, figures of another protocol do not.
    assert load_statistics(found).sources == ("s", "jokes")
    known = found.facts["objectives"]["humour"]
    assert (known["n"], known["spearman"]) == (30, None)
    with pytest.raises(ValueError, match="'jokes' alone rates `humour`"):
        drop_source(found, "jokes")
    # Other statistics under the same heads are another run.
    assert "up to date; nothing" in project.train().work
    more = load_statistics(changed) + load_statistics(changed)
    saved(project.folder / "given", type(changed)(**{**vars(changed), "statistics": more}))
    assert project.train().fitted == ()
    assert load_statistics(load_bundle(project.folder / "run/bundle")).n_rated(3) == 60
