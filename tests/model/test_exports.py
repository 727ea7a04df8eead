"""Exports loaded as other tools load them, held against the reward model that they are of."""

import json
import sys
import weakref

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GraniteConfig,
    dynamic_module_utils,
)

from armorm import BundleError, Conversation, DataError, FeatureError, Message, RewardModel
from armorm.features.backbone import load_backbone
from armorm.heads.gating import GatingNetwork
from armorm.model.exports import (
    ExportSettings,
    export_model,
    plan_export,
    write_export,
)
from armorm.model.exports import write as writing
from bundles import NUISANCE, OBJECTIVES, decoder_backbone, make_bundle
from fakes import chat_tokenizer, conversations, save_tiny_decoder

FAMILIES = ("llama3", "qwen3", "gemma2", "mistral")
ROWS = conversations(7)
TURNS = (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "What is ice?"))


def gate_of(width, *, seed=3, **changes):
    """A gate whose input is standardised by features far from mean 0 and variance 1."""
    sizes = {"hidden": (6, 5), "temperature": 0.5, "masked": (NUISANCE,), "seed": seed} | changes
    gate = GatingNetwork(width, len(OBJECTIVES), **sizes)
    draw = torch.Generator().manual_seed(seed)
    gate.standardise(2 + 3 * torch.randn(40, width, generator=draw))
    return gate.eval().requires_grad_(False)


def model_on(backbone, **changes):
    """A reward model without intercept."""
    parts = {
        "bias": torch.zeros(len(OBJECTIVES)),
        "gating": gate_of(backbone.prompt_width),
        "baselines": None,
        "score_scale": 1.7,
    }
    return RewardModel(make_bundle(backbone.facts(), **(parts | changes)), backbone)


@pytest.fixture(autouse=True)
def modules_folder(tmp_path_factory, monkeypatch):
    """Where transformers copies the code of the exports that tests load."""
    folder = tmp_path_factory.mktemp("modules")
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(folder))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    return model_on(decoder_backbone(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return model_on(decoder_backbone(tmp_path_factory.mktemp("llama")))


def load(folder, **options):
    """As trainers do, with nothing missing and nothing left over."""
    loaded, info = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True, **options
    )
    assert not any(info[f"{kind}_keys"] for kind in ("missing", "unexpected", "mismatched"))
    return loaded.eval()


def batch_of(folder, rows=ROWS, *, side="right"):
    """The text of the chat template, tokenised without special tokens and padded."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [tokenizer.apply_chat_template(row.messages(), tokenize=False) for row in rows]
    found = tokenizer(
        texts, padding=True, padding_side=side, add_special_tokens=False, return_tensors="pt"
    )
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def outputs(loaded, batch):
    with torch.no_grad():
        return loaded(**batch)


def test_classifier_scores_what_the_fixed_weights_do(model, tmp_path):
    weights = {"honesty": 0.75, "verbosity": -0.5}
    report = export_model(model, tmp_path / "out", to="classifier", weights=weights)
    assert report.n_conversations >= 9
    loaded = load(tmp_path / "out", num_labels=1)
    assert loaded.config.problem_type == "regression"
    assert loaded.config.id2label == {0: "score"}
    found = outputs(loaded, batch_of(tmp_path / "out")).logits[:, 0]
    torch.testing.assert_close(found, model.with_weights(weights).score(ROWS).score)


def test_classifier_of_a_gate_takes_the_mean_gating_of_the_rows(model, tmp_path):
    export_model(model, tmp_path / "out", to="classifier", rows=ROWS)
    scores = model.score(ROWS)
    coefficients = scores.coefficients.mean(0)
    found = outputs(load(tmp_path / "out"), batch_of(tmp_path / "out")).logits[:, 0]
    torch.testing.assert_close(found, scores.objectives @ coefficients)
    facts = json.loads((tmp_path / "out/armorm_export.json").read_bytes())
    assert list(facts["coefficients"].values()) == pytest.approx(coefficients.tolist())


@pytest.mark.parametrize("debiased", [False, True])
def test_objectives_are_the_labels(model, tmp_path, debiased):
    export_model(model, tmp_path / "out", to="objectives", debiased=debiased)
    loaded = load(tmp_path / "out")
    assert loaded.config.id2label == dict(enumerate(OBJECTIVES))
    assert loaded.config.problem_type == "regression"
    wanted = model.score(ROWS).objectives
    if debiased:
        wanted = wanted @ model.bundle.debias
        assert not wanted[:, NUISANCE].any()
    torch.testing.assert_close(outputs(loaded, batch_of(tmp_path / "out")).logits, wanted)


def test_released_layout_gives_score_objectives_and_gating(model, tmp_path):
    export_model(model, tmp_path / "out", to="armorm")
    loaded = load(tmp_path / "out", num_labels=1, trust_remote_code=True)
    found, wanted = outputs(loaded, batch_of(tmp_path / "out")), model.score(ROWS)
    assert found.logits.shape == (len(ROWS), 1)
    torch.testing.assert_close(found.score, wanted.score)
    torch.testing.assert_close(found.rewards, wanted.objectives)
    torch.testing.assert_close(found.gating_output, 1.7 * wanted.gating)
    assert not found.gating_output[:, NUISANCE].any()


@pytest.mark.parametrize("to", ["armorm", "classifier", "objectives"])
def test_padding_on_either_side_or_none_scores_alike(model, tmp_path, to):
    export_model(model, tmp_path / "out", to=to, rows=ROWS)
    loaded = load(tmp_path / "out", trust_remote_code=to == "armorm")
    right, left = (
        outputs(loaded, batch_of(tmp_path / "out", side=side)).logits for side in ("right", "left")
    )
    alone = [outputs(loaded, batch_of(tmp_path / "out", [row])).logits[0] for row in ROWS]
    torch.testing.assert_close(right, torch.stack(alone))
    torch.testing.assert_close(left, torch.stack(alone))


def test_head_is_a_bundle_that_scores_the_same(model, tmp_path):
    report = export_model(model, tmp_path / "out", to="head")
    assert [d.largest for d in report.differences] == [0, 0, 0]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "bundle.json", "heads.safetensors"}
    loaded = RewardModel.load(tmp_path / "out", device="cpu")
    torch.testing.assert_close(loaded.score(ROWS).score, model.score(ROWS).score)
    facts = loaded.bundle.facts["export"]
    assert len(facts["chat_template_sha256"]) == 64
    assert facts["gating_token_pattern"]
    assert facts["gating_token_pattern"][0] in model.backbone.tokenizer.all_special_ids


def test_head_of_an_encoder_and_with_intercept(encoder, tmp_path):
    model = RewardModel(make_bundle(encoder.facts()), encoder)
    export_model(model, tmp_path / "out", to="head")
    loaded = RewardModel.load(tmp_path / "out", device="cpu")
    rows = [Conversation((Message("user", "Why?"),), "So.")]
    assert torch.equal(loaded.score(rows).score, model.score(rows).score)
    assert loaded.bundle.facts["export"]["gating_token_pattern"] is None


def test_classifier_equals_the_full_export_where_the_gate_is_constant(llama, tmp_path):
    gate = gate_of(llama.backbone.prompt_width)
    gate.start_at(torch.tensor([0.5, 0.3, 0.0, 0.2]))
    model = model_on(llama.backbone, gating=gate)
    export_model(model, tmp_path / "full", to="armorm")
    export_model(model, tmp_path / "collapsed", to="classifier", rows=ROWS[:1])
    full = outputs(load(tmp_path / "full", trust_remote_code=True), batch_of(tmp_path / "full"))
    collapsed = outputs(load(tmp_path / "collapsed"), batch_of(tmp_path / "collapsed"))
    torch.testing.assert_close(full.logits, collapsed.logits)


def test_factors_of_the_gating_are_built_into_the_gate(llama, tmp_path):
    model = llama.scaled({"honesty": 3.0, "is_safe": 0.0})
    for to in ("armorm", "head"):
        export_model(model, tmp_path / to, to=to)
    full = outputs(load(tmp_path / "armorm", trust_remote_code=True), batch_of(tmp_path / "armorm"))
    wanted = model.score(ROWS)
    torch.testing.assert_close(full.score, wanted.score)
    assert not full.gating_output[:, OBJECTIVES.index("is_safe")].any()
    head = RewardModel.load(tmp_path / "head", device="cpu").score(ROWS)
    torch.testing.assert_close(head.score, wanted.score)


def test_full_export_loads_natively_and_exports_to_the_same_tensors(llama, tmp_path):
    export_model(llama, tmp_path / "one", to="armorm")
    again = RewardModel.load(tmp_path / "one", device="cpu")
    torch.testing.assert_close(again.score(ROWS).score, llama.score(ROWS).score)
    for fact in ("objectives", "nuisances", "scales", "beta", "score_scale"):
        assert getattr(again.bundle, fact) == getattr(llama.bundle, fact), fact
    # The only copy of a model was once replaced by what was left of it.
    with pytest.raises(BundleError, match="one: holds the backbone of the model, which an export"):
        export_model(again, tmp_path / "one", to="objectives")
    export_model(again, tmp_path / "two", to="armorm")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("to", ["armorm", "objectives"])
def test_a_backbone_spread_over_devices_is_checked_spread(tmp_path, monkeypatch, to):
    pytest.importorskip("accelerate")
    model = model_on(decoder_backbone(tmp_path / "backbone"))
    assert not plan_export(model, ExportSettings(to)).spread
    model.backbone.model.hf_device_map = {"layers": 0, "norm": 1}  # as with two devices
    load_as_users = AutoModelForSequenceClassification.from_pretrained
    maps = []

    def watched(*args, **options):
        maps.append(options["device_map"])
        return load_as_users(*args, **options)

    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", watched)
    report = export_model(model, tmp_path / "out", to=to)
    assert maps == ["auto"]
    assert all(d.largest <= d.tolerance for d in report.differences)


SIZES = {"vocab_size": 512, "initializer_range": 0.2, "bos_token_id": None, "eos_token_id": None}


def model_of(folder, config):
    """A reward model on a decoder of another architecture, with a language model head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    chat_tokenizer().save_pretrained(folder)
    return model_on(load_backbone(str(folder), device="cpu"))


@pytest.mark.parametrize("to", ["armorm", "objectives"])
def test_an_architecture_that_names_its_tensors_differently(tmp_path, to):
    config = GPT2Config(n_positions=512, n_embd=32, n_layer=2, n_head=4, **SIZES)
    model = model_of(tmp_path / "backbone", config)
    export_model(model, tmp_path / "out", to=to)
    names = load_file(tmp_path / "out/model.safetensors").keys()
    prefix = "model." if to == "armorm" else "transformer."
    assert sum(name.startswith(prefix) for name in names) == 28


def test_an_architecture_without_classifier_has_the_released_layout_alone(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    model = model_of(tmp_path / "backbone", GraniteConfig(**SIZES, **sizes, **heads))
    export_model(model, tmp_path / "out", to="armorm")
    # The class was registered while the export was checked, and is forgotten again.
    text = "must have a sequence classifier of the architecture 'granite'; it has none: export as"
    with pytest.raises(FeatureError, match=text):
        export_model(model, tmp_path / "plain", to="objectives")
    loaded = load(tmp_path / "out", trust_remote_code=True)
    found = outputs(loaded, batch_of(tmp_path / "out"))
    torch.testing.assert_close(found.score, model.score(ROWS).score)
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING._extra_content.pop(GraniteConfig)


@pytest.mark.parametrize("head", ["causal", "none", "classifier"])
def test_every_form_of_the_source_gives_the_same_export(tmp_path, head):
    folder = save_tiny_decoder(tmp_path / "backbone", head=head)
    model = model_on(load_backbone(str(folder), device="cpu"))
    export_model(model, tmp_path / "out", to="objectives")
    tensors = load_file(tmp_path / "out/model.safetensors")
    assert torch.equal(tensors.pop("score.weight"), model.bundle.weight)
    assert all(name.startswith("model.") for name in tensors)
    assert not any("lm_head" in name for name in tensors)


def test_shards_have_an_index_and_load_alike(llama, tmp_path):
    for name, size in (("one", 10**9), ("many", 20_000)):
        plan = plan_export(llama, ExportSettings("objectives", shard_bytes=size))
        write_export(plan, tmp_path / name)
    index = json.loads((tmp_path / "many/model.safetensors.index.json").read_bytes())
    files = sorted(path.name for path in (tmp_path / "many").glob("model-*.safetensors"))
    assert len(files) > 3
    assert sorted(set(index["weight_map"].values())) == files
    assert files[-1] == f"model-{len(files):05d}-of-{len(files):05d}.safetensors"
    one = load_file(tmp_path / "one/model.safetensors")
    many = {}
    for file in files:
        many |= load_file(tmp_path / "many" / file)
    assert one.keys() == many.keys() == index["weight_map"].keys()
    assert all(torch.equal(one[name], many[name]) for name in one)
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in one.values())
    found = (outputs(load(tmp_path / n), batch_of(tmp_path / n)).logits for n in ("one", "many"))
    assert torch.equal(*found)


@pytest.mark.parametrize("to", ["armorm", "classifier"])
def test_half_precision_is_stored_and_stated_and_heads_are_not_cast(llama, tmp_path, to):
    report = export_model(llama, tmp_path / "out", to=to, dtype="bfloat16", rows=ROWS)
    # A state in bfloat16 has 8 bits: float32's tolerance would not be met, a wild one not needed.
    score = next(d for d in report.differences if d.output == "score")
    assert 1e-4 < score.largest <= score.tolerance < 0.5
    tensors = load_file(tmp_path / "out/model.safetensors")
    dtypes = {name.startswith("model."): t.dtype for name, t in tensors.items()}
    assert dtypes == {True: torch.bfloat16, False: torch.float32}
    config = json.loads((tmp_path / "out/config.json").read_bytes())
    assert config["torch_dtype"] == "bfloat16"
    assert "dtype" not in config


def test_a_checkpoint_in_half_precision_keeps_its_bytes_and_scores_in_float32(tmp_path):
    folder = save_tiny_decoder(tmp_path / "backbone", dtype="bfloat16")
    model = model_on(load_backbone(str(folder), device="cpu", dtype="float32"))
    export_model(model, tmp_path / "out", to="objectives")
    source, found = (
        load_file(p / "model.safetensors") for p in (tmp_path / "backbone", tmp_path / "out")
    )
    assert all(torch.equal(source[n], t) for n, t in found.items() if n != "score.weight")
    torch.testing.assert_close(
        outputs(load(tmp_path / "out", dtype=torch.float32), batch_of(tmp_path / "out")).logits,
        model.score(ROWS).objectives,
    )


def test_a_plan_lets_the_backbone_go(tmp_path):
    model = model_on(decoder_backbone(tmp_path / "backbone"))
    plan = plan_export(model, ExportSettings("armorm"))
    gone = weakref.ref(model.backbone.model)
    del model
    assert gone() is None
    assert write_export(plan, tmp_path / "out").differences


def test_no_module_of_an_export_stays_behind(llama, tmp_path, modules_folder):
    kept, path, modules = modules_folder, list(sys.path), set(sys.modules)
    before = sorted(kept.rglob("*"))
    export_model(llama, tmp_path / "out", to="armorm")
    assert str(kept) == dynamic_module_utils.HF_MODULES_CACHE
    assert sorted(kept.rglob("*")) == before
    assert sys.path == path
    assert not {name for name in set(sys.modules) - modules if "transformers_modules" in name}


def damaged(heads):
    """The same heads with one entry that is off by a half."""
    changed = {name: tensor.clone() for name, tensor in heads.items()}
    next(iter(changed.values()))[0, 0] += 0.5
    return changed


@pytest.mark.parametrize("to", ["armorm", "classifier", "objectives"])
def test_an_export_that_scores_differently_is_not_kept(llama, tmp_path, monkeypatch, to):
    write = writing.write_weights
    monkeypatch.setattr(
        writing, "write_weights", lambda f, heads, **kw: write(f, damaged(heads), **kw)
    )
    text = r"out: nothing was written: the export must score as the bundle does; its '\w+' differs"
    with pytest.raises(BundleError, match=text):
        export_model(llama, tmp_path / "out", to=to, rows=ROWS)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_older_one(llama, tmp_path, monkeypatch):
    export_model(llama, tmp_path / "out", to="classifier", weights={"honesty": 1.0})
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    monkeypatch.setattr(writing, "write_weights", lambda *args, **kw: None)
    with pytest.raises(BundleError, match="nothing was written: the export must load; it does no"):
        export_model(llama, tmp_path / "out", to="objectives")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert len(list(tmp_path.iterdir())) == 1


def test_weights_that_are_missing_are_named(llama, tmp_path, monkeypatch):
    write = writing.write_weights
    monkeypatch.setattr(writing, "write_weights", lambda f, heads, **kw: write(f, {}, **kw))
    text = "the export must hold every weight of its class; 1 are missing or misshapen: `score.wei"
    with pytest.raises(BundleError, match=text):
        export_model(llama, tmp_path / "out", to="objectives")


def test_an_older_export_is_replaced_and_other_files_are_not(llama, tmp_path):
    export_model(llama, tmp_path / "out", to="objectives")
    export_model(llama, tmp_path / "out", to="armorm")
    assert (tmp_path / "out/modeling_armorm.py").is_file()
    (tmp_path / "out/notes.txt").write_text("mine")
    text = r"out: an export replaces the whole folder; this one holds other files, 'notes\.txt'"
    with pytest.raises(BundleError, match=text):
        export_model(llama, tmp_path / "out", to="objectives")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/model.safetensors").write_text("mine")
    with pytest.raises(BundleError, match=r"holds other files, 'model\.safetensors' among them"):
        export_model(llama, tmp_path / "own", to="objectives")


def test_rows_that_spell_the_end_of_a_prompt_are_left_out_and_counted(llama, tmp_path):
    header = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nMore."
    rows = [*ROWS, Conversation((Message("user", "Hi"),), "Yes." + header)]
    report = export_model(llama, tmp_path / "out", to="armorm", rows=rows)
    assert "1 of 8 rows hold the tokens that end a prompt elsewhere, too" in report.notes[0]


def test_a_template_without_bos_gets_one_in_the_export(tmp_path):
    model = model_on(decoder_backbone(tmp_path / "backbone", "zephyr"))
    report = export_model(model, tmp_path / "out", to="objectives")
    assert "the chat template of the export writes the BOS" in report.notes[0]
    assert len(report.notes) == 1
    batch = batch_of(tmp_path / "out")
    assert (batch["input_ids"][:, 0] == 0).all()
    found = outputs(load(tmp_path / "out"), batch).logits
    torch.testing.assert_close(found, model.score(ROWS).objectives)


def test_a_template_that_prints_the_day_prints_a_fixed_one_in_the_export(tmp_path):
    template = (
        "{{- bos_token -}}{{- 'Today: ' ~ strftime_now('%d %b %Y') ~ '\n' -}}"
        "{%- for m in messages -%}{{- '<|start_header_id|>' ~ m['role'] ~ '<|end_header_id|>' "
        "~ m['content'] ~ '<|eot_id|>' -}}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>' -}}"
        "{%- endif -%}"
    )
    folder = save_tiny_decoder(tmp_path / "backbone", template=template)
    model = model_on(load_backbone(str(folder), device="cpu"))
    report = export_model(model, tmp_path / "out", to="armorm")
    assert len(report.notes) == 1
    text = AutoTokenizer.from_pretrained(tmp_path / "out").apply_chat_template(
        ROWS[0].messages(), tokenize=False
    )
    assert "Today: 26 Jul 2024" in text


def test_a_conversation_of_several_messages_is_read_at_its_last_prompt(model, tmp_path):
    rows = [Conversation(TURNS, "Frozen water."), Conversation(TURNS, "A solid.")]
    export_model(model, tmp_path / "out", to="armorm")
    loaded = load(tmp_path / "out", trust_remote_code=True)
    found = outputs(loaded, batch_of(tmp_path / "out", rows))
    torch.testing.assert_close(found.score, model.score(rows).score)
    torch.testing.assert_close(found.gating_output, 1.7 * model.score(rows).gating)


def test_a_row_that_is_too_long_is_named(llama, tmp_path):
    rows = [*ROWS, Conversation((Message("user", "Hi"),), "long " * 500, id="novel")]
    text = "conversation 'novel': cannot be compared: longer than 512 tokens"
    with pytest.raises(FeatureError, match=text):
        export_model(llama, tmp_path / "out", to="objectives", rows=rows)


def test_a_backbone_that_takes_no_probe_is_refused(tmp_path):
    model = model_on(decoder_backbone(tmp_path / "backbone", max_tokens=4))
    with pytest.raises(
        DataError, match="cannot be exported unchecked: probe conversations: at lea"
    ):
        export_model(model, tmp_path / "out", to="objectives")
