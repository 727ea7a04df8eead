"""A classifier of Hugging Face scores as its own forward does alone, in any batch and padding."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from armorm import FeatureError
from armorm.evaluate.scorers import HuggingFaceScorer
from armorm.evaluate.scoring import Scorer
from armorm.model import classifier as classifier_module
from armorm.model.sequence_classifier import (
    ClassifierOptions,
    SequenceClassifier,
    load_sequence_classifier,
)
from armorm.types import Conversation, Message
from fakes import chat_tokenizer, conversations, save_tiny_decoder, save_tiny_encoder
from released import save_released

ROWS = conversations(7, n_responses=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_decoder(tmp_path_factory.mktemp("classifier"), head="classifier")


def copy(folder, to, **config):
    """The checkpoint with other entries in its config; "absent" removes one."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    content = json.loads((to / "config.json").read_text()) | config
    content = {name: value for name, value in content.items() if value != "absent"}
    if config:
        (to / "config.json").write_text(json.dumps(content))
    return to


def load(folder, **options):
    return load_sequence_classifier(str(folder), device="cpu", options=ClassifierOptions(**options))


def reference(folder, rows, cut=None):
    """Transformers alone: one row at a time, no padding, the text of the template as it is."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Plain attention: on Transformers 4.57 other kernels leave the soft cap of Gemma-2 out.
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()
    scores = []
    for row in rows:
        text = tokenizer.apply_chat_template(row.messages(), tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if cut is not None and len(ids) > cut:
            ids = ids[:1] + ids[len(ids) - cut + 1 :]
        with torch.no_grad():
            scores.append(float(model(torch.tensor([ids])).logits[0, 0]))
    return torch.tensor(scores)


@pytest.mark.parametrize("family", ["llama3", "gemma2", "qwen3", "mistral"])
def test_scores_equal_the_models_own_forward_row_by_row(tmp_path, family):
    folder = save_tiny_decoder(tmp_path, family, head="classifier")
    found = load(folder).score(ROWS)
    torch.testing.assert_close(found.scores, reference(folder, ROWS), atol=1e-5, rtol=1e-5)
    assert found.n_truncated == 0
    assert found.scores.std() > 0.01


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("budget", [1, 90, 100_000])
def test_batches_and_the_side_of_padding_change_nothing(folder, side, budget):
    found = load(folder, padding_side=side, token_budget=budget).score(ROWS)
    torch.testing.assert_close(found.scores, reference(folder, ROWS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pad", [None, -1])
def test_a_model_without_a_padding_token_runs_in_batches(folder, tmp_path, side, pad):
    # Its own forward refuses a batch; alone it reads the score at the very last token.
    changed = copy(folder, tmp_path / "m", pad_token_id=pad)
    classifier = load(changed, padding_side=side)
    before = classifier.model.config.pad_token_id
    torch.testing.assert_close(
        classifier.score(ROWS).scores, reference(folder, ROWS), atol=1e-5, rtol=1e-5
    )
    assert classifier.model.config.pad_token_id == before
    assert classifier.notes == []


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_padding_token_that_ends_conversations_is_as_the_models_own_forward_has_it(
    folder, tmp_path, side
):
    eot = chat_tokenizer().convert_tokens_to_ids("<|eot_id|>")
    changed = copy(folder, tmp_path / "m", pad_token_id=eot, eos_token_id=eot)
    classifier = load(changed, padding_side=side)
    expected = reference(changed, ROWS)
    torch.testing.assert_close(classifier.score(ROWS).scores, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expected, reference(folder, ROWS), atol=1e-3)
    assert classifier.notes == [
        f"{changed}: its padding token '<|eot_id|>' also ends conversations, so the model's own "
        "code reads the score at the token before"
    ]


def test_one_bos_whether_the_template_or_the_tokenizer_writes_it(tmp_path):
    found = []
    for name, bos in (("own", "{{ bos_token }}"), ("added", "")):
        template = bos + "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
        folder = save_tiny_decoder(tmp_path / name, head="classifier", template=template)
        classifier = load(folder)
        ids = classifier._encode(ROWS[:1])[0].token_ids
        assert ids.count(classifier.tokenizer.bos_token_id) == 1
        found.append(classifier.score(ROWS).scores)
    assert torch.equal(*found)


@pytest.mark.parametrize("side", ["right", "left"])
def test_long_rows_are_cut_from_the_left_after_bos_and_counted(folder, side):
    lengths = [row.n_tokens for row in load(folder)._encode(ROWS)]
    limit = sorted(lengths)[3]
    found = load(folder, max_tokens=limit, padding_side=side).score(ROWS)
    assert found.n_truncated == sum(n > limit for n in lengths)
    assert 0 < found.n_truncated < len(ROWS)
    expected = reference(folder, ROWS, cut=limit)
    torch.testing.assert_close(found.scores, expected, atol=1e-5, rtol=1e-5)


def test_long_rows_are_refused_on_request_and_named(folder):
    with pytest.raises(FeatureError, match=r"conversation 'row-\d' must have at most 40 tokens"):
        load(folder, max_tokens=40, too_long="refuse").score(ROWS)


def test_progress_ends_at_all_rows(folder):
    seen = []
    load(folder, token_budget=90).score(ROWS, progress=lambda *done: seen.append(done))
    assert seen[-1] == (7, 7)
    assert len(seen) > 2


def test_no_rows_have_no_scores(folder):
    found = load(folder).score([])
    assert (found.scores.shape, found.n_truncated) == ((0,), 0)


@pytest.mark.parametrize("stored", ["bfloat16", "float16", "float32"])
def test_the_stored_dtype_is_used_where_asked_for(folder, tmp_path, stored):
    changed = copy(folder, tmp_path / "m")
    path = changed / "model.safetensors"
    kept = {name: tensor.to(getattr(torch, stored)) for name, tensor in load_file(path).items()}
    save_file(kept, path, metadata={"format": "pt"})
    classifier = load(changed, dtype="stored")
    assert classifier.facts["dtype"] == stored
    assert classifier.model.dtype == getattr(torch, stored)
    assert load(changed).model.dtype == torch.float32
    exact = reference(folder, ROWS)
    torch.testing.assert_close(classifier.score(ROWS).scores, exact, atol=0.1, rtol=0.05)


def test_mixed_stored_dtypes_run_in_the_most_precise(folder, tmp_path):
    changed = copy(folder, tmp_path / "m")
    tensors = load_file(changed / "model.safetensors")
    tensors["score.weight"] = tensors["score.weight"].bfloat16()
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    assert load(changed, dtype="stored").facts["dtype"] == "float32"
    tensors["score.weight"] = torch.zeros(1, 32, dtype=torch.int8)
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FeatureError, match="weights must be stored as float32, bfloat16, float16"):
        load(changed, dtype="stored")


def test_damaged_weights_are_said_whatever_the_dtype(folder, tmp_path):
    changed = copy(folder, tmp_path / "m")
    (changed / "model.safetensors").write_bytes(b"no weights")
    for dtype in ("float32", "stored"):
        with pytest.raises(FeatureError, match="the weights cannot be loaded"):
            load(changed, dtype=dtype)


# Models that behave otherwise


class Logits:
    """What a model returns."""

    def __init__(self, logits):
        self.logits = logits


class Fixed:
    """A model whose logits a test chooses; it takes no positions."""

    def __init__(self, folder, logits):
        self.config = load(folder).model.config
        self._logits = logits
        self.shapes = []

    def forward(self, input_ids, attention_mask):
        raise NotImplementedError

    def __call__(self, input_ids, attention_mask):
        self.shapes.append(tuple(input_ids.shape))
        return Logits(self._logits(input_ids, attention_mask))


def fixed(folder, logits, **options):
    real = load(folder)
    return SequenceClassifier(
        Fixed(folder, logits),
        real.tokenizer,
        real.facts,
        options=ClassifierOptions(**options),
        device="cpu",
    )


def test_logits_without_a_label_axis_are_taken(folder):
    found = fixed(folder, lambda ids, mask: mask.sum(1).float()).score(ROWS).scores
    lengths = [float(row.n_tokens) for row in load(folder)._encode(ROWS)]
    assert found.tolist() == lengths


@pytest.mark.parametrize("shape", [(2,), (1, 1)])
def test_logits_of_two_labels_are_refused(folder, shape):
    with pytest.raises(FeatureError, match=r"`logits` must have shape \(n,\) or \(n, 1\); got"):
        fixed(folder, lambda ids, mask: torch.zeros(len(ids), *shape)).score(ROWS)


def test_a_score_that_is_not_finite_names_its_row(folder):
    def broken(ids, mask):
        scores = mask.sum(1).float()
        return torch.where(scores == scores.min(), torch.nan, scores)

    model = fixed(folder, broken, token_budget=100_000)
    model._compared = True
    with pytest.raises(FeatureError, match=r"scores must be finite; 1 of 7 .* 'row-\d'"):
        model.score(ROWS)


def test_a_model_whose_batches_differ_runs_row_by_row_and_says_so(folder):
    # It reads its score from all columns, padding too.
    model = fixed(folder, lambda ids, mask: torch.full((len(ids),), float(ids.shape[1])))
    lengths = [float(row.n_tokens) for row in load(folder)._encode(ROWS)]
    assert model.score(ROWS).scores.tolist() == lengths
    assert "every conversation runs alone, more slowly" in model.notes[0]
    assert len(model.notes) == 1


def test_a_batch_that_does_not_fit_is_halved(folder):
    def small(ids, mask):
        if len(ids) > 2:
            raise torch.OutOfMemoryError("full")
        return mask.sum(1).float()

    model = fixed(folder, small, token_budget=100_000)
    lengths = [float(row.n_tokens) for row in load(folder)._encode(ROWS)]
    assert model.score(ROWS).scores.tolist() == lengths

    def none(ids, mask):
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        fixed(folder, none).score(ROWS[:1])


def test_padding_on_the_left_is_refused_where_positions_cannot_be_given(folder):
    text = "`padding_side` must be 'right', because the model takes no positions; got 'left'"
    with pytest.raises(FeatureError, match=text):
        fixed(folder, lambda ids, mask: ids, padding_side="left")


# What is refused


def test_a_head_that_is_not_in_the_checkpoint_is_never_made_up(folder, tmp_path):
    changed = copy(folder, tmp_path / "m")
    tensors = load_file(changed / "model.safetensors")
    del tensors["score.weight"]
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    text = "must hold all weights, those of the head too; it lacks `score.weight`$"
    with pytest.raises(FeatureError, match=text):
        load(changed)
    del tensors["model.norm.weight"], tensors["model.embed_tokens.weight"]
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FeatureError, match=r"it lacks `model.embed_tokens.weight`.* and 1 more$"):
        load(changed)


def test_weights_of_another_shape_are_refused(folder, tmp_path):
    changed = copy(folder, tmp_path / "m")
    tensors = load_file(changed / "model.safetensors")
    tensors["score.weight"] = torch.zeros(1, 31)
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FeatureError, match="the weights cannot be loaded"):
        load(changed)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            {"architectures": ["LlamaForCausalLM"]},
            "must be a sequence classifier; its config.json names 'LlamaForCausalLM'",
        ),
        (
            {"auto_map": {"AutoModelForSequenceClassification": "m.Own"}},
            "its head needs code of its own repository, which is never run",
        ),
        (
            {"num_objectives": 19},
            "the layout of the released ArmoRM: name it without `hf:`",
        ),
        (
            {"id2label": {"0": "bad", "1": "good"}},
            "must have one label, whose logit is the score; it has 2",
        ),
        ({"model_type": "own"}, "transformers does not know the architecture 'own'"),
        ({"model_type": "absent"}, "`config.json` must be JSON with a `model_type`"),
    ],
)
def test_a_checkpoint_that_is_something_else_is_refused(folder, tmp_path, config, text):
    with pytest.raises(FeatureError, match=text):
        load(copy(folder, tmp_path / "m", **config))


def test_the_released_layout_is_pointed_to_our_own_loader(tmp_path):
    with pytest.raises(FeatureError, match="name it without `hf:`"):
        load(save_released(tmp_path))


def test_a_language_model_and_an_encoder_are_refused(tmp_path):
    with pytest.raises(FeatureError, match="must be a sequence classifier"):
        load(save_tiny_decoder(tmp_path / "lm"))
    encoder = save_tiny_encoder(tmp_path / "encoder")
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps(config | {"architectures": None}))
    with pytest.raises(FeatureError, match="must be a decoder; it is an encoder"):
        load(encoder)


def test_a_folder_without_a_model_and_a_name_without_a_repository_are_refused(tmp_path):
    with pytest.raises(FeatureError, match=r"there is no `config\.json`: not a model folder"):
        load(tmp_path)
    with pytest.raises(FeatureError, match="neither a local folder nor a hub repository"):
        load_sequence_classifier("nobody/nothing")


def test_a_tokenizer_without_a_template_or_damaged_is_refused(folder, tmp_path):
    without = save_tiny_decoder(tmp_path / "m", head="classifier", template=None)
    with pytest.raises(FeatureError, match="the tokenizer has no chat template"):
        load(without)
    damaged = copy(folder, tmp_path / "d")
    (damaged / "tokenizer.json").write_text("{}")
    with pytest.raises(FeatureError, match="the tokenizer cannot be loaded"):
        load(damaged)


def test_a_conversation_that_the_template_refuses_is_located(folder):
    with pytest.raises(FeatureError, match="conversation 'x': must end in a response"):
        load(folder).score([Conversation((Message("user", "a"),), " ", "x")])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype": "float64"}, "`dtype` must be 'float32' or .*'stored'; got 'float64'"),
        ({"too_long": "drop"}, "`too_long` must be 'truncate' or 'refuse'; got 'drop'"),
        ({"padding_side": "both"}, "`padding_side` must be 'right' or 'left'; got 'both'"),
        ({"max_tokens": 1}, "`max_tokens` must be 2 or more; got 1"),
        ({"token_budget": 0}, "`token_budget` must be 1 or more; got 0"),
    ],
)
def test_options_are_checked_when_they_are_made(options, text):
    with pytest.raises(ValueError, match=text):
        ClassifierOptions(**options)


def test_a_limit_above_the_models_own_is_refused(folder):
    with pytest.raises(FeatureError, match="`max_tokens` must be at most 512; got 513"):
        load(folder, max_tokens=513)


# As a scorer


def test_what_decides_a_score_decides_the_identity(folder, tmp_path):
    def identity(where=folder, **options):
        return HuggingFaceScorer(load(where, **options)).identity

    same = identity()
    assert identity(copy(folder, tmp_path / "elsewhere")) == same
    assert identity(token_budget=90, padding_side="left") == same
    others = {
        identity(dtype="bfloat16"),
        identity(max_tokens=40),
        identity(too_long="refuse"),
        identity(save_tiny_decoder(tmp_path / "other", head="classifier", seed=1)),
    }
    assert len(others | {same}) == 5


def test_a_scorer_counts_what_it_cut(folder):
    scorer = HuggingFaceScorer(load(folder, max_tokens=40))
    assert isinstance(scorer, Scorer)
    assert scorer.notes == ()
    scores = scorer.score(ROWS)
    assert scores.dtype == "float64"
    assert scorer.n_truncated > 0
    assert scorer.notes == (
        f"hf:{folder}: {scorer.n_truncated} conversations were longer than 40 tokens and were cut "
        "from the left",
    )


def test_the_budget_suits_the_device(folder):
    classifier = load(folder)
    assert classifier._budget() == 2048
    classifier.device = "cuda"
    assert classifier._budget() == classifier_module.DEFAULT_BUDGET
