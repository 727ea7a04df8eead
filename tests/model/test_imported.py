"""Heads of the published scripts in a bundle score as the published formulas say."""

import pytest
import torch

from armorm import RewardModel
from armorm.errors import BundleError
from armorm.model.bundle import save_bundle
from armorm.model.card import model_card
from armorm.model.imported import import_heads
from armorm.model.released import RELEASED_OBJECTIVES
from fakes import chat_tokenizer
from released import opening, published_forward, read_all, save_released

MESSAGES = [
    {"role": "user", "content": "How do I boil an egg?"},
    {"role": "assistant", "content": "Eight minutes in boiling water."},
]


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint without debias, as the scripts leave it."""

    def plain(tensors):
        tensors["reward_transform_matrix"] = torch.eye(19)

    return save_released(tmp_path / "released", change=plain)


@pytest.fixture
def files(checkpoint, tmp_path):
    """The heads of that checkpoint as the scripts write them."""
    tensors = read_all(checkpoint)
    torch.save({"weight": tensors["regression_layer.weight"]}, tmp_path / "w.pt")
    gate = {n.removeprefix("gating."): t for n, t in tensors.items() if n.startswith("gating.")}
    torch.save(gate, tmp_path / "g.pt")
    return str(tmp_path / "w.pt"), tmp_path / "g.pt"


def published_score(folder):
    """The score of `MESSAGES` by the published formulas."""
    text = chat_tokenizer().apply_chat_template(MESSAGES, tokenize=False)
    ids = chat_tokenizer()(text, add_special_tokens=False)["input_ids"]
    return published_forward(folder, ids, opening())


def saved(bundle, folder):
    """The bundle after a save and a load, with its backbone."""
    save_bundle(bundle, folder, card=model_card(bundle))
    return RewardModel.load(folder)


def test_two_files_score_as_published(checkpoint, files, tmp_path):
    made = import_heads(*files, name="mine", backbone=str(checkpoint), dtype="float32")
    scores = saved(made.bundle, tmp_path / "bundle").score([MESSAGES])
    expected = published_score(checkpoint)
    assert scores.names == RELEASED_OBJECTIVES
    assert float(scores.score) == pytest.approx(expected["score"], rel=1e-5)
    torch.testing.assert_close(
        scores.objectives[0].double(), expected["rewards"], rtol=1e-4, atol=1e-5
    )
    assert len(made.notes) == 1
    assert "hold no debias matrix" in made.notes[0]


def test_new_gate_in_the_released_model_keeps_the_rest(tmp_path, files):
    released = save_released(tmp_path / "other", seed=5)
    made = import_heads(str(released), files[1], name="merged")
    model = saved(made.bundle, tmp_path / "bundle")
    # What the layout would hold after the merge, evaluated by the published formulas.
    gate = torch.load(files[1], weights_only=True)
    merged = save_released(
        tmp_path / "merged",
        seed=5,
        change=lambda tensors: tensors.update({f"gating.{n}": t for n, t in gate.items()}),
    )
    expected = published_score(merged)
    assert float(model.score([MESSAGES]).score) == pytest.approx(expected["score"], rel=1e-5)
    assert model.bundle.nuisances == (4,)
    assert made.notes == ()


def test_gate_that_never_learned_is_said(checkpoint, files):
    state = dict(torch.load(files[1], weights_only=True))
    for i in range(4):
        weight = state[f"layers.{i}.weight"]
        for part in (weight, state[f"layers.{i}.bias"]):
            part.clamp_(-(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5)
    torch.save(state, files[1])
    made = import_heads(*files, name="mine", backbone=str(checkpoint), dtype="float32")
    assert "trains no layer of the gate" in made.notes[1]


def test_own_names_and_temperature_are_taken(checkpoint, files):
    names = [f"quality-{i}" for i in range(19)]
    made = import_heads(
        *files,
        name="mine",
        backbone=str(checkpoint),
        dtype="float32",
        objectives=names,
        temperature=2.5,
    )
    assert made.bundle.objectives == tuple(names)
    assert made.bundle.gating.temperature == 2.5
    assert made.bundle.score_scale == 1.25


def test_files_that_do_not_fit_are_refused(checkpoint, files, tmp_path):
    given = {"name": "mine", "backbone": str(checkpoint), "dtype": "float32"}
    gate = dict(torch.load(files[1], weights_only=True))
    for change, message in (
        ({"layers.0.weight": torch.ones(12, 7)}, r"'layers.0.weight' must have shape \(12, 32\)"),
        ({"layers.3.weight": torch.ones(3, 12)}, r"'layers.3.weight' must have shape \(19, 12\)"),
        ({"logit_scale": torch.ones(2)}, r"'logit_scale' must have shape \(1,\); got \(2,\)"),
        ({"extra": torch.ones(2)}, "'extra' is left over"),
    ):
        torch.save(gate | change, tmp_path / "bad.pt")
        with pytest.raises(BundleError, match=r"w\.pt and .*bad\.pt: .*" + message):
            import_heads(files[0], tmp_path / "bad.pt", **given)
        with pytest.raises(BundleError, match=r"bad\.pt: .*" + message):
            import_heads(str(checkpoint), tmp_path / "bad.pt", name="mine")
    with pytest.raises(BundleError, match=r"w\.pt: 'weight' has one row an objective, 19 of them"):
        import_heads(*files, objectives=["a", "b"], **given)
    torch.save({"weight": torch.ones(3, 32)}, files[0])
    with pytest.raises(BundleError, match="3 of them; the released list names 19"):
        import_heads(*files, **given)
    torch.save({"weight": torch.ones(19, 5)}, files[0])
    with pytest.raises(BundleError, match=r"`weight` must have shape .*; got \(19, 5\)"):
        import_heads(*files, **given)


def test_options_that_do_not_belong_are_refused(checkpoint, files):
    with pytest.raises(ValueError, match="`backbone` must name the model whose features"):
        import_heads(*files, name="mine")
    with pytest.raises(ValueError, match=r"`backbone` belongs to a `\.pt` ridge head; .* has its"):
        import_heads(str(checkpoint), files[1], name="mine", backbone="x")
    with pytest.raises(ValueError, match=r"`objectives` belongs to a `\.pt` ridge head"):
        import_heads(str(checkpoint), files[1], name="mine", objectives=["a"])
    with pytest.raises(BundleError, match="`temperature` must be above 0; got 0"):
        import_heads(str(checkpoint), files[1], name="mine", temperature=0)
