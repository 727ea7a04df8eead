"""`armorm objectives` and `armorm sources`: a changed bundle, what was changed, what is next."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from armorm import RewardModel
from armorm.cli.sources import parse_scales
from armorm.cli.terminal import OptionError
from armorm.model.bundle import load_bundle, load_statistics
from armorm.model.sources import counts_of
from armorm.types import Scale
from bundles import OBJECTIVES, saved
from changed_bundles import fitted_bundle


def rated_row(i, **ratings):
    return {
        "id": f"new-{i}",
        "prompt": f"What is {i // 2} plus 1?",
        "response": f"It is {i * i}, {'so ' * (i % 5)}I say.",
        "source": "jokes",
        "ratings": ratings or {"humour": 1 + i * 7 % 5, "honesty": i % 5},
    }


@pytest.fixture(scope="session")
def with_statistics(tmp_path_factory, backbone_folder, bundle):
    """Folder of a bundle with statistics, on the backbone of the others."""
    facts = load_bundle(bundle).backbone
    return saved(tmp_path_factory.mktemp("sums") / "bundle", fitted_bundle(dict(facts)))


@pytest.fixture
def rated(rows):
    """24 rows on 12 prompts, rated on a new objective and on one that bundles have."""
    return rows("jokes.jsonl", [rated_row(i) for i in range(24)])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new"


def add(armorm, bundle, rated, out, *options, name="humour", scale=("1", "5")):
    return armorm(
        "objectives", "add", bundle, name, "--rated", rated, "--scale", *scale, "-o", out, *options
    )


def contents(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in Path(folder).iterdir()}


def refused(done, text):
    assert done.code == 2
    assert done.out == ""
    assert done.err.splitlines()[-1].startswith("error: ")
    assert text in done.err


def test_add_appends_a_head_and_says_what_is_next(armorm, bundle, rated, out):
    done = add(armorm, bundle, rated, out)
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first.startswith(f"{out}: the objective `humour` was added: 24 ratings of the source ")
    assert second == f"next: refit the gate on preference pairs, with `ridge: {out}` in a recipe"
    assert "24/24" in done.err
    assert "note: ratings that were not asked for: 'honesty'" in done.err
    before, after = load_bundle(bundle), load_bundle(out)
    assert after.objectives == (*OBJECTIVES, "humour")
    assert torch.equal(after.weight[:4], before.weight)
    assert after.scales["jokes"] == {"humour": Scale(1, 5)}
    rows = [{"prompt": "What is 2 plus 2?", "response": "It is 4."}]
    ours, theirs = (RewardModel.load(b, device="cpu").score(rows) for b in (out, bundle))
    assert ours.score.tolist() == pytest.approx(theirs.score.tolist(), abs=1e-6)
    assert "The objective `humour` was added" in (out / "README.md").read_text()


def test_the_added_head_knows_the_normalised_ratings(armorm, bundle, rated, out):
    add(armorm, bundle, rated, out)
    model = RewardModel.load(out, device="cpu")
    scores = model.score([{k: rated_row(i)[k] for k in ("prompt", "response")} for i in range(24)])
    mean = sum((rated_row(i)["ratings"]["humour"] - 1) / 4 for i in range(24)) / 24
    # With an intercept the mean prediction over the fitted rows is the mean rating.
    assert float(scores.objectives[:, 4].mean()) == pytest.approx(mean, abs=1e-4)


def test_the_same_folder_is_replaced_whole(armorm, bundle, rated, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "own")
    assert add(armorm, folder, rated, folder).code == 0
    assert armorm("objectives", "drop", folder, "humour", "-o", folder).code == 0
    heads = "heads.safetensors"
    assert contents(folder)[heads] == contents(bundle)[heads]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["jokes.jsonl", "own"]


def test_two_additions_end_with_the_same_bytes(armorm, bundle, rated, tmp_path):
    for name in ("a", "b"):
        add(armorm, bundle, rated, tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_list_shows_what_each_objective_is(armorm, bundle, rated, out):
    add(armorm, bundle, rated, out)
    lines = armorm("objectives", "list", out).out.splitlines()
    assert lines[0].split() == ["objective", "gating", "ratings", "alpha", "Spearman", "sources"]
    row = ["helpfulness", "weighed", "1,000", "1", "0.61", "general", "(0", "to", "4)"]
    assert lines[1].split() == row
    assert lines[3].split()[:2] == ["verbosity", "nuisance"]
    assert lines[4].split() == ["is_safe", "weighed", "-", "-", "-", "safety", "(0", "to", "1)"]
    assert lines[5].startswith("humour       0 until refitted")
    assert lines[5].rstrip().endswith("jokes (1 to 5)")


def test_drop_removes_an_objective_and_says_what_is_next(armorm, bundle, out):
    done = armorm("objectives", "drop", bundle, "honesty", "-o", out)
    assert done.code == 0, done.err
    assert f"{out}: the objective `honesty` was dropped" in done.out
    assert f"a recipe with `ridge: {out}` refits the gate" in done.out
    assert load_bundle(out).objectives == ("helpfulness", "verbosity", "is_safe")


def test_drop_of_an_objective_without_weight_leaves_nothing_to_do(armorm, bundle, rated, out):
    add(armorm, bundle, rated, out)
    done = armorm("objectives", "drop", out, "humour", "-o", out)
    assert "scores are what they were" in done.out
    assert "next:" not in done.out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("verbosity", "dropping a nuisance is refused: the debias takes 'verbosity' out"),
        ("safe", "`name` must be an objective of the bundle; 'safe' is none; did you mean 'is_s"),
    ],
)
def test_drop_refuses_in_one_line(armorm, bundle, out, name, text):
    done = armorm("objectives", "drop", bundle, name, "-o", out)
    refused(done, f"error: {bundle}: {text}")
    assert len(done.err.splitlines()) == 1
    assert not out.exists()


def test_add_refuses_names_and_scales_before_it_reads_a_row(armorm, bundle, tmp_path, out):
    gone = tmp_path / "gone.jsonl"
    taken = add(armorm, bundle, gone, out, name="honesty")
    refused(taken, f"{bundle}: `name` must be that of a new objective; the bundle has 'honesty'")
    refused(add(armorm, bundle, gone, out, scale=("5", "1")), "--scale: `low` must be below `high`")
    (out / "thesis").mkdir(parents=True)
    refused(add(armorm, bundle, gone, out), "a bundle replaces the whole folder; this one holds")


def test_add_refuses_rows_that_are_too_few_or_alike(armorm, bundle, rows, out):
    few = rows("few.jsonl", [rated_row(i) for i in range(9)])
    text = f"{few}: objective 'humour' must have at least 10 ratings; got 9"
    refused(add(armorm, bundle, few, out), text)
    alike = rows("alike.jsonl", [rated_row(i, humour=3) for i in range(24)])
    refused(add(armorm, bundle, alike, out), "must have ratings that vary; all 24 are 0.5")
    one = rows("one.jsonl", [rated_row(i) | {"prompt": f"p{i % 4}"} for i in range(24)])
    text = f"{one}: the ratings must be on at least as many prompts as there are folds, 5; got 4"
    refused(add(armorm, bundle, one, out), text)
    assert add(armorm, bundle, one, out, "--folds", "4").code == 0


def test_ratings_that_vary_in_one_fold_only_are_refused(armorm, bundle, rows, out):
    path = rows("fold.jsonl", [rated_row(i, humour=5 if i == 3 else 1) for i in range(24)])
    refused(add(armorm, bundle, path, out), f"{path}: `ratings` must vary outside fold ")


def test_add_refuses_a_name_that_no_row_rates(armorm, bundle, rated, out):
    done = add(armorm, bundle, rated, out, name="humor")
    refused(done, f"{rated}: no row rates 'humor'; did you mean 'humour'?")


def test_rows_of_several_sources_need_one_name(armorm, bundle, rows, out):
    mixed = [rated_row(i) | {"source": f"s{i % 2}"} for i in range(24)]
    path = rows("mixed.jsonl", mixed)
    text = f"{path}: the ratings must be of one source; found 's0', 's1': give one file a source"
    refused(add(armorm, bundle, path, out), text)
    done = add(armorm, bundle, path, out, "--source", "all")
    assert done.code == 0, done.err
    assert "all" in load_bundle(out).scales
    refused(add(armorm, bundle, path, out, "--source", " "), "`source` must be a name or None")


def test_rows_without_a_source_are_located(armorm, bundle, rows, out):
    path = rows("bare.jsonl", [{k: v for k, v in rated_row(0).items() if k != "source"}])
    refused(add(armorm, bundle, path, out), f"{path}:1: missing field 'source'")


def test_ratings_that_are_all_text_are_located(armorm, bundle, rows, out):
    # It was "unknown source 'jokes'; known: ''".
    path = rows("text.jsonl", [rated_row(i, humour=str(1 + i % 5)) for i in range(24)])
    refused(add(armorm, bundle, path, out), f"{path}:1: rating 'humour' must be a number; got the")


def test_bad_rows_stop_or_are_counted(armorm, bundle, rows, out):
    bad = [*(rated_row(i) for i in range(20)), rated_row(20, humour=9), {"prompt": "a"}]
    long = rated_row(21) | {"response": "x " * 90}
    path = rows("bad.jsonl", [*bad, long])
    refused(add(armorm, bundle, path, out), f"{path}:21: rating 'humour' must be from 1 to 5; got")
    done = add(armorm, bundle, path, out, "--bad-rows", "drop")
    assert done.code == 0, done.err
    said = " ".join(done.err.split())
    assert "note: dropped 3 of 23 rows: 1 rating outside its scale, 1 " in said


def test_a_row_that_the_backbone_cannot_take_is_located(armorm, bundle, rows, out):
    long = rated_row(24) | {"response": "x " * 90}
    path = rows("long.jsonl", [*(rated_row(i) for i in range(24)), long])
    refused(add(armorm, bundle, path, out), f"{path}: conversation 'new-24'")


SCALE = ("--scale", "honesty=0:4")


def add_source(armorm, bundle, rated, out, *options, scale=SCALE):
    return armorm("sources", "add", bundle, "--rated", rated, *scale, "-o", out, *options)


def test_sources_come_and_go(armorm, with_statistics, rated, out):
    done = add_source(armorm, with_statistics, rated, out)
    assert done.code == 0, done.err
    assert f"{out}: `jokes` added: the ridge heads of `honesty` were refitted" in done.out
    assert f"next: the gate was fitted before; a recipe with `ridge: {out}` refits it" in done.out
    before, after = load_bundle(with_statistics), load_bundle(out)
    assert torch.equal(after.weight[0], before.weight[0])
    assert not torch.equal(after.weight[1], before.weight[1])
    assert counts_of(load_statistics(after))["jokes"] == {"honesty": 24}
    done = armorm("sources", "drop", out, "jokes", "-o", out)
    assert done.code == 0, done.err
    assert "`jokes` withdrawn" in done.out
    assert torch.allclose(load_bundle(out).weight, before.weight, atol=1e-6)


def test_a_list_of_sources_counts_their_ratings(armorm, with_statistics, bundle):
    lines = armorm("sources", "list", with_statistics).out.splitlines()
    assert lines[0].split() == ["source", "objective", "ratings", "scale"]
    assert lines[1].split() == ["general", "helpfulness", "40", "0", "to", "4"]
    assert lines[2].split() == ["honesty", "40", "0", "to", "4"]
    plain = armorm("sources", "list", bundle)
    assert plain.out.splitlines()[1].split() == ["general", "helpfulness", "-", "0", "to", "4"]
    assert "`ridge.keep_statistics: true`" in plain.err


def test_sources_without_statistics_are_refused_before_a_row_is_read(armorm, bundle, tmp_path, out):
    text = "must hold the statistics of its rated rows; it has none: train it with `ridge.keep_stat"
    refused(add_source(armorm, bundle, tmp_path / "gone", out), text)
    refused(armorm("sources", "drop", bundle, "general", "-o", out), text)


def test_sources_that_do_not_fit_are_refused(armorm, with_statistics, rated, rows, out):
    done = add_source(armorm, with_statistics, rated, out, "--source", "second")
    refused(done, f"{rated}: `rows` must be of new sources; 'second' is in the statistics")
    # To drop it is not always possible: an added objective may be rated in it alone.
    assert "give other rows another source, or drop it first" in done.err
    done = add_source(armorm, with_statistics, rated, out, scale=("--scale", "humour=1:5"))
    refused(done, f"{with_statistics}: rows must rate objectives of the bundle; 'humour' is none")
    done = armorm("sources", "drop", with_statistics, "safety", "-o", out)
    refused(done, "every objective must keep a rating; 'safety' alone rates `is_safe`")
    done = armorm("sources", "drop", with_statistics, "secnd", "-o", out)
    refused(done, f"{with_statistics}: `source` must be one of the bundle's statistics; 'secnd'")


def test_damaged_statistics_are_told_in_one_line(armorm, with_statistics, tmp_path, out):
    folder = shutil.copytree(with_statistics, tmp_path / "damaged")
    (folder / "statistics.safetensors").write_bytes(b"")
    done = armorm("sources", "drop", folder, "second", "-o", out)
    refused(done, f"{folder}/statistics.safetensors: the SHA-256 must be")


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["honesty"], "--scale: must read name=low:high; got 'honesty'"),
        (["honesty=0"], "--scale: must read name=low:high; got 'honesty=0'"),
        (["honesty=a:b"], "--scale: must read name=low:high; got 'honesty=a:b'"),
        (["a=0:1", "a=0:1"], "--scale: the name 'a' stands twice"),
        (["a=1:0"], r"--scale 'a': `low` must be below `high`; got \(1, 0\)"),
        (["a=0:inf"], r"--scale 'a': `low` must be below `high`; got \(0, inf\)"),
    ],
)
def test_scales_that_cannot_be_read_are_refused(texts, text):
    with pytest.raises(OptionError, match=text):
        parse_scales(texts)


def test_a_scale_may_be_negative_and_a_name_hold_an_equals_sign():
    found = parse_scales(["x=y=-1:1.5", " a = 0:4"])
    assert found == {"x=y": Scale(-1, 1.5), "a": Scale(0, 4)}


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from armorm.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    for command in ("objectives", "sources"):
        done = subprocess.run(
            [sys.executable, "-c", code, command, "add", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.endswith("[]\n"), command


def test_help_names_the_commands(armorm):
    assert all(f" {command} " in armorm("--help").out for command in ("objectives", "sources"))
    for command in ("objectives", "sources"):
        assert all(f" {what} " in armorm(command, "--help").out for what in ("list", "add", "drop"))
