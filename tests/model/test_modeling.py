"""The self-contained class of the released layout, against its formulas one row at a time."""

import ast
import itertools
import json
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    GPT2Config,
    GraniteConfig,
)

from armorm.model import modeling_armorm
from armorm.model.modeling_armorm import ArmoRMForSequenceClassification
from fakes import chat_tokenizer
from released import OPENINGS, opening, published_forward, read_all, save_released

FAMILIES = tuple(OPENINGS)
TALKS = [
    ("Hi?", "No."),
    ("What is the capital of France?", "The capital of France is Paris, on the Seine."),
    ("Write a short poem about the sea.", "The sea is wide."),
]
LLAMA3 = (128009, 128006, 78191, 128007, 271)


def rows_of(family):
    """Token ids of three conversations of different lengths."""
    tokenizer = chat_tokenizer(family)
    turns = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        for prompt, response in TALKS
    ]
    texts = [tokenizer.apply_chat_template(t, tokenize=False) for t in turns]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def padded(rows, pad, side="right", extra=0):
    """One tensor, with `extra` columns of padding more than the longest row needs."""
    length = max(map(len, rows)) + extra
    filled = [[pad] * (length - len(row)) for row in rows]
    joined = [row + f if side == "right" else f + row for row, f in zip(rows, filled, strict=True)]
    return torch.tensor(joined)


def load(folder, **options):
    return ArmoRMForSequenceClassification.from_pretrained(folder, **options).eval()


@pytest.fixture(scope="module", params=FAMILIES)
def case(request, tmp_path_factory):
    """A checkpoint of each family, the class on it, rows, and what they must score."""
    family = request.param
    folder = tmp_path_factory.mktemp(family)
    pattern = opening(family)
    save_released(folder, family, gating_token_pattern=pattern, auto_map=...)
    rows = rows_of(family)
    expected = [published_forward(folder, row, pattern) for row in rows]
    pad = chat_tokenizer(family).pad_token_id
    return folder, load(folder), rows, expected, pad


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    pattern = opening()
    return save_released(folder, gating_token_pattern=pattern, auto_map=...), pattern


@pytest.fixture(scope="module")
def model(llama):
    return load(llama[0])


def scores(expected):
    return torch.tensor([row["score"] for row in expected])


@torch.no_grad()
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("extra", [0, 3])
def test_a_batch_scores_what_the_published_formulas_say(case, side, masked, extra):
    # Hazard 3 of the released file: left padding without a mask moved the states by 0.35.
    _, model, rows, expected, pad = case
    ids = padded(rows, pad, side, extra)
    found = model(ids, attention_mask=(ids != pad).long() if masked else None)
    assert_close(found.score, scores(expected), atol=3e-6, rtol=1e-5)
    assert_close(found.rewards, torch.stack([r["rewards"] for r in expected]).float())
    assert_close(found.gating_output, torch.stack([r["gating"] for r in expected]).float())


@torch.no_grad()
def test_a_single_row_scores_what_it_scores_in_a_batch(case):
    _, model, rows, expected, _ = case
    for row, want in zip(rows, expected, strict=True):
        assert_close(model(torch.tensor([row])).score, scores([want]), atol=3e-6, rtol=1e-5)


@torch.no_grad()
def test_shapes_dtypes_and_order_of_what_comes_back(case):
    # Hazard 8: `logits` of the released class has shape (B,), and readers of [:, 0] fail.
    _, model, rows, _, pad = case
    found = model(padded(rows, pad))
    n, width = len(rows), model.config.hidden_size
    assert found.logits.shape == (n, 1)
    assert torch.equal(found.logits[:, 0], found.score)
    assert found.rewards.shape == found.gating_output.shape == (n, 19)
    assert found.prompt_embedding.shape == found.hidden_state.shape == (n, width)
    assert list(found) == [
        *("logits", "score", "rewards", "gating_output", "prompt_embedding", "hidden_state")
    ]
    as_tuple = model(padded(rows, pad), return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert all(torch.equal(a, b) for a, b in zip(as_tuple, found.values(), strict=True))


@torch.no_grad()
def test_coefficients_are_the_gradient_of_the_score(case):
    _, model, rows, _, pad = case
    found = model(padded(rows, pad))
    coefficients = found.gating_output @ model.reward_transform_matrix.T
    assert_close((coefficients * found.rewards).sum(1), found.score)
    assert_close(found.gating_output.sum(1), torch.full((len(rows),), 1.25))


def test_the_file_imports_torch_transformers_and_the_standard_library():
    tree = ast.parse(Path(modeling_armorm.__file__).read_text())
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {"torch", "transformers"} <= names
    assert names - {"torch", "transformers"} <= sys.stdlib_module_names
    levels = [node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not any(levels)


@torch.no_grad()
def test_the_released_pattern_needs_no_key_and_its_last_occurrence_counts(tmp_path):
    sizes = {"vocab_size": 128257, "hidden_size": 8, "intermediate_size": 8, "head_dim": 4}
    save_released(tmp_path, auto_map=...)
    config = json.loads((tmp_path / "config.json").read_text()) | sizes
    config |= {"num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 1}
    config |= {"bos_token_id": 128000, "eos_token_id": 128001, "pad_token_id": 128256}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = ArmoRMForSequenceClassification(AutoConfig.from_pretrained(tmp_path)).eval()
    assert model.gating_token_pattern == LLAMA3
    turn = [128000, 5, 6, *LLAMA3, 7]  # begins at index 3, then at 9
    row = [*turn, *LLAMA3, 8, 128009]
    found = model(torch.tensor([row, [*turn, 128009, *[128256] * 6]]))
    states = model.model(torch.tensor([row]))[0]
    assert_close(found.prompt_embedding[0], states[0, 9])
    assert_close(found.hidden_state[0], states[0, -1])
    assert_close(found.prompt_embedding[1], states[0, 3])


@torch.no_grad()
def test_a_header_inside_the_response_moves_the_published_gate_unless_the_position_is_given(llama):
    folder, pattern = llama
    model = load(folder)
    row = rows_of("llama3")[1]
    begins = published_forward(folder, row, pattern)["begins"]
    attacked = [*row[:-1], *pattern, *row[-4:]]
    want = published_forward(folder, attacked, pattern)
    assert want["begins"] == len(row) - 1
    ids = torch.tensor([attacked])
    assert_close(model(ids).score, scores([want]))
    told = model(ids, gating_positions=torch.tensor([begins]))
    assert_close(told.gating_output, model(torch.tensor([row])).gating_output)
    assert abs(float(told.score) - want["score"]) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
def test_where_the_pad_token_ends_conversations_the_first_of_the_trailing_run_is_real(
    llama, side, many
):
    # Hazard 4: with pad := eos the released class scored position 0, or a padding token.
    folder, pattern = llama
    eot = pattern[0]
    model = load(folder)
    model.config.pad_token_id = eot
    model.config.eos_token_id = [1, eot] if many else eot
    rows = rows_of("llama3")
    assert all(row[-1] == eot for row in rows)
    want = scores([published_forward(folder, row, pattern) for row in rows])
    assert_close(model(padded(rows, eot, side)).score, want, atol=3e-6, rtol=1e-5)
    # A pad token that ends nothing is padding to the last.
    model.config.eos_token_id = None
    cut = [row[:-1] for row in rows]
    short = scores([published_forward(folder, row, pattern) for row in cut])
    assert_close(model(padded(rows, eot, side)).score, short, atol=3e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("side", ["right", "left"])
def test_where_the_pad_token_begins_conversations_the_last_of_the_leading_run_is_real(llama, side):
    folder, pattern = llama
    model = load(folder)
    rows = rows_of("llama3")
    model.config.pad_token_id = model.config.bos_token_id = rows[0][0]
    want = scores([published_forward(folder, row, pattern) for row in rows])
    assert_close(model(padded(rows, rows[0][0], side)).score, want, atol=3e-6, rtol=1e-5)


@settings(max_examples=15)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=4),
    side=st.sampled_from(["right", "left"]),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
@torch.no_grad()
def test_a_row_scores_the_same_beside_any_others(model, llama, lengths, side, masked, seed):
    pattern = llama[1]
    draw = torch.Generator().manual_seed(seed)

    def words(n):
        return torch.randint(20, 400, (n,), generator=draw).tolist()

    rows = [[*words(a), *pattern, *words(b)] for a, b in lengths]
    pad = model.config.pad_token_id
    ids = padded(rows, pad, side, extra=seed % 3)
    mask = (ids != pad).long() if masked else None
    alone = torch.cat([model(torch.tensor([row])).score for row in rows])
    assert_close(model(ids, attention_mask=mask).score, alone, atol=5e-6, rtol=1e-5)


def heads_of(model):
    return {n: p for n, p in model.named_parameters() if not n.startswith("model.")}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_heads_stay_float32_whatever_dtype_is_asked_for(llama, dtype):
    # Hazard 10: heads in bfloat16 make ties, as neighbouring numbers near 0.15 are 0.001 apart.
    folder = llama[0]
    stored = read_all(folder)
    loaded, cast = load(folder, dtype=dtype), load(folder).to(dtype)
    for model in (loaded, cast, cast.to("cpu")):
        assert model.model.norm.weight.dtype == dtype
        for name, parameter in heads_of(model).items():
            assert parameter.dtype == torch.float32
            assert torch.equal(parameter, stored[name])


@torch.no_grad()
def test_heads_compute_in_float32_beside_a_bfloat16_backbone_and_under_autocast(llama):
    folder, pattern = llama
    stored = read_all(folder)
    model = load(folder, dtype=torch.bfloat16)
    ids = padded(rows_of("llama3"), model.config.pad_token_id)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(ids)
    assert found.hidden_state.dtype == torch.bfloat16
    assert found.score.dtype == found.rewards.dtype == found.gating_output.dtype == torch.float32
    rewards = found.hidden_state.float() @ stored["regression_layer.weight"].T
    assert_close(found.rewards, rewards)
    debiased = rewards @ stored["reward_transform_matrix"]
    assert_close(found.score, (found.gating_output * debiased).sum(1))
    assert pattern  # the same rows as everywhere


@torch.no_grad()
def test_save_then_load_is_identity(case, tmp_path):
    folder, model, rows, _, pad = case
    assert set(model.state_dict()) == set(read_all(folder))
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert set(again.state_dict()) == set(model.state_dict())
    assert_close(again(padded(rows, pad)).score, model(padded(rows, pad)).score)


def through_the_auto_class(model, folder, monkeypatch):
    """Save a model with a copy of the file, and let transformers load and run the copy."""
    modules, saved = folder / "modules", folder / "model"
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(modules))
    monkeypatch.syspath_prepend(str(modules))
    mapping = AutoModelForSequenceClassification._model_mapping
    monkeypatch.setattr(mapping, "_extra_content", dict(mapping._extra_content))
    model.save_pretrained(saved)
    (saved / "modeling_armorm.py").write_text(Path(modeling_armorm.__file__).read_text())
    config = json.loads((saved / "config.json").read_text())
    name = "modeling_armorm.ArmoRMForSequenceClassification"
    config["auto_map"] = {"AutoModelForSequenceClassification": name}
    (saved / "config.json").write_text(json.dumps(config))
    loaded = AutoModelForSequenceClassification.from_pretrained(
        saved, trust_remote_code=True, num_labels=1
    )
    assert type(loaded).__module__.startswith("transformers_modules")
    return loaded.eval()


@torch.no_grad()
def test_a_copy_of_the_file_beside_the_weights_runs_through_the_auto_class(
    case, tmp_path, monkeypatch
):
    _, model, rows, _, pad = case
    loaded = through_the_auto_class(model, tmp_path, monkeypatch)
    assert_close(loaded(padded(rows, pad)).score, model(padded(rows, pad)).score)
    assert all(p.dtype == torch.float32 for p in heads_of(loaded).values())


@torch.no_grad()
def test_positions_count_real_tokens_alone():
    # Rotary positions are relative, and forgive an offset; learned ones (GPT-2) do not.
    config = GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=40)
    config.update({"num_objectives": 3, "gating_hidden": [5], "gating_token_pattern": [7, 8]})
    config.pad_token_id, config.eos_token_id, config.bos_token_id = 0, 1, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ArmoRMForSequenceClassification(config).eval()
        for parameter in model.parameters():
            parameter.data.normal_(std=0.3)
    rows = [[3, 4, 7, 8, 5], [9, 7, 8, 3, 2, 11, 12, 13, 1]]
    alone = torch.cat([model(torch.tensor([row])).score for row in rows])
    for side in ("right", "left"):
        assert_close(model(padded(rows, 0, side, extra=2)).score, alone)


@torch.no_grad()
def test_a_family_without_a_classifier_of_its_own_runs_through_the_auto_class(
    tmp_path, monkeypatch
):
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "head_dim": 8}
    sizes |= {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = GraniteConfig(**sizes, pad_token_id=0, bos_token_id=None, eos_token_id=1)
    assert GraniteConfig not in AutoModelForSequenceClassification._model_mapping
    config.update({"num_objectives": 3, "gating_hidden": [5], "gating_token_pattern": [7, 8]})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ArmoRMForSequenceClassification(config).eval()
    loaded = through_the_auto_class(model, tmp_path, monkeypatch)
    ids = torch.tensor([[3, 4, 7, 8, 5]])
    assert_close(loaded(ids).score, model(ids).score)
    assert isinstance(loaded.config, GraniteConfig)


@torch.no_grad()
def test_hidden_widths_may_differ_and_may_be_none(tmp_path):
    for hidden in ((9, 5), ()):
        folder = tmp_path / str(len(hidden))
        changes = {"gating_hidden": list(hidden)} if hidden else {}
        pattern = opening()
        save_released(folder, hidden=hidden, gating_token_pattern=pattern, k=3, **changes)
        row = rows_of("llama3")[0]
        want = scores([published_forward(folder, row, pattern)])
        assert_close(load(folder)(torch.tensor([row])).score, want, atol=3e-6, rtol=1e-5)


@torch.no_grad()
def test_tied_embeddings_change_nothing(llama, tmp_path):
    folder, pattern = llama
    save_released(tmp_path, gating_token_pattern=pattern, tie_word_embeddings=True)
    model = load(tmp_path)
    model.save_pretrained(tmp_path / "again")
    ids = torch.tensor(rows_of("llama3")[:1])
    assert_close(load(tmp_path / "again")(ids).score, load(folder)(ids).score)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_layers_may_lie_in_different_places(llama, tmp_path):
    folder = llama[0]
    whole = load(folder)
    ids = padded(rows_of("llama3"), whole.config.pad_token_id, "left")
    places = [
        "auto",
        {"model": "disk", "regression_layer": "cpu", "gating": "disk"}
        | {"reward_transform_matrix": "cpu"},
    ]
    for i, place in enumerate(places):
        spread = load(folder, device_map=place, offload_folder=str(tmp_path / str(i)))
        assert set(spread._no_split_modules) == {"LlamaDecoderLayer"}
        assert_close(spread(ids).score, whole(ids).score)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, by the masks of 4.57
def test_one_graph_without_a_break_and_nan_where_it_cannot_raise(unhooked_model):
    model, pattern = unhooked_model
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    ids = padded(rows_of("llama3"), model.config.pad_token_id)
    assert_close(compiled(ids).score, model(ids).score)
    ids[1, ids[1] == pattern[0]] = 77
    found = compiled(ids)
    assert found.score.isnan().tolist() == found.logits[:, 0].isnan().tolist()
    assert found.score.isnan().tolist() == [False, True, False]


@pytest.fixture
def unhooked_model(llama, monkeypatch):
    """The class without the checks of the test run, which no graph can hold."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("modeling_plain", modeling_armorm.__file__)
    plain = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "modeling_plain", plain)
    spec.loader.exec_module(plain)
    return plain.ArmoRMForSequenceClassification.from_pretrained(llama[0]).eval(), llama[1]


def test_gradients_reach_the_backbone_and_not_the_transform(llama):
    model = load(llama[0])
    model(torch.tensor(rows_of("llama3")[:1])).logits.sum().backward()
    assert model.model.embed_tokens.weight.grad is not None
    assert model.gating.layers[0].weight.grad is not None
    assert model.reward_transform_matrix.grad is None


def test_rows_without_the_pattern_are_named_and_no_others(model, llama):
    rows = rows_of("llama3")
    ids = padded([*rows, rows[0]], model.config.pad_token_id)
    for row in (1, 3):
        ids[row, ids[row] == llama[1][0]] = 77
    text = r"`input_ids` must hold the tokens \[.*\] that end the prompt .* not so in rows 1, 3$"
    with pytest.raises(ValueError, match=text):
        model(ids)
    with pytest.raises(ValueError, match=r"not so in rows 0$"):
        model(torch.tensor([[5]]))
    many = torch.full((12, 9), 77)
    with pytest.raises(ValueError, match=r"not so in rows 0, 1, 2, 3, 4, 5, 6, 7 and 4 more$"):
        model(many)


def test_a_row_of_padding_alone_is_refused(model):
    pad = model.config.pad_token_id
    ids = torch.tensor([rows_of("llama3")[0]])
    ids = torch.cat([ids, torch.full_like(ids, pad)])
    text = "`input_ids` must hold a token that is no padding in every row; not so in rows 1$"
    with pytest.raises(ValueError, match=text):
        model(ids)
    with pytest.raises(ValueError, match=text):
        model(ids, attention_mask=(ids != pad).long())


def test_given_positions_must_lie_in_their_rows(model):
    rows = rows_of("llama3")
    ids = padded(rows, model.config.pad_token_id)
    text = "`gating_positions` must point at a token that is no padding; not so in rows "
    for wrong, row in (([0, 0, 9999], 2), ([0, -1, 0], 1), ([ids.shape[1] - 1, 0, 0], 0)):
        with pytest.raises(ValueError, match=f"{text}{row}$"):
            model(ids, gating_positions=torch.tensor(wrong))
    with pytest.raises(ValueError, match=r"`gating_positions` must have shape \(3,\); got \(2,\)"):
        model(ids, gating_positions=torch.tensor([0, 0]))


@torch.no_grad()
def test_lengths_that_cannot_be_known_are_refused(llama):
    folder, pattern = llama
    model = load(folder)
    model.config.pad_token_id = None
    rows = rows_of("llama3")
    ids = padded(rows, 0)
    with pytest.raises(ValueError, match="`attention_mask` must be given for 3 rows: the config"):
        model(ids)
    want = scores([published_forward(folder, row, pattern) for row in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (ids.shape[1] - len(r)) for r in rows])
    assert_close(model(ids, attention_mask=mask).score, want, atol=3e-6, rtol=1e-5)
    assert_close(model(torch.tensor(rows[:1])).score, want[:1], atol=3e-6, rtol=1e-5)


def test_inputs_that_cannot_be_scored_are_refused(model):
    from transformers import DynamicCache

    ids = torch.tensor(rows_of("llama3")[:1])
    with pytest.raises(ValueError, match="`inputs_embeds` cannot be scored: the end of the prompt"):
        model(inputs_embeds=torch.zeros(1, 3, 32))
    with pytest.raises(ValueError, match="`labels` must be None: this model has no loss"):
        model(ids, labels=torch.zeros(1))
    with pytest.raises(ValueError, match=r"`input_ids` must have shape \(B, L\), .*; got \(3,\)"):
        model(torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match=r"`input_ids` must have shape \(B, L\), .*; got NoneType"):
        model()
    text = r"`attention_mask` must have the shape of `input_ids`, \(1, \d+\); got \(1, 2\)"
    with pytest.raises(ValueError, match=text):
        model(ids, attention_mask=torch.ones(1, 2))
    cache = DynamicCache()
    with torch.no_grad():
        assert model(ids, past_key_values=cache, use_cache=True).score.shape == (1,)
    assert cache.get_seq_length() == ids.shape[1]
    with pytest.raises(ValueError, match=r"`past_key_values` must be empty: .*; got \d+ cached"):
        model(ids, past_key_values=cache)


def without(name):
    return lambda tensors: tensors.pop(name)


def misshapen(tensors):
    tensors["gating.layers.0.weight"] = torch.zeros(5, 7)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "change", [without("regression_layer.weight"), without("gating.logit_scale"), misshapen]
)
def test_a_checkpoint_without_its_heads_gets_no_random_ones(tmp_path, change):
    # Hazard 11: generic loaders gave ArmoRM a random head, and rewards near -2.
    save_released(tmp_path, gating_token_pattern=opening(), change=change)
    text = "the checkpoint must hold every weight; 1 are missing or of another shape: `"
    with pytest.raises(ValueError, match=text):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_objectives": ...}, "`num_objectives` must be a positive whole number; got None"),
        ({"num_objectives": 0}, "`num_objectives` must be a positive whole number; got 0"),
        ({"gating_n_hidden": -1}, "`gating_n_hidden` must be a positive whole number; got -1"),
        ({"gating_hidden_dim": "a"}, "`gating_hidden_dim` must be a positive whole number; got"),
        ({"gating_hidden": [3, 0]}, r"`gating_hidden` must be positive widths; got \[3, 0\]"),
        ({"gating_temperature": 0}, "`gating_temperature` must be above 0; got 0"),
        ({"gating_token_pattern": []}, "`gating_token_pattern` must be token ids below 512; got"),
        (
            {"gating_token_pattern": [512]},
            r"`gating_token_pattern` must be token ids below 512; got \[512\]",
        ),
        (
            {"gating_token_pattern": ...},
            "`gating_token_pattern` must hold the token ids that end a prompt and open the "
            "response; it is absent, and for 'llama' with 512 tokens none is known",
        ),
    ],
)
def test_a_config_that_describes_no_heads_is_refused(tmp_path, changes, text):
    save_released(tmp_path, **({"gating_token_pattern": opening()} | changes))
    with pytest.raises(ValueError, match=f"config: {text}"):
        load(tmp_path)


def test_new_heads_start_from_no_debias_and_a_scale_of_one(tmp_path):
    save_released(tmp_path, k=3, gating_token_pattern=opening())
    model = ArmoRMForSequenceClassification(AutoConfig.from_pretrained(tmp_path))
    assert torch.equal(model.reward_transform_matrix, torch.eye(3))
    assert model.gating.logit_scale.tolist() == [1.0]
    assert not model.reward_transform_matrix.requires_grad


def test_every_pair_of_talks_differs():
    # The rows that everything above is compared on are not accidentally one.
    assert all(a != b for a, b in itertools.combinations(rows_of("llama3"), 2))
