"""Every command on a tiny bundle: results on stdout and nothing else, errors with exit code 2."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from armorm import RewardModel, __version__
from armorm.cli import terminal
from armorm.cli.steering import parse_values
from armorm.cli.terminal import OptionError
from armorm.evaluate.report import read_report
from bundles import OBJECTIVES, encoder_backbone, make_bundle, saved

FIELDS = ["score", "objectives", "gating", "coefficients", "contributions"]


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from armorm.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    for args in (["--help"], ["score", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("[]\n"), args


def test_help_names_every_command(armorm):
    done = armorm("--help")
    assert done.code == 0
    for command in ("demo", "train", "score", "explain", "evaluate", "data"):
        assert f" {command} " in done.out


def test_the_version_is_that_of_the_package(armorm):
    assert armorm("--version").out == f"armorm {__version__}\n"


def test_score_writes_what_the_model_says(armorm, bundle, conversations):
    done = armorm("score", bundle, conversations)
    assert done.code == 0
    assert [row["id"] for row in done.lines] == ["sum", "sea", "conversations:3"]
    model = RewardModel.load(bundle)
    wanted = model.explain({"prompt": "What is 2 plus 2?", "response": "It is 4."})
    found = done.lines[0]
    assert list(found) == ["id", *FIELDS, "n_tokens", "n_truncated"]
    assert found["score"] == pytest.approx(wanted.score, abs=1e-5)
    assert list(found["contributions"]) == list(OBJECTIVES)
    assert sum(found["contributions"].values()) == pytest.approx(found["score"], abs=1e-5)


def test_score_of_pairs_has_the_margin(armorm, bundle, pairs):
    first = armorm("score", bundle, pairs).lines[0]
    assert list(first) == ["id", "chosen", "rejected", "margin"]
    difference = first["chosen"]["score"] - first["rejected"]["score"]
    assert first["margin"] == pytest.approx(difference, abs=1e-6)


def test_score_reads_rated_rows_without_their_ratings(armorm, bundle, rated):
    lines = armorm("score", bundle, rated).lines
    assert len(lines) == 24
    assert "ratings" not in lines[0]


def test_with_an_output_file_stdout_is_empty_and_the_file_has_the_same_lines(
    armorm, bundle, conversations, tmp_path
):
    plain = armorm("score", bundle, conversations)
    done = armorm("score", bundle, conversations, "-o", tmp_path / "deep" / "out.jsonl")
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "deep" / "out.jsonl").read_text() == plain.out


def test_progress_goes_to_stderr(armorm, bundle, conversations):
    assert "3/3" in armorm("score", bundle, conversations).err


def test_an_older_output_stays_where_a_command_fails(armorm, bundle, rows, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("older\n")
    bad = rows("bad.jsonl", [{"prompt": "a", "response": "b"}, {"prompt": "a"}])
    assert armorm("score", bundle, bad, "-o", out).code == 2
    assert out.read_text() == "older\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.jsonl", "out.jsonl"]


def test_an_output_that_is_a_folder_is_one_line(armorm, bundle, conversations, tmp_path):
    done = armorm("score", bundle, conversations, "-o", tmp_path)
    assert done.code == 2
    assert done.err.endswith(f"error: {tmp_path}: cannot be written: Is a directory\n")


def test_bad_rows_are_dropped_on_request_and_counted_on_stderr(armorm, bundle, rows):
    path = rows("rows.jsonl", [{"prompt": "a", "response": "b"}, {"prompt": "a"}])
    done = armorm("score", bundle, path, "--bad-rows", "drop")
    assert done.code == 0
    assert len(done.lines) == 1
    assert "dropped 1 of 2 rows: 1 missing field" in done.err


def test_truncated_rows_are_counted_on_stderr(armorm, rows, tmp_path):
    backbone = encoder_backbone(tmp_path / "encoder", max_tokens=32, too_long="truncate")
    folder = saved(tmp_path / "bundle", make_bundle(backbone.facts()))
    path = rows("rows.jsonl", [{"prompt": "w " * 90, "response": "b"}])
    done = armorm("score", folder, path)
    assert done.code == 0
    assert "dropped none of 1 rows; truncated 1: 1 truncated from the left" in done.err


def test_weights_bypass_gating_and_debias(armorm, bundle, conversations):
    row = armorm("score", bundle, conversations, "--weights", "is_safe=2, verbosity=-0.5").lines[0]
    wanted = 2 * row["objectives"]["is_safe"] - 0.5 * row["objectives"]["verbosity"]
    assert row["score"] == pytest.approx(wanted, abs=1e-5)
    assert row["gating"] is None


def test_scale_multiplies_the_gating(armorm, bundle, conversations):
    before = armorm("score", bundle, conversations).lines[0]["gating"]
    after = armorm("score", bundle, conversations, "--scale", "honesty=3").lines[0]["gating"]
    total = sum(before.values()) + 2 * before["honesty"]
    assert after["honesty"] == pytest.approx(3 * before["honesty"] / total, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--weights", "honesty"], "--weights: must read name=number,…; got 'honesty'"),
        (["--weights", "honesty=much"], "--weights: must read name=number,…; got 'honesty=much'"),
        (["--weights", "honesty=nan"], "--weights: must read name=number,…; got 'honesty=nan'"),
        (["--weights", "=1"], "--weights: must read name=number,…; got '=1'"),
        (["--weights", ""], "--weights: must read name=number,…; got ''"),
        (["--scale", "honesty=1,honesty=2"], "--scale: the name 'honesty' stands twice"),
        (
            ["--scale", "honestly=2"],
            "--scale: `factors`: unknown objective 'honestly'; did you mean 'honesty'?",
        ),
        (["--scale", "honesty=-1"], "--scale: `factors` must be at least 0; got -1 for 'honesty'"),
        (
            ["--scale", "verbosity=2"],
            "--scale: `factors` must not name the nuisance 'verbosity': the debias step removes it "
            "from the score; use `with_weights` to give it a weight",
        ),
        (
            ["--weights", "honesty=1", "--scale", "honesty=1"],
            "--weights bypasses the gating that --scale multiplies; give one of them",
        ),
        *(
            (["--device", name], f"--device: must be auto, cpu, cuda, cuda:1 or mps; got {name!r}")
            for name in ("gpu", "meta", "xla", "hip", "cuda:x")
        ),
    ],
)
@pytest.mark.parametrize("command", ["score", "explain"])
def test_options_that_cannot_be_used_are_one_line(
    armorm, bundle, conversations, command, options, text
):
    done = armorm(command, bundle, conversations, *options)
    assert (done.code, done.out, done.err) == (2, "", f"error: {text}\n")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["score", "--nope"], "No such option: --nope"),
        (["score", "bundle"], "Missing argument"),
        (["scor"], "No such command 'scor'"),
        (["score", "a", "b", "--bad-rows", "skip"], "'skip' is not one of 'stop', 'drop'"),
        (["data", "check"], "Missing argument"),
    ],
)
def test_a_command_line_that_is_rejected_has_no_traceback(armorm, args, text):
    # A typer that carries a copy of click raised errors that were not caught.
    done = armorm(*args)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert "Traceback" not in done.err


def test_values_are_parsed_in_order():
    assert list(parse_values("--scale", " b=1 ,a=2.5e-1,")) == ["b", "a"]
    assert parse_values("--scale", "a=1=2") == {"a=1": 2.0}  # a name may hold the sign
    with pytest.raises(OptionError, match="--scale: must read name=number,…; got 'a=1=b'"):
        parse_values("--scale", "a=1=b")


def test_explain_shows_bars_by_objective(armorm, bundle, conversations):
    done = armorm("explain", bundle, conversations, "--id", "sea")
    assert done.code == 0
    assert "Salt water." in done.out
    assert all(name in done.out for name in OBJECTIVES)


def test_explain_of_a_pair_shows_both_sides(armorm, bundle, pairs):
    done = armorm("explain", bundle, pairs)
    assert done.code == 0
    assert "It is 0." in done.out
    assert "I do not know that." in done.out


def test_an_id_that_is_not_there_names_the_nearest(armorm, bundle, pairs):
    done = armorm("explain", bundle, pairs, "--id", "pair-99")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: --id: {pairs} has no row 'pair-99'; did you mean 'pair-9'")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_no_line_of_an_explanation_is_wider_than_the_terminal(
    armorm, bundle, pairs, monkeypatch, columns
):
    monkeypatch.setenv("COLUMNS", columns)
    done = armorm("explain", bundle, pairs)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= int(columns)


def test_output_that_is_piped_has_no_colours(armorm, bundle, pairs, monkeypatch):
    assert "\x1b[" not in armorm("explain", bundle, pairs).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in armorm("explain", bundle, pairs).out
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = armorm("explain", bundle, pairs).out
    assert "\x1b[3" not in coloured  # foreground colours; bold and dim are no colours


def test_evaluate_writes_json_that_is_the_report(armorm, bundle, pairs, rated, tmp_path):
    done = armorm(
        *("evaluate", bundle, "--pairs", pairs, "--rated", rated, "--json", "-o", tmp_path / "out")
    )
    assert done.code == 0
    report = json.loads(done.out)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert read_report(tmp_path / "out").data.pairs == 24
    assert [row["scorer"] for row in report["preferences"]][:2] == ["gated", "gate without debias"]
    assert (tmp_path / "out" / "report.md").is_file()


def test_evaluate_shows_tables(armorm, bundle, pairs):
    done = armorm("evaluate", bundle, "--pairs", pairs, "--scale", "honesty=2")
    assert done.code == 0
    assert "steered" in done.out
    assert "longer wins" in done.out


def test_evaluate_without_rows_says_which_options_bring_them(armorm, bundle):
    done = armorm("evaluate", bundle)
    text = "error: evaluate needs rows: give --pairs, --rated or both, or --protocol\n"
    assert (done.code, done.out, done.err) == (2, "", text)


def test_evaluate_counts_dropped_rows_on_stderr(armorm, bundle, pairs):
    with pairs.open("a") as file:
        file.write('{"prompt": "a", "chosen": "b"}\n')
    done = armorm("evaluate", bundle, "--pairs", pairs, "--bad-rows", "drop", "--json")
    assert "note: dropped 1 of 25 rows: 1 missing field" in done.err
    assert json.loads(done.out)["data"]["pairs"] == 24


def test_data_check_counts_what_is_there(armorm, rated, pairs):
    done = armorm("data", "check", rated, pairs, "--json")
    assert (done.code, done.err) == (0, "")
    summary = json.loads(done.out)
    assert [file["n_rows"] for file in summary["files"]] == [24, 24]
    cells = {(c["source"], c["objective"]): c["count"] for c in summary["coverage"]}
    assert cells == {("general", "helpfulness"): 24, ("general", "honesty"): 24}


def test_data_check_shows_a_table_and_shared_prompts(armorm, rated, pairs):
    done = armorm("data", "check", rated, pairs)
    assert done.code == 0
    assert "helpfulness" in done.out
    assert "1 prompts are in both" in done.out


@pytest.mark.parametrize("name", ["[/x]", "[red]a[/red]", ":smile:"])
def test_names_that_look_like_markup_are_shown_as_they_are(armorm, rows, name):
    row = {"prompt": "a", "response": "b", "source": name, "ratings": {name: 1}}
    path = rows(f"{name.replace('/', ':')}.jsonl", [row])
    done = armorm("data", "check", path)
    assert (done.code, done.err) == (0, "")
    assert [name, name, "1", "1", "1.00", "1"] in [line.split() for line in done.out.splitlines()]
    assert path.name in done.out.replace("\n", "")


COMMANDS = {
    "score": ["score", "BUNDLE", "PAIRS"],
    "explain": ["explain", "BUNDLE", "PAIRS"],
    "evaluate": ["evaluate", "BUNDLE", "--pairs", "PAIRS"],
    "evaluate --json": ["evaluate", "BUNDLE", "--pairs", "PAIRS", "--json"],
    "data check": ["data", "check", "PAIRS"],
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_stdout_is_one_line(armorm, bundle, pairs, monkeypatch, command):
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        done = armorm(*({"BUNDLE": bundle, "PAIRS": pairs}.get(a, a) for a in COMMANDS[command]))
    assert done.code == 2
    assert done.err.endswith("error: stdout: cannot be written: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_leaves_nothing_to_complain_of_at_exit(pairs):
    code = "from armorm.cli.main import main; main()"
    args = [sys.executable, "-c", code, "data", "check", str(pairs)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(args, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    text = "error: stdout: cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, text)


def test_a_failing_file_is_not_taken_for_stdout(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["armorm"])
    application = typer.Typer()

    @application.command()
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device", "cache")

    with pytest.raises(OSError, match="cache"):
        terminal.run(application)


def test_data_check_locates_the_first_bad_rows_and_counts_all(armorm, rows):
    good = {"prompt": "a", "response": "b"}
    path = rows("rows.jsonl", [good, {"prompt": "a"}, {"response": "b"}])
    done = armorm("data", "check", path)
    assert done.code == 2
    assert f"{path}:2: missing field 'response'" in done.out.replace("\n", "")
    text = "(2 of 3 rows cannot be used, this is the first)\n"
    assert done.err.startswith(f"error: {path}:2: missing field 'response'")
    assert done.err.endswith(text)


def test_a_reader_that_leaves_early_is_not_an_error(bundle, rows, tmp_path):
    # More lines than a pipe holds, so that writing fails when the reader has gone.
    many = rows("many.jsonl", [{"prompt": f"a {i}", "response": "b"} for i in range(400)])
    code = "from armorm.cli.main import main; main()"
    with (tmp_path / "err").open("w") as errors:
        writer = subprocess.Popen(
            [sys.executable, "-c", code, "score", str(bundle), str(many)],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert writer.stdout is not None
        assert json.loads(writer.stdout.readline())["id"] == "many:1"
        writer.stdout.close()
        writer.wait(timeout=60)
    said = (tmp_path / "err").read_text()
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
