"""`armorm data list` and `armorm data convert`: tables, JSON, files, and refusals of one line."""

import json

import pytest
import yaml

from armorm.data import DataSource, Drops, read_rated
from armorm.data.sources import published_sets
from armorm.train.recipe import parse_recipe
from rated_records import HELPSTEER, RECORDS


@pytest.fixture
def helpsteer(rows):
    return rows("helpsteer.jsonl", HELPSTEER)


def test_list_names_every_set_with_its_licence(armorm):
    done = armorm("data", "list")
    assert (done.code, done.err) == (0, "")
    for one in published_sets().values():
        assert one.name in done.out
    assert "cc-by-nc-4.0" in done.out


def test_list_as_json_has_the_scales_and_the_map_of_the_released_model(armorm):
    sets = {one["name"]: one for one in json.loads(armorm("data", "list", "--json").out)}
    assert set(sets) == set(published_sets())
    assert sets["helpsteer"]["objectives"]["helpsteer-verbosity"] == {
        "low": 0,
        "high": 4,
        "offset": 0.5,
        "divisor": 5,
    }
    assert sets["ultrafeedback"]["objectives"]["ultrafeedback-honesty"] == {"low": 1, "high": 5}
    assert sets["shp"]["objectives"] == {}


def test_list_of_one_set_says_everything_about_it(armorm):
    done = armorm("data", "list", "beavertails")
    for said in ("PKU-Alignment/BeaverTails, split 30k_train", "cc-by-nc-4.0", "is_safe", "27,186"):
        assert said in done.out


def test_list_of_one_set_ends_with_lines_that_a_recipe_takes(armorm):
    done = armorm("data", "list", "helpsteer")
    recipe = yaml.safe_load(done.out[done.out.index("rated:") :])
    parsed = parse_recipe({"name": "r", "backbone": "b", "pairs": "p.jsonl", **recipe} | _PLAIN)
    scale = parsed.scales["helpsteer"]["helpsteer-helpfulness"]
    assert (scale.low, scale.high, scale.offset, scale.divisor) == (0, 4, 0.5, 5)


_PLAIN = {"debias": {"nuisances": ["helpsteer-verbosity"]}}


def test_convert_writes_rows_and_prints_the_lines_of_a_recipe(armorm, helpsteer, tmp_path):
    made = tmp_path / "deep" / "helpsteer.parquet"
    done = armorm("data", "convert", "helpsteer", "--from", helpsteer, "-o", made)
    assert done.code == 0
    recipe = yaml.safe_load(done.out)
    parsed = parse_recipe({"name": "r", "backbone": "b", "pairs": "p.jsonl", **recipe} | _PLAIN)
    assert parsed.rated[0].path == str(made)
    scales = {"helpsteer": published_sets()["helpsteer"].scales}
    assert len(read_rated([DataSource(parsed.rated[0].path)], scales, drops=Drops())) == 2
    assert "2 rows from 2 records" in done.err
    assert "licence of helpsteer: cc-by-4.0 (https://" in done.err


def test_convert_counts_what_it_leaves_out_and_keeps_what_is_there_twice(armorm, rows, tmp_path):
    bad = {**HELPSTEER[0], "helpfulness": 5}
    given = rows("in.jsonl", [*HELPSTEER, bad, HELPSTEER[0]])
    done = armorm("data", "convert", "helpsteer", "--from", given, "-o", tmp_path / "out.parquet")
    assert "note: dropped 1 of 4 rows: 1 rating outside its scale" in done.err
    assert "note: 1 rows have the texts of an earlier row and are kept" in done.err


def test_convert_stops_at_a_bad_row_when_told_to(armorm, rows, tmp_path):
    given = rows("in.jsonl", [HELPSTEER[0], {**HELPSTEER[0], "helpfulness": 5}])
    out = tmp_path / "out.parquet"
    done = armorm("data", "convert", "helpsteer", "--from", given, "-o", out, "--bad-rows", "stop")
    assert done.code == 2
    assert "in.jsonl:2: rating 'helpsteer-helpfulness' must be from 0 to 4; got 5" in done.err
    assert not out.exists()


def test_convert_takes_the_first_records_only(armorm, helpsteer, tmp_path):
    out = tmp_path / "out.jsonl"
    done = armorm("data", "convert", "helpsteer", "--from", helpsteer, "-o", out, "--limit", 1)
    assert done.code == 0
    assert len(out.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        (["helpster", "-o", "x.parquet"], "unknown data set 'helpster'; did you mean 'helpsteer'"),
        (["helpsteer", "-o", "x.txt"], "-o: `output` must end in .parquet or .jsonl; got 'x.txt'"),
        (
            ["helpsteer", "-o", "x.parquet", "--from", "no/such.jsonl"],
            "no/such.jsonl: no such file or folder",
        ),
        (
            ["helpsteer", "-o", "x.parquet", "--from", "a.jsonl", "--split", "test"],
            "`split` is for hub data only; got 'test' for 'a.jsonl'",
        ),
    ],
)
def test_what_cannot_be_converted_is_one_line(armorm, tmp_path, monkeypatch, args, refusal):
    monkeypatch.chdir(tmp_path)
    done = armorm("data", "convert", *args)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert refusal in done.err


def test_a_set_whose_columns_changed_is_one_line_that_names_them(armorm, rows, tmp_path):
    given = rows("in.jsonl", [{"prompt": "Q", "answer": "A"}])
    out = tmp_path / "out.parquet"
    done = armorm("data", "convert", "beavertails", "--from", given, "-o", out)
    assert done.code == 2
    assert "missing 'response', 'is_safe'; found 'prompt', 'answer'" in done.err
    assert done.err.count("\n") == 1


def test_check_reads_what_convert_wrote(armorm, rows, tmp_path):
    given = rows("in.jsonl", RECORDS["ultrafeedback"])
    out = tmp_path / "out.parquet"
    assert armorm("data", "convert", "ultrafeedback", "--from", given, "-o", out).code == 0
    done = armorm("data", "check", out)
    assert done.code == 0
    assert "ultrafeedback-overall_score" in done.out
