"""The model card says what the facts say, and nothing else."""

import re

import pytest
import yaml

from armorm.model.card import model_card
from bundles import FACTS, NUISANCE, make_bundle
from fakes import HashBackbone

LOCAL = HashBackbone().facts()
HUB = LOCAL | {"name": "Skywork/Skywork-Reward-V2-Qwen3-0.6B", "revision": "0123abcd"}


def parts(card):
    """YAML head and text."""
    empty, head, text = card.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(head), text


def table(text, title):
    """Cells of the table under a heading, without its first two lines."""
    section = text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_head_is_yaml_that_hubs_read():
    head, _ = parts(model_card(make_bundle(HUB)))
    assert head == {
        "library_name": "armorm",
        "pipeline_tag": "text-classification",
        "base_model": HUB["name"],
        "tags": ["reward-model", "interpretability", "multi-objective"],
    }


@pytest.mark.parametrize("name", ["models/llama", "/data/llama", "./llama", "hash"])
def test_a_backbone_that_is_no_hub_id_is_no_base_model(name):
    # A relative folder was once taken for a hub id.
    head, _ = parts(model_card(make_bundle(LOCAL | {"name": name})))
    assert "base_model" not in head


def test_the_objectives_have_the_figures_of_the_facts():
    _, text = parts(model_card(make_bundle(HUB)))
    assert table(text, "Objectives") == [
        ["helpfulness", "0 to 4 (general)", "0.61", "0.33", "1,000"],
        ["honesty", "0 to 4 (general)", "0.25", "-", "1,000"],
        ["verbosity", "0 to 4 (general)", "0.93", "0.87", "1,000"],
        ["is_safe", "0 to 1 (safety)", "-", "-", "-"],
    ]
    assert "Figures: 5-fold cross-validation grouped by prompt." in text
    assert "The debias step takes `verbosity` out" in text


def test_the_accuracy_stands_beside_that_of_the_baselines():
    _, text = parts(model_card(make_bundle(HUB)))
    assert table(text, "Preference accuracy") == [["gated", "0.732"], ["uniform mean", "0.688"]]


def test_training_says_rows_seed_and_versions():
    _, text = parts(model_card(make_bundle(HUB)))
    assert (
        "1,234 rated responses and 56 preference pairs on 400 prompts; 3 rows dropped or "
        "truncated; sources: general (1,000 rated, 56 pairs), safety (234 rated, 0 pairs)."
    ) in text
    assert "Seed 7, number of threads 2, armorm 0.1.0, torch 2.13.0." in text
    assert HUB["digest"] in text


def test_every_number_of_the_text_is_one_of_the_facts():
    _, text = parts(model_card(make_bundle(HUB | {"digest": "f" * 64})))
    known = {
        *("0.61", "0.33", "0.25", "0.93", "0.87", "0.732", "0.688"),  # figures
        *("1,000", "1,234", "56", "400", "234", "3", "7", "2", "0", "1", "4", "5", "512"),
        *("2406.12845", "0.1.0", "2.13.0", "0.6"),  # paper, versions, name of the backbone
    }
    found = set(re.findall(r"(?<![\w.])\d[\d,.]*\d|(?<![\w.])\d", text))
    assert found <= known | {"4 objectives"}, found - known


def test_a_bundle_without_facts_claims_nothing():
    _, text = parts(model_card(make_bundle(LOCAL, facts={}, scales={}, nuisances=())))
    assert "## Preference accuracy" not in text
    assert "## Training" not in text
    assert "debias" not in text
    assert table(text, "Objectives")[0] == ["helpfulness", "not stated", "-", "-", "-"]


@pytest.mark.parametrize(("too_long", "says"), [("truncate", "cut from the left"), ("drop", "ref")])
def test_what_happens_to_long_conversations_is_said(too_long, says):
    options = LOCAL["options"] | {"too_long": too_long}
    _, text = parts(model_card(make_bundle(LOCAL | {"options": options})))
    assert f"The longest conversation is 512 tokens; longer ones are {says}" in text


def test_a_name_with_a_bar_stays_in_its_cell():
    names = ("help|ful", "honesty", "verbosity", "is_safe")
    _, text = parts(model_card(make_bundle(LOCAL, objectives=names, nuisances=(NUISANCE,))))
    rows = table(text, "Objectives")
    assert rows[0][0] == r"help\|ful"
    assert {len(row) for row in rows} == {5}


def test_the_facts_are_not_changed():
    before = repr(FACTS)
    model_card(make_bundle(HUB))
    assert repr(FACTS) == before
