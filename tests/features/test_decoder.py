import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from armorm.errors import FeatureError
from armorm.features.backbone import load_backbone
from armorm.features.chat import TokenizedConversation as Row
from armorm.features.interface import FeatureOptions, Unused
from armorm.types import Conversation, Message
from fakes import FAMILIES, chat_tokenizer, conversations, save_tiny_decoder

# Matrix kernels differ by shape; this is what is promised in float32.
CLOSE = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("decoders")
    return {family: save_tiny_decoder(root / family, family) for family in FAMILIES}


def one_by_one(backbone, rows):
    """The features of every row by itself, with the model's own attention."""
    model, pairs = backbone.model, []
    for row in rows:
        with torch.no_grad():
            states = model(torch.tensor([row.token_ids]), use_cache=False).last_hidden_state[0]
        pairs.append((states[-1].float(), states[row.prompt_end].float()))
    return tuple(torch.stack(features) for features in zip(*pairs, strict=True))


def draw_group(n_prompt, n_responses, *, seed, opening=()):
    """Rows with one prompt of random tokens; `opening` begins the prompt."""
    draw = torch.Generator().manual_seed(seed)

    def tokens(n):
        return tuple(torch.randint(5, 512, (n,), generator=draw).tolist())

    prompt = (*opening, *tokens(n_prompt))
    return [Row(prompt + tokens(n), len(prompt) - 1) for n in n_responses]


# All that groups can be: prompts beyond the window of 8, responses of one token, identical
# ones, one that another begins with, prompts that begin alike, a row that is all prompt.
GROUPS = [
    *draw_group(20, (1, 12, 3, 30), seed=0),
    *draw_group(3, (9,), seed=1),
    *draw_group(5, (2, 17), seed=2, opening=(7, 8, 9)),
    *draw_group(5, (4, 4), seed=3, opening=(7, 8, 9)),
]
GROUPS += [GROUPS[1], Row(GROUPS[1].token_ids[:25], 19), Row(GROUPS[1].token_ids[:20], 19)]


def load(folder, dtype="float32", **options):
    return load_backbone(str(folder), device="cpu", dtype=dtype, options=FeatureOptions(**options))


@pytest.mark.parametrize("family", FAMILIES)
def test_features_equal_the_states_of_the_bare_model(family, folders):
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(folders[family], attn_implementation="eager")
    backbone = load(folders[family])
    rows = backbone.tokenize(conversations(5))
    response, prompt = backbone.features(rows)
    assert response.dtype == prompt.dtype == torch.float32
    for i, row in enumerate(rows):
        with torch.no_grad():
            states = reference.model(torch.tensor([row.token_ids])).last_hidden_state[0]
        assert_close(response[i], states[-1], **CLOSE)
        assert_close(prompt[i], states[row.prompt_end], **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_the_same_alone_in_a_batch_and_under_either_padding(family, folders):
    # Mistral and Gemma-2 see 8 tokens here, fewer than any row has.
    rows = conversations(7)
    right, left = load(folders[family]), load(folders[family], padding_side="left")
    tokenized = right.tokenize(rows)
    assert len({row.n_tokens for row in tokenized}) > 3
    batch = right.features(tokenized, token_budget=10**6)
    alone = [right.features([row]) for row in tokenized]
    for i in (0, 1):
        assert_close(left.features(tokenized, token_budget=10**6)[i], batch[i], **CLOSE)
        assert_close(torch.cat([features[i] for features in alone]), batch[i], **CLOSE)
        assert_close(right.features(tokenized, token_budget=100)[i], batch[i], **CLOSE)


def test_model_of_absolute_positions_counts_them_from_the_first_token(tmp_path):
    # Rotary positions hide a shift; a table of positions, as in GPT-2, shows it.
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_positions=512)
    config.initializer_range = 0.2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GPT2Model(config).save_pretrained(tmp_path)
    chat_tokenizer("llama3").save_pretrained(tmp_path)
    right, left = load(tmp_path), load(tmp_path, padding_side="left")
    rows = right.tokenize(conversations(5))
    expected = right.features(rows, token_budget=10**6)
    found = left.features(rows, token_budget=10**6)
    for i in (0, 1):
        assert_close(found[i], expected[i], **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_feature_is_the_last_state_of_the_prompt_alone(family, folders):
    backbone = load(folders[family])
    [row] = backbone.tokenize(conversations(1))
    prefix = type(row)(row.token_ids[: row.prompt_end + 1], row.prompt_end)
    assert_close(backbone.features([prefix])[0], backbone.features([row])[1], **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_feature_is_the_same_for_every_response(family, folders):
    backbone = load(folders[family])
    rows = conversations(4, n_responses=4)
    response, prompt = backbone.features(backbone.tokenize(rows))
    assert_close(prompt, prompt[:1].expand_as(prompt), **CLOSE)
    assert (response[0] - response[1]).abs().max() > 0.01


@given(order=st.permutations(range(6)), budget=st.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_features_do_not_depend_on_the_order_of_the_rows(folders, order, budget):
    backbone = load(folders["llama3"])
    rows = backbone.tokenize(conversations(6))
    expected = backbone.features(rows)
    found = backbone.features([rows[i] for i in order], token_budget=budget)
    for i in (0, 1):
        assert_close(found[i], expected[i][list(order)], **CLOSE)


def test_soft_cap_of_the_attention_is_not_left_out(folders):
    # Kernels without the cap change the states of Gemma-2 with no more than a warning.
    backbone = load(folders["gemma2"])
    assert backbone.model.config._attn_implementation == "eager"
    rows = backbone.tokenize(conversations(2))
    capped, _ = backbone.features(rows)
    for layer in backbone.model.layers:
        layer.self_attn.attn_logit_softcapping = None
    assert (backbone.features(rows)[0] - capped).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_float32_features_near_the_exact_ones(dtype, folders):
    exact, half = load(folders["llama3"]), load(folders["llama3"], dtype=dtype)
    rows = exact.tokenize(conversations(4))
    found = half.features(rows)
    assert found[0].dtype == torch.float32
    assert next(half.model.parameters()).dtype == getattr(torch, dtype)
    # Two layers of states near 1: some units of 2**-8 at most.
    assert_close(found[0], exact.features(rows)[0], rtol=0.0, atol=0.15)


@pytest.mark.parametrize("budget", [10**6, 100, 40, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_features_equal_single_conversations(family, budget, folders):
    backbone = load(folders[family])
    found = backbone.features(GROUPS, token_budget=budget)
    assert backbone.engine == "packed"
    assert backbone.notes == []
    for ours, alone in zip(found, one_by_one(backbone, GROUPS), strict=True):
        assert_close(ours, alone, **CLOSE)


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
def test_packed_features_equal_single_conversations_in_other_models(kind, tmp_path):
    # Qwen2 has biases in its attention, GPT-2 a table of absolute positions.
    from transformers import GPT2Config, GPT2Model, Qwen2Config, Qwen2Model

    if kind == "gpt2":
        config = GPT2Config(vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_positions=512)
        config.initializer_range = 0.2
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        config = Qwen2Config(vocab_size=512, initializer_range=0.2, **sizes, **heads)
        config.max_position_embeddings = 512
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        {"gpt2": GPT2Model, "qwen2": Qwen2Model}[kind](config).save_pretrained(tmp_path)
    chat_tokenizer("qwen3").save_pretrained(tmp_path)
    backbone = load(tmp_path)
    found = backbone.features(GROUPS)
    assert (backbone.engine, backbone.notes) == ("packed", [])
    for ours, alone in zip(found, one_by_one(backbone, GROUPS), strict=True):
        assert_close(ours, alone, **CLOSE)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_features_have_the_direction_of_single_ones_in_half_precision(
    family, dtype, folders
):
    backbone = load(folders[family], dtype=dtype)
    found = backbone.features(GROUPS)
    assert (backbone.engine, backbone.notes) == ("packed", [])
    for ours, alone in zip(found, one_by_one(backbone, GROUPS), strict=True):
        assert torch.cosine_similarity(ours, alone).min() >= 0.999


def test_packing_computes_shared_tokens_once(folders):
    packed, padded = load(folders["llama3"]), load(folders["llama3"], engine="padded")
    rows = draw_group(20, (5, 5, 5), seed=0)
    assert packed.unique_tokens(rows) == 20 + 15
    assert padded.unique_tokens(rows) == 3 * 25
    seen = []
    packed.model.layers[0].register_forward_pre_hook(lambda m, args: seen.append(args[0].shape))
    packed.features(rows)
    assert seen[0] == (1, 35, 32)


def test_attention_of_the_model_is_its_own_again_after_packing(folders):
    backbone = load(folders["gemma2"])
    backbone.features(GROUPS)
    assert backbone.model.config._attn_implementation == "eager"
    assert not backbone.model.layers[-1].mlp._forward_hooks


def test_padded_engine_is_used_where_it_is_asked_for(folders):
    packed, padded = load(folders["mistral"]), load(folders["mistral"], engine="padded")
    found, expected = padded.features(GROUPS), packed.features(GROUPS)
    assert (padded.engine, padded.notes) == ("padded", [])
    for i in (0, 1):
        assert_close(found[i], expected[i], **CLOSE)


def forget_positions(model):
    own = model.forward
    model.forward = lambda position_ids=None, **others: own(**others)


def run_on(model):
    # A state that goes on from token to token, as in recurrent layers.
    def mixed(module, args, output):
        steps = torch.arange(1, output.shape[1] + 1)[:, None]
        return output + output.cumsum(1) / steps

    model.layers[0].register_forward_hook(mixed)


def pass_sinks(model):
    def with_sinks(module, args, kwargs):
        return args, kwargs | {"s_aux": torch.ones(4)}

    for layer in model.layers:
        layer.self_attn.register_forward_pre_hook(with_sinks, with_kwargs=True)


def fail_when_packed(model):
    def fail(module, args):
        if args[0].shape[1] > 60:
            raise IndexError("no such token")

    model.layers[0].register_forward_pre_hook(fail)


def refuse_the_attention(model):
    model.set_attn_implementation = lambda name: None


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (forget_positions, "a feature differs from that of the conversation alone by"),
        (run_on, "a feature differs from that of the conversation alone by"),
        (pass_sinks, "its attention takes `s_aux`"),
        (fail_when_packed, "no such token"),
        (refuse_the_attention, "it takes no attention function from outside"),
    ],
)
def test_model_that_cannot_be_packed_is_padded_and_says_so_once(damage, why, folders):
    backbone, reference = load(folders["llama3"]), load(folders["llama3"], engine="padded")
    damage(backbone.model)
    damage(reference.model)
    expected = reference.features(GROUPS)
    found = backbone.features(GROUPS)
    backbone.features(GROUPS)
    assert backbone.engine == "padded"
    [note] = backbone.notes
    assert note.startswith(f"{folders['llama3']}: conversations are not packed, because {why}")
    for i in (0, 1):
        assert_close(found[i], expected[i], **CLOSE)


def test_neighbours_that_reach_each_other_are_noticed_without_a_group(folders):
    backbone = load(folders["llama3"])
    run_on(backbone.model)
    backbone.features([*draw_group(9, (4,), seed=0), *draw_group(9, (4,), seed=1)])
    assert backbone.engine == "padded"


def test_group_is_compared_although_neighbours_were(folders):
    backbone = load(folders["llama3"])
    forget_positions(backbone.model)
    # Rotary positions hide a shift of a whole row, and show one inside of it.
    backbone.features([*draw_group(9, (4,), seed=0), *draw_group(9, (4,), seed=1)])
    assert backbone.engine == "packed"
    backbone.features(draw_group(9, (4, 4), seed=0))
    assert backbone.engine == "padded"


def test_comparison_is_made_once(folders):
    backbone = load(folders["llama3"])
    calls = []
    backbone.model.layers[0].register_forward_pre_hook(lambda m, args: calls.append(1))
    backbone.features(GROUPS)
    assert len(calls) > 1
    calls.clear()
    backbone.features(GROUPS)
    assert len(calls) == 1


def test_memory_that_runs_out_is_not_taken_for_a_model_that_cannot_be_packed(folders):
    backbone = load(folders["llama3"])

    def run_out(module, args):
        raise torch.OutOfMemoryError("out of memory")

    hook = backbone.model.layers[0].register_forward_pre_hook(run_out)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        backbone.features(GROUPS)
    hook.remove()
    backbone.features(GROUPS)
    assert (backbone.engine, backbone.notes) == ("packed", [])


def test_error_after_the_comparison_is_not_hidden(folders):
    backbone = load(folders["llama3"])
    backbone.features(GROUPS)
    fail_when_packed(backbone.model)
    with pytest.raises(IndexError, match="no such token"):
        backbone.features(GROUPS)


def test_last_layer_that_returns_pairs_is_refused_and_padded(folders):
    backbone = load(folders["llama3"])
    last = backbone.model.layers[-1]
    last.mlp = ReturnsPair(last.mlp)
    with contextlib.suppress(TypeError):  # the layer itself cannot add a pair, whatever runs it
        backbone.features(GROUPS)
    assert backbone.engine == "padded"
    assert "its last layer returns more than one state a token" in backbone.notes[0]


class ReturnsPair(torch.nn.Module):
    def __init__(self, own):
        super().__init__()
        self.own = own

    def forward(self, x):
        return self.own(x), None


def test_budget_of_the_option_is_the_one_that_is_used(folders):
    assert load(folders["llama3"], token_budget=77).find_budget() == 77
    found = load(folders["llama3"]).find_budget()
    assert found & (found - 1) == 0
    assert found >= 512


def test_no_rows_give_no_features(folders):
    response, prompt = load(folders["llama3"]).features([])
    assert response.shape == prompt.shape == (0, 32)


def test_cuts_are_those_of_all_responses_to_a_prompt(folders):
    backbone = load(folders["llama3"], max_tokens=40, too_long="truncate")
    prompt = (Message("user", "One two three four five six seven eight. " * 3),)
    rows = [Conversation(prompt, "Yes."), Conversation(prompt, "No. No.")]
    cuts = backbone.cuts(rows)
    assert cuts[prompt] == backbone.tokenize(rows)[0].n_truncated > 0
    assert backbone.tokenize(rows[:1], cuts=cuts) == backbone.tokenize(rows)[:1]
    assert load(folders["llama3"], max_tokens=40).cuts(rows) == {}


def test_rows_longer_than_the_limit_are_not_used(folders):
    rows = conversations(6)
    lengths = [row.n_tokens for row in load(folders["llama3"]).tokenize(rows)]
    limit = sorted(lengths)[2]
    found = load(folders["llama3"], max_tokens=limit).tokenize(rows)
    assert [isinstance(row, Unused) for row in found] == [n > limit for n in lengths]


def test_model_without_positions_is_not_padded_on_the_left(tmp_path, folders):
    from armorm.features.decoder import DecoderBackbone

    good = load(folders["llama3"])

    class WithoutPositions:
        def forward(self, input_ids, attention_mask):
            raise AssertionError

    with pytest.raises(FeatureError, match="the model takes no positions, so padding on the left"):
        DecoderBackbone(
            WithoutPositions(),
            good.tokenizer,
            good.facts(),
            options=FeatureOptions(padding_side="left"),
            device="cpu",
        )


def test_model_without_positions_is_padded_and_says_so(folders):
    from armorm.features.decoder import DecoderBackbone

    good = load(folders["llama3"])

    class WithoutPositions:
        def forward(self, input_ids, attention_mask):
            raise AssertionError

    backbone = DecoderBackbone(
        WithoutPositions(), good.tokenizer, good.facts(), options=FeatureOptions(), device="cpu"
    )
    assert backbone.engine == "padded"
    assert "not packed, because the model takes no positions" in backbone.notes[0]


class WithConvolution(torch.nn.Module):
    """A Llama beside a convolution over tokens, which does nothing here."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.config = model, model.config
        self.convolution = torch.nn.Conv1d(1, 1, 1)

    def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=None):
        raise AssertionError


def build(model, good, **options):
    from armorm.features.decoder import DecoderBackbone

    options = FeatureOptions(**options)
    return DecoderBackbone(model, good.tokenizer, good.facts(), options=options, device="cpu")


def test_model_that_carries_state_is_padded_and_says_so(folders):
    good = load(folders["llama3"])
    found = build(WithConvolution(good.model), good)
    assert found.engine == "padded"
    assert "not packed, because the model has recurrent or convolutional layers" in found.notes[0]
    with pytest.raises(FeatureError, match="which carry state between tokens, so padding on the l"):
        build(WithConvolution(good.model), good, padding_side="left")


@pytest.mark.parametrize("kind", ["conv", "linear_attention", "mamba"])
def test_layers_of_another_kind_than_attention_are_not_packed(kind, folders):
    good = load(folders["llama3"])
    good.model.config.layer_types = ["full_attention", kind]
    found = build(good.model, good)
    assert found.engine == "padded"
    assert f"layers of the kind {kind!r}, which carry state between tokens" in found.notes[0]


def test_rows_given_beforehand_decide_for_all(folders):
    backbone = load(folders["llama3"])
    rows = backbone.tokenize(conversations(6))
    backbone.prepare(rows)
    calls = []
    backbone._compare = lambda *what: calls.append(what)
    backbone.features(rows)
    assert (backbone.engine, calls, backbone.notes) == ("packed", [], [])


def test_rows_given_beforehand_that_differ_pad_from_the_first_row_on(folders):
    backbone = load(folders["llama3"])
    rows = backbone.tokenize(conversations(6))
    backbone._compare = lambda *what: "it is told so"
    backbone.prepare(rows)
    assert backbone.engine == "padded"
    backbone.prepare(rows)
    assert backbone.notes == [note for note in backbone.notes if "it is told so" in note][:1]


def test_rows_given_beforehand_halve_the_budget_where_memory_runs_out(folders):
    backbone = load(folders["llama3"])
    rows, budgets = backbone.tokenize(conversations(6)), []
    packed = backbone._packed

    def small(rows, budget):
        budgets.append(budget)
        if budget > 1500:
            raise torch.OutOfMemoryError("out of memory")
        return packed(rows, budget)

    backbone._packed = small
    backbone.prepare(rows)
    assert budgets == [2048, 1024]
    assert backbone._checked == 2
