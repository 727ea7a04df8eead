import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from armorm.errors import FeatureError
from armorm.features.backbone import load_backbone
from armorm.features.interface import FeatureOptions, Unused
from armorm.types import Conversation, Message
from fakes import FAMILIES, chat_tokenizer, conversations, save_tiny_decoder

# Matrix kernels differ by shape; this is what is promised in float32.
CLOSE = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("decoders")
    return {family: save_tiny_decoder(root / family, family) for family in FAMILIES}


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
