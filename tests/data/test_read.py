import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.data import DataSource, Drops, read_conversations, read_pairs, read_rated
from armorm.errors import DataError
from armorm.types import Conversation, Message, PreferencePair, Scale

HELLO = {"role": "assistant", "content": "hello"}
BYE = {"role": "assistant", "content": "bye"}
ASKED = {"role": "user", "content": "hi"}


def read_one(row, scales, jsonl, **source):
    (read,) = read_rated([DataSource(jsonl(row), **source)], scales, drops=Drops())
    return read


# ---- rated rows


def test_a_rated_row_keeps_its_texts_and_raw_ratings(jsonl, rated, scales):
    row = read_one(rated(response=" 4\n", reason="extra", meta={"a": 1}), scales, jsonl)
    assert (row.id, row.response, row.source) == ("a", " 4\n", "general")
    assert row.prompt == (Message("user", "What is 2 + 2?"),)
    assert row.ratings == {"helpfulness": 3, "honesty": 0.5}


def test_a_null_rating_is_not_rated(jsonl, rated, scales):
    row = read_one(rated(ratings={"helpfulness": None, "honesty": 4}), scales, jsonl)
    assert row.ratings == {"honesty": 4}


def test_a_null_rating_may_name_an_objective_of_another_source(jsonl, rated, scales):
    """A table has one column an objective, so that every row names the objectives of all."""
    row = read_one(rated(ratings={"honesty": 4, "is_safe": None}), scales, jsonl)
    assert row.ratings == {"honesty": 4}


def test_true_and_false_are_ratings_on_a_scale_from_0_to_1(jsonl, rated, scales):
    row = read_one(rated(source="safety", ratings={"is_safe": True}), scales, jsonl)
    assert row.ratings == {"is_safe": 1.0}
    assert isinstance(row.ratings["is_safe"], float)


def test_both_ends_of_a_scale_belong_to_it(jsonl, rated, scales):
    row = read_one(rated(ratings={"helpfulness": 0, "honesty": 4}), scales, jsonl)
    assert row.ratings == {"helpfulness": 0, "honesty": 4}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"prompt": ..., "response": ..., "messages": [ASKED, HELLO]}, "hello"),
        ({"prompt": ..., "response": [ASKED, HELLO]}, "hello"),
        ({"prompt": [ASKED], "response": [HELLO]}, "hello"),
        ({"prompt": "hi", "response": [ASKED, HELLO]}, "hello"),
        ({"prompt": [ASKED], "response": "hello"}, "hello"),
        # `response` is what is judged, other messages of the row are not looked at.
        ({"prompt": "hi", "response": "hello", "messages": [ASKED, BYE]}, "hello"),
    ],
)
def test_every_shape_of_a_conversation_reads_alike(jsonl, rated, scales, changes, expected):
    row = read_one(rated(**changes), scales, jsonl)
    assert row.prompt == (Message("user", "hi"),)
    assert row.response == expected


def test_the_source_of_a_file_is_the_source_of_its_rows(jsonl, rated, scales):
    assert read_one(rated(source=...), scales, jsonl, source="general").source == "general"
    assert read_one(rated(source="web"), scales, jsonl, source="general").source == "general"


def test_columns_are_mapped_through_nested_objects_and_lists(jsonl, scales):
    row = {
        "instruction": "hi",
        "completions": [{"text": "no"}, {"text": "yes", "notes": {"honesty": {"Rating": 2}}}],
        "from": "general",
        "help.score": 1,
        "key": 7,
    }
    columns = {
        "id": "key",
        "prompt": "instruction",
        "response": "completions.1.text",
        "source": "from",
        "ratings": {"honesty": "completions.1.notes.honesty.Rating", "helpfulness": "help.score"},
    }
    read = read_one(row, scales, jsonl, columns=columns)
    assert (read.id, read.response, read.source) == ("7", "yes", "general")
    assert read.ratings == {"honesty": 2, "helpfulness": 1}


def test_the_object_of_ratings_may_have_another_name(jsonl, rated, scales):
    row = rated(ratings=..., scores={"honesty": 1})
    assert read_one(row, scales, jsonl, columns={"ratings": "scores"}).ratings == {"honesty": 1}


def test_texts_become_ratings_where_the_source_says_which(jsonl, rated, scales):
    row = rated(ratings={"helpfulness": "4", "honesty": "N/A"})
    values = {"N/A": None, "4": 4}
    assert read_one(row, scales, jsonl, values=values).ratings == {"helpfulness": 4}


def test_ignored_objectives_are_left_out_and_need_no_scale(jsonl, rated, scales):
    row = rated(ratings={"honesty": 1, "humour": "none"})
    assert read_one(row, scales, jsonl, ignore=("humour",)).ratings == {"honesty": 1}


def test_rows_rated_on_ignored_objectives_only_are_counted_not_refused(jsonl, rated, scales, drops):
    path = jsonl(rated(), rated(id="b", ratings={"honesty": 1}))
    rows = read_rated([DataSource(path, ignore=("honesty",))], scales, drops=drops)
    assert [(row.id, row.ratings) for row in rows] == [("a", {"helpfulness": 3})]
    assert drops.as_dict() == {"f.jsonl": {"rated on ignored objectives only": 1}}


def test_rows_come_in_the_order_of_sources_and_lines(jsonl, rated, scales, drops):
    first = jsonl(rated(id="x"), rated(id="w"), name="z.jsonl")
    second = jsonl(rated(id="a"), name="a.jsonl")
    rows = read_rated([DataSource(first), DataSource(second)], scales, drops=drops)
    assert [row.id for row in rows] == ["x", "w", "a"]


def test_ids_are_made_from_file_and_line_and_never_collide(tmp_path, rated, scales, drops):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        row = json.dumps(rated(id=...))
        (tmp_path / folder / "train.jsonl").write_text(f"\n{row}\n{row}\n")
    rows = read_rated([DataSource(str(tmp_path))], scales, drops=drops)
    assert [row.id for row in rows] == ["train:2", "train:3", "train~2:2", "train~2:3"]


@pytest.mark.parametrize("identity", [None, "", ...])
def test_an_id_that_says_nothing_is_made(jsonl, rated, scales, identity):
    assert read_one(rated(id=identity), scales, jsonl).id == "f:1"


REFUSED = [
    ({"prompt": ...}, "missing field", "missing field 'prompt'; found 'id', 'response', 'source'"),
    ({"response": ...}, "missing field", "missing field 'response'; found 'id', 'prompt'"),
    ({"ratings": ...}, "missing field", "missing field 'ratings'; found 'id'"),
    ({"source": ...}, "missing field", "missing field 'source', and the file is given no `source`"),
    ({"source": None}, "missing field", "missing field 'source', and the file is given no"),
    ({"source": 3}, "source not text", "`source` must be text; got 3"),
    ({"id": 1.5}, "id not text", "`id` must be text; got 1.5"),
    ({"id": True}, "id not text", "`id` must be text; got True"),
    ({"prompt": ""}, "empty prompt", "`prompt` must not be empty; got ''"),
    ({"response": " \n"}, "empty response", r"`response` must not be empty; got ' \n'"),
    ({"response": None}, "response not text", "`response` must be text; got null"),
    (
        {"source": "generals"},
        "unknown source",
        "unknown source 'generals'; did you mean 'general'",
    ),
    (
        {"ratings": {"honestly": 1}},
        "unknown objective",
        "unknown objective 'honestly' of source 'general'; did you mean 'honesty'?",
    ),
    (
        {"ratings": {"honesty": 5}},
        "rating outside its scale",
        "rating 'honesty' must be from 0 to 4; got 5",
    ),
    (
        {"ratings": {"honesty": -0.001}},
        "rating outside its scale",
        "rating 'honesty' must be from 0 to 4; got -0.001",
    ),
    (
        {"ratings": {"honesty": "N/A"}},
        "rating not a number",
        "rating 'honesty' must be a number; got the text 'N/A' (null means not rated; "
        "`values` of the data source maps texts to numbers)",
    ),
    (
        {"ratings": {"honesty": "4"}},
        "rating not a number",
        "rating 'honesty' must be a number; got the text '4'",
    ),
    (
        {"ratings": {"honesty": [4]}},
        "rating not a number",
        "rating 'honesty' must be a number; got [4]",
    ),
    (
        {"ratings": {"honesty": True}},
        "rating not a number",
        "rating 'honesty' must be a number from 0 to 4; got true (true and false count as",
    ),
    ({"ratings": {"honesty": float("nan")}}, "rating not finite", "must be finite; got nan"),
    ({"ratings": {"honesty": float("-inf")}}, "rating not finite", "must be finite; got -inf"),
    ({"ratings": {"honesty": 10**400}}, "rating not finite", "must be finite; got inf"),
    ({"ratings": {}}, "no rating", "a rated row must have at least one rating; got none"),
    ({"ratings": {"honesty": None}}, "no rating", "must have at least one rating; got none"),
    (
        {"ratings": [1, 2]},
        "ratings not an object",
        "`ratings` must be an object of numbers by objective; got [1, 2]",
    ),
    ({"ratings": None}, "ratings not an object", "`ratings` must be an object of numbers"),
    (
        {"prompt": ..., "response": ..., "messages": [ASKED]},
        "no response at the end",
        "`messages`: a conversation must end in a response; the last message is a 'user' message",
    ),
    ({"prompt": [HELLO]}, "prompt without last user message", "must end with a 'user' message"),
]


@pytest.mark.parametrize(("changes", "reason", "text"), REFUSED)
def test_a_bad_rated_row_stops_with_its_place(jsonl, rated, scales, drops, changes, reason, text):
    path = jsonl(rated(id="good"), rated(**changes), rated(id="later", response=""))
    with pytest.raises(DataError) as caught:
        read_rated([DataSource(path)], scales, drops=drops)
    assert str(caught.value).startswith("f.jsonl:2: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "reason", "text"), REFUSED)
def test_a_bad_rated_row_is_dropped_and_counted(jsonl, rated, scales, drops, changes, reason, text):
    path = jsonl(rated(id="good"), rated(**changes), rated(id="later"))
    rows = read_rated([DataSource(path)], scales, bad_rows="drop", drops=drops)
    assert [row.id for row in rows] == ["good", "later"]
    assert drops.as_dict() == {"f.jsonl": {reason: 1}}


def test_a_missing_mapped_column_is_named_with_our_field(jsonl, rated, scales, drops):
    source = DataSource(jsonl(rated()), columns={"prompt": "instruction"})
    text = r"f\.jsonl:1: missing field 'prompt' \(column 'instruction'\); found 'id', 'prompt'"
    with pytest.raises(DataError, match=text):
        read_rated([source], scales, drops=drops)


def test_only_some_of_many_fields_are_listed(jsonl, scales, drops):
    with pytest.raises(DataError, match=r"found 'f0', .*'f7', \.\.\.$"):
        read_rated([DataSource(jsonl({f"f{i}": 1 for i in range(20)}))], scales, drops=drops)


def test_a_rating_column_that_no_row_has_is_found_at_the_end(jsonl, rated, scales, drops):
    """One of two columns written wrongly would train a head less, without a word."""
    columns = {"ratings": {"honesty": "ratings.honesty", "helpfulness": "ratings.helpfulnes"}}
    text = "f.jsonl: no row has a column 'ratings.helpfulnes', which `columns` maps to the rating"
    with pytest.raises(DataError, match=text):
        read_rated([DataSource(jsonl(rated()), columns=columns)], scales, drops=drops)


def test_an_ignored_objective_that_no_row_rates_is_found_at_the_end(jsonl, rated, scales, drops):
    text = "f.jsonl: no row rates 'honestly', which is in `ignore`; did you mean 'honesty'?"
    with pytest.raises(DataError) as caught:
        read_rated([DataSource(jsonl(rated()), ignore=("honestly",))], scales, drops=drops)
    assert str(caught.value) == text


def test_duplicate_ids_name_both_places_over_files(jsonl, rated, scales, drops):
    first, second = jsonl(rated(), name="a.jsonl"), jsonl(rated(id="b"), rated(), name="b.jsonl")
    sources = [DataSource(first), DataSource(second)]
    text = r"b\.jsonl:2: id 'a' must be unique; a\.jsonl:1 has it too"
    with pytest.raises(DataError, match=text):
        read_rated(sources, scales, drops=drops)
    rows = read_rated(sources, scales, bad_rows="drop", drops=drops)
    assert [row.id for row in rows] == ["a", "b"]
    assert drops.as_dict() == {"b.jsonl": {"duplicate id": 1}}


def test_lines_that_are_no_rows_stop_or_are_counted(jsonl, rated, scales, drops):
    path = jsonl(rated(), "{oops", "[]")
    text = r"f\.jsonl:2: not JSON: Expecting property name enclosed in double quotes at column 2"
    with pytest.raises(DataError, match=text):
        read_rated([DataSource(path)], scales, drops=drops)
    read_rated([DataSource(path)], scales, bad_rows="drop", drops=drops)
    assert drops.as_dict() == {"f.jsonl": {"malformed JSON": 1, "not an object": 1}}


def test_a_source_of_which_nothing_is_left_is_refused(jsonl, rated, scales, drops):
    good = jsonl(rated(), name="good.jsonl")
    bad = jsonl(rated(id="b", response=""), rated(id="c", response=""), "{", name="bad.jsonl")
    text = (
        r"bad\.jsonl: at least one row must be usable; "
        r"dropped 3 of 3 rows: 2 empty response, 1 malformed JSON"
    )
    with pytest.raises(DataError, match=text):
        read_rated([DataSource(good), DataSource(bad)], scales, bad_rows="drop", drops=drops)


def test_a_missing_or_empty_file_is_refused_under_drop_too(jsonl, scales, drops):
    with pytest.raises(DataError, match=r"absent\.jsonl: no such file"):
        read_rated([DataSource("absent.jsonl")], scales, bad_rows="drop", drops=drops)
    with pytest.raises(DataError, match=r"f\.jsonl: .* it is empty"):
        read_rated([DataSource(jsonl())], scales, bad_rows="drop", drops=drops)


def test_options_are_checked(jsonl, rated, scales, drops):
    with pytest.raises(ValueError, match="`sources` must name at least one data source; got none"):
        read_rated([], scales, drops=drops)


# ---- tables as text


CSV = """id,prompt,response,source,ratings.helpfulness,ratings.is_safe
1,hi,"hello, you",general,3.5,
2,hi,bye,safety,,true
3,"[{""role"": ""user"", ""content"": ""hi""}]",bye,safety,,0
"""


def test_csv_numbers_and_empty_cells_are_ratings(tmp_path, scales, drops):
    (tmp_path / "a.csv").write_text(CSV)
    rows = read_rated([DataSource(str(tmp_path / "a.csv"))], scales, drops=drops)
    assert [(row.id, row.ratings) for row in rows] == [
        ("1", {"helpfulness": 3.5}),
        ("2", {"is_safe": 1.0}),
        ("3", {"is_safe": 0.0}),
    ]
    assert {row.prompt for row in rows} == {(Message("user", "hi"),)}


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("N/A", "rating 'helpfulness' must be a number; got the text 'N/A'"),
        ('"3,5"', "rating 'helpfulness' must be a number; got the text '3,5'"),
        ("1_0", "rating 'helpfulness' must be a number; got the text '1_0'"),
        ("true", "rating 'helpfulness' must be a number from 0 to 4; got true"),
        ("nan", "rating 'helpfulness' must be finite; got nan"),
        ("5", "rating 'helpfulness' must be from 0 to 4; got 5"),
    ],
)
def test_a_csv_rating_is_refused_with_its_line(tmp_path, scales, drops, cell, text):
    (tmp_path / "a.csv").write_text(CSV.replace("3.5", cell))
    with pytest.raises(DataError) as caught:
        read_rated([DataSource(str(tmp_path / "a.csv"))], scales, drops=drops)
    assert f"a.csv:2: {text}" in str(caught.value)


def test_csv_ratings_may_be_an_object_in_one_cell(tmp_path, scales, drops):
    (tmp_path / "a.csv").write_text('prompt,response,ratings\np,r,"{""honesty"": 2}"\n')
    source = DataSource(str(tmp_path / "a.csv"), source="general")
    (row,) = read_rated([source], scales, drops=drops)
    assert row.ratings == {"honesty": 2}


def test_csv_ratings_that_are_no_object_are_refused(tmp_path, scales, drops):
    (tmp_path / "a.csv").write_text('prompt,response,ratings\np,r,"{honesty: 2}"\n')
    source = DataSource(str(tmp_path / "a.csv"), source="general")
    with pytest.raises(DataError, match=r"a\.csv:2: `ratings` must be an object of numbers"):
        read_rated([source], scales, drops=drops)


# ---- pairs


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "hi", "chosen": "hello", "rejected": "bye"},
        {"prompt": [ASKED], "chosen": [HELLO], "rejected": [BYE]},
        {"prompt": ..., "chosen": [ASKED, HELLO], "rejected": [ASKED, BYE]},
        {"prompt": "hi", "chosen": [ASKED, HELLO], "rejected": [ASKED, BYE]},
        {"prompt": "hi", "chosen": [ASKED, HELLO], "rejected": "bye"},
        {"prompt": None, "chosen": [ASKED, HELLO], "rejected": [ASKED, BYE]},
    ],
)
def test_every_shape_of_a_pair_reads_alike(jsonl, pair, drops, changes):
    (read,) = read_pairs([DataSource(jsonl(pair(**changes)))], drops=drops)
    assert read == PreferencePair("p", (Message("user", "hi"),), "hello", "bye")


def test_a_pair_keeps_its_source_where_it_has_one(jsonl, pair, drops):
    path = jsonl(pair(source="s"), pair(id="q"))
    assert [row.source for row in read_pairs([DataSource(path)], drops=drops)] == ["s", ""]
    rows = read_pairs([DataSource(path, source="t")], drops=drops)
    assert [row.source for row in rows] == ["t", "t"]


@pytest.mark.parametrize(
    ("changes", "reason", "text"),
    [
        ({"chosen": ...}, "missing field", "missing field 'chosen'; found 'id', 'prompt'"),
        ({"rejected": ...}, "missing field", "missing field 'rejected'; found 'id', 'prompt'"),
        ({"prompt": ...}, "missing field", "missing field 'prompt'; found 'id', 'chosen'"),
        ({"prompt": "\t"}, "empty prompt", r"`prompt` must not be empty; got '\t'"),
        ({"chosen": ""}, "empty chosen", "`chosen` must not be empty; got ''"),
        ({"rejected": None}, "rejected not text", "`rejected` must be text; got null"),
        ({"rejected": "4"}, "equal sides", "`chosen` and `rejected` must differ; both are '4'"),
        (
            {"prompt": ..., "chosen": [ASKED, HELLO], "rejected": [ASKED, ASKED, BYE]},
            "different histories",
            "`chosen` and `rejected` must share the messages before the response; "
            "they differ from message 1 on",
        ),
        (
            {"prompt": ..., "chosen": [ASKED, HELLO], "rejected": [ASKED]},
            "no response at the end",
            "`rejected`: a conversation must end in a response",
        ),
        ({"source": ["a"]}, "source not text", "`source` must be text; got a list"),
    ],
)
def test_a_bad_pair_stops_or_is_counted(jsonl, pair, drops, changes, reason, text):
    path = jsonl(pair(id="good"), pair(**changes))
    with pytest.raises(DataError) as caught:
        read_pairs([DataSource(path)], drops=drops)
    assert f"f.jsonl:2: {text}" in str(caught.value)
    (left,) = read_pairs([DataSource(path)], bad_rows="drop", drops=drops)
    assert left.id == "good"
    assert drops.as_dict() == {"f.jsonl": {reason: 1}}


def test_pairs_of_one_id_are_refused(jsonl, pair, drops):
    with pytest.raises(DataError, match=r"f\.jsonl:2: id 'p' must be unique; f\.jsonl:1 has it"):
        read_pairs([DataSource(jsonl(pair(), pair()))], drops=drops)


# ---- what is to be scored


def test_rated_rows_are_conversations_and_their_ratings_do_not_matter(jsonl, rated):
    path = jsonl(rated(), rated(id="b", ratings={"x": "N/A"}), rated(id="c", ratings=...))
    rows = read_conversations(path)
    assert [type(row) for row in rows] == [Conversation] * 3
    assert rows[0] == Conversation((Message("user", "What is 2 + 2?"),), "4", "a")


def test_messages_that_end_in_a_response_are_a_conversation(jsonl):
    (row,) = read_conversations(DataSource(jsonl({"messages": [ASKED, HELLO]})))
    assert row == Conversation((Message("user", "hi"),), "hello", "f:1")


def test_pairs_are_found_by_their_fields(jsonl, pair):
    (row,) = read_conversations(jsonl(pair(messages=[ASKED, HELLO])))
    assert isinstance(row, PreferencePair)


def test_a_folder_may_hold_a_file_of_each_shape(tmp_path, jsonl, rated, pair):
    jsonl(rated(), name="a.jsonl")
    jsonl(pair(), name="b.jsonl")
    assert [type(row) for row in read_conversations(tmp_path)] == [Conversation, PreferencePair]


@pytest.mark.parametrize(
    ("first", "text"),
    [
        ("pair", "the first row makes it pairs, this is a conversation"),
        ("rated", "the first row makes it conversations, this is a pair"),
    ],
)
def test_a_file_with_two_shapes_is_refused_at_the_second(jsonl, rated, pair, first, text):
    rows = [pair(), rated()] if first == "pair" else [rated(), pair()]
    where = r"f\.jsonl:2: a file must hold one shape of rows; "
    with pytest.raises(DataError, match=where + text):
        read_conversations(jsonl(*rows))
    drops = Drops()
    assert len(read_conversations(jsonl(*rows), bad_rows="drop", drops=drops)) == 1
    assert drops.as_dict() == {"f.jsonl": {"another shape than the file": 1}}


def test_a_conversation_without_response_is_refused(jsonl):
    text = r"f\.jsonl:1: `messages`: a conversation must end in a response"
    with pytest.raises(DataError, match=text):
        read_conversations(jsonl({"messages": [ASKED, HELLO, ASKED]}))


def test_dropped_conversations_must_be_counted_somewhere(jsonl, rated):
    with pytest.raises(ValueError, match="`drops` must be given with `bad_rows` = 'drop'"):
        read_conversations(jsonl(rated()), bad_rows="drop")


def test_bad_rows_has_two_meanings(jsonl, rated, monkeypatch):
    from armorm.data.read import _Loop

    with pytest.raises(ValueError, match="`bad_rows` must be 'stop' or 'drop'; got 'skip'"):
        _Loop([DataSource("a.jsonl")], "skip", Drops())


# ---- laws

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda text: not text.isspace()
)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(TEXTS, TEXTS, st.floats(0, 4), st.none() | st.integers(0, 4)),
        min_size=1,
        max_size=6,
    ),
    form=st.sampled_from(["jsonl", "jsonl.gz", "json", "csv", "parquet"]),
)
def test_rows_read_alike_from_every_format(tmp_path_factory, rows, form):
    import csv

    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [
        {"id": f"i{n}", "prompt": p, "response": r, "source": "s", "ratings": {"x": x, "y": y}}
        for n, (p, r, x, y) in enumerate(rows)
    ]
    path = tmp_path_factory.mktemp("law") / f"a.{form}"
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "prompt", "response", "source", "ratings.x", "ratings.y"])
            writer.writerows([f"i{n}", p, r, "s", x, y] for n, (p, r, x, y) in enumerate(rows))
    elif form == "json":
        path.write_text(json.dumps(records))
    else:
        data = lines.encode()
        path.write_bytes(gzip.compress(data) if form == "jsonl.gz" else data)
    scales = {"s": {"x": Scale(0, 4), "y": Scale(0, 4)}}
    read = read_rated([DataSource(str(path))], scales, drops=Drops())
    assert [(row.prompt[0].content, row.response) for row in read] == [r[:2] for r in rows]
    assert [row.ratings for row in read] == [
        {"x": x} | ({} if y is None else {"y": y}) for _, _, x, y in rows
    ]


@settings(max_examples=30, deadline=None)
@given(
    record=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "prompt",
                        "response",
                        "messages",
                        "chosen",
                        "rejected",
                        "source",
                        "ratings",
                        "role",
                        "content",
                        "honesty",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
def test_no_record_escapes_as_another_error(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("law") / "a.jsonl"
    path.write_text(json.dumps(record) + "\n")
    scales = {"s": {"honesty": Scale(0, 4)}}
    for read in (
        lambda: read_rated([DataSource(str(path), source="s")], scales, drops=Drops()),
        lambda: read_pairs([DataSource(str(path))], drops=Drops()),
        lambda: read_conversations(path),
    ):
        try:
            rows = read()
        except DataError as caught:
            said = str(caught)
        else:
            said = f"{path}: {len(rows)} row"
        assert said.startswith(str(path))
