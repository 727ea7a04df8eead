"""`armorm import`: what it makes is a bundle, what it says is one line."""

import json

import pytest
import torch

from released import read_all, save_released


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return save_released(tmp_path_factory.mktemp("hub") / "released")


@pytest.fixture(scope="module")
def files(released, tmp_path_factory):
    folder, tensors = tmp_path_factory.mktemp("published"), read_all(released)
    torch.save({"weight": tensors["regression_layer.weight"]}, folder / "w.pt")
    gate = {n.removeprefix("gating."): t for n, t in tensors.items() if n.startswith("gating.")}
    torch.save(gate, folder / "g.pt")
    return folder


def test_imported_heads_score_rows(armorm, released, files, conversations, tmp_path):
    options = ("--ridge", files / "w.pt", "--gate", files / "g.pt", "--dtype", "float32")
    done = armorm("import", *options, "--backbone", released, "-o", tmp_path / "mine")
    assert done.code == 0, done.err
    assert "19 objectives and their gate" in done.out
    assert "note: the files hold no debias matrix" in done.err
    assert json.loads((tmp_path / "mine" / "bundle.json").read_text())["name"] == "mine"
    scored = armorm("score", tmp_path / "mine", conversations)
    assert scored.code == 0, scored.err
    assert len(scored.lines) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ridge", "w.pt"), r"import: `backbone` must name the model whose features"),
        (("--ridge", "no.pt", "--backbone", "RELEASED"), "no.pt: there is no such file"),
        (("--ridge", "g.pt", "--backbone", "RELEASED"), "g.pt: must hold one tensor, 'weight'"),
        (
            ("--ridge", "w.pt", "--backbone", "RELEASED", "--objectives", "a,b"),
            "19 of them; `objectives` names 2",
        ),
        (("--ridge", "RELEASED", "--temperature", "0"), "`temperature` must be above 0; got 0"),
    ],
)
def test_what_cannot_be_imported_is_one_line(armorm, released, files, tmp_path, options, message):
    options = [files / o if o.endswith(".pt") else o for o in options]
    options = [released if o == "RELEASED" else o for o in options]
    done = armorm("import", *options, "--gate", files / "g.pt", "-o", tmp_path / "mine")
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "mine").exists()
