"""`armorm export` in this process, on a bundle with a tiny decoder and random heads."""

import json
import os
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from armorm import RewardModel
from armorm.model.exports import write as writing
from bundles import OBJECTIVES, decoder_backbone, make_bundle, saved


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of bundles on one decoder: without and with an intercept."""
    folder = tmp_path_factory.mktemp("made")
    facts = decoder_backbone(folder / "backbone").facts()
    zero = torch.zeros(len(OBJECTIVES))
    saved(folder / "plain", make_bundle(facts, bias=zero))
    saved(folder / "biased", make_bundle(facts))
    return folder


MESSAGES = [
    {"role": "user", "content": "What is 2 plus 2?"},
    {"role": "assistant", "content": "4."},
]


def logits(folder, **options):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    batch = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    model = AutoModelForSequenceClassification.from_pretrained(folder, **options)
    with torch.no_grad():
        return model(input_ids=batch["input_ids"]).logits[0]


def test_classifier_with_weights(armorm, made, tmp_path):
    weights = "honesty=0.5,verbosity=-0.25"
    done = armorm(
        "export", made / "plain", "--to", "classifier", "-o", tmp_path / "out", "--weights", weights
    )
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path}/out: classifier, loaded again and compared on ")
    assert "largest differences: score " in done.out
    model = RewardModel.load(made / "plain").with_weights({"honesty": 0.5, "verbosity": -0.25})
    wanted = model.explain({"messages": MESSAGES}).score
    assert logits(tmp_path / "out", num_labels=1).item() == pytest.approx(wanted, abs=1e-5)


def test_classifier_with_the_mean_gating_of_rows(armorm, made, tmp_path, pairs):
    done = armorm(
        "export", made / "plain", "--to", "classifier", "-o", tmp_path / "out", "--rows", pairs
    )
    assert done.code == 0, done.err
    facts = json.loads((tmp_path / "out/armorm_export.json").read_bytes())
    assert list(facts["coefficients"]) == list(OBJECTIVES)
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    sides = [
        {"prompt": row["prompt"], "response": row[side]}
        for row in rows
        for side in ("chosen", "rejected")
    ]
    wanted = RewardModel.load(made / "plain").score(sides).coefficients.mean(0)
    assert list(facts["coefficients"].values()) == pytest.approx(wanted.tolist(), abs=1e-6)


def test_objectives_in_half_precision(armorm, made, tmp_path):
    done = armorm(
        *("export", made / "plain", "--to", "objectives", "-o", tmp_path / "out"),
        *("--debiased", "--dtype", "bfloat16"),
    )
    assert done.code == 0, done.err
    config = json.loads((tmp_path / "out/config.json").read_bytes())
    assert list(config["label2id"]) == list(OBJECTIVES)
    assert config["torch_dtype"] == "bfloat16"
    assert logits(tmp_path / "out", dtype=torch.float32)[2].item() == 0


def test_released_layout_of_a_scaled_model_is_a_bundle_for_every_command(
    armorm, made, tmp_path, conversations
):
    scale = "honesty=2"
    done = armorm(
        "export", made / "plain", "--to", "armorm", "-o", tmp_path / "out", "--scale", scale
    )
    assert done.code == 0, done.err
    again = armorm("score", tmp_path / "out", conversations)
    wanted = armorm("score", made / "plain", conversations, "--scale", scale)
    assert again.code == 0, again.err
    scores = [row["score"] for row in again.lines]
    assert scores == pytest.approx([row["score"] for row in wanted.lines], abs=1e-5)


def test_head_scores_as_the_bundle(armorm, made, tmp_path, conversations):
    done = armorm("export", made / "biased", "--to", "head", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    again = armorm("score", tmp_path / "out", conversations)
    assert again.lines == armorm("score", made / "biased", conversations).lines


def refused(armorm, made, tmp_path, *options, bundle="plain", to="classifier"):
    """The one line of an export that is refused and leaves nothing."""
    done = armorm("export", made / bundle, "--to", to, "-o", tmp_path / "out", *options)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    return done.err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "`to` = 'classifier' needs the same weights for every prompt"),
        (("--weights", "honest=1"), "--weights: `weights`: unknown objective 'honest'; did you me"),
        (("--weights", "honesty=1", "--scale", "honesty=1"), "--weights bypasses the gating"),
        (("--weights", "honesty=1", "--debiased"), "--to: `debiased` is for `to` = 'objectives'"),
        (("--private", "--weights", "honesty=1"), "--private: is that of a repository; give --pu"),
        (("--push-to-hub", "name"), "--push-to-hub: a repository must be named owner/name; got 'n"),
        (("--rows", "none.jsonl"), "none.jsonl"),
    ],
)
def test_options_that_do_not_go_together(armorm, made, tmp_path, options, text):
    assert text in refused(armorm, made, tmp_path, *options)


def test_weights_of_another_kind_are_refused(armorm, made, tmp_path):
    said = refused(armorm, made, tmp_path, "--weights", "honesty=1", to="armorm")
    assert "--to: --weights are for --to classifier; got --to armorm" in said


def test_an_intercept_is_refused_with_the_line_of_the_recipe(armorm, made, tmp_path):
    said = refused(armorm, made, tmp_path, bundle="biased", to="armorm")
    assert "train with `ridge: {intercept: false}` in the recipe" in said


def test_a_bundle_is_refused_before_its_backbone_is_loaded(armorm, made, tmp_path):
    command = ("export", made / "biased", "--to", "objectives", "-o", tmp_path / "out")
    done = armorm(*command, "--backbone", tmp_path / "nowhere")
    assert done.code == 2
    assert "the ridge head must have no intercept" in done.err


def test_an_encoder_is_refused(armorm, bundle, tmp_path):
    done = armorm("export", bundle, "--to", "objectives", "-o", tmp_path / "out")
    assert done.code == 2
    assert "the features must be states of single tokens; those of the encoder" in done.err


def test_a_folder_with_other_files_is_refused_before_the_work(armorm, made, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    done = armorm("export", tmp_path / "no-bundle", "--to", "head", "-o", tmp_path / "out")
    assert done.code == 2
    assert "'mine.txt' among them" in done.err
    assert (tmp_path / "out/mine.txt").read_text() == "mine"


def test_an_export_that_is_off_leaves_nothing(armorm, made, tmp_path, monkeypatch):
    write = writing.write_weights

    def halved(folder, heads, **options):
        write(folder, {name: tensor / 2 for name, tensor in heads.items()}, **options)

    monkeypatch.setattr(writing, "write_weights", halved)
    said = refused(armorm, made, tmp_path, to="objectives")
    assert "nothing was written: the export must score as the bundle does" in said
    assert list(tmp_path.iterdir()) == []


def test_an_upload_happens_after_the_export_and_only_when_asked(
    armorm, made, tmp_path, monkeypatch
):
    asked = []

    class Commit:
        commit_url = "https://hub/owner/name/commit/1"

    class Api:
        def __init__(self, **options):
            asked.append(options)

        def create_repo(self, name, **options):
            asked.append((name, options["private"]))

        def upload_folder(self, *, folder_path, **options):
            asked.append(sorted(path.name for path in folder_path.iterdir())[0])
            return Commit

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    command = ("export", made / "plain", "--to", "head", "-o", tmp_path / "out")
    assert armorm(*command).code == 0
    assert asked == []
    done = armorm(*command, "--push-to-hub", "owner/name", "--private")
    assert done.code == 0, done.err
    assert done.out.endswith("uploaded: https://hub/owner/name/commit/1\n")
    assert asked[1:] == [("owner/name", True), "README.md"]


def test_help_names_the_kinds_and_does_not_wait_for_torch():
    code = (
        "import sys; from armorm.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.stdout.endswith("[]\n")
    for kind in ("armorm", "classifier", "objectives", "head", "--push-to-hub"):
        assert kind in done.stdout
