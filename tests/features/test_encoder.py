import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from armorm.errors import FeatureError
from armorm.features.backbone import load_backbone
from armorm.features.encoder import EncoderBackbone, prompt_text
from armorm.features.interface import BLOCKS, FeatureOptions, Unused
from armorm.types import Conversation, Message
from fakes import conversations, save_tiny_encoder

CLOSE = {"rtol": 0.0, "atol": 1e-5}
PROMPT = (Message("user", "why is the sky blue?"),)
ROW = Conversation(PROMPT, "it scatters light.", "x7")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder") / "bert")


def load(folder, **options):
    return load_backbone(str(folder), device="cpu", options=FeatureOptions(**options))


def states(backbone, *texts):
    """All hidden states of a text or a pair, by the model's own tokenizer; (layers, t, d)."""
    batch = backbone.tokenizer(*texts, return_tensors="pt", return_token_type_ids=True)
    with torch.no_grad():
        result = backbone.model(**batch, output_hidden_states=True)
    return torch.stack(result.hidden_states)[:, 0], batch


def spelled(backbone, text):
    """Tokens as text, word pieces joined."""
    return backbone.tokenizer.decode(text.token_ids).replace(" ##", "")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_equals_the_formula(block, pooling, folder):
    backbone = load(folder, blocks=(block,), layers=(1, -1), pooling=pooling)
    found, prompt = backbone.features(backbone.tokenize([ROW]))

    def pool(text):
        layers = states(backbone, *text)[0][[1, 2]]
        return layers.mean(1) if pooling == "mean" else layers[:, 0]

    question, answer = PROMPT[0].content, ROW.response
    u, v, c = pool([question]), pool([answer]), pool([question, answer])
    pair, batch = states(backbone, question, answer)
    # [CLS] question [SEP] answer [SEP]: the answer's type is 1, its [SEP] not part of it.
    of_answer = batch["token_type_ids"][0].nonzero().flatten()[:-1]
    expected = {
        "prompt": u,
        "response": v,
        "conversation": c,
        "context": pair[[1, 2]][:, of_answer].mean(1),
        "product": u * v,
        "difference": (u - v).abs(),
    }[block]
    assert_close(found[0], expected.flatten(), **CLOSE)
    assert_close(prompt[0], u[1], **CLOSE)


def test_blocks_and_layers_stand_in_the_order_given(folder):
    both = load(folder, blocks=("response", "product"), layers=(2, 0))
    found = both.features(both.tokenize([ROW]))[0][0]
    parts = []
    for block in ("response", "product"):
        for layer in (2, 0):
            one = load(folder, blocks=(block,), layers=(layer,))
            parts.append(one.features(one.tokenize([ROW]))[0][0])
    assert_close(found, torch.cat(parts), **CLOSE)


def test_normalised_states_have_length_one(folder):
    backbone = load(folder, blocks=("prompt", "response"), normalise=True)
    response, prompt = backbone.features(backbone.tokenize(conversations(3)))
    assert_close(response.reshape(3, 2, 24).norm(dim=2), torch.ones(3, 2))
    assert_close(prompt.norm(dim=1), torch.ones(3))
    assert_close(prompt, response[:, :24])


@given(order=st.permutations(range(6)), budget=st.integers(1, 300))
@settings(max_examples=20, deadline=None)
def test_features_do_not_depend_on_order_or_batches(folder, order, budget):
    backbone = load(folder, blocks=BLOCKS, max_tokens=64, too_long="truncate")
    rows = backbone.tokenize(conversations(6))
    expected = backbone.features(rows)
    found = backbone.features([rows[i] for i in order], token_budget=budget)
    for i in (0, 1):
        assert_close(found[i], expected[i][list(order)], **CLOSE)


def test_each_distinct_text_is_encoded_once(folder):
    backbone = load(folder)
    n_rows = []
    backbone.model.register_forward_pre_hook(
        lambda _, __, inputs: n_rows.append(len(inputs["input_ids"])), with_kwargs=True
    )
    rows = [Conversation(PROMPT, answer) for answer in ("yes.", "no.", "yes.", "maybe.")]
    features, prompt = backbone.features(backbone.tokenize(rows))
    assert sum(n_rows) == 1 + 3
    assert torch.equal(features[0], features[2])
    assert torch.equal(prompt[0], prompt[3])


def test_prompt_of_several_messages_is_led_by_roles():
    several = (Message("system", "Be brief."), *PROMPT)
    assert prompt_text(PROMPT) == "why is the sky blue?"
    assert prompt_text(several) == "system: Be brief.\nuser: why is the sky blue?"
    assert prompt_text((Message("assistant", "hi"),)) == "assistant: hi"


def test_long_prompt_loses_its_left_end_or_the_row_is_not_used(folder):
    # Every letter is a token of this tokenizer.
    row = Conversation((Message("user", "a" * 70 + "bcd"),), "yes")
    drop, cut = load(folder), load(folder, too_long="truncate")
    assert drop.tokenize([row]) == [Unused("longer than 64 tokens")]
    [found] = cut.tokenize([row])
    # 64 tokens with [CLS] and [SEP] leave room for 62 of the 73 letters.
    assert (found.n_truncated, len(found.prompt.token_ids)) == (11, 64)
    assert spelled(cut, found.prompt).endswith("abcd [SEP]")
    assert found.pair is None
    assert found.n_tokens == 62 + 3 + 3


def test_pair_is_cut_on_the_left_of_the_prompt_only(folder):
    row = Conversation((Message("user", "a" * 30 + "bcd"),), "e" * 40)
    backbone = load(folder, blocks=("context",), too_long="truncate")
    [found] = backbone.tokenize([row])
    # 64 tokens less 3 special ones less 40 of the response leave 21 of the 33 letters.
    assert (found.n_truncated, found.n_tokens, len(found.pair.token_ids)) == (12, 64, 64)
    # The first of them is "##a", which decodes with a space before it.
    assert spelled(backbone, found.pair).startswith("[CLS]" + "a" * 18 + "bcd [SEP] eee")
    assert sum(found.pair.response) == 40
    assert len(found.prompt.token_ids) == 33 + 2
    assert load(folder, blocks=("context",)).tokenize([row]) == [Unused("longer than 64 tokens")]
    assert load(folder, blocks=("response",)).tokenize([row])[0].n_truncated == 0


@pytest.mark.parametrize(("blocks", "fits"), [(("response",), 62), (("context",), 60)])
def test_response_is_never_cut(blocks, fits, folder):
    backbone = load(folder, blocks=blocks, too_long="truncate")
    rows = [Conversation(PROMPT, "e" * n) for n in (fits, fits + 1)]
    found = backbone.tokenize(rows)
    assert found[0].response.token_ids.count(found[0].response.token_ids[2]) >= fits - 1
    assert found[1] == Unused("response alone longer than 64 tokens")


def test_rows_that_are_not_used_leave_the_others_in_place(folder):
    backbone = load(folder)
    rows = [ROW, Conversation(PROMPT, "e" * 90), Conversation(PROMPT, "no.")]
    found = backbone.tokenize(rows)
    assert isinstance(found[1], Unused)
    assert [found[0], found[2]] == backbone.tokenize([rows[0], rows[2]])
    assert backbone.tokenize(rows[1:2]) == found[1:2]
    assert backbone.tokenize([]) == []
    assert backbone.features([])[0].shape == (0, 96)


@pytest.mark.parametrize(
    ("row", "part"),
    [
        (Conversation((), "yes.", "a"), "prompt"),
        (Conversation(PROMPT, " \n", "a"), "response"),
        (Conversation(PROMPT, "\u200b", "a"), "response"),
    ],
)
def test_row_without_text_stops_or_is_dropped(row, part, folder):
    with pytest.raises(FeatureError, match=f"conversation 'a': the {part} must have text; it has"):
        load(folder).tokenize([ROW, row])
    found = load(folder, bad_rows="drop").tokenize([ROW, row])
    assert found[1] == Unused("prompt or response without text")
    assert not isinstance(found[0], Unused)


def test_model_without_token_types_gets_none(folder):
    backbone = load(folder, blocks=("conversation",))
    backbone._n_types = 1
    backbone.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(set(inputs)), with_kwargs=True
    )
    seen = []
    backbone.features(backbone.tokenize([ROW]))
    assert all("token_type_ids" not in names for names in seen)
    assert seen


def test_slow_tokenizer_is_refused(folder):
    class SlowTokenizer:
        is_fast = False

    good = load(folder)
    with pytest.raises(FeatureError, match=r"must be a fast one, which .*; got a SlowTokenizer"):
        EncoderBackbone(
            good.model, SlowTokenizer(), good.facts(), options=good.options, device="cpu"
        )
