"""The parts of an export one by one: gate, token pattern, padding token, config, refusals, card."""

import dataclasses
import json

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm import BundleError, Conversation, FeatureError, Message, RewardModel
from armorm.features.chat import TokenizedConversation, tokenize_conversations
from armorm.heads.compose import scale_gating
from armorm.heads.gating import GatingNetwork
from armorm.model.bundle import Bundle
from armorm.model.exports import ExportSettings, export_model, plan_export
from armorm.model.exports.checks import NO_INTERCEPT, check_settings
from armorm.model.exports.config_file import export_config
from armorm.model.exports.gate import gate_tensors, steered_gate
from armorm.model.exports.parity import (
    Expected,
    check_parity,
    expected_outputs,
    outputs_of,
    state_noise,
)
from armorm.model.exports.pattern import gating_token_pattern, last_occurrence
from armorm.model.exports.probes import PROBES
from armorm.model.exports.tokenizer_files import Pad, choose_pad, fixed_template, write_tokenizer
from armorm.train.recipe import parse_recipe
from bundles import NUISANCE, OBJECTIVES, decoder_backbone, make_bundle
from fakes import FAMILIES, HashBackbone, chat_tokenizer, conversations


def plain(tensors, x, temperature):
    """The gate of the released layout, literally: ReLU layers, softmax(z / T) * logit_scale."""
    n = len(tensors) // 2
    for i in range(n):
        x = x @ tensors[f"gating.layers.{i}.weight"].T + tensors[f"gating.layers.{i}.bias"]
        x = x.relu() if i < n - 1 else x
    return (x / temperature).softmax(-1) * tensors["gating.logit_scale"]


# Gate


def test_standardisation_goes_into_the_first_layer():
    gate = GatingNetwork(2, 1, hidden=(1,), temperature=1.0)
    state = {
        "mean": torch.tensor([1.0, 2.0]),
        "scale": torch.tensor([2.0, 4.0]),
        "layers.0.weight": torch.tensor([[6.0, 8.0]]),
        "layers.0.bias": torch.tensor([10.0]),
        "layers.1.weight": torch.tensor([[1.0]]),
        "layers.1.bias": torch.tensor([0.0]),
    }
    gate.load_state_dict(state)
    found = gate_tensors(gate, score_scale=1.5)
    # 6 (x - 1) / 2 + 8 (y - 2) / 4 + 10 = 3 x + 2 y + (10 - 3 - 4)
    assert found["gating.layers.0.weight"].tolist() == [[3.0, 2.0]]
    assert found["gating.layers.0.bias"].tolist() == [3.0]
    assert found["gating.logit_scale"].tolist() == [1.5]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    hidden=st.sampled_from([(), (3,), (4, 5), (3, 3, 3)]),
    temperature=st.sampled_from([1e-6, 0.1, 10.0, 1e6]),
    masked=st.sets(st.integers(0, 3), max_size=3),
)
def test_a_plain_gate_weighs_as_the_standardised_and_masked_one(seed, hidden, temperature, masked):
    sizes = {"hidden": hidden, "temperature": temperature, "masked": sorted(masked)}
    gate = GatingNetwork(5, 4, seed=seed, **sizes)
    draw = torch.Generator().manual_seed(seed)
    gate.standardise(1 + 2 * torch.randn(30, 5, generator=draw))
    x = 1 + 2 * torch.randn(8, 5, generator=draw)
    found = plain(gate_tensors(gate, score_scale=2.0), x, temperature)
    if temperature > 0.01:  # below, errors of the logits near 1e-6 become of the size of 1
        torch.testing.assert_close(found, 2 * gate(x), atol=1e-5, rtol=1e-4)
    assert found[:, sorted(masked)].eq(0).all()
    torch.testing.assert_close(found.sum(-1), torch.full((8,), 2.0))


def test_a_gate_without_standardisation_keeps_every_bit():
    gate = GatingNetwork(5, 4, hidden=(6,), seed=1)
    found = gate_tensors(gate, score_scale=1.0)
    for name, tensor in gate.state_dict().items():
        if name.startswith("layers."):
            assert torch.equal(found[f"gating.{name}"], tensor)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    factors=st.lists(st.sampled_from([0.0, 0.1, 1.0, 3.0, 50.0]), min_size=4, max_size=4),
)
def test_factors_become_biases(seed, factors):
    factors[0] = 2.0
    gate = GatingNetwork(5, 4, hidden=(6,), temperature=0.7, masked=(2,), seed=seed)
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))
    by_name = dict(zip("abcd", factors, strict=True))
    found = steered_gate(gate, by_name, list("abcd"))(x)
    torch.testing.assert_close(found, scale_gating(gate(x), torch.tensor(factors)))


def test_no_factor_changes_no_bit():
    gate = GatingNetwork(5, 4, hidden=(6,), masked=(1,), seed=2)
    same = steered_gate(gate, {}, list("abcd"))
    assert same.masked == (1,)
    assert all(torch.equal(same.state_dict()[n], t) for n, t in gate.state_dict().items())


# Token pattern


def pattern_of(tokenizer, rows=PROBES):
    encoded = tokenize_conversations(tokenizer, rows, max_tokens=512, bad_rows="drop")
    pairs = [
        (row, found)
        for row, found in zip(rows, encoded, strict=True)
        if isinstance(found, TokenizedConversation)
    ]
    return gating_token_pattern(tokenizer, [p[0] for p in pairs], [p[1] for p in pairs])


PATTERNS = {
    "llama3": "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma2": "<end_of_turn>\n<start_of_turn>model\n",
    "qwen3": "<|im_end|>\n<|im_start|>assistant\n",
    "mistral": "[/INST]",
    "zephyr": "</s>\n<|assistant|>\n",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_pattern_is_the_end_of_the_prompt_and_the_header(family):
    tokenizer = chat_tokenizer(family)
    assert tokenizer.decode(list(pattern_of(tokenizer))) == PATTERNS[family]


def test_a_response_that_takes_the_end_of_the_header_with_it_shortens_the_pattern():
    # ChatML does not strip responses: a BPE with a merge of two line ends would join the one
    # of the header and the one that begins a response; here a space and a letter do.
    template = (
        "{%- for m in messages -%}{{- '<|im_start|>' ~ m['role'] ~ '| ' ~ m['content'] "
        "~ '<|im_end|>' -}}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant| ' -}}{%- endif -%}"
    )
    tokenizer = chat_tokenizer("qwen3", template=template)
    rows = conversations(6)
    apart = tokenizer.decode(
        list(pattern_of(tokenizer, [r for r in PROBES if r.response == "7"] * 4))
    )
    joined = tokenizer.decode(list(pattern_of(tokenizer, [*rows, *PROBES])))
    assert apart == "<|im_end|><|im_start|>assistant| "
    assert joined == "<|im_end|><|im_start|>assistant|"


def test_a_template_that_closes_every_message_alike_and_opens_none_is_refused():
    template = "{%- for m in messages -%}{{- m['content'] ~ '<|im_end|>' -}}{%- endfor -%}"
    text = (
        r"the chat template must mark the end of a prompt by tokens that occur there and not "
        r"after it; those it has, '<\|im_end\|>', occur last at token \d+ of conversation 'probe-0'"
    )
    with pytest.raises(FeatureError, match=text):
        pattern_of(chat_tokenizer("qwen3", template=template))


def test_a_pattern_needs_several_conversations():
    with pytest.raises(FeatureError, match="in at least 4 conversations; the backbone takes 2"):
        pattern_of(chat_tokenizer("qwen3"), PROBES[:2])


@pytest.mark.parametrize(
    ("ids", "pattern", "place"),
    [([1, 2, 1, 2], [1, 2], 2), ([1, 2], [2, 1], -1), ([1], [1, 2], -1), ([1], [], -1)],
)
def test_the_last_occurrence_counts(ids, pattern, place):
    assert last_occurrence(ids, pattern) == place


# Tokenizer


def rows_of(tokenizer):
    return tokenize_conversations(tokenizer, conversations(4), max_tokens=512)


def test_the_own_padding_token_is_kept_where_no_conversation_holds_it():
    tokenizer = chat_tokenizer("mistral")
    assert choose_pad(tokenizer, rows_of(tokenizer), vocab_size=512, name="tiny") == Pad("<pad>", 2)


def test_a_padding_token_that_closes_conversations_is_replaced():
    tokenizer = chat_tokenizer("mistral")
    tokenizer.pad_token = "</s>"
    tokenizer.add_special_tokens({"additional_special_tokens": ["<reserved_1>", "<my_pad>"]})
    rows = rows_of(tokenizer)
    assert choose_pad(tokenizer, rows, vocab_size=512, name="tiny").token == "<pad>"
    without = {t.content: i for i, t in tokenizer.added_tokens_decoder.items()}
    used = TokenizedConversation((without["<pad>"],), 0)
    taken = TokenizedConversation((without["<pad>"], without["<my_pad>"]), 0)
    kinds = (([used], "<my_pad>"), ([taken], "<reserved_1>"))
    for more, token in kinds:
        assert choose_pad(tokenizer, [*rows, *more], vocab_size=512, name="tiny").token == token
    small = without["<my_pad>"]  # it has no embedding
    found = choose_pad(tokenizer, [*rows, used], vocab_size=small, name="tiny")
    assert found.id < small


def test_a_tokenizer_without_a_spare_token_is_refused():
    tokenizer = chat_tokenizer("qwen3")
    tokenizer.pad_token = "<|im_end|>"
    text = r"tiny: batches of an export need a padding token .* has '<\|im_end\|>' and no reserved"
    with pytest.raises(FeatureError, match=text):
        choose_pad(tokenizer, rows_of(tokenizer), vocab_size=512, name="tiny")


@pytest.mark.parametrize(("family", "changed"), [("llama3", False), ("zephyr", True)])
def test_a_template_is_changed_only_where_it_leaves_something_out(family, changed):
    tokenizer = chat_tokenizer(family)
    found = fixed_template(tokenizer, conversations(4), rows_of(tokenizer))
    assert (found is not None) == changed
    if found is not None:
        assert found == "{{- bos_token -}}" + tokenizer.chat_template


def test_files_of_a_tokenizer_are_copied_with_the_licence_and_said_in_old_words(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "out"
    source.mkdir(), folder.mkdir()
    config = {
        "tokenizer_class": "TokenizersBackend",
        "extra_special_tokens": ["<a>"],
        "pad_token": "</s>",
        "chat_template": "old",
    }
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    (source / "special_tokens_map.json").write_text('{"pad_token": {"content": "</s>"}}')
    (source / "chat_template.jinja").write_text("old")
    (source / "tokenizer.json").write_bytes(b"\xff any bytes")
    (source / "LICENSE.txt").write_text("terms")
    (source / "training.log").write_text("other")
    write_tokenizer(folder, source=source, pad=Pad("<pad>", 2), template="new")
    assert (folder / "tokenizer.json").read_bytes() == b"\xff any bytes"
    assert (folder / "LICENSE.txt").read_text() == "terms"
    assert not (folder / "training.log").exists()
    assert (folder / "chat_template.jinja").read_text() == "new"
    assert json.loads((folder / "special_tokens_map.json").read_text()) == {"pad_token": "<pad>"}
    assert json.loads((folder / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<a>"],
        "pad_token": "<pad>",
        "padding_side": "right",
        "chat_template": "new",
    }


# Config


def config_of(backbone, **more):
    options = {
        "architecture": "XForSequenceClassification",
        "labels": ["a", "b"],
        "pad_id": 5,
        "dtype": "bfloat16",
        "soft_capped": False,
        "more": {},
    }
    return export_config(backbone, **(options | more))


def test_config_is_that_of_the_backbone_with_the_head():
    old = {
        "architectures": ["LlamaForRewardModelWithGating"],
        "auto_map": {"AutoModelForSequenceClassification": "modeling_custom.X"},
        "num_objectives": 19,
        "objective_scales": {},
        "preference_beta": 2.0,
        "value_head_prefix": "score",
        "gating_temperature": 10,
        "hidden_size": 8,
        "dtype": "float32",
        "pad_token_id": 1,
        "_name_or_path": "/home/me/model",
        "text_config": {"hidden_size": 8, "pad_token_id": 1},
    }
    assert config_of(old, more={"extra": 1}) == {
        "architectures": ["XForSequenceClassification"],
        "hidden_size": 8,
        "text_config": {"hidden_size": 8, "pad_token_id": 5},
        "id2label": {"0": "a", "1": "b"},
        "label2id": {"a": 0, "b": 1},
        "problem_type": "regression",
        "pad_token_id": 5,
        "torch_dtype": "bfloat16",
        "use_cache": False,
        "extra": 1,
    }


def test_config_asks_for_the_attention_that_keeps_a_soft_cap():
    # Transformers 4.57 takes the kernel of torch for Gemma-2, which leaves the cap out.
    assert config_of({}, soft_capped=True)["_attn_implementation"] == "eager"


@pytest.mark.parametrize(
    ("rope", "old"),
    [
        ({"rope_type": "default", "rope_theta": 5e5}, {"rope_theta": 5e5, "rope_scaling": None}),
        (
            {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0},
            {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        ),
        ({"full_attention": {"rope_theta": 1e4}}, {}),
        (None, {}),
    ],
)
def test_rotary_frequencies_are_said_in_old_words_too(rope, old):
    # Transformers 4.57 does not read `rope_parameters`, and silently takes a theta of 10,000.
    config = config_of({"rope_parameters": rope})
    assert config["rope_parameters"] == rope
    assert {key: config[key] for key in ("rope_theta", "rope_scaling") if key in config} == old


# Parity


def test_noise_of_a_state_by_hand():
    assert state_noise(torch.float16, 2) == 2 * 2.0**-11  # sqrt(2 * 2) roundings


def expected_of(dtype, to="armorm", n_layers=8):
    backbone = HashBackbone()
    model = RewardModel(make_bundle(backbone.facts(), baselines=None), backbone)
    draw = torch.Generator().manual_seed(0)
    features = (torch.randn(20, 8, generator=draw), torch.randn(20, 8, generator=draw))
    row = torch.tensor([0.5, 0.5, 0.0, 0.0]) if to == "classifier" else torch.eye(4)
    found = expected_outputs(model, features, to=to, row=row, dtype=dtype, n_layers=n_layers)
    return model, features, found


def test_tolerance_in_float32_is_a_share_of_what_a_score_sums_up():
    model, features, found = expected_of(torch.float32)
    scores = model.score_features(*features)
    sums = scores.contributions.abs().sum(-1).max()
    assert found["score"].tolerance == pytest.approx(1e-4 * float(sums))
    largest = scores.objectives.abs().max()
    assert found["objectives"].tolerance == pytest.approx(1e-4 * float(largest))
    assert torch.equal(found["score"].values[:, 0], scores.score)


@pytest.mark.parametrize("to", ["armorm", "classifier", "objectives"])
def test_tolerance_in_half_precision_follows_the_states(to):
    _, _, half = expected_of(torch.bfloat16, to)
    _, _, fine = expected_of(torch.float16, to)
    _, _, deep = expected_of(torch.bfloat16, to, n_layers=32)
    for name, wanted in half.items():
        # Linear in the roundoff (a factor of 8), and in the root of the depth (2).
        assert 7 < wanted.tolerance / fine[name].tolerance < 9
        assert 1.5 < deep[name].tolerance / wanted.tolerance < 2.5


def test_outputs_of_each_kind_by_hand():
    model, features, _ = expected_of(torch.float32)
    r = model.score_features(*features).objectives
    row = torch.tensor([1.0, 0.0, -1.0, 0.0])
    found = outputs_of(model, *features, to="classifier", row=row)
    assert list(found) == ["score"]
    torch.testing.assert_close(found["score"][:, 0], r[:, 0] - r[:, 2])
    matrix = model.bundle.debias
    found = outputs_of(model, *features, to="objectives", row=matrix)["objectives"]
    torch.testing.assert_close(found[:, 1], r[:, 1] + matrix[NUISANCE, 1] * r[:, NUISANCE])


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({}, r"must give 'score' of shape \(2, 1\); it gives None"),
        ({"score": torch.zeros(2)}, r"must give 'score' of shape \(2, 1\); it gives \(2,\)"),
        ({"score": torch.tensor([[1.0], [2.2]])}, r"differs by up to 0\.2, more than 0\.1, over 2"),
        ({"score": torch.tensor([[1.0], [torch.nan]])}, "differs by up to nan, more than 0.1"),
    ],
)
def test_an_output_that_is_off_is_refused(found, text):
    expected = {"score": Expected(torch.tensor([[1.0], [2.0]]), 0.1)}
    with pytest.raises(BundleError, match=text):
        check_parity(expected, found)


def test_the_largest_difference_is_reported():
    expected = {"score": Expected(torch.tensor([[1.0], [2.0]]), 0.1)}
    [found] = check_parity(expected, {"score": torch.tensor([[1.0625], [1.9375]])})
    assert (found.output, found.largest, found.tolerance) == ("score", 0.0625, 0.1)


# Refusals


def test_the_recipe_line_of_the_refusal_is_one_that_recipes_take():
    recipe = {
        "name": "x",
        "backbone": "b",
        "rated": "r.jsonl",
        "pairs": "p.jsonl",
        "scales": {"s": {"honesty": [0, 4], "verbosity": [0, 4]}},
        **yaml.safe_load(NO_INTERCEPT),
    }
    assert parse_recipe(recipe).ridge.intercept is False


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    """A decoder with a ridge head that has an intercept."""
    backbone = decoder_backbone(tmp_path_factory.mktemp("biased"))
    return RewardModel(make_bundle(backbone.facts(), baselines=None), backbone)


@pytest.fixture(scope="module")
def unbiased(biased):
    bundle = dataclasses.replace(biased.bundle, bias=torch.zeros(len(OBJECTIVES)))
    return dataclasses.replace(biased, bundle=bundle)


@pytest.mark.parametrize("to", ["armorm", "classifier", "objectives"])
def test_an_intercept_is_refused_with_the_line_that_leaves_it_out(biased, tmp_path, to):
    text = (
        rf"tiny: to export as '{to}' the ridge head must have no intercept, for which the layout "
        r"has no place; 4 of 4 biases are not 0: train with `ridge: \{intercept: false\}` in the "
        r"recipe, or export as 'head'"
    )
    with pytest.raises(BundleError, match=text):
        export_model(biased, tmp_path / "out", to=to)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["armorm", "classifier", "objectives"])
def test_an_encoder_is_refused(encoder, tmp_path, to):
    model = RewardModel(make_bundle(encoder.facts(), bias=torch.zeros(4)), encoder)
    text = r"must be states of single tokens; those of the encoder '.*' are made of several: train"
    with pytest.raises(BundleError, match=text):
        export_model(model, tmp_path / "out", to=to)


def test_a_gate_without_weights_or_rows_is_no_classifier(unbiased, tmp_path):
    text = "needs the same weights for every prompt, .*: give `weights`, or `rows` whose mean"
    with pytest.raises(ValueError, match=text):
        export_model(unbiased, tmp_path / "out", to="classifier")


def test_unknown_weights_name_the_nearest(unbiased, tmp_path):
    with pytest.raises(ValueError, match="unknown objective 'honest'; did you mean 'honesty'"):
        export_model(unbiased, tmp_path / "out", to="classifier", weights={"honest": 1.0})


@pytest.mark.parametrize("to", ["armorm", "head"])
def test_fixed_weights_do_not_go_with_the_gate(unbiased, tmp_path, to):
    model = unbiased.with_weights({"honesty": 1.0})
    with pytest.raises(
        ValueError, match=f"`to` = '{to}' exports the gate, which the fixed weights"
    ):
        export_model(model, tmp_path / "out", to=to)


@pytest.mark.parametrize(
    ("to", "changes", "text"),
    [
        (
            "onnx",
            {},
            "`to` must be one of 'armorm', 'classifier', 'objectives', 'head'; got 'onnx'",
        ),
        ("armorm", {"weights": {"a": 1.0}}, "`weights` are for `to` = 'classifier'; got 'armorm'"),
        ("classifier", {"debiased": True}, "`debiased` is for `to` = 'objectives'; got 'classif"),
        ("armorm", {"dtype": "float8"}, "`dtype` must be .*; got 'float8'; did you mean 'float"),
        ("head", {"dtype": "bfloat16"}, "`dtype` is that of a backbone, and `to` = 'head' holds"),
    ],
)
def test_settings_that_do_not_go_together(to, changes, text):
    with pytest.raises(ValueError, match=text):
        check_settings(to, **({"weights": None, "debiased": False, "dtype": None} | changes))


def test_settings_are_checked_when_they_are_made():
    with pytest.raises(ValueError, match="`debiased` is for `to` = 'objectives'"):
        ExportSettings("armorm", debiased=True)


def test_an_unknown_form_of_row_is_located(unbiased):
    with pytest.raises(Exception, match=r"rows\[1\]"):
        plan_export(unbiased, ExportSettings("armorm"), rows=[*conversations(1), {"text": "x"}])


# Card


def test_card_says_what_it_is_how_to_load_it_and_how_exact_it_is(unbiased, tmp_path):
    wanted = {
        "armorm": ["trust_remote_code=True", "gate reads the state at the last place where"],
        "classifier": ["num_labels=1", "--runner pooling", "| honesty | 0 to 4 (general) | 0.5 |"],
        "objectives": ["config.id2label", "verbosity`", "verl reads the last number"],
        "head": ["RewardModel.load", "Backbone digest"],
    }
    for to, texts in wanted.items():
        weights = {"honesty": 0.5} if to == "classifier" else None
        export_model(unbiased, tmp_path / to, to=to, weights=weights, debiased=to == "objectives")
        card = (tmp_path / to / "README.md").read_text()
        for text in [*texts, "largest differences: ", "| is_safe | 0 to 1 (safety) |"]:
            assert text in card, (to, text)
        head = yaml.safe_load(card.split("---")[1])
        assert head["pipeline_tag"] == "text-classification"
        assert head["library_name"] == ("armorm" if to == "head" else "transformers")
        assert "reward-model" in head["tags"]
        assert "base_model" not in head  # a folder of this machine is no base model


def test_base_model_of_the_card_is_a_hub_id(unbiased, tmp_path):
    facts = {**unbiased.bundle.backbone, "name": "owner/model", "revision": "a" * 40}
    model = dataclasses.replace(
        unbiased, bundle=dataclasses.replace(unbiased.bundle, backbone=facts)
    )
    assert isinstance(model.bundle, Bundle)
    export_model(model, tmp_path / "out", to="head")
    head = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---")[1])
    assert head["base_model"] == "owner/model"


def test_probes_have_every_form():
    assert {len(row.prompt) for row in PROBES} == {1, 2, 3, 4}
    assert {row.prompt[0].role for row in PROBES} == {"user", "system"}
    assert all(isinstance(row, Conversation) for row in PROBES)
    assert {row.response[0].isspace() for row in PROBES} == {True, False}
    assert isinstance(PROBES[0].prompt[0], Message)
