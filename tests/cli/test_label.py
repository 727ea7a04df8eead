"""`armorm label`: candidates in, scores or pairs out, the summary on stdout, errors in one line."""

import json

import pytest

from armorm import RewardModel
from label_rows import lines, prompts


@pytest.fixture
def candidates(rows):
    return rows("candidates.jsonl", prompts(6))


def test_label_writes_every_score(armorm, bundle, candidates, tmp_path):
    done = armorm("label", bundle, candidates, "-o", tmp_path / "out.jsonl")
    assert done.code == 0
    found = lines(tmp_path / "out.jsonl")
    assert len(found) == 18
    row = prompts(1)[0]
    wanted = RewardModel.load(bundle).explain(
        {"prompt": row["prompt"], "response": row["responses"][2]}
    )
    assert found[2]["score"] == pytest.approx(wanted.score, abs=1e-5)
    assert found[2]["objectives"] == pytest.approx(wanted.objectives, abs=1e-5)


def test_summary_is_for_a_person(armorm, bundle, candidates, tmp_path):
    done = armorm("label", bundle, candidates, "-o", tmp_path / "out.jsonl", "--pairs", "top-1")
    assert done.out.splitlines()[0] == "6 rows, 6 prompts, 18 candidates; 18 scored"
    for text in ("best of 3 (6 prompts)", "6 pairs (top-1, trl)", "decided alone", "mean margin"):
        assert text in done.out
    assert done.out.splitlines()[-1] == str(tmp_path / "out.jsonl")
    again = armorm("label", bundle, candidates, "-o", tmp_path / "out.jsonl", "--pairs", "top-1")
    assert again.out.splitlines()[-1] == f"found finished: {tmp_path / 'out.jsonl'}"


def test_summary_as_json_is_that_of_the_file(armorm, bundle, candidates, tmp_path):
    done = armorm("label", bundle, candidates, "-o", tmp_path / "out.jsonl", "--json")
    stored = json.loads((tmp_path / "out.jsonl.parts/summary.json").read_text())
    assert json.loads(done.out) == stored
    assert stored["pairs"]["format"] is None


def test_steering_changes_the_choice(armorm, bundle, candidates, tmp_path):
    for sign in ("", "-"):
        out = tmp_path / f"out{sign}.jsonl"
        weights = f"honesty={sign}1"
        armorm(
            "label", bundle, candidates, "-o", out, "--pairs", "best-worst", "--weights", weights
        )
    one, other = lines(tmp_path / "out.jsonl"), lines(tmp_path / "out-.jsonl")
    assert [row["chosen"] for row in one] == [row["rejected"] for row in other]


def test_shards_share_the_work(armorm, bundle, candidates, tmp_path, monkeypatch):
    out = ("-o", tmp_path / "out.jsonl", "--part-rows", 6)
    first = armorm("label", bundle, candidates, *out, "--shard", "1/2")
    assert first.out == "this shard is done; 1 part waits for other shards\n"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    last = armorm("label", bundle, candidates, *out)
    assert last.out.splitlines()[0].endswith("18 scored")
    monkeypatch.delenv("WORLD_SIZE")
    armorm("label", bundle, candidates, "-o", tmp_path / "one.jsonl", "--part-rows", 6)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_dropped_rows_are_told_by_reason(armorm, bundle, rows, tmp_path):
    path = rows("in.jsonl", [*prompts(2), {"prompt": "a", "responses": ["", "b", "c " * 200]}])
    done = armorm("label", bundle, path, "-o", tmp_path / "out.jsonl")
    assert done.code == 0
    said = f"dropped candidates of {path}: 1 empty response, 1 response alone longer than 64 tokens"
    assert said in done.out.replace("\n", " ").replace("  ", " ")
    stopped = armorm("label", bundle, path, "-o", tmp_path / "no.jsonl", "--bad-rows", "stop")
    assert stopped.code == 2
    assert stopped.err == f"error: {path}:3: responses[0]: `response` must not be empty; got ''\n"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--pairs", "best"], "a rule for pairs must be best-worst, best-random, top-K, margin>=M"),
        (["--min-margin", "1"], "--min-margin: needs --pairs"),
        (["--format", "trl"], "--format: needs --pairs"),
        (["--ties"], "--ties: needs --pairs"),
        (["--pairs", "pareto", "--unit", "tokens"], "--unit: needs --max-shorter"),
        (["--pairs", "pareto", "--max-shorter", "-1"], "`max_shorter` must be 0 or more; got -1"),
        (["--pairs", "pareto", "--format", "tlr"], "the unknown name 'tlr'; did you mean 'trl'?"),
        (["--shape", "respons"], "`shape` has the unknown name 'respons'; did you mean"),
        (["--split", "test"], "IN: `split` is for hub data only; got 'test'"),
        (["--shard", "3/2"], "--shard: a shard must be `i/n` with i from 1 to n; got '3/2'"),
        (["--weights", "honest=1"], "--weights: `weights`: unknown objective 'honest'; did you"),
    ],
)
def test_options_that_cannot_be_used_are_one_line(
    armorm, bundle, candidates, tmp_path, options, text
):
    done = armorm("label", bundle, candidates, "-o", tmp_path / "out.jsonl", *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert text in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_output_of_another_kind_is_refused(armorm, bundle, candidates, tmp_path):
    done = armorm("label", bundle, candidates, "-o", tmp_path / "out.csv")
    assert done.code == 2
    assert done.err == "error: -o: the output must end in .jsonl or .parquet; got 'out.csv'\n"


def test_output_of_another_labelling_is_refused_with_a_way_on(armorm, bundle, candidates, tmp_path):
    armorm("label", bundle, candidates, "-o", tmp_path / "out.jsonl")
    done = armorm("label", bundle, candidates, "-o", tmp_path / "out.jsonl", "--pairs", "pareto")
    assert done.code == 2
    assert done.err.endswith(
        "out.jsonl: belongs to a labelling of other rules for pairs; name another file with -o, "
        "or remove it and out.jsonl.parts to begin anew\n"
    )


def test_missing_input_is_told_before_the_bundle_is_loaded(armorm, tmp_path):
    done = armorm("label", "no/bundle", tmp_path / "no.jsonl", "-o", tmp_path / "out.jsonl")
    assert done.err == f"error: {tmp_path / 'no.jsonl'}: no such file or folder\n"
