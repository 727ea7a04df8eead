"""Training rows with the prompts of evaluation files: left out, counted, and told."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.data import DataSource, Drops, group_of, read_prompts
from armorm.errors import DataError, RecipeError
from armorm.evaluate.markdown import render_markdown
from armorm.evaluate.report import read_report
from armorm.model.bundle import load_bundle
from armorm.train.decontaminate import Decontamination, EvaluationFile, read_evaluation_files
from armorm.train.recipe import load_recipe, parse_recipe
from armorm.types import Message, PreferencePair


def prompt(text):
    return (Message("user", text),)


def pair(identity, text):
    return PreferencePair(identity, prompt(text), "yes", "no")


def evaluation_file(path, *texts):
    return EvaluationFile(path, frozenset(group_of(prompt(text)) for text in texts))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_with_a_prompt_of_an_evaluation_file_are_left_out_and_counted():
    """Four rows: `a` is in both files, `B` in the second up to case and white space."""
    held = Decontamination([evaluation_file("x", "a"), evaluation_file("y", "A ", "b", "z")])
    drops = Drops()
    rows = [pair("1", "a"), pair("2", " B"), pair("3", "b c"), pair("4", "b")]
    files = {"1": "one.jsonl", "2": "one.jsonl", "3": "one.jsonl", "4": "two.jsonl"}
    assert [row.id for row in held.kept("pairs", rows, files, drops)] == ["3"]
    # A row counts once among the dropped, and for each file that has its prompt.
    assert drops.as_dict() == {
        "one.jsonl": {"prompt of an evaluation file": 2},
        "two.jsonl": {"prompt of an evaluation file": 1},
    }
    x, y = held.figures
    assert (x.path, x.prompts, x.shared_prompts, x.rows) == ("x", 1, 1, {"one.jsonl": 1})
    assert (y.path, y.prompts, y.shared_prompts) == ("y", 3, 2)
    assert y.rows == {"one.jsonl": 2, "two.jsonl": 1}
    assert held.notes() == (
        "left out for 2 prompts that are in evaluation files too: 3 of `pairs` (1 for x, 3 for y); "
        "prompts that differ by more than case and white space are not found",
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12),
    st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=3),
)
def test_rows_are_kept_or_counted_and_no_kept_one_is_shared(texts, files):
    held = Decontamination([evaluation_file(str(i), *of) for i, of in enumerate(files)])
    rows = [pair(str(i), text) for i, text in enumerate(texts)]
    file_of, drops = {row.id: "f" for row in rows}, Drops()
    wanted = [row for row in rows if not any(row.prompt[0].content in of for of in files)]
    if not wanted:
        with pytest.raises(DataError, match="a row must be left after `decontaminate`"):
            held.kept("pairs", rows, file_of, drops)
    else:
        assert held.kept("pairs", rows, file_of, drops) == wanted
        assert drops.total == len(rows) - len(wanted)


def test_error_names_only_the_files_that_hold_these_rows():
    held = Decontamination([evaluation_file("x", "a"), evaluation_file("y", "b", "c")])
    assert held.kept("rated", [pair("1", "a"), pair("2", "d")], {"1": "f", "2": "f"}, Drops())
    with pytest.raises(DataError, match=r"the prompts of all 2 are in 'y'$"):
        held.kept("pairs", [pair("3", "b"), pair("4", "c")], {"3": "g", "4": "g"}, Drops())


def test_files_may_have_any_shape_of_rows(tmp_path):
    path = write(
        tmp_path / "any.jsonl",
        [
            {"prompt": "one", "chosen": ["a", "b"], "rejected": []},
            {"prompt": "two", "id": "same"},
            {"prompt": [{"role": "user", "content": "three"}], "response": "", "id": "same"},
            {
                "messages": [
                    {"role": "user", "content": "four"},
                    {"role": "assistant", "content": "yes"},
                ]
            },
            {
                "chosen": [
                    {"role": "user", "content": "five"},
                    {"role": "assistant", "content": "yes"},
                ],
                "rejected": "no",
            },
        ],
    )
    found = read_prompts(path)
    assert [p[0].content for p in found] == ["one", "two", "three", "four", "five"]


@pytest.mark.parametrize(
    "row", [{"response": "a"}, {"chosen": "a", "rejected": "b"}, {"question": "what?"}]
)
def test_row_without_a_prompt_is_located_or_told(tmp_path, row):
    path = write(tmp_path / "bad.jsonl", [{"prompt": "one"}, row])
    with pytest.raises(DataError, match=r"bad\.jsonl:2: missing field 'prompt'"):
        read_evaluation_files([DataSource(str(path))], "stop")
    held = read_evaluation_files([DataSource(str(path))], "drop")
    assert held.notes()[0] == (
        f"{path}: dropped 1 of 2 rows: 1 missing field: their prompts were not compared"
    )
    with pytest.raises(ValueError, match="`drops` must be given with `bad_rows` = 'drop'"):
        read_prompts(path, bad_rows="drop")


def test_nothing_shared_is_said_and_nothing_asked_is_not():
    held = Decontamination([evaluation_file("x.jsonl", "a"), evaluation_file("y.jsonl")])
    assert held.kept("pairs", [pair("1", "b")], {"1": "f"}, Drops()) == [pair("1", "b")]
    assert held.notes() == ("no training row has a prompt of x.jsonl, y.jsonl",)
    assert Decontamination([]).notes() == ()


def test_run_without_a_row_left_is_refused(project):
    write(project.folder / "all.jsonl", [{"prompt": row["prompt"]} for row in project.pairs])
    project.recipe["decontaminate"] = "all.jsonl"
    with pytest.raises(
        DataError,
        match=r"pairs: a row must be left after `decontaminate`; the prompts of all 30 are in '",
    ):
        project.train()
    assert not (project.folder / "run").exists()


def test_run_tells_everywhere_what_it_left_out(project, trained):
    """`Question 1?` has two rated rows, `pair 3?` one pair; the third prompt is in no row."""
    rows = [{"prompt": text} for text in ("question  1?", "Pair 3? ", "Another?")]
    write(project.folder / "held.jsonl", rows)
    project.recipe["decontaminate"] = ["held.jsonl"]
    run = project.train("evaluation.rounds=1")
    report = read_report(project.folder / "run")
    (held,) = report.data.decontaminated
    assert held.path.endswith("held.jsonl")
    assert (held.prompts, held.shared_prompts) == (3, 2)
    assert sorted(held.rows.values()) == [1, 2]
    assert (report.data.rated, report.data.pairs) == (58, 29)
    said = [note for note in run.notes if note.startswith("left out for 2 prompts")]
    assert len(said) == 1
    assert "2 of `rated` and 1 of `pairs` (3 for" in said[0]
    assert any("3 prompt of an evaluation file" in note for note in run.notes)
    text = render_markdown(report)
    assert "Training rows left out because an evaluation file has their prompt" in text
    assert "held.jsonl" in text
    done = json.loads((project.folder / "run" / "run.json").read_text())
    assert done["decontaminated"][0]["shared_prompts"] == 2
    assert "decontaminated" not in json.loads((trained.folder / "run" / "run.json").read_text())
    bundle = load_bundle(project.folder / "run" / "bundle")
    (kept,) = bundle.facts["data"]["decontaminated"]
    assert (kept["path"], kept["rows"]) == ("held.jsonl", {"pairs.jsonl": 1, "rated.jsonl": 2})
    card = (project.folder / "run" / "bundle" / "README.md").read_text()
    assert "rows left out for them: `held.jsonl` (3 rows)" in card
    # The same prompts under another name are the same run; another prompt is another run.
    (project.folder / "held.jsonl").rename(project.folder / "moved.jsonl")
    project.recipe["decontaminate"] = ["moved.jsonl"]
    assert project.train("evaluation.rounds=1").fitted == ()
    write(project.folder / "moved.jsonl", [*rows, {"prompt": "Question 2?"}])
    assert project.train("evaluation.rounds=1").report.data.rated == 56


def test_recipe_names_files_in_short_and_in_long_form(project):
    project.recipe["decontaminate"] = [
        "held.jsonl",
        {"path": "hub:owner/name", "split": "filtered", "columns": {"prompt": "question"}},
    ]
    recipe = load_recipe(project.write())
    first, second = recipe.decontaminate
    assert first.path == str(project.folder / "held.jsonl")
    assert (second.path, second.split) == ("hub:owner/name", "filtered")
    project.recipe["decontaminate"] = "held.jsonl"
    assert len(load_recipe(project.write()).decontaminate) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "decontaminate: must be a list; got 3"),
        ([3], "decontaminate.0: must be a text or a mapping; got 3"),
        ([{"split": "x"}], "decontaminate.0.path: this key must be there; it is missing"),
        ([{"path": "a.jsonl", "split": "x"}], "decontaminate.0: `split` is for hub data only"),
    ],
)
def test_mistakes_of_the_key_are_located(project, value, text):
    project.recipe["decontaminate"] = value
    with pytest.raises(RecipeError, match=text.replace(".", r"\.")):
        parse_recipe(project.recipe)
