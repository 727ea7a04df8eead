"""What a person can get wrong, through the command line: one line, exit 2, nothing written."""

import json
import re

import pytest
import yaml

from armorm.data.quickstart import RECIPE
from fakes import save_tiny_decoder


def set_rating(value):
    def change(project):
        project.rated[4]["ratings"]["good"] = value

    return change


def drop_field(kind, name):
    def change(project):
        del getattr(project, kind)[4][name]

    return change


def set_field(kind, name, value):
    def change(project):
        getattr(project, kind)[4][name] = value

    return change


def few_ratings(project):
    for row in project.rated[9:]:
        del row["ratings"]["kind"]


def no_variance(project):
    for row in project.rated:
        row["ratings"]["kind"] = 3


def one_prompt_varies(project):
    for i, row in enumerate(project.rated):
        row["ratings"]["kind"] = 4 if i == 7 else 3


def equal_sides(project):
    project.pairs[4]["rejected"] = project.pairs[4]["chosen"]


def duplicate_id(project):
    project.rated[4]["id"] = project.rated[1]["id"]


def few_prompts(project):
    project.rated, project.pairs = project.rated[:20], project.pairs[:2]
    for row in [*project.rated, *project.pairs]:
        row["prompt"] = "the same"


def few_prompts_of_one_objective(project):
    for row in project.rated[20:]:
        del row["ratings"]["kind"]
    for row in project.rated[:20]:
        row["prompt"] = "the same"


def unknown_source(project):
    project.rated[4]["source"] = "t"


ROWS = [
    (drop_field("rated", "response"), r".*rated.jsonl:5: missing field 'response'.*"),
    (drop_field("rated", "ratings"), r".*rated.jsonl:5: missing field 'ratings'.*"),
    (drop_field("pairs", "chosen"), r".*pairs.jsonl:5: missing field 'chosen'.*"),
    (drop_field("pairs", "prompt"), r".*pairs.jsonl:5: missing field 'prompt'.*"),
    (set_field("rated", "response", ""), r".*rated.jsonl:5: .*response.* empty.*"),
    (set_field("rated", "prompt", "  "), r".*rated.jsonl:5: .*prompt.* empty.*"),
    (set_field("pairs", "rejected", ""), r".*pairs.jsonl:5: .*rejected.* empty.*"),
    (set_rating(5), r".*rated.jsonl:5: .*'good' must be .* 0 to 4; got 5"),
    (set_rating("three"), r".*rated.jsonl:5: .*'good' must be .*number.*'three'.*"),
    (set_rating(True), r".*rated.jsonl:5: .*'good' must be .*number.*"),
    (set_rating(float("nan")), r".*rated.jsonl:5: .*(NaN|nan).*"),
    (set_rating(float("inf")), r".*rated.jsonl:5: .*(Infinity|inf).*"),
    (
        set_field("rated", "ratings", {"god": 2}),
        r".*rated.jsonl:5: unknown objective 'god'.*did you mean 'good'\?",
    ),
    (unknown_source, r".*rated.jsonl:5: unknown source 't'.*"),
    (duplicate_id, r".*rated.jsonl:5: .*'r1'.*"),
    (few_ratings, r".*objective 'kind' must have at least 10 ratings; got 9"),
    (no_variance, r".*objective 'kind' must have ratings that vary; all 60 are 0.5 .*"),
    (
        one_prompt_varies,
        r"ratings of 'kind' must vary outside fold \d of `evaluation.folds`, which is held out in "
        r"its turn; all \d+ there are 0.5 \(normalised\)",
    ),
    (equal_sides, r".*pairs.jsonl:5: .*(equal|differ|same).*"),
    (few_prompts, r"`evaluation.folds` must be at most .*; got 3 folds for 1 prompts"),
    (
        few_prompts_of_one_objective,
        r"ratings of 'kind' must be on prompts in at least 3 of the 3 folds .*; found in 1",
    ),
]


def refused(armorm, recipe, project, *options):
    """The one line of a command that is refused."""
    before = sorted(project.folder.rglob("*"))
    code, out, err = armorm("train", recipe, "-o", project.folder / "run", *options)
    assert code == 2
    assert out == ""
    assert "Traceback" not in "\n".join(err)
    assert sorted(project.folder.rglob("*")) == before
    return [line.removeprefix("error: ") for line in err if line.startswith("error: ")]


def named(pattern):
    return re.sub(r"\W+", "-", pattern)[:40]


@pytest.mark.parametrize(("change", "pattern"), ROWS, ids=[named(p) for _, p in ROWS])
def test_bad_row_is_one_located_line(project, armorm, change, pattern):
    change(project)
    (line,) = refused(armorm, project.write(), project)
    assert re.fullmatch(pattern, line), line


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b'{"id": "a"\n', r".*rated.jsonl:1: .*JSON.*"),
        (b"", r".*rated.jsonl.*empty.*"),
        (b"\n\n", r".*rated.jsonl: .*must have at least one row; it has none"),
        ('{"prompt": "é"}\n'.encode("latin-1"), r".*rated.jsonl.*UTF-8.*"),
        (b"[1]\n", r".*rated.jsonl:1: .*(object|mapping).*"),
        (None, r".*rated.jsonl.*(no such|not exist).*"),
    ],
    ids=["json", "empty", "blank", "latin-1", "list", "missing"],
)
def test_bad_file_is_one_line(project, armorm, content, pattern):
    recipe = project.write()
    path = project.folder / "rated.jsonl"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (line,) = refused(armorm, recipe, project)
    assert re.fullmatch(pattern, line), line


def test_broken_line_in_the_middle_names_its_number_and_no_other(project, armorm):
    recipe = project.write()
    path = project.folder / "pairs.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:-3]
    path.write_text("\n".join(lines))
    (line,) = refused(armorm, recipe, project)
    assert "pairs.jsonl:3: " in line
    assert "pairs.jsonl:2" not in line


def test_recipe_has_one_line_a_mistake(project, armorm):
    project.recipe["gating"]["temperatur"] = 3
    project.recipe["sed"] = 1
    lines = refused(armorm, project.write(), project, "--set", "evaluation.folds=1")
    assert lines == [
        "recipe.yaml: gating.temperatur: unknown key 'temperatur'; did you mean 'temperature'?",
        "recipe.yaml: evaluation.folds: must be greater than or equal to 3; got 1",
        "recipe.yaml: sed: unknown key 'sed'; did you mean 'seed'?",
    ]


@pytest.mark.parametrize(
    ("override", "pattern"),
    [
        ("backbone=absent/model", r"absent/model.*"),
        ("features.max_tokens=9999", r".*`max_tokens` must be at most 64; got 9,999"),
        ("features.layers=[7]", r".*`layers` must lie in -3\.\.2; got 7"),
    ],
)
def test_backbone_that_cannot_be_used_is_one_line(project, armorm, override, pattern):
    (line,) = refused(armorm, project.write(), project, "--set", override)
    assert re.fullmatch(pattern, line), line


def test_tokenizer_without_chat_template_is_one_line(project, armorm):
    save_tiny_decoder(project.folder / "decoder", template=None)
    project.recipe["backbone"] = "decoder"
    (line,) = refused(armorm, project.write(), project)
    assert "decoder" in line
    assert "chat template" in line


@pytest.mark.parametrize(
    ("kind", "field", "pattern"),
    [
        ("rated", "prompt", r"features of rated: conversation 'r4': the prompt must have text; .*"),
        ("pairs", "chosen", r"features of pairs: conversation 'p4/chosen': the response must .*"),
    ],
)
def test_row_without_features_says_which_rows_it_is_of(project, armorm, kind, field, pattern):
    getattr(project, kind)[4][field] = "\u200b"  # text to the reader, nothing to the tokenizer
    code, out, err = armorm("train", project.write(), "-o", project.folder / "run")
    (line,) = [text.removeprefix("error: ") for text in err if text.startswith("error: ")]
    assert (code, out) == (2, "")
    assert re.fullmatch(pattern, line), line


@pytest.mark.parametrize(
    ("sources", "pattern"),
    [
        (["rated.jsonl", "rated.jsonl"], r".*/rated.jsonl: the file is listed twice"),
        (
            ["rated.jsonl", {"path": "rated.jsonl", "source": "s"}],
            r".*/rated.jsonl:1: id 'r0' must be unique; the file is listed twice",
        ),
    ],
)
def test_file_listed_twice_is_said(project, armorm, sources, pattern):
    project.recipe["rated"] = sources
    (line,) = refused(armorm, project.write(), project)
    assert re.fullmatch(pattern, line), line


@pytest.mark.parametrize("command", [("train", RECIPE), ("demo",)], ids=lambda c: c[0])
def test_empty_output_is_not_the_current_folder(tmp_path, monkeypatch, armorm, command):
    monkeypatch.chdir(tmp_path)
    code, out, err = armorm(*command, "-o", "")
    assert (code, out, err) == (2, "", ["error: -o: must name a file or folder; got ''"])
    assert not list(tmp_path.iterdir())


def test_printed_recipe_is_the_text_and_not_a_table(project, armorm):
    name = "no/" + "x" * 300 + ":smile:"
    project.recipe["backbone"] = name
    code, out, _ = armorm("train", project.write(), "--print-recipe")
    assert code == 0
    assert yaml.safe_load(out)["backbone"]["name"] == name
    assert name in out


DROPPED = [change for change, pattern in ROWS if "jsonl:5" in pattern]


def test_bad_rows_of_every_kind_are_dropped_and_counted_when_asked(project):
    n = {"rated": 0, "pairs": 0}
    for i, change in enumerate(DROPPED):
        # Every change spoils row 4: the spoiled row goes to the end, the good one back.
        good = {name: json.dumps(getattr(project, name)[4]) for name in n}
        change(project)
        for name, row in good.items():
            rows = getattr(project, name)
            if json.dumps(rows[4]) != row:
                spoiled, rows[4] = rows[4], json.loads(row)
                if spoiled["id"] == rows[4]["id"]:
                    spoiled["id"] = f"spoiled-{i}"
                rows.append(spoiled)
                n[name] += 1
    assert sum(n.values()) == len(DROPPED)
    run = project.train("bad_rows=drop")
    counts = {path.split("/")[-1]: reasons for path, reasons in run.report.data.dropped.items()}
    assert {name: sum(reasons.values()) for name, reasons in counts.items()} == {
        "rated.jsonl": n["rated"],
        "pairs.jsonl": n["pairs"],
    }
    assert (run.report.data.rated, run.report.data.pairs) == (60, 30)
