"""Reading recipes: short forms, overrides, and every mistake at once."""

import re
from pathlib import Path

import pytest
import yaml

import armorm.data.quickstart as quickstart
from armorm.errors import RecipeError
from armorm.train.output import recipe_yaml
from armorm.train.recipe import load_recipe, parse_recipe

GOOD = {
    "name": "good",
    "backbone": "some/model",
    "scales": {"s": {"honesty": [0, 4], "verbosity": [1, 5]}},
    "rated": "rated.jsonl",
    "pairs": ["pairs.jsonl", {"path": "hub:owner/name", "split": "train[:10]"}],
}

TEN_MISTAKES = """\
name: bad name
seed: -1
backbone: {name: model, device: gpu, revison: main}
scales: {s: {honesty: [4, 0], verbosity: [0, 4]}}
rated: []
pairs: pairs.jsonl
bad_rows: skip
debias: {nuisances: [verbose]}
gating: {hiden: [4], temperature: 0}
evaluation: {folds: two}
ridge: {alphas: []}
"""

LINES = [
    r"ten.yaml: name: must match pattern '.*'; got 'bad name'",
    r"ten.yaml: seed: must be greater than or equal to 0; got -1",
    r"ten.yaml: backbone.device: must match pattern '.*cuda.*'; got 'gpu'",
    r"ten.yaml: backbone.revison: unknown key 'revison'; did you mean 'revision'\?",
    r"ten.yaml: scales.s.honesty: `low` must be below `high`; got \(4, 0\)",
    r"ten.yaml: bad_rows: must be 'stop' or 'drop'; got 'skip'",
    r"ten.yaml: ridge.alphas: must have at least 1 item; got \[\]",
    r"ten.yaml: gating.temperature: must be greater than or equal to 0.000001; got 0",
    r"ten.yaml: gating.hiden: unknown key 'hiden'; did you mean 'hidden'\?",
    r"ten.yaml: evaluation.folds: must be a whole number; got 'two'",
    r"ten.yaml: debias.nuisances: unknown objective 'verbose'; did you mean 'verbosity'\?",
]


def changed(**changes):
    content = {**GOOD, **changes}
    return {key: value for key, value in content.items() if value is not None}


def written(folder, content, name="recipe.yaml"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def mistakes_of(content):
    with pytest.raises(RecipeError) as error:
        parse_recipe(content, where="r.yaml")
    return list(error.value.mistakes)


def test_every_mistake_is_reported_at_once_with_its_key_path(tmp_path):
    path = written(tmp_path, TEN_MISTAKES, "ten.yaml")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    found = list(error.value.mistakes)
    assert len(found) == len(LINES)
    for pattern in LINES:
        assert sum(re.fullmatch(pattern, line) is not None for line in found) == 1, (pattern, found)
    assert all("\n" not in line for line in found)


def test_short_forms_mean_the_long_ones():
    long = {
        "name": "good",
        "backbone": {"name": "some/model"},
        "scales": {"s": {"honesty": {"low": 0, "high": 4}, "verbosity": {"low": 1, "high": 5}}},
        "rated": [{"path": "rated.jsonl"}],
        "pairs": [{"path": "pairs.jsonl"}, {"path": "hub:owner/name", "split": "train[:10]"}],
    }
    assert parse_recipe(GOOD) == parse_recipe(long)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (changed(backbone=None), "backbone: this key must be there; it is missing"),
        (
            changed(rated=None),
            "rated: the ridge head needs rated rows (or `ridge:` a bundle that has one); none",
        ),
        (
            changed(ridge="bundle"),
            "rated: `ridge: bundle` stands in place of rated data; give one of the two",
        ),
        (
            changed(scales=None),
            "scales: every source needs the scale of each of its objectives; there is none",
        ),
        (
            changed(pairs=None),
            "pairs: the gating needs preference pairs (or `derived_pairs:` from ratings); none",
        ),
        (
            changed(rated=None, ridge="b", derived_pairs={"weights": {"honesty": 1}}),
            "derived_pairs: pairs are derived from rated rows; there are none",
        ),
        (
            changed(derived_pairs={"weights": {"honest": 1}}),
            "derived_pairs.weights: unknown objective 'honest'; did you mean 'honesty'?",
        ),
        (
            changed(derived_pairs={"weights": {"honesty": 0}}),
            "derived_pairs.weights: one weight must differ from 0; got {'honesty': 0.0}",
        ),
        (
            changed(debias={"nuisances": ["honesty", "verbosity"]}),
            "debias.nuisances: at least one objective must not be a nuisance; all are",
        ),
        (
            changed(rated=None, ridge="b", debias={"reference": "rated"}),
            "debias.reference: 'rated' needs `rated:` rows; there are none",
        ),
        (
            changed(rated={"path": "x", "columns": {"reply": "text"}}),
            "rated.0: `columns` maps no field 'reply'; known: 'id', 'prompt', 'response', "
            "'messages', 'chosen', 'rejected', 'source', 'ratings'",
        ),
        (
            changed(rated={"path": "x", "split": "train"}),
            "rated.0: `split` is for hub data only; got 'train' for 'x'",
        ),
        (changed(ridge=5), "ridge: must be a text or a mapping; got 5"),
        (changed(ridge=""), "ridge: must have at least 1 character; got ''"),
        (
            changed(rated={"path": "x", "columns": {"id": 5}}),
            "rated.0.columns.id: must be a text or a mapping; got 5",
        ),
        # In the words of YAML, not in those of the checking library.
        (changed(name=5), "name: must be a text; got 5"),
        (changed(rated=5), "rated: must be a list; got 5"),
        (changed(rated=[5]), "rated.0: must be a text or a mapping; got 5"),
        (changed(backbone=5), "backbone: must be a text or a mapping; got 5"),
        (changed(gating=[1]), "gating: must be a mapping; got [1]"),
        (changed(gating={"hidden": 5}), "gating.hidden: must be a list; got 5"),
        (changed(gating={"hidden": [1] * 65}), "gating.hidden: must have at most 64 items; got [1"),
        (changed(gating={"temperature": True}), "gating.temperature: must be a number; got true"),
        (changed(gating={"standardise": "y"}), "gating.standardise: must be true or false; got 'y"),
        (changed(seed=1.5), "seed: must be a whole number; got 1.5"),
        (changed(seed=16**5000), "seed: must be less than or equal to 9223372036854775807; got a "),
        (changed(debias={"reference": True}), "debias.reference: must be 'rated', 'pairs' or 'all"),
        (
            changed(scales={"s": {"a": [1]}}),
            "scales.s.a: must be `[low, high]` or a mapping; got [",
        ),
        (changed(scales={"s": 5}), "scales.s: must be a mapping; got 5"),
        (changed(scales={"s": {1: [0, 4]}}), "scales.s: keys must be texts; got 1"),
        (changed(gating={True: 2}), "gating: keys must be texts; got true"),
        ({**GOOD, 1: 2}, "keys must be texts; got 1"),
        (
            changed(derived_pairs={"weights": {}}),
            "derived_pairs.weights: must have at least 1 item; got {}",
        ),
        (
            changed(debias={"nuisances": ["verbosity", "verbosity"]}),
            "debias.nuisances: every nuisance must stand once; got 'verbosity' twice",
        ),
        (
            changed(features={"blocks": ["respons"]}),
            "features: `blocks` has the unknown name 'respons'; did you mean 'response'?",
        ),
        (
            changed(gating={"learning_rate": float("inf")}),
            "gating.learning_rate: must be a finite number; got inf",
        ),
        (
            changed(ridge={"alpha": 1}),
            "ridge.alpha: unknown key 'alpha'; did you mean 'alphas'?",
        ),
        (
            changed(scales={"s": {"honesty": {"low": 0, "hgih": 4}, "verbosity": [0, 1]}}),
            "scales.s.honesty.hgih: unknown key 'hgih'; did you mean 'high'?",
        ),
        (["a"], "a recipe must be a mapping; got list"),
    ],
)
def test_mistake_is_named(content, line):
    assert any(found.startswith(f"r.yaml: {line}") for found in mistakes_of(content))


@pytest.mark.parametrize(
    "changes",
    [
        {"debias": {"nuisances": [1]}},
        {"features": {"layers": [True]}},
        {"derived_pairs": {"weights": {"honesty": "x"}}},
        {"scales": {"s": {"honesty": [0, 4], "verbosity": [1]}}},
    ],
    ids=str,
)
def test_one_mistake_is_one_line(changes):
    assert len(mistakes_of(changed(**changes))) == 1


def test_long_value_is_cut_in_the_message():
    value = "x"
    for _ in range(40):  # 2 ** 40 texts, as a few lines of YAML with aliases make them
        value = [value, value]
    (line,) = mistakes_of(changed(seed=value))
    assert line.startswith("r.yaml: seed: must be a whole number; got [[[[...], [...]], ")
    assert len(line) < 200


def test_right_keys_are_not_blamed():
    lines = mistakes_of(changed(gating={"temperatur": 5}))
    assert lines == [
        "r.yaml: gating.temperatur: unknown key 'temperatur'; did you mean 'temperature'?"
    ]


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("gating.temperature=5", lambda r: r.gating.temperature, 5),
        ("gating={temperature: 5}", lambda r: r.gating.temperature, 5),
        ("gating.learning_rate=1e-2", lambda r: r.gating.learning_rate, 0.01),
        ("gating.hidden=[8, 8]", lambda r: r.gating.hidden, (8, 8)),
        ("debias.nuisances=[]", lambda r: r.debias.nuisances, ()),
        ("debias.nuisances.0=honesty", lambda r: r.debias.nuisances, ("honesty",)),
        ("pairs.1.split=test", lambda r: r.pairs[1].split, "test"),
        ("rated.0.source=s", lambda r: r.rated[0].source, "s"),
        ("pairs.0=hub:a/b", lambda r: r.pairs[0].path, "hub:a/b"),
        ("rated=hub:a/b", lambda r: r.rated[0].path, "hub:a/b"),
        (
            "backbone.dtype=bfloat16",
            lambda r: (r.backbone.name, r.backbone.dtype),
            ("some/model", "bfloat16"),
        ),
        ("backbone=other/model", lambda r: r.backbone.name, "other/model"),
        ("scales.s.honesty.high=9", lambda r: r.scales["s"]["honesty"].high, 9),
        ("scales.s.honesty=[2, 3]", lambda r: r.scales["s"]["honesty"].low, 2),
        ("threads=null", lambda r: r.threads, None),
        ("features.max_tokens=64", lambda r: r.features.max_tokens, 64),
    ],
)
def test_override_sets_one_value(tmp_path, override, read, value):
    content = changed(debias={"nuisances": ["verbosity"]})
    path = written(tmp_path, content)
    before, after = load_recipe(path), load_recipe(path, [override])
    assert read(before) != value or value is None
    assert read(after) == value


def test_later_overrides_win_and_others_stay(tmp_path):
    path = written(tmp_path, GOOD)
    recipe = load_recipe(path, ["seed=1", "seed=2", "backbone.revision=abc"])
    assert (recipe.seed, recipe.backbone.revision) == (2, "abc")
    assert recipe.rated == load_recipe(path).rated


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("gating", "--set 'gating': must read key.path=value"),
        ("=5", "--set '=5': must read key.path=value"),
        (
            "gating.hidden=[1",
            "--set 'gating.hidden=[1': the value is not YAML: expected ',' or ']', but got "
            "'<stream end>'",
        ),
        (
            "seed=2024-13-01",
            "--set 'seed=2024-13-01': the value is not YAML: month must be in 1..12",
        ),
        (
            "gating={temperature: 5, temperature: 6}",
            "--set 'gating={temperature: 5, temperature: 6}': the value is not YAML: the key "
            "'temperature' stands twice",
        ),
        (
            "seed=" + "[" * 20_000,
            f"--set 'seed={'[' * 32}...{'[' * 38}': the value is not YAML: it is nested too deeply",
        ),
        # A digit for `isdigit`, and no number for `int`.
        ("pairs.²=x", "--set 'pairs.²=x': there is no '²' to set"),
        ("pairs.².path=x", "--set 'pairs.².path=x': there is no '²' to go into"),
        ("pairs.-1=x", "--set 'pairs.-1=x': there is no '-1' to set"),
        (
            f"pairs.{'9' * 5000}=x",
            f"--set 'pairs.{'9' * 31}...{'9' * 36}=x': there is no '{'9' * 37}...{'9' * 38}' to "
            "set",
        ),
        ("name.a.b=1", "--set 'name.a.b=1': there is no 'a' to go into"),
        ("pairs.7.path=x", "--set 'pairs.7.path=x': there is no '7' to go into"),
        ("pairs.7=x", "--set 'pairs.7=x': there is no '7' to set"),
        ("gatin.temperature=5", "recipe.yaml: gatin: unknown key 'gatin'; did you mean 'gating'?"),
    ],
)
def test_override_that_fits_nowhere_is_named(tmp_path, override, line):
    with pytest.raises(RecipeError) as error:
        load_recipe(written(tmp_path, GOOD), [override])
    assert error.value.mistakes == (line,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nseed: [1\nrated: x\n", "recipe.yaml:3: not YAML: "),
        ("name: a\n\tseed: 1\n", "recipe.yaml:2: not YAML: found character '\\t'"),
        ("name: a\nseed: 1\nname: b\n", "recipe.yaml:3: not YAML: the key 'name' stands twice"),
        ("name: a\ngating:\n  hidden: []\n  hidden: [1]\n", "recipe.yaml:4: not YAML: the key"),
        ("name: a\nseed: \x00\n", "recipe.yaml:2: not YAML: unacceptable character #x0000"),
        ("name: 2024-13-01\n", "recipe.yaml: not YAML: month must be in 1..12"),
        ("? [a, b]\n: 1\n", "recipe.yaml:1: not YAML: found unhashable key"),
        ("[" * 20_000, "recipe.yaml: not YAML: it is nested too deeply"),
        ("{a: " * 3000, "recipe.yaml: not YAML: it is nested too deeply"),
        ("name: &a [*a]\n", "recipe.yaml: name: must be a text; got [[[[...]]]]"),
        ("", "recipe.yaml: the recipe is empty"),
        ("# nothing\n", "recipe.yaml: the recipe is empty"),
        ("just text\n", "recipe.yaml: a recipe must be a mapping; got str"),
    ],
)
def test_text_that_is_no_recipe_is_located(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    line = error.value.mistakes[0]
    assert message in line
    assert "\n" not in line


def test_merge_keys_are_no_copies(tmp_path):
    text = yaml.safe_dump(GOOD) + "gating: &g {temperature: 2}\n"
    recipe = load_recipe(written(tmp_path, text))
    assert recipe.gating.temperature == 2


def test_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"absent.yaml: no such recipe"):
        load_recipe(tmp_path / "absent.yaml")
    with pytest.raises(RecipeError, match="a recipe must be a file; this is a folder"):
        load_recipe(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin.yaml: a recipe must be UTF-8; byte 6 is not"):
        load_recipe(tmp_path / "latin.yaml")


def test_relative_paths_start_at_the_recipe(tmp_path):
    (tmp_path / "backbone").mkdir()
    (tmp_path / "bundle").mkdir()
    content = changed(
        backbone="backbone",
        rated=["a/r.jsonl", "/abs/r.jsonl", "hub:owner/name"],
        pairs="quickstart:pairs.jsonl",
    )
    recipe = load_recipe(written(tmp_path, content))
    assert recipe.backbone.name == str(tmp_path / "backbone")
    assert [s.path for s in recipe.rated] == [
        str(tmp_path / "a/r.jsonl"),
        "/abs/r.jsonl",
        "hub:owner/name",
    ]
    assert recipe.pairs[0].path == "quickstart:pairs.jsonl"
    given = load_recipe(written(tmp_path, changed(rated=None, ridge="bundle")))
    assert given.ridge == str(tmp_path / "bundle")
    # A hub id that is no folder beside the recipe stays a hub id.
    assert given.backbone.name == "some/model"


def test_resolved_recipe_reads_back_as_itself(tmp_path):
    content = changed(
        ridge={"alphas": [1, 10]},
        derived_pairs={"weights": {"honesty": 1.0}},
        rated={
            "path": "r.jsonl",
            "columns": {"ratings": {"h": "honesty"}},
            "values": {"N/A": None},
        },
    )
    recipe = load_recipe(written(tmp_path, content))
    again = load_recipe(written(tmp_path, recipe_yaml(recipe), "again.yaml"))
    assert again == recipe
    assert again.fingerprint() == recipe.fingerprint()


SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", [quickstart.RECIPE, *SHIPPED], ids=lambda path: Path(path).stem)
def test_shipped_recipe_has_no_mistake(path):
    assert load_recipe(Path(path)).objectives or isinstance(load_recipe(Path(path)).ridge, str)
