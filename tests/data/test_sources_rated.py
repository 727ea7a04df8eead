"""Rated data sets in their true schema: what each becomes, and the traps of each."""

import copy
import importlib
import json

import pyarrow
import pytest
from pyarrow import parquet

from armorm.data import DataSource, Drops, read_rated
from armorm.data.sources import convert_set
from armorm.data.sources.armorm_merged import OBJECTIVES as MERGED_OBJECTIVES
from armorm.errors import DataError
from armorm.features.published import OBJECTIVES
from armorm.types import Message, Scale
from rated_records import HELPSTEER2, RECORDS, completion

MODULES = {
    "helpsteer": "helpsteer",
    "helpsteer2": "helpsteer",
    "ultrafeedback": "ultrafeedback",
    "beavertails": "beavertails",
    "code-ultrafeedback": "code_ultrafeedback",
    "prometheus": "prometheus_feedback",
    "capybara": "capybara",
    "capybara-all": "capybara",
    "openorca": "openorca",
    "math-preference": "math_preference",
    "armorm-merged": "armorm_merged",
}


def published(name):
    sets = importlib.import_module(f"armorm.data.sources.{MODULES[name]}").SETS
    return next(one for one in sets if one.name == name)


@pytest.fixture
def convert(tmp_path):
    """Write records, convert them and read the result as a recipe would."""

    def run(name, records=None, *, bad_rows="stop", drops=None):
        given = tmp_path / "given.jsonl"
        lines = RECORDS[name] if records is None else records
        given.write_text("".join(json.dumps(record) + "\n" for record in lines))
        one, made = published(name), tmp_path / "made.parquet"
        drops = Drops() if drops is None else drops
        source = DataSource(str(given))
        convert_set(one, output=made, source=source, bad_rows=bad_rows, drops=drops)
        return read_rated([DataSource(str(made))], {name: one.scales}, drops=Drops())

    return run


def changed(name, **changes):
    """The first record of a set with other fields."""
    return [{**copy.deepcopy(RECORDS[name][0]), **changes}]


@pytest.mark.parametrize("name", RECORDS)
def test_every_set_is_read_back_without_a_mapping(convert, name):
    rows = convert(name)
    assert rows
    assert {row.source for row in rows} == {name}
    assert all(row.id.startswith("made-") for row in rows)
    assert {objective for row in rows for objective in row.ratings} <= set(published(name).scales)


@pytest.mark.parametrize("name", RECORDS)
def test_parquet_with_nested_columns_gives_the_same_rows_as_json(convert, tmp_path, name):
    table = tmp_path / "given.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS[name]), table)
    made = tmp_path / "from_parquet" / "made.jsonl"
    one = published(name)
    convert_set(one, output=made, source=DataSource(str(table)), bad_rows="stop", drops=Drops())
    again = read_rated([DataSource(str(made))], {name: one.scales}, drops=Drops())
    assert again == convert(name)


@pytest.mark.parametrize("name", RECORDS)
def test_a_set_has_a_licence_a_link_and_columns_that_its_records_have(name):
    one = published(name)
    assert one.licence
    assert one.link.startswith("https://")
    assert one.kind == "rated"
    assert {column.split(".")[0] for column in one.columns} <= set(RECORDS[name][0])


def test_the_nineteen_objectives_of_the_released_model_are_rated_by_these_sets():
    merged = published("armorm-merged")
    assert MERGED_OBJECTIVES == OBJECTIVES
    others = {o for name in RECORDS if name != merged.name for o in published(name).scales}
    assert others == set(OBJECTIVES)


def test_helpsteer_is_mapped_as_the_released_model_maps_it(convert):
    best, worst = convert("helpsteer")
    scale = published("helpsteer").scales["helpsteer-helpfulness"]
    # (4 + 0.5) / 5 and (0 + 0.5) / 5
    values = [scale.normalise(row.ratings["helpsteer-helpfulness"]) for row in (best, worst)]
    assert values == pytest.approx([0.9, 0.1])


def test_helpsteer2_turns_become_messages(convert):
    _, row = convert("helpsteer2")
    assert row.prompt == (
        Message("user", "I have 3 pears."),
        Message("assistant", "Noted.\nAnything else?"),
        Message("user", "I eat one. How many are left?"),
    )
    assert row.response == "2 pears."


@pytest.mark.parametrize(
    ("prompt", "refusal"),
    [
        (
            "Hi\n<extra_id_1>Assistant\nYes?\n<extra_id_1>Tool\n7\n<extra_id_1>User\nBye",
            "must mark turns of User and Assistant only; got '<extra_id_1>Tool",
        ),
        (
            "Hi\n<extra_id_1>Assistant\nYes?",
            "`prompt` must end with a 'user' message; got 'assistant'",
        ),
        ("Hi\n<extra_id_1>Assistant\n\n<extra_id_1>User\nBye", "turn 2 must have a text"),
    ],
)
def test_helpsteer2_prompt_that_cannot_be_split_is_refused(convert, prompt, refusal):
    with pytest.raises(DataError, match=refusal):
        convert("helpsteer2", [{**HELPSTEER2[0], "prompt": prompt}])


def test_ultrafeedback_texts_are_numbers_and_not_applicable_is_not_rated(convert):
    salt, unknown = convert("ultrafeedback")
    assert salt.ratings == {
        "ultrafeedback-overall_score": 7.5,
        "ultrafeedback-instruction_following": 4.0,
        "ultrafeedback-truthfulness": 5.0,
        "ultrafeedback-honesty": 3.0,
        "ultrafeedback-helpfulness": 2.0,
    }
    assert "ultrafeedback-truthfulness" not in unknown.ratings
    assert unknown.ratings["ultrafeedback-overall_score"] == 1.0


def test_ultrafeedback_system_prompt_is_the_first_message_where_there_is_one(convert):
    salt, unknown = convert("ultrafeedback")
    assert salt.prompt == (Message("system", "Be honest."), Message("user", "What is salt?"))
    assert unknown.prompt == (Message("user", "What is salt?"),)


def test_a_bad_completion_does_not_take_the_others_along(convert):
    completions = [completion("A."), completion(""), completion("C.", overall=11), completion("D.")]
    drops = Drops()
    records = changed("ultrafeedback", completions=completions)
    rows = convert("ultrafeedback", records, bad_rows="drop", drops=drops)
    assert [(row.id, row.response) for row in rows] == [
        ("made-1-1", "A."),
        ("made-1-4", "D."),
    ]
    assert drops.reasons() == {"empty response": 1, "rating outside its scale": 1}


def test_ultrafeedback_aspect_that_is_gone_is_named(convert):
    broken = completion("A.")
    del broken["annotations"]["honesty"]
    records = [*RECORDS["ultrafeedback"], *changed("ultrafeedback", completions=[broken])]
    with pytest.raises(DataError, match=r"missing field 'annotations.honesty'"):
        convert("ultrafeedback", records)


def test_ultrafeedback_completions_that_are_no_objects_are_refused(convert):
    records = [*RECORDS["ultrafeedback"], *changed("ultrafeedback", completions=["a"])]
    with pytest.raises(DataError, match=r"`completions` must be a list of objects; got \['a'\]"):
        convert("ultrafeedback", records)


def test_beavertails_truth_values_are_ones_and_zeros_and_every_annotator_counts(convert):
    rows = convert("beavertails")
    assert [row.ratings["beavertails-is_safe"] for row in rows] == [1.0, 0.0, 1.0]
    assert rows[1].response == rows[2].response


def test_beavertails_is_shown_as_not_for_commerce():
    assert published("beavertails").licence == "cc-by-nc-4.0"
    assert "commercial" in published("beavertails").note


def test_code_ratings_go_to_the_response_of_their_model(convert):
    clear, dense = convert("code-ultrafeedback")
    assert clear.response == "sum(numbers)"
    assert clear.ratings == {"code-readability": 5.0}
    assert dense.ratings == {"code-readability": 2.0}


def test_code_response_that_nobody_rated_is_dropped_and_counted(convert):
    drops = Drops()
    annotations = [{"model": "a-7b", "rating": "4", "rationale": ""}]
    records = changed("code-ultrafeedback", annotations=annotations)
    rows = convert("code-ultrafeedback", records, bad_rows="drop", drops=drops)
    assert [row.response for row in rows] == ["sum(numbers)"]
    assert drops.reasons() == {"no rating": 1}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"preference": "stile"}, "unknown preference 'stile'; did you mean 'style'?"),
        (
            {"annotations": [{"model": "a-7b", "rating": "4"}] * 2},
            "model 'a-7b' must be rated once; is twice",
        ),
    ],
)
def test_code_record_that_cannot_be_joined_is_refused(convert, changes, refusal):
    with pytest.raises(DataError, match=refusal.replace("?", r"\?")):
        convert("code-ultrafeedback", changed("code-ultrafeedback", **changes))


def test_prometheus_takes_the_original_instruction_not_the_judges(convert):
    (row,) = convert("prometheus")
    assert row.prompt == (Message("user", "Console a friend."),)
    assert row.response == "I am sorry to hear that."
    assert row.ratings == {"prometheus-score": 3.0}


def test_capybara_keeps_the_turns_and_rates_the_last(convert):
    chosen, rejected = convert("capybara")
    assert [m.role for m in chosen.prompt] == ["user", "assistant", "user"]
    assert chosen.prompt == rejected.prompt
    assert chosen.ratings == {"argilla-overall_quality": 5.0}
    assert rejected.ratings == {"argilla-overall_quality": 1.0}


def test_openorca_scores_follow_the_shuffled_generations(convert):
    by_response = {row.response: row.ratings["argilla-judge_lm"] for row in convert("openorca")}
    # `rating` is [2, 9]; matched with `chosen`, `rejected` it would be the other way round.
    assert by_response == {"Hm.": 2.0, "Yes.": 9.0}


def test_openorca_without_a_system_message_has_none(convert):
    rows = convert("openorca", changed("openorca", system=""))
    assert rows[0].prompt == (Message("user", "Is water wet?"),)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"rating": None}, "a rated row must have at least one rating; got none"),
        ({"rating": [3.0]}, "must have a score for each of the 2 `generations`; got 1"),
        ({"rating": 3.0}, r"`generations` and `rating` must be lists; got \['Hm.', 'Yes.'\] and"),
    ],
)
def test_openorca_scores_that_do_not_fit_are_refused(convert, changes, refusal):
    with pytest.raises(DataError, match=refusal):
        convert("openorca", changed("openorca", **changes))


def test_math_shares_an_objective_of_ultrafeedback_on_a_scale_of_its_own(convert):
    chosen, rejected = convert("math-preference")
    name = "ultrafeedback-instruction_following"
    assert (chosen.ratings[name], rejected.ratings[name]) == (9.0, 7.0)
    assert published("math-preference").scales[name] == Scale(1, 10)
    assert published("ultrafeedback").scales[name] == Scale(1, 5)


def test_merged_table_is_taken_as_normalised_and_null_is_not_rated(convert):
    (row,) = convert("armorm-merged")
    assert row.ratings == {"helpsteer-helpfulness": 0.9, "helpsteer-verbosity": 0.1}
    assert published("armorm-merged").scales["helpsteer-helpfulness"].normalise(0.9) == 0.9
