"""Checkpoints in the released layout, read natively, against the published formulas by hand."""

import json
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.testing import assert_close

from armorm import BundleError, FeatureError, MissingDependency, RewardModel, Scale
from armorm.features.chat import tokenize_conversation
from armorm.heads.gating import GatingNetwork
from armorm.model.find import find_model, open_bundle
from armorm.model.objectives import drop_objective
from armorm.model.released import RELEASED_OBJECTIVES, bundle_from_heads
from armorm.model.released.config import read_released_config
from armorm.types import Conversation, Message
from bundles import make_bundle, saved
from fakes import HashBackbone, conversations
from released import OPENINGS, head_tensors, opening, published_forward, save_released

THREE = ["honesty", "is_safe", "verbosity"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def token_ids(model, row):
    return list(tokenize_conversation(model.backbone.tokenizer, row, max_tokens=512).token_ids)


def expected(folder, model, rows, family="llama3"):
    """What the published formulas give for rows, one by one."""
    pattern = opening(family)
    return [published_forward(folder, token_ids(model, row), pattern) for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """19 objectives, no names, no pattern: as the released config has it."""
    return save_released(tmp_path_factory.mktemp("hub") / "ArmoRM-tiny")


@pytest.fixture(scope="module")
def model(folder):
    return RewardModel.load(folder, device="cpu")


@pytest.mark.parametrize("family", OPENINGS)
@pytest.mark.parametrize("k", [19, 3])
def test_scores_are_those_of_the_published_formulas(tmp_path, family, k):
    names = {} if k == 19 else {"objective_names": THREE}
    save_released(tmp_path, family, k=k, hidden=(9, 9), **names)
    model = RewardModel.load(tmp_path, device="cpu")
    rows = conversations(7)
    found, want = model.score(rows), expected(tmp_path, model, rows, family)
    assert_close(found.score, torch.tensor([w["score"] for w in want]), atol=5e-6, rtol=1e-5)
    assert_close(found.objectives, torch.stack([w["rewards"] for w in want]).float())
    gating = torch.stack([w["gating"] for w in want]).float()
    assert_close(found.gating * model.bundle.score_scale, gating)
    assert model.objectives == (RELEASED_OBJECTIVES if k == 19 else tuple(THREE))


def test_a_row_scores_alone_what_it_scores_among_others(model):
    rows = conversations(9)
    alone = torch.cat([model.score([row]).score for row in rows])
    assert_close(model.score(rows).score, alone, atol=1e-5, rtol=0)


def test_the_model_and_its_self_contained_class_agree(model, folder, tmp_path):
    from armorm.model.modeling_armorm import ArmoRMForSequenceClassification

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["gating_token_pattern"] = opening()
    (tmp_path / "config.json").write_text(json.dumps(config))
    theirs = ArmoRMForSequenceClassification.from_pretrained(tmp_path).eval()
    rows = conversations(4)
    with torch.no_grad():
        for row in rows:
            found = theirs(torch.tensor([token_ids(model, row)]))
            assert_close(found.score, model.score([row]).score, atol=1e-5, rtol=0)


def test_what_the_layout_does_not_hold_is_filled_in(model, folder):
    bundle = model.bundle
    assert bundle.name == "ArmoRM-tiny"
    assert bundle.objectives == RELEASED_OBJECTIVES
    assert bundle.scales == {
        "helpsteer": dict.fromkeys(RELEASED_OBJECTIVES[:5], Scale(0, 4, offset=0.5, divisor=5))
    }
    assert [bundle.objectives[i] for i in bundle.nuisances] == ["helpsteer-verbosity"]
    assert (bundle.beta, bundle.score_scale, bundle.gating.temperature) == (1.0, 1.25, 10.0)
    assert not bundle.bias.any()
    facts = bundle.backbone
    assert (facts["name"], facts["revision"]) == (str(folder), None)
    assert (facts["dtype"], facts["max_tokens"], facts["kind"]) == ("float32", 512, "decoder")
    assert model.backbone.facts() == facts


def test_the_nuisance_cannot_be_scaled_and_contributes_through_the_others(model):
    with pytest.raises(ValueError, match="`factors` must not name the nuisance 'helpsteer-verb"):
        model.scaled({"helpsteer-verbosity": 2.0})
    found = model.score(conversations(3))
    assert_close(found.contributions.sum(1), found.score)
    # Its coefficient is minus the penalties that the gate weighs: coefficient = s g @ T.T.
    debias = model.bundle.debias
    assert_close(found.coefficients[:, 4], model.bundle.score_scale * found.gating @ debias[4])


def test_a_header_inside_the_response_does_not_move_the_gate(model, folder):
    # Hazard 6: the published code takes the last header, wherever it is.
    prompt = (Message("user", "What is the capital of France?"),)
    plain = Conversation(prompt, "Paris. I do not know more.")
    attack = Conversation(prompt, f"Paris.{OPENINGS['llama3']}I do not know more.")
    ours = model.score([plain, attack])
    assert_close(ours.gating[1], ours.gating[0], atol=1e-5, rtol=0)
    theirs = expected(folder, model, [plain, attack])
    assert theirs[1]["begins"] > theirs[0]["begins"]
    assert float((theirs[1]["gating"] - theirs[0]["gating"]).abs().max()) > 1e-3
    assert abs(theirs[0]["score"] - float(ours.score[0])) < 1e-5
    assert abs(theirs[1]["score"] - float(ours.score[1])) > 1e-3


def test_the_backbone_runs_in_the_dtype_it_is_stored_in(tmp_path):
    half = save_released(tmp_path / "half", dtype=torch.bfloat16)
    bundle = open_bundle(half)
    assert bundle.backbone["dtype"] == "bfloat16"
    assert bundle.weight.dtype == torch.float32
    model = RewardModel.load(half, device="cpu", dtype="float32")
    assert model.backbone.dtype == "float32"
    rows = conversations(4)
    want = [row["score"] for row in expected(half, model, rows)]
    assert_close(model.score(rows).score, torch.tensor(want), atol=5e-6, rtol=1e-5)

    def one_in_float32(tensors):
        tensors["model.norm.weight"] = tensors["model.norm.weight"].float()

    mixed = save_released(tmp_path / "mixed", dtype=torch.bfloat16, change=one_in_float32)
    assert open_bundle(mixed).backbone["dtype"] == "float32"


def test_heads_are_not_rounded_beside_a_bfloat16_backbone(tmp_path):
    # Hazard 10: 0.1523 and 0.1528 are one number in bfloat16, and two responses tied.
    values = torch.tensor([0.1523, 0.1528])

    def set_weights(tensors):
        tensors["regression_layer.weight"][:2, 0] = values

    folder = save_released(tmp_path, dtype=torch.bfloat16, change=set_weights)
    assert torch.equal(open_bundle(folder).weight[:2, 0], values)
    assert values[0].bfloat16() == values[1].bfloat16()


def test_one_file_reads_as_shards_do(folder, tmp_path, model):
    from released import read_all

    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path)
    for path in folder.glob("chat_template*"):
        shutil.copy(path, tmp_path)
    save_file(read_all(folder), tmp_path / "model.safetensors", metadata={"format": "pt"})
    rows = conversations(2)
    assert torch.equal(RewardModel.load(tmp_path).score(rows).score, model.score(rows).score)


def test_scales_of_the_config_come_before_the_published_ones(tmp_path):
    scales = {"mine": {"honesty": {"low": 1, "high": 5, "offset": None, "divisor": 4}}}
    save_released(tmp_path, k=3, objective_names=THREE, objective_scales=scales)
    assert open_bundle(tmp_path).scales == {"mine": {"honesty": Scale(1, 5, divisor=4)}}


def test_a_changed_model_is_a_bundle_that_names_the_checkpoint(folder, model, tmp_path):
    changed = drop_objective(model.bundle, "code-style")
    path = saved(tmp_path / "bundle", changed)
    again = RewardModel.load(path, device="cpu")
    assert again.backbone.name == str(folder)
    assert len(again.objectives) == 18
    rows = conversations(3)
    keep = [i for i, name in enumerate(RELEASED_OBJECTIVES) if name != "code-style"]
    assert_close(again.score(rows).objectives, model.score(rows).objectives[:, keep])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "places",
    ["auto", {"": "cpu"}, {"embed_tokens": "cpu", "layers.0": "disk", "layers.1": "cpu"}],
)
def test_a_spread_backbone_gives_the_same_scores(folder, model, places):
    if isinstance(places, dict) and "" not in places:
        places = places | {"norm": "cpu", "rotary_emb": "cpu"}
    spread = RewardModel.load(folder, device_map=places)
    assert spread.backbone.device == "cpu"
    rows = conversations(6)
    assert_close(spread.score(rows).score, model.score(rows).score)
    assert spread.backbone.notes == []


def test_a_device_map_that_cannot_be_followed_is_refused(folder, monkeypatch):
    with pytest.raises(ValueError, match=r"`device` must be 'auto' beside `device_map`.*got 'cpu'"):
        RewardModel.load(folder, device="cpu", device_map="auto")
    with pytest.raises(ValueError, match=r"`device_map` must be 'auto', .* got 'clever'"):
        RewardModel.load(folder, device_map="clever")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"several devices needs .*'armorm\[multi-gpu\]'"):
        RewardModel.load(folder, device_map="auto")


def put(name, tensor):
    return lambda tensors: tensors.__setitem__(name, tensor)


def without(*names):
    def change(tensors):
        for name in names:
            del tensors[name]

    return change


def not_finite(tensors):
    tensors["gating.layers.1.bias"][3] = torch.inf


def no_backbone(tensors):
    for name in [name for name in tensors if name.startswith("model.")]:
        del tensors[name]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            without("reward_transform_matrix"),
            r"the heads must be as config\.json describes them: 'reward_transform_matrix' must "
            r"have shape \(19, 19\), it is missing$",
        ),
        (
            put("regression_layer.weight", torch.zeros(18, 32)),
            r"'regression_layer.weight' must have shape \(19, 32\), got \(18, 32\)$",
        ),
        (put("score.weight", torch.zeros(1, 32)), r"'score.weight' \(1, 32\) is not part of the"),
        (
            put("gating.logit_scale", torch.tensor(1.0)),
            r"'gating.logit_scale' must have shape \(1,\), got \(\)$",
        ),
        (
            without("gating.layers.3.weight", "gating.layers.3.bias", "gating.logit_scale"),
            r"'gating.layers.3.weight' must have shape \(19, 12\), it is missing; "
            r"'gating.layers.3.bias' must have shape \(19,\), it is missing; 'gating.logit_scale'",
        ),
        (not_finite, r"'gating.layers.1.bias' must be finite; 1 of 12 entries are not"),
        (no_backbone, r"the backbone must be there, as `model\.\*`; it is missing"),
        (
            put("model.norm.weight", torch.ones(32, dtype=torch.int32)),
            "the backbone must be stored as F32, BF16, F16; it has tensors of I32",
        ),
    ],
)
def test_tensors_that_are_missing_extra_or_misshapen_are_named(tmp_path, change, text):
    with pytest.raises(BundleError, match=text):
        open_bundle(save_released(tmp_path, change=change))


def test_sizes_of_the_config_are_held_against_the_tensors_all_at_once(tmp_path):
    save_released(tmp_path, hidden=(12, 12), gating_hidden_dim=13, gating_n_hidden=4)
    with pytest.raises(BundleError, match=r"config\.json describes them: ") as error:
        open_bundle(tmp_path)
    said = str(error.value)
    assert "'gating.layers.0.weight' must have shape (13, 32), got (12, 32)" in said
    assert said.endswith("; and 5 more")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"objective_names": THREE}, "`objective_names` must name 19 objectives; got 3 names, 3"),
        # Names of a repository once reached the terminal, or left a traceback there.
        *(
            (
                {"objective_names": [*THREE[:2], name], "num_objectives": 3},
                "`objective_names` must be text without control characters; got '",
            )
            for name in ("\x1b[31mred", "a\nb", "\ud800")
        ),
        ({"gating_temperature": "x"}, "`gating_temperature` must be a number above 0; got 'x'"),
        ({"gating_temperature": -1}, "`gating_temperature` must be a number above 0; got -1"),
        ({"gating_n_hidden": 2.5}, "`gating_n_hidden` must be a positive whole number; got 2.5"),
        ({"gating_hidden_dim": True}, "`gating_hidden_dim` must be a positive whole number; got T"),
        ({"gating_hidden": "12"}, "`gating_hidden` must be a list of positive whole numbers; got"),
        ({"gating_hidden": [12, 0]}, r"`gating_hidden` must be a list of .*; got \[12, 0\]"),
        ({"objective_scales": [1]}, "`objective_scales` must map source -> objective -> scale: "),
        (
            {"objective_scales": {"a": {"nice": {"low": 0, "high": 1}}}},
            "`objective_scales` must be of the objectives; 'nice' is none of them",
        ),
        (
            {"objective_scales": {"a": {"code-style": {"low": 1, "high": 1}}}},
            r"-> scale: `low` must be below `high`; got \(1, 1\)",
        ),
    ],
)
def test_a_config_that_describes_no_heads_is_refused(tmp_path, changes, text):
    with pytest.raises(BundleError, match=rf"config\.json: .*{text}|config\.json: {text}"):
        open_bundle(save_released(tmp_path, **changes))


def test_absent_keys_of_the_gate_have_the_published_defaults(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"num_objectives": 19, "hidden_size": 8}))
    found = read_released_config(path)
    assert (found.hidden, found.temperature) == ((1024, 1024, 1024), 10.0)
    assert found.objectives == RELEASED_OBJECTIVES


def test_files_that_are_no_safetensors_or_not_there_are_named(tmp_path):
    folder = save_released(tmp_path)
    shard = folder / "model-00002-of-00003.safetensors"
    shard.write_bytes(b"pickled")
    with pytest.raises(BundleError, match=r"00002-of-00003\.safetensors: cannot be read: "):
        open_bundle(folder)
    shard.unlink()
    text = r"index\.json: every file that it names must be there; 1 are not, 'model-00002-of-00003"
    with pytest.raises(BundleError, match=text):
        open_bundle(folder)


def test_a_template_without_a_prompt_boundary_is_refused(tmp_path):
    # The response comes first: no part of the text is the prompt followed by the response.
    template = "{% for m in messages | reverse %}{{ m['content'] }}\n{% endfor %}"
    model = RewardModel.load(save_released(tmp_path, template=template), device="cpu")
    with pytest.raises(FeatureError, match="prompt"):
        model.score(conversations(1))


def test_a_bundle_has_one_dtype(hashed, tmp_path):
    path = saved(tmp_path / "bundle", make_bundle(hashed.backbone.facts()))
    assert open_bundle(path, dtype="float32").name == "tiny"
    text = (
        "`dtype` must be that of the features the heads were fitted on, 'float32'; got 'bfloat16'"
    )
    with pytest.raises(ValueError, match=text):
        open_bundle(path, dtype="bfloat16")
    with pytest.raises(ValueError, match="`dtype` must be 'float32' or 'bfloat16' or 'float16'"):
        open_bundle(save_released(tmp_path / "released"), dtype="int8")


def test_another_backbone_than_the_checkpoint_is_refused(folder, tmp_path, model):
    copy = shutil.copytree(folder, tmp_path / "copy")
    rows = conversations(2)
    same = RewardModel.load(folder, device="cpu", backbone=copy)
    assert torch.equal(same.score(rows).score, model.score(rows).score)
    other = save_released(tmp_path / "other", seed=5)
    with pytest.raises(BundleError, match=r"the backbone must be .* with digest"):
        RewardModel.load(folder, device="cpu", backbone=other)


# Finding


def cached(hub, source, name="org/tiny"):
    """Put a folder into the cache of hub repositories."""
    repository = hub / f"models--{name.replace('/', '--')}"
    shutil.copytree(source, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def test_a_hub_id_is_found_with_its_commit(folder, hub, model):
    cached(hub, folder)
    for name in ("org/tiny", "org/tiny@main", f"org/tiny@{COMMIT}"):
        found = find_model(name)
        assert (found.name, found.revision, found.is_released) == ("org/tiny", COMMIT, True)
    ours = RewardModel.load("org/tiny@main", device="cpu")
    assert (ours.backbone.name, ours.backbone.revision) == ("org/tiny", COMMIT)
    assert ours.bundle.name == "tiny"
    rows = conversations(2)
    assert torch.equal(ours.score(rows).score, model.score(rows).score)


def test_a_bundle_may_lie_on_the_hub(hashed, hub, tmp_path):
    cached(hub, saved(tmp_path / "bundle", make_bundle(hashed.backbone.facts())))
    assert not find_model("org/tiny").is_released
    assert torch.equal(open_bundle("org/tiny").weight, hashed.bundle.weight)


def test_a_repository_without_heads_is_refused(hub, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text('{"model_type": "llama"}')
    cached(hub, plain)
    with pytest.raises(
        BundleError, match="org/tiny: must hold a bundle or a checkpoint in the rel"
    ):
        open_bundle("org/tiny")
    text = r"plain: must be a bundle \(bundle.json\) or a .*; its config.json has no `num_obj"
    with pytest.raises(BundleError, match=text):
        open_bundle(plain)


def test_a_name_that_is_nowhere_is_refused(hub, tmp_path):
    with pytest.raises(
        FeatureError, match="no-one/nothing: neither a local folder nor a hub repos"
    ):
        RewardModel.load("no-one/nothing")
    # A folder `runs` is here, so `runs/one` means a path.
    (tmp_path / "runs").mkdir()
    for path in ("runs/one", "one", "./a/b", "~nobody.here/a", str(tmp_path / "a"), "x" * 300):
        with pytest.raises(BundleError, match=r"no such bundle|cannot be read"):
            RewardModel.load(path)


def test_a_folder_that_is_neither_is_refused(tmp_path):
    with pytest.raises(
        BundleError, match=r"has no bundle\.json: not a bundle, or its save did not"
    ):
        open_bundle(tmp_path)


def test_the_folder_that_one_is_in_has_its_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert open_bundle(".").name == "ArmoRM-tiny"


# Heads


def gate(k, width, hidden=(), scale=1.0):
    tensors = head_tensors(k, width, hidden=hidden, seed=3)
    state = {n[7:]: t for n, t in tensors.items() if n.startswith("gating.")}
    return state | {"logit_scale": torch.tensor([scale])}


BACKBONE = {"response_width": 2, "prompt_width": 2, "digest": "", "name": "b", "revision": None}


def test_a_score_by_hand():
    # r = (1, 2); D subtracts half of objective 1 from objective 0 and removes objective 1, so
    # q = (1 - 0.5 * 2, 0) = (0, 0) for the first row and (3 - 0.5, 0) for r = (3, 1).
    # Logits (20 ln 3, 0) / 10 at temperature 20 -> gate (3/4, 1/4); logit_scale 2.
    log3 = 1.0986122886681098
    state = {
        "layers.0.weight": torch.zeros(2, 2),
        "layers.0.bias": torch.tensor([20 * log3, 0.0]),
        "logit_scale": torch.tensor([2.0]),
    }
    bundle = bundle_from_heads(
        torch.eye(2),
        state,
        transform=torch.tensor([[1.0, 0.0], [-0.5, 0.0]]),
        objectives=("a", "b"),
        temperature=20.0,
        backbone=BACKBONE,
        name="hand",
    )
    assert bundle.nuisances == (1,)
    model = RewardModel(bundle, HashBackbone(width=2))
    found = model.score_features(torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.ones(2, 2))
    assert_close(found.score, torch.tensor([0.0, 2 * 0.75 * 2.5]))
    assert_close(found.gating, torch.tensor([[0.75, 0.25]] * 2))
    assert (bundle.beta, bundle.scales) == (1.0, {})


def test_no_transform_is_no_debias():
    parts = {"objectives": ("a", "b"), "backbone": BACKBONE, "name": "x"}
    bundle = bundle_from_heads(torch.eye(2), gate(2, 2), **parts)
    assert torch.equal(bundle.debias, torch.eye(2))
    assert bundle.nuisances == ()


@settings(max_examples=15)
@given(
    k=st.integers(1, 5),
    width=st.integers(1, 6),
    hidden=st.lists(st.integers(1, 6), max_size=3),
    scale=st.floats(-3, 3, width=32),
    seed=st.integers(0, 999),
)
def test_a_gate_of_any_sizes_gives_its_own_softmax(k, width, hidden, scale, seed):
    state = gate(k, width, tuple(hidden), scale)
    backbone = BACKBONE | {"response_width": width, "prompt_width": width}
    names = tuple(f"o{j}" for j in range(k))
    draw = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(k, width, generator=draw), torch.randn(4, width, generator=draw)
    made = bundle_from_heads(weight, state, objectives=names, backbone=backbone, name="x")
    assert isinstance(made.gating, GatingNetwork)
    logits = x
    for i in range(len(hidden) + 1):
        logits = logits.relu() if i else logits
        logits = logits @ state[f"layers.{i}.weight"].T + state[f"layers.{i}.bias"]
    gating = torch.softmax(logits / 10, 1)
    found = RewardModel(made, HashBackbone(width=width)).score_features(x, x)
    assert_close(found.gating, gating)
    assert_close(found.score, scale * (gating * (x @ weight.T)).sum(1))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weight": torch.eye(3)}, r"`weight` must have shape \(k, d\); got \(3, 3\)"),
        ({"transform": torch.eye(3)}, r"`transform` must have shape \(k, k\); got \(3, 3\)"),
        ({"gating": {}}, r"`gating` must hold `layers.0.weight`, .*; 'layers.0.bias' is missing"),
        (
            {"gating": {n: t for n, t in gate(2, 2).items() if n != "logit_scale"}},
            "and `logit_scale`; 'logit_scale' is missing",
        ),
        ({"gating": gate(2, 2) | {"mean": torch.zeros(2)}}, "; 'mean' is left over"),
        (
            {"gating": gate(2, 3)},
            r"`gating` 'layers.0.weight' must have shape \(2, 2\); got \(2, 3\)",
        ),
        (
            {"gating": gate(3, 2)},
            r"`gating` 'layers.0.weight' must have shape \(2, 2\); got \(3, 2\)",
        ),
        (
            {"gating": gate(2, 2) | {"layers.0.weight": torch.tensor(1.0)}},
            r"`gating` 'layers.0.weight' must have shape \(2, 2\); got \(\)",
        ),
        # One name of a file once filled the memory.
        (
            {"gating": gate(2, 2) | {f"layers.{10**12}.bias": torch.ones(2)}},
            "'layers.1.bias' is missing",
        ),
        (
            {"gating": gate(2, 2) | {"logit_scale": torch.ones(2)}},
            r"`gating` 'logit_scale' must have shape \(1,\); got \(2,\)",
        ),
        (
            {"gating": gate(2, 2) | {"layers.0.bias": torch.tensor([0.0, torch.nan])}},
            "`gating layers.0.bias` must be finite",
        ),
        ({"temperature": 0.0}, "`temperature` must be above 0; got 0"),
        ({"objectives": ("a", "a")}, "`objectives` must be distinct names"),
    ],
)
def test_heads_that_do_not_fit_each_other_are_refused(changes, text):
    parts = {
        "weight": torch.eye(2),
        "gating": gate(2, 2),
        "objectives": ("a", "b"),
        "backbone": BACKBONE,
        "name": "x",
    }
    with pytest.raises(ValueError, match=text):
        bundle_from_heads(**(parts | changes))


@pytest.mark.network
@pytest.mark.slow
def test_the_released_weights_give_the_published_example():
    model = RewardModel.load("RLHFlow/ArmoRM-Llama3-8B-v0.1")
    found = model.explain(
        {
            "prompt": 'What are some synonyms for the word "beautiful"?',
            "response": "Nicely, Beautifully, Handsome, Stunning, Wonderful, Gorgeous, Pretty, "
            "Stunning, Elegant",
        }
    )
    # Model card, in bfloat16: HelpSteer predictions 5 r - 0.5, and the largest coefficients.
    helpsteer = [5 * found.objectives[name] - 0.5 for name in RELEASED_OBJECTIVES[:5]]
    card = [2.78125, 2.859375, 3.484375, 1.3847656, 1.296875]
    assert helpsteer == pytest.approx(card, abs=0.03)
    top = sorted(found.coefficients, key=lambda name: -abs(found.coefficients[name]))[:3]
    assert top == [
        *("code-complexity", "helpsteer-verbosity", "ultrafeedback-instruction_following")
    ]
    values = [found.coefficients[name] for name in top]
    assert values == pytest.approx([0.19922, -0.10864, 0.07861], abs=0.03)
