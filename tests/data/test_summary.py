import json

import numpy as np
import pytest

from armorm.data import Coverage, DataSource, Lengths, SharedPrompts, summarise
from armorm.errors import DataError
from armorm.types import Scale


def test_coverage_counts_ratings_by_source_and_objective(jsonl, rated):
    rows = [
        rated(id="a", ratings={"x": 1, "y": 0}),
        rated(id="b", ratings={"x": 4, "y": None}),
        rated(id="c", source="other", ratings={"x": 2}),
        rated(id="d", source=..., ratings={"x": 3}),
    ]
    assert summarise(jsonl(*rows)).coverage == (
        Coverage("general", "x", 2, 1, 2.5, 4),
        Coverage("general", "y", 1, 0, 0, 0),
        Coverage("other", "x", 1, 2, 2, 2),
        Coverage("", "x", 1, 3, 3, 3),
    )


def test_lengths_are_in_characters_and_quantiles_occur(jsonl):
    rows = [{"prompt": "é" * n, "response": "x" * 2 * n} for n in range(1, 101)]
    found = summarise(jsonl(*rows))
    assert found.prompt_lengths == Lengths(100, 1, 50, 95, 100)
    assert found.response_lengths == Lengths(100, 2, 100, 190, 200)


def test_quantiles_equal_sorted_lengths(jsonl):
    lengths = np.random.default_rng(0).integers(1, 400, size=37)
    found = summarise(jsonl(*({"prompt": "p", "response": "x" * int(n)} for n in lengths)))
    ordered = sorted(lengths.tolist())
    # the least length with at least half, and 95 %, of 37 at or below it: 19th and 36th
    assert found.response_lengths == Lengths(37, ordered[0], ordered[18], ordered[35], ordered[36])


def test_a_pair_counts_two_responses_and_which_is_longer(jsonl, pair):
    rows = [
        pair(id="1", chosen="long", rejected="s"),
        pair(id="2", chosen="s", rejected="long"),
        pair(id="3", chosen="a", rejected="b"),
        pair(id="4", chosen="longer", rejected="s"),
    ]
    found = summarise(jsonl(*rows))
    assert (found.n_longer_chosen, found.n_shorter_chosen, found.n_equal_length) == (2, 1, 1)
    assert found.response_lengths.count == 8
    assert found.files[0].n_pairs == 4


def test_turns_and_system_messages_are_counted(jsonl):
    user, bot = {"role": "user", "content": "u"}, {"role": "assistant", "content": "b"}
    system = {"role": "system", "content": "s"}
    prompts = [[user], [system, user], [user, bot, user], [bot, user], [user, user]]
    found = summarise(jsonl(*({"prompt": p, "response": "r"} for p in prompts)))
    assert (found.n_system, found.n_multi_turn, found.n_not_alternating) == (1, 2, 2)
    assert found.notes() == (
        "2 prompts do not alternate user and assistant; "
        "some chat templates (Gemma, Mistral) refuse them",
    )


def test_duplicates_are_exact_texts_over_files(jsonl, rated, pair):
    first = jsonl(rated(id="a"), rated(id="b"), rated(id="c", response="5"), name="a.jsonl")
    second = jsonl(rated(id="d"), rated(id="e", response="4 "), name="b.jsonl")
    third = jsonl(pair(id="f"), pair(id="g"), name="c.jsonl")
    assert summarise(first, second, third).n_duplicate_rows == 3


def test_pairs_that_contradict_each_other_are_counted(jsonl, pair):
    found = summarise(jsonl(pair(id="a"), pair(id="b", chosen="5", rejected="4"), pair(id="c")))
    assert (found.n_contradictory, found.n_duplicate_rows) == (2, 1)
    assert "2 pairs prefer the opposite of an earlier pair" in found.notes()


def test_shared_prompts_are_counted_by_pairs_of_files(jsonl):
    def write(name, *prompts):
        return jsonl(*({"prompt": p, "response": "r"} for p in prompts), name=name)

    files = [
        write("a.jsonl", "one", "two", "two", "three"),
        write("b.jsonl", "ONE ", "two"),
        write("c.jsonl", "two", "four"),
        write("d.jsonl", "five"),
    ]
    found = summarise(*files)
    assert found.n_prompts == 5
    assert found.shared == (
        SharedPrompts("a.jsonl", "b.jsonl", 2),
        SharedPrompts("a.jsonl", "c.jsonl", 1),
        SharedPrompts("b.jsonl", "c.jsonl", 1),
    )


def test_bad_rows_are_counted_with_the_first_places_and_the_rest_is_read(jsonl, rated, pair):
    bad = [rated(id=f"x{i}", response="") for i in range(7)]
    rows = ["{oops", rated(), pair(rejected="4"), pair(), *bad, {"prompt": "p", "response": "r"}]
    (file,) = summarise(jsonl(*rows)).files
    assert (file.n_rows, file.n_rated, file.n_pairs, file.n_conversations) == (12, 1, 1, 1)
    assert file.n_bad == 9
    assert file.reasons == {"empty response": 7, "malformed JSON": 1, "equal sides": 1}
    assert len(file.errors) == 5
    assert file.errors[0].startswith("f.jsonl:1: not JSON: ")
    assert file.errors[1].startswith("f.jsonl:3: `chosen` and `rejected` must differ")


def test_duplicate_ids_are_bad_rows_of_one_kind_of_row(jsonl, rated, pair):
    first = jsonl(rated(id="a"), rated(id="a", response="5"), name="a.jsonl")
    second = jsonl(pair(id="a"), {"id": "a", "prompt": "p", "response": "r"}, name="b.jsonl")
    found = summarise(first, second)
    assert found.n_duplicate_ids == 1
    assert found.files[0].errors == ("a.jsonl:2: id 'a' must be unique; a.jsonl:1 has it too",)
    assert found.files[1].n_bad == 0


def test_scales_and_columns_are_used_where_given(jsonl, rated):
    path = jsonl(rated(), rated(id="b", ratings={"honesty": 9}), rated(id="c", source="x"))
    assert summarise(path).files[0].n_bad == 0
    scales = {"general": {"helpfulness": Scale(0, 4), "honesty": Scale(0, 4)}}
    (file,) = summarise(path, scales=scales).files
    assert file.reasons == {"rating outside its scale": 1, "unknown source": 1}
    source = DataSource(path, columns={"ratings": {"kind": "ratings.honesty"}})
    assert [cell.objective for cell in summarise(source).coverage] == ["kind", "kind"]


def test_a_row_rated_on_ignored_objectives_only_is_a_rated_row(jsonl, rated):
    source = DataSource(jsonl(rated(ratings={"x": 1})), ignore=("x",))
    found = summarise(source)
    assert (found.files[0].n_rated, found.coverage) == (1, ())


def test_notes_name_objectives_that_cannot_be_fitted(jsonl, rated):
    rows = [rated(id=str(i), ratings={"flat": 2, "good": i % 3}) for i in range(12)]
    rows.append(rated(id="last", ratings={"rare": 1}))
    assert summarise(jsonl(*rows)).notes() == (
        "general: objective 'flat' has no variance: all 12 ratings are 2",
        "general: objective 'rare' has 1 ratings; a head needs 10",
    )


def test_the_summary_is_plain_json(jsonl, rated, pair):
    found = summarise(jsonl(rated(), pair(), "oops")).as_dict()
    assert json.loads(json.dumps(found, allow_nan=False))["files"][0]["n_rows"] == 3
    assert found["notes"]


def test_a_summary_without_rows_has_lengths_of_0(jsonl):
    assert summarise(jsonl("oops")).prompt_lengths == Lengths(0, 0, 0, 0, 0)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        summarise(tmp_path / "a.jsonl")


def test_no_file_is_refused():
    with pytest.raises(ValueError, match="`sources` must name at least one file; got none"):
        summarise()
