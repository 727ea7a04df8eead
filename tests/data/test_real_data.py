"""Published data sets, read where a developer has them beside the repository."""

import gzip
import json
from pathlib import Path

import pytest

from armorm.data import DataSource, read_conversations, read_pairs, read_rated, summarise
from armorm.types import Scale

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "real"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no published data at {FOLDER}")

N_PAIRS = {
    "finegrained_qa_pairs": 2616,
    "hh_harmless_test": 1150,
    "hhh_alignment": 221,
    "humanevalpack": 328,
    "llmbar_processed": 623,
    "pandalm": 683,
    "truthfulqa_pairs": 817,
    "ultrafeedback_small": 991,
    "vicuna_pairs": 710,
}
N_RATED = {
    "dices_safety": 990,
    "finegrained_qa": 500,
    "halueval_general": 4493,
    "hanna_human_stories": 96,
    "inferential_strategies": 300,
    "just_eval": 3060,
    "llm_rubric_real": 223,
    "prometheus_rubric": 564,
    "roscoe": 410,
    "sf_data2text": 2056,
    "usr_topical_chat": 180,
    "vicuna_reviews": 1582,
}


@pytest.fixture(scope="module")
def summary():
    return summarise(FOLDER)


@pytest.mark.slow
def test_every_published_row_is_good(summary):
    assert {file.path: file.errors for file in summary.files if file.n_bad} == {}
    counts = {Path(f.path).name.split(".")[0]: (f.n_rated, f.n_pairs) for f in summary.files}
    expected = {name: (n, 0) for name, n in N_RATED.items()}
    assert counts == expected | {name: (0, n) for name, n in N_PAIRS.items()}


@pytest.mark.slow
def test_readers_and_summary_agree(summary, drops):
    scales = {}
    for cell in summary.coverage:
        scales.setdefault(cell.source, {})[cell.objective] = Scale(0, 10)
    rated = read_rated(
        [DataSource(str(FOLDER / f"{n}.jsonl.gz")) for n in N_RATED], scales, drops=drops
    )
    assert sum(len(row.ratings) for row in rated) == sum(cell.count for cell in summary.coverage)
    pairs = read_pairs([DataSource(str(FOLDER / f"{n}.jsonl.gz")) for n in N_PAIRS], drops=drops)
    longer = sum(len(pair.chosen) > len(pair.rejected) for pair in pairs)
    assert longer == summary.n_longer_chosen
    assert len(rated) + len(pairs) == len(read_conversations(FOLDER))
    assert drops.total == 0


@pytest.mark.slow
def test_counts_equal_those_of_the_plain_json(summary):
    """An independent reading: no code of ours between the file and the numbers."""
    longer = equal = characters = 0
    for name in N_PAIRS:
        with gzip.open(FOLDER / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                longer += len(row["chosen"]) > len(row["rejected"])
                equal += len(row["chosen"]) == len(row["rejected"])
                characters = max(characters, len(row["chosen"]), len(row["rejected"]))
    assert (summary.n_longer_chosen, summary.n_equal_length) == (longer, equal)
    assert summary.response_lengths.max >= characters


@pytest.mark.parametrize(
    ("name", "opening"), [("usr_topical_chat", "user"), ("llm_rubric_real", "assistant")]
)
def test_recorded_chats_read_as_messages(name, opening):
    rows = read_conversations(FOLDER / f"{name}.jsonl.gz")
    assert len(rows) == N_RATED[name]
    assert {row.prompt[0].role for row in rows} == {opening}
    assert {row.prompt[-1].role for row in rows} == {"user"}
