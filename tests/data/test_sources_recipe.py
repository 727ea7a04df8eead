"""The recipe of the paper: its sources, scales and objectives are those of the converters."""

import json
import re
import shutil
from pathlib import Path

import pytest

from armorm.data import DataSource, Drops, read_pairs, read_rated
from armorm.data.sources import convert_set, published_set, published_sets
from armorm.features.published import OBJECTIVES
from armorm.train.recipe import load_recipe
from paper_records import PAIRS
from rated_records import RECORDS

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "armorm-llama3-8b.yaml"


@pytest.fixture
def recipe(tmp_path):
    """The recipe beside a folder of converted fixtures, as a user would have it."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    shutil.copy(RECIPE, folder)
    for name, records in (RECORDS | PAIRS).items():
        given = tmp_path / f"{name}.jsonl"
        given.write_text("".join(json.dumps(record) + "\n" for record in records))
        convert_set(
            published_set(name),
            output=tmp_path / "runs" / "data" / f"{name}.parquet",
            source=DataSource(str(given)),
            bad_rows="stop",
            drops=Drops(),
        )
    return load_recipe(folder / RECIPE.name)


def names(sources):
    """The sets that files were converted from."""
    return [Path(source.path).stem for source in sources]


def scales_of(recipe):
    """Source -> objective -> what the recipe says of its scale."""
    return {
        source: {name: scale.model_dump() for name, scale in scales.items()}
        for source, scales in recipe.scales.items()
    }


def test_objectives_are_those_of_the_released_model_in_its_order(recipe):
    assert recipe.objectives == OBJECTIVES


def test_scales_are_those_of_the_converters(recipe):
    wanted = {
        source: {
            name: {part: getattr(scale, part) for part in ("low", "high", "offset", "divisor")}
            for name, scale in published_set(source).scales.items()
        }
        for source in recipe.scales
    }
    assert scales_of(recipe) == wanted
    assert set(names(recipe.rated)) == set(recipe.scales)


def test_rated_files_are_read_with_the_scales_of_the_recipe(recipe):
    scales = {source: published_set(source).scales for source in recipe.scales}
    sources = [DataSource(**source.model_dump()) for source in recipe.rated]
    rows = read_rated(sources, scales, drops=Drops())
    assert {row.source for row in rows} == set(recipe.scales)


def test_pairs_are_those_of_the_paper_and_are_read(recipe):
    assert set(names(recipe.pairs)) == set(PAIRS)
    rows = read_pairs([DataSource(**source.model_dump()) for source in recipe.pairs], drops=Drops())
    assert {row.source for row in rows} == set(PAIRS)


def test_heads_are_those_that_the_released_layout_can_hold(recipe):
    assert not recipe.ridge.intercept
    assert recipe.debias.nuisances == ("helpsteer-verbosity",)
    gating = recipe.gating
    assert (gating.hidden, gating.temperature) == ((1024,) * 3, 10)
    assert (gating.learning_rate, gating.batch_size, gating.max_steps) == (1e-3, 1024, 10_000)


def test_the_gate_is_not_stopped_before_the_last_step(recipe):
    gating = recipe.gating
    assert gating.eval_every * gating.patience >= gating.max_steps


def test_the_catalogue_converts_sets_that_exist():
    text = (ROOT / "docs" / "data-sets.md").read_text()
    converted = set(re.findall(r"armorm data convert ([a-z0-9-]+)", text))
    assert converted
    assert converted <= set(published_sets())


def test_the_document_converts_every_file_of_the_recipe():
    text = (ROOT / "docs" / "reproduce-the-paper.md").read_text()
    loop = re.search(r"for name in ([^;]+);", text.replace("\\\n", " "))
    assert loop is not None
    recipe = load_recipe(RECIPE)
    assert set(loop[1].split()) == {*names(recipe.rated), *names(recipe.pairs)}


def test_the_catalogue_names_every_set_with_its_licence_and_rows():
    text = (ROOT / "docs" / "data-sets.md").read_text()
    for one in published_sets().values():
        rows = "" if one.n_rows is None else f"{one.n_rows:,}"
        line = next(
            (line for line in text.splitlines() if line.startswith(f"| `{one.name}` |")), ""
        )
        assert one.licence in line, one.name
        assert rows in line, one.name
