"""`armorm audit` on a bundle with a tiny encoder and random heads."""

import json

from armorm import RewardModel
from armorm.evaluate.audit.files import read_audit
from armorm.model.bundle import load_bundle


def judged(bundle, wrong):
    """40 pairs; the model prefers the chosen response in all but every `wrong`-th."""
    made = [
        {
            "id": f"pair-{i}",
            "prompt": f"What is {i}?",
            "chosen": f"It is {i}.",
            "rejected": f"No {'abcdefghij'[i % 10]}.",
            "source": "general",
        }
        for i in range(40)
    ]
    sides = [
        {"prompt": r["prompt"], "response": r[s]} for r in made for s in ("chosen", "rejected")
    ]
    scores = RewardModel.load(bundle, device="cpu").score(sides).score
    for i, row in enumerate(made):
        is_right = bool(scores[2 * i] > scores[2 * i + 1])
        if is_right == (wrong > 0 and i % wrong == 0):
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    return made


def test_audit_writes_json_that_is_the_audit(armorm, bundle, pairs, rated, tmp_path):
    done = armorm(
        *("audit", bundle, "--pairs", pairs, "--rated", rated, "--rows", 3, "--json"),
        *("-o", tmp_path / "out", "--training", rated),
    )
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert printed == json.loads((tmp_path / "out" / "audit.json").read_bytes())
    found = read_audit(tmp_path / "out")
    assert [file.n_rows for file in found.files] == [24, 24]
    assert any(one.is_training for one in found.shared_prompts)
    assert (tmp_path / "out" / "audit.md").read_text().startswith("# Audit: tiny\n")


def test_audit_shows_findings_and_the_figures_of_the_score(armorm, bundle, pairs):
    done = armorm("audit", bundle, "--pairs", pairs, "--rows", 2, "--weights", "honesty=1")
    assert done.code == 0, done.err
    assert done.out.startswith("Audited on 24 pairs, 24 prompts. Findings by severity:")
    for word in ("padding", "second half cut", "markdown density"):
        assert word in done.out


def test_audit_without_files_takes_the_shipped_corpus_and_says_so(armorm, bundle):
    done = armorm("audit", bundle, "--rows", 1, "--bad-rows", "drop")
    assert done.code == 0, done.err
    assert "note: no --rated and no --pairs: audited on the shipped corpus" in done.err
    assert "rated rows and" in done.out


def test_write_temperature_saves_the_bundle_with_another_beta(armorm, bundle, rows, tmp_path):
    path, new = rows("mixed.jsonl", judged(bundle, wrong=4)), tmp_path / "new"
    done = armorm(
        *("audit", bundle, "--pairs", path, "--rows", 1, "-o", tmp_path / "out"),
        *("--write-temperature", new),
    )
    assert done.code == 0, done.err
    found = read_audit(tmp_path / "out").calibration
    assert found.all_pairs.accuracy == 0.75
    assert load_bundle(new).beta == load_bundle(bundle).beta / found.temperature
    assert "beta divided by the temperature" in done.out


def test_write_temperature_without_a_wrong_pair_writes_nothing(armorm, bundle, rows, tmp_path):
    path, new = rows("right.jsonl", judged(bundle, wrong=0)), tmp_path / "new"
    done = armorm("audit", bundle, "--pairs", path, "--rows", 1, "--write-temperature", new)
    assert done.code == 2
    assert "error: --write-temperature: no temperature is fitted, since half of" in done.err
    assert not new.exists()


def test_write_temperature_needs_pairs_and_the_gated_model(armorm, bundle, rated, pairs, tmp_path):
    done = armorm("audit", bundle, "--rated", rated, "--write-temperature", tmp_path / "a")
    assert (done.code, done.err) == (
        2,
        "error: --write-temperature: needs --pairs to fit the temperature on\n",
    )
    done = armorm(
        *("audit", bundle, "--pairs", pairs, "--write-temperature", tmp_path / "a"),
        *("--scale", "honesty=2"),
    )
    text = "error: --write-temperature: saves the gated model; leave out the steering\n"
    assert (done.code, done.err) == (2, text)
