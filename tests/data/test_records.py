import gzip
import json

import pytest

from armorm.data.drops import Drops, RowProblem
from armorm.data.files import files_of
from armorm.data.read import read_rated
from armorm.data.records import records_of
from armorm.data.source import DataSource
from armorm.errors import DataError
from armorm.types import Scale

ROWS = [{"id": "a", "n": 1}, {"id": "é", "n": None}]


def read(path):
    (file,) = files_of(DataSource(str(path)))
    return [(r.unit, r.number, r.value) for r in records_of(file)]


def problem(path):
    """Return the one bad record of a file as (number, text)."""
    (bad,) = [(number, v) for _, number, v in read(path) if isinstance(v, RowProblem)]
    return bad[0], bad[1].text


def put(path, content):
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson", "a.json"])
def test_json_lines_are_located_by_line(tmp_path, name):
    expected = [("line", 1, ROWS[0]), ("line", 2, ROWS[1])]
    assert read(put(tmp_path / name, LINES)) == expected


def test_blank_lines_are_counted_but_are_no_rows(tmp_path):
    content = "\n" + LINES.replace("\n", "\r\n \t\r\n")
    assert [number for _, number, _ in read(put(tmp_path / "a.jsonl", content))] == [2, 4]


def test_the_last_line_needs_no_newline(tmp_path):
    assert len(read(put(tmp_path / "a.jsonl", LINES.rstrip()))) == 2


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "b.json", "a.csv"])
def test_a_byte_order_mark_is_skipped(tmp_path, name):
    content = {"a.csv": "id,n\na,1\n", "b.json": json.dumps(ROWS)}.get(name, LINES)
    assert read(put(tmp_path / name, "\ufeff" + content))[0][2]["id"] == "a"


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_json_array_is_located_by_item(tmp_path, name):
    expected = [("item", 1, ROWS[0]), ("item", 2, ROWS[1])]
    assert read(put(tmp_path / name, "\n" + json.dumps(ROWS, indent=2))) == expected


def test_line_separators_inside_texts_do_not_split_lines(tmp_path):
    row = {"text": "one\u2028two\u0085three\x0bfour"}
    content = json.dumps(row, ensure_ascii=False)
    assert read(put(tmp_path / "a.jsonl", content)) == [("line", 1, row)]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"a": 1', "not JSON: Expecting ',' delimiter at column 8"),
        ("plain", "not JSON: Expecting value at column 1"),
        ('{"a": 1} {"b": 2}', "not JSON: Extra data at column 10"),
        ("[" * 200_000, "not JSON that can be read: maximum recursion depth exceeded"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON that can be read: Exceeds the limit"),
        ('{"a": 1, "b": 2, "a": 1}', "field 'a' must be given once; it stands twice"),
        ('{"ratings": {"x": 1, "x": 2}}', "field 'x' must be given once; it stands twice"),
        ("3", "a row must be a JSON object; got 3"),
        ("null", "a row must be a JSON object; got null"),
        ("[{}]", "got a list (a file that is one JSON array must end in .json)"),
    ],
)
def test_a_bad_line_is_located_and_the_next_is_read(tmp_path, line, text):
    path = put(tmp_path / "a.jsonl", f"{{}}\n{line}\n{LINES}")
    number, found = problem(path)
    assert number == 2
    assert text in found
    assert len(read(path)) == 4


def test_an_item_that_gives_a_field_twice_is_located_and_the_others_are_read(tmp_path):
    # One of the two values was once taken without a word.
    content = '[\n{"a": 1},\n{"b": [{"a": 1, "a": 2}]} ,{"c": "]"}, 3\n]'
    path = put(tmp_path / "a.json", content)
    found = read(path)
    assert [(unit, number) for unit, number, _ in found] == [("item", n) for n in range(1, 5)]
    assert [found[0][2], found[2][2]] == [{"a": 1}, {"c": "]"}]
    texts = [value.text for _, _, value in (found[1], found[3])]
    assert texts == [
        "field 'a' must be given once; it stands twice",
        "a row must be a JSON object; got 3",
    ]


def test_an_array_that_is_damaged_behind_a_field_given_twice_is_located(tmp_path):
    path = put(tmp_path / "a.json", '[{"a": 1, "a": 2},\n{"b": }]')
    with pytest.raises(DataError, match=r"a\.json:2: not JSON: Expecting value at column 7"):
        read(path)


def test_a_line_that_is_not_utf8_is_located(tmp_path):
    path = put(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": "\xe9t"}\n')
    assert problem(path) == (2, "not UTF-8: byte 0xe9 at byte 8 of the line")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'[\n{"a": 1},\n{"a": }]', r"a\.json:3: not JSON: Expecting value at column 7"),
        (b'[\n{"a": "\xff"}]', r"a\.json:2: not UTF-8: byte 0xff"),
        (b"[" * 200_000, r"a\.json: not JSON that can be read: maximum recursion"),
        (b"[]", r"a\.json: the file must have at least one row; it has none"),
    ],
)
def test_a_damaged_array_is_located(tmp_path, content, text):
    with pytest.raises(DataError, match=text):
        read(put(tmp_path / "a.json", content))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.jsonl.gz"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    text = rf"{name}: the file must have at least one row; it is empty"
    with pytest.raises(DataError, match=text):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", "\n \n"), ("a.csv", "id,n\n"), ("a.jsonl.gz", "")]
)
def test_a_file_without_rows_is_refused(tmp_path, name, content):
    with pytest.raises(DataError, match=rf"{name}: the file must have at least one row; it has"):
        read(put(tmp_path / name, content))


def test_what_is_not_gzip_is_refused(tmp_path):
    (tmp_path / "a.jsonl.gz").write_text(LINES)
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: the file must be gzip; Not a gzipped"):
        read(tmp_path / "a.jsonl.gz")


def test_gzip_that_ends_early_is_refused(tmp_path):
    whole = gzip.compress(LINES.encode() * 1000)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: the gzip data must be whole; it ends"):
        read(tmp_path / "a.jsonl.gz")


def test_gzip_with_a_damaged_byte_is_refused(tmp_path):
    whole = bytearray(gzip.compress(LINES.encode() * 1000))
    whole[-6] ^= 0xFF
    (tmp_path / "a.jsonl.gz").write_bytes(whole)
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: the file must be gzip; CRC check failed"):
        read(tmp_path / "a.jsonl.gz")


def test_csv_rows_are_located_by_their_first_line(tmp_path):
    content = 'id,response,ratings.x\na,"one\ntwo",3\n\nb,"say ""hi"", now",\n'
    assert read(put(tmp_path / "a.csv", content)) == [
        ("line", 2, {"id": "a", "response": "one\ntwo", "ratings": {"x": "3"}}),
        ("line", 5, {"id": "b", "response": 'say "hi", now', "ratings": {"x": ""}}),
    ]


def test_tabs_separate_the_cells_of_tsv(tmp_path):
    content = "id\tresponse\na\tone, two\n"
    assert read(put(tmp_path / "a.tsv", content))[0][2] == {"id": "a", "response": "one, two"}


def test_a_csv_cell_may_be_longer_than_the_limit_of_the_csv_module(tmp_path):
    content = "id,response\na," + "x" * 200_000 + "\n"
    assert len(read(put(tmp_path / "a.csv.gz", content))[0][2]["response"]) == 200_000


def test_a_csv_row_with_too_few_cells_is_located_and_the_next_is_read(tmp_path):
    path = put(tmp_path / "a.csv", "id,n\na\nb,2\n")
    assert problem(path) == (2, "a row must have 2 cells as the header; got 1")
    assert read(path)[1][2] == {"id": "b", "n": "2"}


def test_csv_cells_that_nest_too_deep_are_texts(tmp_path):
    deep = "[" * 100_000
    path = put(tmp_path / "a.csv", f"prompt,response,source,ratings.x\n{deep},b,s,{deep}\n")
    with pytest.raises(DataError, match=r"a\.csv:2: rating 'x' must be a number; got the text '\["):
        read_rated([DataSource(str(path))], {"s": {"x": Scale(0, 1)}}, drops=Drops())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"id,id\na,b\n", r"a\.csv:1: a header must name a column once; got 'id' twice"),
        (b'id,n\na,1\nb,"never closed\n', r"a\.csv:3: not CSV: unexpected end of data"),
        (b"id,n\na,1\nb,\xe9t\n", r"a\.csv:3: not UTF-8: byte 0xe9 at byte 3 of the line"),
    ],
)
def test_a_damaged_csv_file_is_located(tmp_path, content, text):
    with pytest.raises(DataError, match=text):
        read(put(tmp_path / "a.csv", content))


def test_reading_is_lazy(tmp_path):
    (file,) = files_of(DataSource(str(put(tmp_path / "a.jsonl", LINES * 5000))))
    records = records_of(file)
    assert next(records).number == 1
    records.close()


def test_a_file_that_vanishes_before_it_is_read_is_located(tmp_path):
    (file,) = files_of(DataSource(str(put(tmp_path / "a.jsonl", LINES))))
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"a\.jsonl: cannot be read: No such file or directory"):
        next(records_of(file))
