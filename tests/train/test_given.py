"""A ridge head from a bundle or a checkpoint in place of rated rows."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from armorm.errors import BundleError
from armorm.model.bundle import load_bundle
from armorm.train.given import load_given_ridge
from armorm.types import Scale
from fakes import save_tiny_decoder, save_tiny_encoder
from released import save_released


def without_rated(project, ridge):
    """A project that has preference pairs only."""
    for key in ("rated", "scales", "ridge"):
        del project.recipe[key]
    project.recipe["ridge"] = ridge
    return project


def released(folder, names=("good", "kind", "verbosity")):
    """A small checkpoint in the released layout: a decoder with the head beside its weights."""
    save_tiny_decoder(folder, head="none")
    config = json.loads((folder / "config.json").read_text())
    config |= {"num_objectives": len(names), "objective_names": list(names)}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(3)
    head = torch.randn(len(names), config["hidden_size"], generator=generator)
    tensors["regression_layer.weight"] = head.bfloat16()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return head.bfloat16().float()


def test_gate_and_debias_are_trained_on_the_head_of_a_bundle(trained, project):
    shutil.copytree(trained.folder / "run/bundle", project.folder / "given")
    run = without_rated(project, "given").train()
    assert {stage.split("/")[0] for stage in run.fitted} == {
        "debias",
        "gating",
        "gating-without-debias",
        "baselines",
    }
    ours = load_bundle(project.folder / "run/bundle")
    theirs = load_bundle(trained.folder / "run/bundle")
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    assert ours.scales == theirs.scales
    assert ours.objectives == theirs.objectives
    # Debias looks at other reference rows: there are no rated ones.
    assert not torch.equal(ours.debias, theirs.debias)
    # The head may have been fitted on these prompts: no claim that it was not.
    assert "whether it was fitted on them is not checked" in run.report.protocol
    assert run.report.objectives == ()
    assert run.report.mean_spearman is None
    assert len(run.report.preferences) == 6
    assert run.report.data.rated == 0
    again = project.train()
    assert again.work == "everything is up to date; nothing was run"


def test_bundle_in_another_place_is_the_same_head(trained, project):
    shutil.copytree(trained.folder / "run/bundle", project.folder / "a")
    shutil.copytree(trained.folder / "run/bundle", project.folder / "b")
    without_rated(project, "a").train()
    assert project.train("ridge=b").fitted == ()


def test_gate_is_trained_on_the_head_of_a_released_checkpoint(project):
    head = released(project.folder / "checkpoint")
    without_rated(project, "checkpoint").recipe["backbone"] = "checkpoint"
    project.train()
    bundle = load_bundle(project.folder / "run/bundle")
    assert torch.equal(bundle.weight, head)
    assert not bool(bundle.bias.any())
    assert bundle.objectives == ("good", "kind", "verbosity")
    assert bundle.scales == {}


def test_head_does_not_fit_another_backbone(trained, project):
    shutil.copytree(trained.folder / "run/bundle", project.folder / "given")
    save_tiny_encoder(project.folder / "other", seed=1)
    without_rated(project, "given").recipe["backbone"] = "other"
    with pytest.raises(
        BundleError, match=r"given: the ridge head was fitted on a backbone with dig"
    ):
        project.train()
    assert not (project.folder / "run").exists()


def test_head_does_not_fit_other_features(trained, project):
    shutil.copytree(trained.folder / "run/bundle", project.folder / "given")
    without_rated(project, "given")
    text = (
        r"given: the ridge head takes features with `pooling: mean`; the recipe has `pooling: cls`"
    )
    with pytest.raises(BundleError, match=text):
        project.train("features.pooling=cls")
    # How long a conversation may be does not change what a feature means.
    project.train("features.max_tokens=50")


def test_head_of_another_width_is_refused(project):
    released(project.folder / "checkpoint")
    without_rated(project, "checkpoint")
    with pytest.raises(
        BundleError, match=r"checkpoint: the ridge head takes features of width 32; th"
    ):
        project.train()


def test_key_follows_names_weights_and_scales(trained, tmp_path):
    folder = trained.folder / "run/bundle"
    first, again = load_given_ridge(str(folder)), load_given_ridge(str(folder))
    assert first.result.key == again.result.key
    released(tmp_path / "a")
    released(tmp_path / "b", ("good", "kind", "safe"))
    keys = {load_given_ridge(str(tmp_path / name)).result.key for name in ("a", "b")}
    assert len(keys | {first.result.key}) == 3


@pytest.mark.parametrize("damage", ["absent", "one byte"])
def test_bundle_that_is_not_whole_is_refused_before_anything_is_written(
    trained, project, armorm, damage
):
    given = project.folder / "given"
    shutil.copytree(trained.folder / "run/bundle", given)
    if damage == "absent":
        shutil.rmtree(given)
    else:
        content = bytearray((given / "heads.safetensors").read_bytes())
        content[-1] ^= 1
        (given / "heads.safetensors").write_bytes(content)
    recipe = without_rated(project, "given").write()
    code, out, err = armorm("train", recipe, "-o", project.folder / "run")
    assert (code, out, len(err)) == (2, "", 1)
    assert "given" in err[0]
    assert not (project.folder / "run").exists()


def test_a_head_is_found_by_hub_id_with_the_scales_that_are_published(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--tiny"
    folder = save_released(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    by_id, by_folder = load_given_ridge("org/tiny"), load_given_ridge(str(folder))
    assert by_id.key == by_folder.key
    assert torch.equal(by_id.result.tensors["weight"], by_folder.result.tensors["weight"])
    assert by_id.scales["helpsteer"]["helpsteer-coherence"] == Scale(0, 4, offset=0.5, divisor=5)
