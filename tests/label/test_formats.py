"""Pairs in the shapes of trainers, read by `datasets` as they are."""

import json

import datasets
import pytest

from armorm.integrations.verl import compute_score
from armorm.label import LabelOptions, PairOptions, PairRule, label
from armorm.label.formats import FORMATS, NOT_ONE_MESSAGE
from armorm.model.reward import RewardModel
from bundles import OBJECTIVES, encoder_backbone, make_bundle, saved

SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
ROWS = [
    {"prompt": "Is ice cold?", "responses": ["Yes.", "No, I would say.", "Perhaps."]},
    {"prompt": SYSTEM, "responses": ["4.", "It is 5."]},
    {"prompt": "Is fire hot?", "responses": ["Yes, é ü 𝄞.", "No."]},
]
FACTS = {"chosen_score", "rejected_score", "chosen_objectives", "rejected_objectives"}
COLUMNS = {
    "trl": {"prompt", "chosen", "rejected"},
    "trl-implicit": {"chosen", "rejected"},
    "trl-text": {"prompt", "chosen", "rejected"},
    "simpo": {"prompt", "all_generated_responses", "all_rm_scores", "chosen", "rejected"},
    "openrlhf": {"chosen", "rejected"},
    "verl": {"data_source", "prompt", "ability", "reward_model", "extra_info"},
}


@pytest.fixture
def pairs(model, write, tmp_path):
    """Label `ROWS` and load the output with `datasets`, which guesses nothing but the kind."""

    def loaded(name, ending):
        output = tmp_path / f"{name}.{ending}"
        options = LabelOptions(pairs=PairOptions(), format=name)
        done = label(model, write(ROWS), output, options=options)
        kind = "json" if ending == "jsonl" else "parquet"
        cache = str(tmp_path / "cache")
        table = datasets.load_dataset(kind, data_files=str(output), split="train", cache_dir=cache)
        return list(table), done.summary

    return loaded


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_loads_as_it_is(pairs, name, ending):
    rows, summary = pairs(name, ending)
    n = 2 if name == "trl-text" else 3
    assert len(rows) == n == summary["pairs"]["n"]
    for row in rows:
        facts = row["extra_info"] if name == "verl" else row
        assert set(row) == COLUMNS[name] | {"id"} | (set() if name == "verl" else FACTS)
        assert facts.keys() >= FACTS
        assert facts["chosen_score"] > facts["rejected_score"]
        assert list(facts["chosen_objectives"]) == list(OBJECTIVES)
    assert [row["id"] for row in rows] == (
        ["in:1", "in:3"] if name == "trl-text" else ["in:1", "in:2", "in:3"]
    )


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_scores_load_as_they_are(model, write, tmp_path, ending):
    output = tmp_path / f"scores.{ending}"
    label(model, write(ROWS), output, options=LabelOptions(texts=True))
    kind = "json" if ending == "jsonl" else "parquet"
    cache = str(tmp_path / "cache")
    table = datasets.load_dataset(kind, data_files=str(output), split="train", cache_dir=cache)
    assert len(table) == 7
    assert table[3]["prompt"] == SYSTEM
    assert list(table[3]["gating"]) == list(OBJECTIVES)
    assert [row["response"] for row in table][3:5] == ROWS[1]["responses"]


def test_both_kinds_of_file_hold_the_same_rows(pairs):
    for name in FORMATS:
        lines, table = pairs(name, "jsonl")[0], pairs(name, "parquet")[0]
        assert _same(lines, table)


def _same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == pytest.approx(other, rel=1e-6) if isinstance(one, float) else one == other


def test_explicit_conversational_pairs_are_prompt_and_one_message_a_side(pairs):
    row = pairs("trl", "jsonl")[0][1]
    assert row["prompt"] == SYSTEM
    for side in ("chosen", "rejected"):
        (message,) = row[side]
        assert message["role"] == "assistant"
    assert {row["chosen"][0]["content"], row["rejected"][0]["content"]} == {"4.", "It is 5."}


@pytest.mark.parametrize("name", ["trl-implicit", "openrlhf", "simpo"])
def test_implicit_pairs_begin_with_the_same_messages(pairs, name):
    row = pairs(name, "jsonl")[0][1]
    assert row["chosen"][:-1] == row["rejected"][:-1] == SYSTEM
    assert row["chosen"][-1] != row["rejected"][-1]


def test_texts_cannot_hold_a_prompt_of_several_messages(pairs):
    rows, summary = pairs("trl-text", "jsonl")
    assert rows[0]["prompt"] == "Is ice cold?"
    assert summary["pairs"]["prompts_without"] == {NOT_ONE_MESSAGE: 1}


def test_simpo_keeps_all_candidates_with_their_scores(pairs):
    row = pairs("simpo", "jsonl")[0][0]
    assert row["prompt"] == "Is ice cold?"
    assert row["all_generated_responses"] == ROWS[0]["responses"]
    scores = row["all_rm_scores"]
    best = row["all_generated_responses"][scores.index(max(scores))]
    worst = row["all_generated_responses"][scores.index(min(scores))]
    assert row["chosen"][-1]["content"] == best
    assert row["rejected"][-1]["content"] == worst


def test_rows_for_verl_have_what_its_reward_function_reads(pairs, small_bundle):
    row = pairs("verl", "parquet")[0][1]
    assert row["reward_model"]["ground_truth"] == row["extra_info"]["chosen"]
    assert row["extra_info"]["prompt"] == row["prompt"] == SYSTEM
    assert row["extra_info"]["index"] == 1
    found = compute_score(
        data_source=row["data_source"],
        solution_str=row["extra_info"]["chosen"],
        ground_truth=row["reward_model"]["ground_truth"],
        extra_info=row["extra_info"],
        bundle=str(small_bundle),
    )
    assert found["score"] == pytest.approx(_alone(small_bundle, row["extra_info"]["chosen"]))


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory):
    """A bundle on disk, as verl's workers load it."""
    folder = tmp_path_factory.mktemp("verl")
    backbone = encoder_backbone(folder / "encoder")
    return saved(folder / "bundle", make_bundle(backbone.facts()))


def _alone(bundle, response):
    """Score of a response to the prompt with two messages."""
    said = {"role": "assistant", "content": response}
    return RewardModel.load(bundle).score([[*SYSTEM, said]]).score.item()


def test_trl_reads_the_pairs_as_conversational(pairs):
    from trl import is_conversational, maybe_extract_prompt

    explicit, implicit = pairs("trl", "jsonl")[0][1], pairs("trl-implicit", "jsonl")[0][1]
    assert is_conversational(explicit)
    assert is_conversational(implicit)
    found = maybe_extract_prompt({k: implicit[k] for k in ("chosen", "rejected")})
    assert {k: found[k] for k in ("prompt", "chosen", "rejected")} == {
        k: explicit[k] for k in ("prompt", "chosen", "rejected")
    }
    text = pairs("trl-text", "jsonl")[0][0]
    assert not is_conversational({k: text[k] for k in ("prompt", "chosen", "rejected")})


def test_further_pairs_of_a_prompt_have_ids_of_their_own(model, write, tmp_path):
    rule = PairOptions(rule=PairRule.parse("margin>=0"))
    output = tmp_path / "out.jsonl"
    label(model, write(ROWS[:1]), output, options=LabelOptions(pairs=rule))
    ids = [json.loads(line)["id"] for line in output.read_text().splitlines()]
    assert ids == ["in:1", "in:1#2", "in:1#3"]


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match="`format` has the unknown name 'tlr'; did you mean 'trl'"):
        LabelOptions(format="tlr")
