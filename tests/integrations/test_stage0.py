"""A backbone trained with TRL is a backbone of armorm, unchanged."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from armorm import (
    DataError,
    FeatureError,
    Message,
    MissingDependency,
    PreferencePair,
    StorageError,
)
from armorm.data.quickstart import RECIPE
from armorm.features.backbone import load_backbone
from armorm.features.extract import compute_features
from armorm.features.interface import FeatureOptions
from armorm.integrations import stage0
from armorm.integrations.stage0 import train_backbone
from fakes import save_tiny_decoder, save_tiny_encoder

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="the extra `trl`"),
    # TRL, PEFT, transformers and datasets warn of their own future; none of it is about our calls.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
QUICK = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-3,
    "max_length": 128,
    "use_cpu": True,
    "logging_steps": 1,
    "save_strategy": "no",
    "disable_tqdm": True,
}


def pair(i, chosen="Yes, it is.", rejected="No."):
    return PreferencePair(
        f"pair-{i}", (Message("user", f"Is {i} a number?"),), f"{chosen} {i}", rejected
    )


PAIRS = [pair(i) for i in range(16)]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_tiny_decoder(tmp_path_factory.mktemp("start"), seed=4)


def state_of(folder):
    """Weights of the backbone in a folder, and features of a pair."""
    backbone = load_backbone(str(folder), device="cpu", options=FeatureOptions(max_tokens=128))
    rows = list(PAIRS[0].conversations)
    return dict(backbone.model.named_parameters()), compute_features(backbone, rows)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, 4], ids=["full", "lora"])
def test_the_output_is_a_backbone(start, tmp_path, lora):
    long = pair(99, chosen="very " * 200)
    found = train_backbone(
        str(start), [*PAIRS, long], tmp_path / "trained", lora=lora, settings=QUICK
    )
    assert found.n_pairs == 16
    assert found.dropped == {"longer than 128 tokens": 1}
    assert found.n_steps == 4
    losses = [entry["loss"] for entry in found.history if "loss" in entry]
    assert len(losses) == 4

    before, old = state_of(start)
    after, new = state_of(found.folder)
    assert before.keys() == after.keys()  # no adapter is left, nothing is missing
    moved = {n for n in before if not before[n].equal(after[n])}
    assert any("q_proj" in n for n in moved)
    assert not old.response.equal(new.response)
    assert new.response.isfinite().all()
    # A recipe needs the template and the tokenizer beside the weights, and nothing pickled.
    names = {p.name for p in found.folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [n for n in names if n.endswith((".bin", ".pt"))]


@pytest.mark.slow
def test_the_score_is_trained_at_the_token_of_the_response_feature(start, tmp_path):
    found = train_backbone(str(start), PAIRS, tmp_path / "trained", settings=QUICK)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(found.folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(found.folder)
    _, features = state_of(found.folder)
    texts = [
        tokenizer.apply_chat_template(c.messages(), tokenize=False) for c in PAIRS[0].conversations
    ]
    batch = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    by_feature = features.response @ model.score.weight.detach().T
    torch.testing.assert_close(logits, by_feature, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_training_tells_the_chosen_from_the_rejected(start, tmp_path):
    found = train_backbone(
        str(start), PAIRS, tmp_path / "trained", settings=QUICK | {"max_steps": 30}
    )
    losses = [entry["loss"] for entry in found.history if "loss" in entry]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    accuracies = [entry["accuracy"] for entry in found.history if "accuracy" in entry]
    assert accuracies[-1] == 1.0


@pytest.mark.slow
def test_the_script_trains_on_a_file_of_pairs(start, tmp_path):
    script = ROOT / "recipes/stage0/train_backbone.py"
    args = [
        str(start),
        str(RECIPE.parent / "pairs.jsonl"),
        str(tmp_path / "trained"),
        "--lora",
        "2",
    ]
    for name, value in (QUICK | {"max_steps": 2, "max_length": 256}).items():
        args += ["--set", f"{name}={json.dumps(value)}"]
    done = subprocess.run(
        [sys.executable, script, *args], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "trained on " in done.stdout
    assert "of 200 pairs in 2 steps" in done.stdout
    assert "pairs: longer than 256 tokens" in done.stdout
    assert f"backbone: {tmp_path / 'trained'}" in done.stdout
    state_of(tmp_path / "trained")

    done = subprocess.run(
        [sys.executable, script, *args[:1], str(tmp_path / "no.jsonl"), args[2]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_padding_token_that_ends_conversations_is_refused(tmp_path):
    # Regression of the field: Llama-3-Instruct has no padding token, TRL takes the end of a
    # message, and the score is trained one token before the one that is read later.
    from transformers import AutoTokenizer

    folder = save_tiny_decoder(tmp_path / "llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = "<|eot_id|>"
    tokenizer.save_pretrained(folder)
    message = (
        r"`pad_token` must be a token of the vocabulary that ends no conversation; "
        r"got '<\|eot_id\|>', which ends a conversation; '<\|pad\|>' would do"
    )
    with pytest.raises(ValueError, match=message):
        train_backbone(str(folder), PAIRS, tmp_path / "trained", settings=QUICK)
    with pytest.raises(ValueError, match=r"got '<no>', which is not there; '<\|pad\|>' would do"):
        train_backbone(str(folder), PAIRS, tmp_path / "t", pad_token="<no>", settings=QUICK)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"ends no conversation; it has none; '<\|pad\|>' would"):
        train_backbone(str(folder), PAIRS, tmp_path / "trained", settings=QUICK)
    assert not (tmp_path / "trained").exists()


def test_nothing_to_train_on_is_refused(start, tmp_path):
    long = pair(0, chosen="very " * 200)
    with pytest.raises(DataError, match="at least one to train on; 1 longer than 128 tokens"):
        train_backbone(str(start), [long], tmp_path / "trained", settings=QUICK)
    with pytest.raises(DataError, match="at least one to train on; none were given"):
        train_backbone(str(start), [], tmp_path / "trained", settings=QUICK)


def test_settings_that_trl_does_not_have_are_refused(start, tmp_path):
    message = "`settings`: RewardConfig has no 'learn_rate'; did you mean 'learning_rate'"
    with pytest.raises(ValueError, match=message):
        train_backbone(str(start), PAIRS, tmp_path / "t", settings=QUICK | {"learn_rate": 1})
    with pytest.raises(ValueError, match=r"`settings`: RewardConfig has no 'zzz'$"):
        train_backbone(str(start), PAIRS, tmp_path / "t", settings=QUICK | {"zzz": 1})
    # They would change the tokens after they were made, or pass the check of the padding by.
    for name in ("pad_token", "chat_template_path", "eos_token"):
        with pytest.raises(ValueError, match=f"`settings` must not hold '{name}'"):
            train_backbone(str(start), PAIRS, tmp_path / "t", settings=QUICK | {name: "<|pad|>"})
    for wrong in (None, "long", 1, True):
        with pytest.raises(
            ValueError, match=f"`max_length` must be .* of 2 or more; got {wrong!r}"
        ):
            train_backbone(
                str(start), PAIRS, tmp_path / "t", settings=QUICK | {"max_length": wrong}
            )
    with pytest.raises(ValueError, match="`lora` must be a rank of 1 or more; got 0"):
        train_backbone(str(start), PAIRS, tmp_path / "t", lora=0, settings=QUICK)


def test_a_folder_with_other_files_is_refused_and_kept(start, tmp_path):
    # Regression: it was replaced as a whole, whatever lay in it, and a file after the training.
    (tmp_path / "notes/old").mkdir(parents=True)
    message = "notes: a backbone replaces the whole folder; this one holds other files, 'old' among"
    with pytest.raises(StorageError, match=message):
        train_backbone(str(start), PAIRS, tmp_path / "notes", settings=QUICK)
    assert (tmp_path / "notes/old").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file: cannot be written: Not a directory"):
        train_backbone(str(start), PAIRS, tmp_path / "file", settings=QUICK)
    with pytest.raises(StorageError, match=r"file/t\.part: cannot be written: Not a directory"):
        train_backbone(str(start), PAIRS, tmp_path / "file/t", settings=QUICK)
    assert not list(tmp_path.glob("*-checkpoints"))


@pytest.mark.slow
def test_an_older_backbone_is_replaced(start, tmp_path):
    once = QUICK | {"max_steps": 1}
    train_backbone(str(start), PAIRS, tmp_path / "t", settings=once)
    found = train_backbone(str(start), PAIRS, tmp_path / "t", lora=2, settings=once)
    assert (found.folder / "model.safetensors").is_file()


def test_a_backbone_that_is_none_is_refused(tmp_path):
    with pytest.raises(FeatureError, match="neither a local folder nor a hub repository"):
        train_backbone(str(tmp_path / "none"), PAIRS, tmp_path / "t", settings=QUICK)
    bare = save_tiny_decoder(tmp_path / "bare", template=None)
    with pytest.raises(FeatureError, match="the tokenizer has no chat template"):
        train_backbone(str(bare), PAIRS, tmp_path / "t", settings=QUICK)
    encoder = save_tiny_encoder(tmp_path / "encoder")
    with pytest.raises(FeatureError, match="the tokenizer has no chat template"):
        train_backbone(str(encoder), PAIRS, tmp_path / "t", settings=QUICK)


def test_without_trl_the_extra_is_named(start, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(MissingDependency, match=r"training a backbone needs .*armorm\[trl\]"):
        train_backbone(str(start), PAIRS, tmp_path / "t", settings=QUICK)


def test_the_settings_of_the_papers_backbone():
    # 8 GPUs of these make the batch of 512 that its script names.
    full = stage0.FULL
    assert 8 * full["per_device_train_batch_size"] * full["gradient_accumulation_steps"] == 512
    assert stage0.LORA.keys() == full.keys()


@pytest.mark.parametrize("steps", [0.03, 7])
def test_a_share_of_warm_up_steps_has_another_name_in_transformers_4(tmp_path, steps):
    @dataclasses.dataclass
    class RewardConfig:
        output_dir: str
        report_to: str
        max_length: int | None
        pad_token: str
        bf16: bool
        warmup_steps: float = 0
        warmup_ratio: float = 0.0

    four = SimpleNamespace(RewardConfig=RewardConfig)
    found = stage0._config(four, tmp_path / "out", {"warmup_steps": steps}, "<pad>")
    assert (found.warmup_ratio, found.warmup_steps) == ((0.03, 0) if steps < 1 else (0.0, 7))
    assert found.output_dir == str(tmp_path / "out-checkpoints")


@pytest.mark.parametrize("family", ["llama3", "zephyr", "qwen3"])
def test_tokens_are_those_of_features(tmp_path, family):
    # Regression of the field: published scripts train with one BOS and infer with another
    # number of them. Zephyr's template has none and its tokenizer adds one; Llama-3's has it.
    import datasets
    from transformers import AutoTokenizer

    folder = save_tiny_decoder(tmp_path / family, family)
    backbone = load_backbone(str(folder), device="cpu", options=FeatureOptions(max_tokens=128))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows, dropped = stage0._token_ids(tokenizer, PAIRS, 128, datasets)
    assert not dropped
    for row, pair in zip(rows, PAIRS, strict=True):
        chosen, rejected = backbone.tokenize(list(pair.conversations))
        assert tuple(row["chosen_ids"]) == chosen.token_ids
        assert tuple(row["rejected_ids"]) == rejected.token_ids


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, 2], ids=["full", "lora"])
def test_weights_trained_in_bfloat16_are_saved_so(start, tmp_path, lora):
    found = train_backbone(
        str(start), PAIRS, tmp_path / "t", lora=lora, settings=QUICK | {"bf16": True}
    )
    weights = load_file(found.folder / "model.safetensors")
    assert {t.dtype for t in weights.values()} == {torch.bfloat16}
    state_of(found.folder)
