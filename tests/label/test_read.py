"""Shapes of the input: found or named, one group a prompt, bad rows located and counted."""

import gzip
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm.errors import DataError
from armorm.label.groups import Candidate, Group, cut_parts, part_digest
from armorm.label.read import NO_CANDIDATE, Reading, read_groups
from armorm.label.shapes import SHAPES, find_shape
from armorm.types import Message

QUESTION = (Message("user", "Is ice cold?"),)
MESSAGES = [{"role": "user", "content": "Is ice cold?"}]
YES, NO = (
    [*MESSAGES, {"role": "assistant", "content": "Yes."}],
    [*MESSAGES, {"role": "assistant", "content": "No."}],
)
ROWS = {
    "responses": {"prompt": "Is ice cold?", "responses": ["Yes.", "No."]},
    "all_generated_responses": {
        "prompt": "Is ice cold?",
        "all_generated_responses": ["Yes.", "No."],
        "all_rm_scores": [1.0, 0.5],
        "chosen": YES,
        "rejected": NO,
    },
    "generations": {"instruction": "Is ice cold?", "generations": ["Yes.", "No."]},
    "chosen-rejected": {"chosen": YES, "rejected": NO},
    "response": {"prompt": "Is ice cold?", "response": "Yes.", "ratings": {"honesty": 4}},
    "messages": {"messages": YES},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_is_found_by_its_fields(shape, write):
    reading = Reading()
    path = write([ROWS[shape]])
    (group,) = read_groups(path, reading=reading)
    assert find_shape(ROWS[shape]) == shape
    assert reading.shapes == {str(path): shape}
    assert group.prompt == QUESTION
    texts = [candidate.response for candidate in group.candidates]
    assert texts == (["Yes."] if shape in ("response", "messages") else ["Yes.", "No."])
    assert [c.number for c in group.candidates] == list(range(len(texts)))
    assert group.id == "in:1"


def test_every_shape_can_be_named(write):
    for shape in SHAPES:
        path = write([ROWS[shape]])
        (named,) = read_groups(path, shape=shape)
        (found,) = read_groups(path)
        assert named == found


def test_a_named_shape_goes_before_the_fields_that_come_first(write):
    (group,) = read_groups(write([ROWS["all_generated_responses"]]), shape="chosen-rejected")
    assert [c.given for c in group.candidates] == ["chosen", "rejected"]


def test_ids_come_from_the_rows(write):
    rows = [
        {"id": 7, **ROWS["responses"]},
        {"prompt_id": "abc", **ROWS["responses"]},
        ROWS["responses"],
    ]
    assert [group.id for group in read_groups(write(rows))] == ["7", "abc", "in:3"]


def test_a_response_may_be_a_message_or_a_conversation(write):
    row = {"prompt": MESSAGES, "responses": [YES[-1], [YES[-1]], YES, "Yes."]}
    (group,) = read_groups(write([row]))
    assert [c.response for c in group.candidates] == ["Yes."] * 4


def test_single_rows_of_one_prompt_that_follow_each_other_are_one_group(write):
    rows = [{"prompt": p, "response": f"{p} {i}"} for i, p in enumerate("aabba")]
    groups = list(read_groups(write(rows)))
    assert [[c.id for c in g.candidates] for g in groups] == [
        ["in:1", "in:2"],
        ["in:3", "in:4"],
        ["in:5"],
    ]
    assert [[c.number for c in g.candidates] for g in groups] == [[0, 1], [0, 1], [0]]
    assert [g.number for g in groups] == [0, 1, 2]


def test_a_group_of_single_rows_has_a_largest_size(write):
    rows = [{"prompt": "a", "response": f"{i}"} for i in range(5)]
    groups = read_groups(write(rows), largest=2)
    assert [len(group.candidates) for group in groups] == [2, 2, 1]


def test_files_of_a_folder_have_a_shape_each(tmp_path, write):
    write([ROWS["messages"]], "b.jsonl")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(json.dumps(ROWS["responses"]) + "\n")
    groups = list(read_groups(tmp_path))
    assert [(g.id, len(g.candidates)) for g in groups] == [("a:1", 2), ("b:1", 1)]


def test_parquet_and_a_json_array_read_like_lines(tmp_path, write):
    import pyarrow
    from pyarrow import parquet

    rows = [ROWS["responses"], {"prompt": "2+2?", "responses": ["4", "5", "6"]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "in.parquet")
    (tmp_path / "in.json").write_text(json.dumps(rows))
    wanted = [(g.prompt, g.candidates) for g in read_groups(write(rows))]
    for name in ("in.parquet", "in.json"):
        found = [(g.prompt, g.candidates) for g in read_groups(tmp_path / name)]
        assert found == wanted


def test_a_table_of_text_holds_lists_as_json(tmp_path):
    (tmp_path / "in.csv").write_text('prompt,responses\nIs ice cold?,"[""Yes."", ""No.""]"\n')
    (group,) = read_groups(tmp_path / "in.csv")
    assert [c.response for c in group.candidates] == ["Yes.", "No."]


def test_reading_is_lazy(write):
    path = write([ROWS["responses"], "not json"])
    groups = read_groups(path, bad_rows="stop")
    assert next(groups).id == "in:1"
    with pytest.raises(DataError, match="not JSON"):
        next(groups)


def test_bad_rows_and_candidates_are_counted_by_reason_and_the_first_are_named(write):
    rows = [
        ROWS["responses"],
        "not json",
        {"prompt": "a", "responses": ["", "b", None, "c"]},
        {"prompt": "a", "responses": []},
        {"prompt": "a", "response": "b"},
        {"responses": ["b"]},
        {"prompt": "a", "responses": [" "]},
    ]
    path, reading = write(rows), Reading()
    groups = list(read_groups(path, reading=reading))
    assert [[c.number for c in g.candidates] for g in groups] == [[0, 1], [1, 3]]
    assert reading.rows.as_dict() == {
        str(path): {
            "malformed JSON": 1,
            "responses not a list": 1,
            "another shape than the file": 1,
            "missing field": 1,
            NO_CANDIDATE: 1,
        }
    }
    assert reading.candidates.as_dict() == {
        str(path): {"empty response": 2, "response not text": 1}
    }
    assert (reading.n_rows, reading.n_candidates) == (7, 7)
    assert len(reading.first) == 5
    assert reading.first[0] == f"{path}:2: not JSON: Expecting value at column 1"
    assert reading.first[1].startswith(f"{path}:3: responses[0]: `response` must not be empty")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"a": 1}, r"in.jsonl:2: a row of shape 'responses' must have 'responses'; found 'a'"),
        ({"prompt": "a", "responses": "b"}, r"`responses` must be a list of responses; got str"),
        ({"prompt": "a", "responses": []}, r"must be a list of responses; got an empty list"),
        ({"id": 1, "responses": ["b"]}, r"missing field 'prompt' \(or 'instruction'\); found 'id'"),
        ({"prompt": "a", "responses": ["b", ""]}, r":2: responses\[1\]: `response` must not be em"),
    ],
)
def test_bad_row_stops_where_that_is_asked_for(write, row, text):
    with pytest.raises(DataError, match=text):
        list(read_groups(write([ROWS["responses"], row]), bad_rows="stop"))


def test_a_file_of_no_known_shape_says_what_it_has(write):
    with pytest.raises(DataError, match="or 'messages'; found 'question', 'answer'"):
        list(read_groups(write([{"question": "a", "answer": "b"}]), bad_rows="stop"))


def test_a_file_without_a_usable_row_is_refused(write):
    with pytest.raises(DataError, match="at least one row must be usable; dropped 1 of 1 rows"):
        list(read_groups(write(["not json"])))


def test_unknown_shape_is_refused(write):
    with pytest.raises(ValueError, match="`shape` has the unknown name 'respons'; did you mean"):
        list(read_groups(write([]), shape="respons"))


def test_unknown_bad_rows_is_refused(write):
    with pytest.raises(ValueError, match="`bad_rows` must be 'stop' or 'drop'; got 'skip'"):
        list(read_groups(write([]), bad_rows="skip"))


def group_of(number, size):
    rows = tuple(Candidate(f"{number}", i, f"{number} {i}") for i in range(size))
    return Group(number, "a.jsonl", QUESTION, rows)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=20), st.integers(1, 8))
def test_parts_hold_every_group_once_and_no_more_than_asked_for(sizes, rows):
    groups = [group_of(i, size) for i, size in enumerate(sizes)]
    parts = list(cut_parts(groups, rows))
    assert [group for part in parts for group in part] == groups
    for part in parts:
        assert len(part) == 1 or sum(len(g.candidates) for g in part) <= rows
    for part, following in itertools.pairwise(parts):
        n = sum(len(g.candidates) for g in part) + len(following[0].candidates)
        assert n > rows


def test_digest_of_a_part_depends_on_everything_that_is_written():
    base = group_of(0, 2)
    others = [
        Group(1, base.where, base.prompt, base.candidates),
        Group(0, base.where, (Message("system", "Hi."), *QUESTION), base.candidates),
        Group(0, base.where, base.prompt, base.candidates[:1]),
        Group(0, base.where, base.prompt, (base.candidates[0], Candidate("0", 1, "x"))),
        Group(0, base.where, base.prompt, (base.candidates[0], Candidate("x", 1, "0 1"))),
    ]
    digests = {part_digest([group]) for group in (base, *others)}
    assert len(digests) == 6
    assert part_digest([base]) == part_digest([group_of(0, 2)])
