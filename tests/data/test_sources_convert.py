"""Converting a published set: columns, groups, ids, counts, and files that are whole or absent."""

import json
from dataclasses import replace

import pyarrow
import pytest
from pyarrow import parquet

from armorm.data import DataSource, Drops, read_pairs, read_rated
from armorm.data.drops import RowProblem
from armorm.data.files import Record
from armorm.data.sources import convert_set, published_source
from armorm.data.sources import output as output_module
from armorm.data.sources.convert import _Conversion, _groups
from armorm.data.sources.fields import objects, one_turn, ratings, row_or_problem, text, value
from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.output import row_record, rows_writer
from armorm.data.sources.ultrafeedback import SETS as ULTRAFEEDBACK
from armorm.errors import DataError, MissingDependency, StorageError
from armorm.types import PreferencePair, RatedResponse, Scale
from rated_records import RECORDS

SCALES = {"good": Scale(1, 5), "short": Scale(0, 4)}


def rated_rows(records):
    for record in records:
        for answer in objects(record, "answers"):
            yield row_or_problem(_rated, record, answer)


def _rated(record, answer):
    found = {name: value(answer, name) for name in SCALES}
    prompt = one_turn(text(record, "question"))
    return RatedResponse("", prompt, text(answer, "said"), "", ratings(found, SCALES))


def paired_rows(records):
    """Best and worst of the records of a question."""
    if len(records) < 2:
        raise RowProblem("one response only", "a pair needs two responses; got one")
    best, *_, worst = sorted(records, key=lambda record: -record["score"])
    yield PreferencePair("", one_turn(best["question"]), best["said"], worst["said"])


def published(**changes):
    plain = {
        "name": "toy",
        "kind": "rated",
        "hub": "nobody/toy",
        "split": "train",
        "licence": "mit",
        "link": "https://example.org/toy",
        "n_rows": None,
        "columns": ("question", "answers.said", "answers.good"),
        "convert": rated_rows,
        "scales": SCALES,
    }
    return PublishedSet(**(plain | changes))


def pairs_set():
    return published(
        kind="pairs",
        columns=("question", "said", "score"),
        convert=paired_rows,
        scales={},
        group_by=("question",),
    )


def answer(said, good=3, short=None):
    return {"said": said, "good": good, "short": short}


TWO = [
    {"question": "Q1", "answers": [answer("a", 5, 0), answer("b", "N/A", 1)]},
    {"question": "Q2", "answers": [answer("c")]},
]
SCORED = [
    {"question": "Q1", "said": "a", "score": 1},
    {"question": "Q1", "said": "b", "score": 3},
    {"question": "Q2", "said": "c", "score": 2},
    {"question": "Q1", "said": "d", "score": 9},
    {"question": "Q1", "said": "e", "score": 4},
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Convert records and return what is said and written."""
    monkeypatch.chdir(tmp_path)

    def convert(records, *, made=None, output="out.parquet", name="in.jsonl", **options):
        lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
        (tmp_path / name).write_text("".join(line + "\n" for line in lines))
        options.setdefault("drops", Drops())
        return convert_set(
            made or published(),
            output=tmp_path / output,
            source=DataSource(name),
            **options,
        )

    return convert


def read(name="out.parquet"):
    return read_rated([DataSource(name)], {"toy": SCALES}, drops=Drops())


def test_rows_get_an_id_by_record_and_the_name_of_the_set_as_source(run):
    done = run(TWO)
    assert [row.id for row in read()] == ["out-1-1", "out-1-2", "out-2"]
    assert {row.source for row in read()} == {"toy"}
    assert (done.n_records, done.n_rows, done.n_dropped, done.n_repeated) == (2, 3, 0, 0)


def test_two_splits_of_a_set_are_read_side_by_side(run):
    """Their ids once began with the name of the set, and the second file was refused."""
    run(TWO, output="train.parquet")
    run(TWO, output="test.jsonl")
    files = [DataSource("train.parquet"), DataSource("test.jsonl")]
    assert len(read_rated(files, {"toy": SCALES}, drops=Drops())) == 6


@pytest.mark.parametrize("output", ["out.parquet", "out.jsonl"])
def test_both_formats_are_read_back_as_the_same_rows(run, output):
    done = run(TWO, output=output)
    assert [dict(row.ratings) for row in read(output)] == [
        {"good": 5.0, "short": 0.0},
        {"short": 1.0},
        {"good": 3.0},
    ]
    assert done.n_bytes == done.path.stat().st_size


def test_parquet_has_a_column_a_rating_and_null_where_nobody_rated(run, tmp_path):
    run(TWO)
    table = parquet.read_table(tmp_path / "out.parquet")
    wanted = ["id", "prompt", "response", "source", "ratings.good", "ratings.short"]
    assert table.column_names == wanted
    assert table["ratings.good"].to_pylist() == [5.0, None, 3.0]
    assert table["prompt"].to_pylist()[0] == [{"role": "user", "content": "Q1"}]


def test_records_that_follow_each_other_are_converted_together(run):
    drops = Drops()
    done = run(SCORED, made=pairs_set(), drops=drops)
    pairs = read_pairs([DataSource("out.parquet")], drops=Drops())
    # Q1 comes in two runs, and Q2 stands alone.
    assert [(p.id, p.chosen, p.rejected) for p in pairs] == [
        ("out-1", "b", "a"),
        ("out-4", "d", "e"),
    ]
    assert done.n_records == 5
    assert drops.reasons() == {"one response only": 1}


def test_records_whose_group_is_null_stand_alone(run):
    drops = Drops()
    run([{**SCORED[0], "question": None}] * 3 + SCORED[:2], made=pairs_set(), drops=drops)
    assert drops.reasons() == {"one response only": 3}


def test_a_group_does_not_reach_over_the_end_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, record in zip(("a.jsonl", "b.jsonl"), SCORED[:2], strict=True):
        (tmp_path / name).write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError, match="at least one row must be usable; dropped 2 of 2 rows"):
        convert_set(
            pairs_set(), output=tmp_path / "o.parquet", source=DataSource("."), drops=Drops()
        )


def test_every_record_of_a_group_that_makes_nothing_is_counted(run):
    drops = Drops()
    with_bad = [{"question": "Q0", "said": "", "score": n} for n in (1, 2)]
    run([*with_bad, *SCORED], made=pairs_set(), drops=drops)
    assert drops.reasons() == {"empty chosen": 1, "one response only": 1}


def test_a_line_that_is_no_record_stands_alone_and_is_counted(run):
    drops = Drops()
    run([TWO[0], "{", TWO[1]], drops=drops)
    assert drops.reasons() == {"malformed JSON": 1}
    assert [row.id for row in read()] == ["out-1-1", "out-1-2", "out-3"]


def test_the_rows_of_a_record_keep_their_number_when_one_is_dropped(run):
    run([{"question": "Q1", "answers": [answer(""), answer("b")]}])
    assert [row.id for row in read()] == ["out-1-2"]


def test_a_bad_row_stops_with_its_place(run, tmp_path):
    bad = {"question": "Q2", "answers": [answer("c", good=7)]}
    with pytest.raises(DataError, match=r"in.jsonl:2: rating 'good' must be from 1 to 5; got 7"):
        run([TWO[0], bad], bad_rows="stop")
    assert not (tmp_path / "out.parquet").exists()


def test_a_bad_row_of_a_group_stops_where_the_group_begins(run):
    scored = [{"question": q, "said": "s", "score": 1.0} for q in ("Q1", "Q2", "Q2")]

    def refuse(records):
        if len(records) > 1:
            raise RowProblem("odd", "`score` must differ")
        yield PreferencePair("", one_turn("Q"), "a", "b")

    made = replace(pairs_set(), convert=refuse)
    message = r"in.jsonl:2 or one of the 1 behind it: `score` must differ"
    with pytest.raises(DataError, match=message):
        run(scored, made=made, bad_rows="stop")


def test_what_a_converter_makes_is_checked_as_the_readers_check_it(run):
    def careless(records):
        yield RatedResponse("", one_turn("Q"), " ", "", {"good": 3.0})
        yield RatedResponse("", one_turn("Q"), "a", "", {"god": 3.0})
        yield RatedResponse("", one_turn("Q"), "a", "", {"good": 3.0})

    drops = Drops()
    done = run(TWO[:1], made=published(convert=careless), drops=drops)
    assert done.n_rows == 1
    assert drops.reasons() == {"empty response": 1, "unknown objective": 1}


def test_rows_of_the_same_texts_are_kept_and_counted(run):
    again = {"question": "Q1", "answers": [answer("a", 1), answer("a", 2), answer("z")]}
    done = run([TWO[0], again])
    assert (done.n_rows, done.n_repeated) == (5, 2)


def test_a_limit_counts_records_of_all_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (tmp_path / name).write_text(json.dumps(TWO[0]) + "\n" + json.dumps(TWO[1]) + "\n")
    done = convert_set(
        published(),
        output=tmp_path / "out.parquet",
        source=DataSource("."),
        limit=3,
        drops=Drops(),
    )
    assert (done.n_records, done.n_rows) == (3, 5)


def test_progress_ends_with_the_rows_written(run, monkeypatch):
    seen = []
    monkeypatch.setattr("armorm.data.sources.convert.ROW_GROUP", 2)
    made = published(n_rows=100)
    run(TWO, made=made, progress=lambda done, total: seen.append((done, total)))
    # The 100 are of the whole set where it is published, and say nothing of a file.
    assert seen == [(2, 2), (3, 3)]


def test_progress_expects_what_the_whole_set_has(monkeypatch, tmp_path):
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TWO))
    seen = []
    monkeypatch.setattr("armorm.data.sources.convert.ROW_GROUP", 2)
    monkeypatch.setattr("armorm.data.sources.convert.HUB", f"{tmp_path}/")
    made = published(n_rows=100, hub="in.jsonl")
    options = {"output": tmp_path / "out.parquet", "drops": Drops()}
    options["source"] = DataSource(f"{tmp_path}/in.jsonl")
    convert_set(made, progress=lambda done, total: seen.append((done, total)), **options)
    assert seen == [(2, 100), (3, 3)]


def test_rows_are_written_in_groups_so_that_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(output_module, "ROW_GROUP", 4)
    path = tmp_path / "rows.parquet"
    with rows_writer(path, ("good",)) as write:
        for i in range(10):
            write(RatedResponse(f"r{i}", one_turn("Q"), "a", "toy", {"good": 1.0}))
    assert parquet.ParquetFile(path).num_row_groups == 3
    assert parquet.read_table(path)["id"].to_pylist() == [f"r{i}" for i in range(10)]


def test_a_conversion_that_fails_leaves_the_older_file(run, tmp_path):
    (tmp_path / "out.parquet").write_bytes(b"older")
    bad = {"question": "Q2", "answers": [answer("c", good=7)]}
    with pytest.raises(DataError):
        run([TWO[0], bad], bad_rows="stop")
    assert (tmp_path / "out.parquet").read_bytes() == b"older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "out.parquet"]


def test_a_file_is_not_converted_into_itself(tmp_path):
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TWO))
    before = (tmp_path / "in.jsonl").read_bytes()
    place = tmp_path / "in.jsonl"
    with pytest.raises(DataError, match=r"in\.jsonl: must be another file than the one that is"):
        convert_set(published(), source=DataSource(str(place)), output=place, drops=Drops())
    assert place.read_bytes() == before


def test_a_conversion_has_one_sequence_of_bytes(run, tmp_path):
    run(TWO)
    first = (tmp_path / "out.parquet").read_bytes()
    run(TWO)
    assert (tmp_path / "out.parquet").read_bytes() == first


@pytest.mark.parametrize(
    ("record", "refusal"),
    [
        (
            {"prompt": "Q", "answers": [answer("a")]},
            "in.jsonl:1: `toy` needs the columns 'question', 'answers.said', 'answers.good'; "
            "missing 'question'; found 'prompt', 'answers' "
            r"\(documented at https://example.org/toy\)",
        ),
        (
            {"question": "Q", "answers": [{"said": "a", "rating": 3}]},
            "missing 'answers.good'; found 'question', 'answers', 'answers.said', 'answers.rating'",
        ),
        ({"question": "Q", "answers": "a"}, "missing 'answers.said', 'answers.good'; found"),
        ({}, "missing 'question', 'answers.said', 'answers.good'; found none"),
    ],
)
def test_a_set_whose_columns_changed_is_refused_by_name(run, record, refusal):
    with pytest.raises(DataError, match=refusal):
        run([record, *TWO])


def test_columns_that_the_first_record_leaves_empty_are_not_missed(run):
    drops = Drops()
    done = run(
        [{"question": "Q", "answers": []}, {"question": "Q", "answers": None}, *TWO], drops=drops
    )
    assert done.n_rows == 3
    assert drops.reasons() == {"record without rows": 1, "answers not objects": 1}


def test_a_record_that_gives_nothing_stops_where_bad_rows_stop(run):
    with pytest.raises(DataError, match=r"in.jsonl:1: a record must give at least one row; gave"):
        run([{"question": "Q", "answers": []}, *TWO], bad_rows="stop")


def test_each_file_of_a_folder_has_its_columns_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps(TWO[0]) + "\n")
    (tmp_path / "b.jsonl").write_text(json.dumps(SCORED[0]) + "\n")
    with pytest.raises(DataError, match=r"b.jsonl:1: `toy` needs the columns"):
        convert_set(published(), output=tmp_path / "o.jsonl", source=DataSource("."), drops=Drops())


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"limit": 0}, "`limit` must be at least 1; got 0"),
        ({"output": "out.csv"}, "`output` must end in .parquet or .jsonl; got 'out.csv'"),
    ],
)
def test_options_are_refused_before_anything_is_read(run, options, refusal):
    with pytest.raises(ValueError, match=refusal):
        run(["{"], **options)


def test_bad_rows_has_two_meanings():
    with pytest.raises(ValueError, match="`bad_rows` must be 'stop' or 'drop'; got 'skip'"):
        _Conversion(published(), None, "out", bad_rows="skip", progress=None)


def test_an_output_that_cannot_be_written_is_refused_first(run, tmp_path):
    (tmp_path / "out.parquet").mkdir()
    with pytest.raises(StorageError, match=r"out.parquet: cannot be written: Is a directory"):
        run(["{"])


def test_without_any_usable_row_there_is_no_file(run, tmp_path):
    with pytest.raises(
        DataError, match=r"in.jsonl: at least one row must be usable; dropped 1 of 1"
    ):
        run([{"question": "Q", "answers": [answer("")]}])
    assert not (tmp_path / "out.parquet").exists()


def test_without_pyarrow_parquet_is_refused_by_the_extra(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"writing Parquet needs .*armorm\[data\]"):
        run(TWO)


def test_a_record_of_a_pair_has_no_ratings():
    made = row_record(PreferencePair("p", one_turn("Q"), "a", "b", "toy"))
    assert list(made) == ["id", "prompt", "chosen", "rejected", "source"]


def test_records_without_groups_stand_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in TWO * 2))
    from armorm.data.files import files_of

    found = list(_groups(published(), files_of(DataSource("a.jsonl")), None))
    assert [[record.number for record in group] for _, group in found] == [[1], [2], [3], [4]]
    assert all(isinstance(group[0], Record) for _, group in found)


@pytest.mark.parametrize(
    ("place", "split", "path", "found_split"),
    [
        (None, None, "hub:nobody/toy", "train"),
        (None, "test", "hub:nobody/toy", "test"),
        ("hub:other/toy", None, "hub:other/toy", "train"),
        ("other/Toy-v0.1@abc", None, "hub:other/Toy-v0.1@abc", "train"),
        ("other/toy/config", "val[:5]", "hub:other/toy/config", "val[:5]"),
        ("rows.jsonl", None, "rows.jsonl", None),
        ("data/rows.parquet", None, "data/rows.parquet", None),
        ("data/rows.JSON.gz", None, "data/rows.JSON.gz", None),
        ("./data/toy", None, "./data/toy", None),
        ("~/data/toy", None, "~/data/toy", None),
        ("a/b/c/d", None, "a/b/c/d", None),
        ("here/toy", None, "here/toy", None),
    ],
)
def test_a_place_is_a_path_or_an_id_on_the_hub(
    tmp_path, monkeypatch, place, split, path, found_split
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "toy").mkdir(parents=True)
    source = published_source(published(), place, split)
    assert (source.path, source.split) == (path, found_split)


@pytest.mark.parametrize(
    ("place", "split", "refusal"),
    [
        ("rows.jsonl", "train", "`split` is for hub data only; got 'train' for 'rows.jsonl'"),
        ("hub:a/b@", None, "must be hub:owner/name, then /config and @revision; got 'hub:a/b@'"),
    ],
)
def test_a_place_that_is_neither_is_refused(place, split, refusal):
    with pytest.raises(DataError, match=refusal):
        published_source(published(), place, split)


def test_a_set_of_many_records_is_converted_as_a_stream(tmp_path):
    """Two thousand records of four completions; the reader is the slow part."""
    given, made = tmp_path / "in.parquet", tmp_path / "out.parquet"
    record = RECORDS["ultrafeedback"][0]
    parquet.write_table(pyarrow.Table.from_pylist([record] * 2000), given)
    one = ULTRAFEEDBACK[0]
    done = convert_set(one, output=made, source=DataSource(str(given)), drops=Drops())
    assert (done.n_records, done.n_rows, done.n_repeated) == (2000, 4000, 3998)
    assert parquet.ParquetFile(made).num_row_groups == 2
