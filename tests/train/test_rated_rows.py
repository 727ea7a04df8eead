import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from armorm.data import DataSource, Drops, read_pairs
from armorm.errors import DataError, FeatureError
from armorm.explain.explained import explain_pair
from armorm.explain.nearest import NoRows, RatedRows
from armorm.model.bundle import load_bundle
from armorm.model.reward import RewardModel
from armorm.train.rated_rows import rows_of_run


def opened(project, **more):
    folder = project.folder / "run" / "bundle"
    return rows_of_run(folder, load_bundle(folder), **more)


def edit(path, change):
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_the_rows_of_a_run_are_found_beside_its_bundle_with_their_features(trained):
    rows = opened(trained)
    assert isinstance(rows, RatedRows)
    assert len(rows) == 60
    assert rows.n_rated("good") == 60
    # A response that is itself a rated row is its own nearest one.
    model = RewardModel.load(trained.folder / "run" / "bundle")
    row = rows.rows[7]
    other = next(r for r in rows.rows if r.prompt == row.prompt and r.id != row.id)
    pairs = read_pairs([DataSource(str(trained.folder / "pairs.jsonl"))], drops=Drops())
    pair = replace(pairs[0], prompt=row.prompt, chosen=row.response, rejected=other.response)
    one = explain_pair(model, pair, rows=rows)
    assert one.nearest_chosen[0].row.id == row.id
    assert one.nearest_rejected[0].row.id == other.id
    assert one.nearest_chosen[0].similarity == pytest.approx(1, abs=1e-3)
    assert one.nearest_chosen[0].rating == row.ratings[one.objective]


def test_a_bundle_elsewhere_has_no_rows_at_hand(trained, tmp_path):
    shutil.copytree(trained.folder / "run" / "bundle", tmp_path / "bundle")
    found = rows_of_run(tmp_path / "bundle", load_bundle(tmp_path / "bundle"))
    assert found == NoRows(
        "No rated rows are at hand: the bundle is not in the folder of its run; `--rated FILE` "
        "gives some."
    )


def test_files_and_features_that_are_gone_are_said_to_be(copied):
    copied.write()
    shutil.rmtree(copied.folder / "run" / "features" / "rated")
    assert "has no features; `--rated FILE` gives some" in opened(copied).reason
    recipe = copied.folder / "run" / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("/rated.jsonl", "/gone.jsonl"))
    assert "gone.jsonl is no longer there" in opened(copied).reason


@pytest.fixture
def changed(trained, copied):
    """A copy of the run whose recipe names rated rows of its own, to be changed."""
    recipe = copied.folder / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(trained.folder), str(copied.folder)))
    copied.write()
    return copied


@pytest.mark.parametrize("part", ["response", "ratings"])
def test_rated_files_that_changed_since_training_are_refused(changed, part):
    assert isinstance(opened(changed), RatedRows)
    if part == "response":
        changed.rated[3]["response"] = "something else"
    else:
        changed.rated[3]["ratings"]["good"] = 4 - changed.rated[3]["ratings"]["good"] or 3
    changed.write()
    text = "the rated files of its recipe must be those it was trained on; they have changed since"
    with pytest.raises(DataError, match=text):
        opened(changed)
    assert text in opened(changed, lenient=True).reason


def test_a_run_of_an_earlier_version_knows_its_rows_by_their_texts(changed):
    edit(changed.folder / "run" / "run.json", lambda done: done.pop("rated"))
    changed.rated[3]["ratings"]["good"] = 0
    changed.write()
    assert isinstance(opened(changed), RatedRows)


def test_features_of_another_backbone_are_refused(trained):
    folder = trained.folder / "run" / "bundle"
    bundle = load_bundle(folder)
    other = replace(bundle, backbone={**bundle.backbone, "digest": "0" * 64})
    with pytest.raises(FeatureError, match="must be features of the backbone of the bundle; their"):
        rows_of_run(folder, other)


def test_a_damaged_mark_of_a_run_is_refused(changed):
    (changed.folder / "run" / "run.json").write_text("[]")
    with pytest.raises(DataError, match=r"run\.json: must be the JSON object of a finished run"):
        opened(changed)


def test_a_run_of_pairs_alone_has_no_rated_rows(changed):
    recipe = changed.folder / "run" / "recipe.yaml"
    lines = recipe.read_text().splitlines()
    start = lines.index("rated:")
    stop = next(i for i in range(start + 1, len(lines)) if lines[i][0] not in " -")
    given = f"ridge: {changed.folder / 'run' / 'bundle'}"
    kept = [*lines[:start], *lines[stop:]]
    at = kept.index("ridge:")
    end = next(i for i in range(at + 1, len(kept)) if kept[i][0] not in " -")
    recipe.write_text("\n".join([*kept[:at], given, *kept[end:]]))
    assert "recipe.yaml names none" in opened(changed).reason
    assert Path(recipe).is_file()
