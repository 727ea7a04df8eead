"""`armorm explain` and the comparisons of `armorm evaluate`."""

import json

import pytest

from armorm.evaluate.figures import PairFigures


def test_a_pair_is_explained_with_rated_rows_of_a_file(armorm, bundle, pairs, rated):
    done = armorm("explain", bundle, pairs, "--rated", rated, "--neighbours", "2")
    assert done.code == 0
    assert "The most similar responses rated on" in done.out
    assert "raters gave the 2 responses most like the chosen response" in " ".join(done.out.split())


def test_without_rated_rows_it_says_how_to_give_them(armorm, bundle, pairs):
    said = " ".join(armorm("explain", bundle, pairs).out.split())
    assert "No rated rows are at hand: the bundle is not in the folder of its run" in said
    assert "`--rated FILE` gives some." in said
    assert "rated rows" not in armorm("explain", bundle, pairs, "--neighbours", "0").out


def test_the_option_that_is_named_turns_the_verdict(armorm, bundle, pairs):
    n_turned = 0
    for i in range(8):
        asked = ("explain", bundle, pairs, "--id", f"pair-{i}", "--json")
        found = PairFigures.model_validate_json(armorm(*asked).out)
        if found.flip is not None and found.flip.option is not None:
            turned = PairFigures.model_validate_json(armorm(*asked, *found.flip.option.split()).out)
            assert turned.margin * found.margin < 0
            n_turned += 1
    assert n_turned >= 2


def test_json_of_a_conversation_holds_the_score_and_its_rows(armorm, bundle, conversations, rated):
    done = armorm("explain", bundle, conversations, "--id", "sea", "--json", "--rated", rated)
    found = json.loads(done.out)
    assert found["id"] == "sea"
    assert found["score"] == pytest.approx(sum(found["contributions"].values()), abs=1e-5)
    assert len(found["nearest"]) == 3
    assert found["sentence"].startswith("The response scores")


@pytest.mark.parametrize("columns", ["40", "80", "120"])
@pytest.mark.parametrize("kind", ["pairs", "conversations"])
def test_no_line_is_wider_than_the_terminal(
    armorm, bundle, request, rated, monkeypatch, columns, kind
):
    monkeypatch.setenv("COLUMNS", columns)
    rows = request.getfixturevalue(kind)
    done = armorm("explain", bundle, rows, "--rated", rated)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= int(columns)


def test_texts_of_rated_rows_cannot_steer_the_terminal(armorm, bundle, pairs, rows):
    nasty = [
        {
            "id": "\x1b[31mid",
            "prompt": "What?",
            "response": f"\x1b[2J [red]markup[/red] \u202e {i}",
            "source": "general",
            "ratings": {"helpfulness": i, "honesty": i, "verbosity": i},
        }
        for i in range(4)
    ]
    for i, row in enumerate(nasty):
        row["id"] += str(i)
    done = armorm("explain", bundle, pairs, "--rated", rows("nasty.jsonl", nasty))
    assert done.code == 0
    assert "\x1b[2J" not in done.out
    assert "\u202e" not in done.out
    assert "[red]markup[/red]" in done.out


def test_options_that_contradict_each_other_are_refused(armorm, bundle, pairs, rated):
    done = armorm("explain", bundle, pairs, "--rated", rated, "--neighbours", "0")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --rated: gives rows to show, and --neighbours 0 shows none\n"


def test_rated_rows_that_the_bundle_does_not_know_are_refused(armorm, bundle, pairs, rows):
    other = [{"prompt": "a", "response": "b", "source": "other", "ratings": {"honesty": 1}}]
    done = armorm("explain", bundle, pairs, "--rated", rows("other.jsonl", other))
    assert done.code == 2
    assert "unknown source 'other'" in done.err


def test_an_evaluation_takes_pairs_apart(armorm, bundle, pairs, tmp_path):
    asked = ("evaluate", bundle, "--pairs", pairs, "-o", tmp_path / "out")
    assert armorm(*asked, "--comparisons", "10").code == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["comparisons"]
    assert len(found) == 10
    assert {one["kind"] for one in found} <= {
        *("most certain", "least certain", "most certain and wrong", "spread")
    }
    assert armorm(*asked, "--comparisons", "0").code == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["comparisons"] == []
