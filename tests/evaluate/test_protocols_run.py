"""Protocols from files to figures: columns, coverage, intervals, the cache, what is refused."""

import json

import numpy as np
import pytest
from scipy import stats

from armorm.data import Drops, group_of
from armorm.errors import DataError
from armorm.evaluate.bootstrap import Resampling, accuracy_interval, paired_interval
from armorm.evaluate.groups import group_rows
from armorm.evaluate.protocols import (
    PROTOCOLS,
    Protocol,
    ProtocolResult,
    Section,
    Subset,
    check_result_folder,
    evaluate_protocol,
    read_protocol,
    result_json,
    write_result,
)
from armorm.evaluate.protocols.compared import figure_intervals
from armorm.evaluate.protocols.coverage import cover
from armorm.evaluate.protocols.plan import figures_of, keys_of, measure, weight_matrix
from armorm.evaluate.scoring import BundleScorer, LengthScorer, RandomScorer
from armorm.features.interface import FeatureOptions
from armorm.model.reward import RewardModel
from armorm.types import Message
from bundles import make_bundle
from fakes import HashBackbone
from protocol_tables import row

FEW = Resampling(n_resamples=200)


class Oracle:
    """Scores what a response says it is worth: `... 0.7`."""

    name = "oracle"
    identity = "0a" * 32

    def score(self, conversations, *, progress=None):
        return np.array([float(c.response.split()[-1]) for c in conversations])


class Constant(Oracle):
    name = "constant"
    identity = "0c" * 32

    def score(self, conversations, *, progress=None):
        return np.zeros(len(conversations))


@pytest.fixture
def write(tmp_path):
    """Write rows as JSON Lines and return the path as text."""

    def to(name, rows):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return to


def rewardbench_rows(counts=None):
    """Rows in the official columns; the chosen response is worth 1, the rejected one 0."""
    counts = counts or {s.name: s.count for _, s in PROTOCOLS["rewardbench"].subsets()}
    return [
        {
            "id": i,
            "prompt": f"{name} {i}",
            "chosen": f"yes {i} 1",
            "rejected": f"no {i} 0",
            "subset": name,
        }
        for name, n in counts.items()
        for i in range(n)
    ]


def ties_rows(n):
    rows = []
    for i in range(n):
        base = {"prompt": f"name a colour {i}", "rejected": ["wood 0"], "subset": "Ties"}
        rows.append({**base, "id": f"ref:{i}", "chosen": ["red 3"]})
        rows.append({**base, "id": f"tied:{i}", "chosen": ["red 3", "blue 2.5"]})
    return rows


def rm_rows(n):
    return [
        {
            "id": f"{domain}/{i}",
            "prompt": f"{domain} {i}",
            "chosen": [f"c{i} 1", f"c{i} 2", f"c{i} 3"],
            "rejected": [f"r{i} 0", f"r{i} 1", f"r{i} 2.5"],
            "domain": domain,
        }
        for domain in ("chat", "math", "code", "safety-refuse", "safety-response")
        for i in range(n)
    ]


def judge_rows(n):
    return [
        {
            "pair_id": f"{source}-{i}",
            "source": source,
            "question": f"{source} {i}?",
            "response_A": f"a{i} {i % 2}",
            "response_B": f"b{i} {(i + 1) % 2}",
            "label": "A>B" if i % 2 else "B>A",
        }
        for source in ("mmlu-pro-law", "livebench-reasoning", "livebench-math", "livecodebench")
        for i in range(n)
    ]


def best_rows(n):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        worth = rng.random(5).round(3).tolist()
        rows.append(
            {
                "prompt": f"write {i}",
                "responses": [f"text {j} {w}" for j, w in enumerate(worth)],
                "references": worth,
            }
        )
    return rows


def run(protocol, data, scorers=None, **options):
    return evaluate_protocol(
        protocol, scorers or [Oracle()], data=data, **{"resampling": FEW} | options
    )


def test_whole_rewardbench_of_an_oracle_is_one_everywhere(write):
    result = run("rewardbench", write("filtered.jsonl", rewardbench_rows()))
    assert result.is_whole
    assert result.n_rows == 2985
    oracle, longer, shorter = result.scorers
    assert oracle.overall.result.value == 1.0
    assert list(oracle.sections) == ["Chat", "Chat Hard", "Safety", "Reasoning"]
    assert oracle.sections["Reasoning"].result.n_rows == 1431
    assert len(oracle.subsets) == 23
    assert (longer.scorer, shorter.scorer) == ("longer wins", "shorter wins")
    assert (longer.is_baseline, oracle.is_baseline) == (True, False)
    assert longer.overall.result.value == 1.0  # "yes" has a letter more than "no"
    assert shorter.overall.difference.value == -1.0
    # Wilson, for all are wins: never a point at 1.
    assert oracle.overall.result.low < 1.0 == oracle.overall.result.high
    assert "without prior sets; official example counts; an exact tie is a loss" in result.rule


def test_missing_subsets_and_wrong_counts_are_all_said(write):
    counts = {s.name: s.count for _, s in PROTOCOLS["rewardbench"].subsets()}
    del counts["math-prm"], counts["donotanswer"]
    path = write("rows.jsonl", rewardbench_rows(counts | {"hep-go": 160, "hep-goo": 1}))
    said = (
        r"rows.jsonl: the protocol 'rewardbench' must have its 23 subsets with 2,985 rows; missing "
        r"'donotanswer', 'math-prm'; 'hep-go' has 160 of 164 rows; unknown subset 'hep-goo' "
        r"\(1 row\)\. `partial` \(--partial\) gives figures of what is there"
    )
    with pytest.raises(DataError, match=said):
        run("rewardbench", path)


def test_partial_gives_figures_of_what_is_there_and_says_so(write):
    path = write("rows.jsonl", rewardbench_rows({"hep-go": 3, "math-prm": 2, "strange": 4}))
    result = run("rewardbench", path, partial=True, scorers=[Constant(), Oracle()])
    assert not result.is_whole
    assert result.rule.startswith("PARTIAL, of what is there alone: ")
    constant, oracle = result.scorers[:2]
    assert list(constant.sections) == ["Reasoning"]
    assert constant.n_ties == 5
    assert constant.overall.result.value == 0.0
    assert oracle.overall.difference.value == 1.0
    assert result.coverage.unknown == {"strange": 4}
    assert result.coverage.sentence().startswith("5 rows; 0 of 23 subsets whole; missing 'alpaca")
    assert "'hep-go' has 3 of 164 rows" in result.coverage.sentence()
    assert not constant.overall.result.has_interval
    assert result.notes == ("5 prompts are too few for intervals: 20 are needed",)


def test_no_row_of_the_protocol_is_refused_even_partially(write):
    path = write("rows.jsonl", rewardbench_rows({"strange": 4}))
    with pytest.raises(DataError, match=r"unknown subset 'strange' \(4 rows\)$"):
        run("rewardbench", path, partial=True)


@pytest.mark.parametrize(
    ("protocol", "row", "said"),
    [
        (
            "rewardbench",
            {"question": "a", "chosen": "b", "rejected": "c"},
            "rows.jsonl:1: the protocol 'rewardbench' must have the columns 'prompt', 'chosen', "
            "'rejected', 'subset'; missing 'prompt', 'subset'; found 'question', 'chosen', "
            "'rejected'",
        ),
        (
            "judgebench",
            {"prompt": "a", "label": "A>B"},
            "must have the columns 'question', 'response_A', 'response_B', 'label', 'source'; "
            "missing 'question', 'response_A', 'response_B', 'source'; found 'prompt', 'label'",
        ),
        ("best-of-n", {}, "missing 'prompt', 'responses', 'references'; found none"),
        ("rm-bench", {"prompt": "a", **{f"x{i}": 0 for i in range(12)}}, "'x8', …"),
        ("pairs", {"prompt": "a", "chosen": "b"}, "missing field 'rejected'"),
    ],
)
def test_rows_without_the_columns_are_one_located_error(write, protocol, row, said):
    path = write("rows.jsonl", [row, row])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: ") as caught:
        run(protocol, path)
    assert said in str(caught.value)
    if protocol != "pairs":  # dropping rows does not help where the file is another one
        with pytest.raises(DataError, match=r"rows\.jsonl:1: "):
            run(protocol, path, bad_rows="drop")


@pytest.mark.parametrize(
    ("protocol", "change", "said"),
    [
        (
            "rm-bench",
            {"chosen": ["a 1"]},
            "`chosen` and `rejected` must hold 3 responses each; got 1 and 3",
        ),
        ("rm-bench", {"chosen": "a"}, "`chosen` must be a list of texts; got 'a'"),
        ("rm-bench", {"chosen": ["a", " ", "b"]}, r"`chosen\[1\]` must not be empty"),
        ("rm-bench", {"domain": 3}, "`domain` must be text; got 3"),
        ("judgebench", {"label": "A"}, "`label` must be 'A>B' or 'B>A'; got 'A'"),
        (
            "best-of-n",
            {"references": [1, 2]},
            r"`references` must hold one finite number a response, 5; got \[1, 2\]",
        ),
        ("best-of-n", {"references": [1, 2, 3, 4, "x"]}, ".* one finite number a response"),
        ("best-of-n", {"references": [1, 2, 3, 4, True]}, ".* one finite number a response"),
        (
            "best-of-n",
            {"references": [1, 2, 3, 4, float("nan")]},
            ".* one finite number a response",
        ),
        (
            "rewardbench2",
            {"id": "1"},
            "`id` must be 'ref:<number>' or 'tied:<number>' in subset 'Ties'; got '1'",
        ),
        (
            "rewardbench2",
            {"subset": "math", "chosen": ["a", "b"]},
            "`chosen` must hold one response in subset 'Math'; got 2",
        ),
    ],
)
def test_a_bad_row_is_located_and_can_be_dropped(write, protocol, change, said):
    rows = {
        "rm-bench": rm_rows,
        "judgebench": judge_rows,
        "best-of-n": best_rows,
        "rewardbench2": ties_rows,
    }[protocol](2)
    rows[1] = rows[1] | change
    path = write("rows.jsonl", rows)
    with pytest.raises(DataError, match=rf"rows.jsonl:2: {said}"):
        run(protocol, path, partial=True)
    if protocol != "rewardbench2":
        result = run(protocol, path, partial=True, bad_rows="drop")
        assert result.n_rows == len(rows) - 1
        assert sum(result.dropped[path].values()) == 1
        assert result.notes[0].startswith(f"dropped 1 of {len(rows)} rows: 1 ")


def test_a_line_that_is_not_json_is_located(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:1: not JSON"):
        read_protocol(PROTOCOLS["pairs"], str(path))
    with pytest.raises(DataError, match="at least one row must be usable; dropped 1 of 1 rows"):
        read_protocol(PROTOCOLS["pairs"], str(path), bad_rows="drop", drops=Drops())
    with pytest.raises(ValueError, match="`drops` must be given"):
        read_protocol(PROTOCOLS["pairs"], str(path), bad_rows="drop")


def test_ties_rows_must_pair_up(write):
    rows = ties_rows(2)
    with pytest.raises(DataError, match="an id of Ties must be given once; 'ref:0' stands twice"):
        run("rewardbench2", write("a.jsonl", [*rows, rows[0]]), partial=True)
    with pytest.raises(DataError, match="none of its 2 rows has its partner"):
        run("rewardbench2", write("b.jsonl", [rows[0], rows[2]]), partial=True)


def test_rewardbench2_reads_its_columns_and_shows_the_parts_of_ties(write):
    result = run("rewardbench2", write("test.jsonl", ties_rows(30)), partial=True)
    oracle = result.scorers[0]
    # Gap 2.5 over spread 0.5: margin tanh(min(3, 2.5) / 0.5 - 1).
    assert oracle.overall.result.value == pytest.approx(1.0 + 0.01 * np.tanh(4.0), abs=1e-12)
    assert oracle.parts["ref accuracy"].result.value == 1.0
    assert oracle.parts["ref accuracy"].result.n_rows == 30
    assert oracle.parts["correctness preferred"].result.n_groups == 30
    assert oracle.parts["ref accuracy"].result.low < 1.0
    # No share of rows, and no resample differs: a value alone rather than a point.
    assert not oracle.overall.result.has_interval


def test_rm_bench_levels_and_domains(write):
    result = run("rm-bench", write("total_dataset.jsonl", rm_rows(4)), partial=True)
    oracle = result.scorers[0]
    # As in the golden vector: hard 0, normal 1, easy 1 for [1, 2, 3] against [0, 1, 2.5].
    assert {n: f.result.value for n, f in oracle.parts.items()} == {
        "hard": 0,
        "normal": 1,
        "easy": 1,
    }
    assert oracle.overall.result.value == pytest.approx(2 / 3, abs=1e-12)
    assert oracle.sections["safety"].result.n_rows == 8
    assert list(oracle.subsets) == ["safety-refuse", "safety-response"]


def test_judgebench_is_micro_over_groups_found_by_prefix(write):
    rows = judge_rows(6)
    del rows[:4]  # two pairs of mmlu-pro are left
    for wrong in rows[:2]:
        wrong["label"] = "B>A" if wrong["label"] == "A>B" else "A>B"
    result = run("judgebench", write("gpt.jsonl", rows), partial=True)
    oracle = result.scorers[0]
    assert oracle.sections["Knowledge"].result.value == 0.0
    assert oracle.overall.result.value == pytest.approx(18 / 20, abs=1e-12)
    assert "an exact tie is a decision for B" in result.rule


def test_best_of_n_stands_between_random_and_oracle(write):
    result = run(
        "best-of-n", write("rows.jsonl", best_rows(120)), scorers=[Oracle(), RandomScorer()]
    )
    assert result.is_whole
    assert result.unit == "reference"
    oracle, random = result.scorers[:2]
    assert oracle.overall.result.value == oracle.parts["oracle"].result.value
    assert list(oracle.parts) == ["random", "best of 2", "best of 4", "oracle"]
    middle = oracle.parts["random"].result
    assert middle.low < middle.value < middle.high
    assert middle.value == pytest.approx(np.mean([r["references"] for r in best_rows(120)]))
    assert random.overall.difference.high < 0
    values = [oracle.parts[n].result.value for n in ("random", "best of 2", "best of 4", "oracle")]
    assert values == sorted(values)


def test_pairs_of_any_source_are_a_protocol(write):
    rows = [
        {"prompt": f"p{i}", "chosen": "x 1", "rejected": "x 1 1" if i % 2 else "yy 0", "source": s}
        for i, s in enumerate(["a", "b"] * 30)
    ]
    result = run("pairs", write("rows.jsonl", rows))
    oracle = result.scorers[0]
    assert {n: f.result.value for n, f in oracle.sections.items()} == {"a": 1.0, "b": 0.5}
    assert oracle.overall.result.value == 0.75
    assert oracle.n_ties == 30


def test_intervals_of_plain_accuracies_are_those_of_accuracy_interval(write):
    rng = np.random.default_rng(3)
    wins = rng.random(300) < 0.6
    rows = [
        {"prompt": f"p{i // 2}", "chosen": f"x{i} {int(w)}", "rejected": f"y{i} {int(not w)}"}
        for i, w in enumerate(wins)
    ]
    result = run("pairs", write("rows.jsonl", rows), scorers=[Oracle(), Constant()])
    groups = [group_of((Message("user", f"p{i // 2}"),)) for i in range(300)]
    expected = accuracy_interval(wins.astype(float), groups)
    assert result.scorers[0].overall.result.model_dump() == pytest.approx(expected.model_dump())
    paired = paired_interval(np.full(300, 0.5), wins.astype(float), groups, n_resamples=200)
    found = result.scorers[1].overall.difference
    assert (found.value, found.low, found.high) == pytest.approx(
        (paired.value, paired.low, paired.high)
    )


def test_few_prompts_get_the_interval_of_wilson(write):
    wins = [1, 1, 0] * 10
    rows = [
        {"prompt": f"p{i}", "chosen": f"x{i} {w}", "rejected": f"y{i} {1 - w}"}
        for i, w in enumerate(wins)
    ]
    found = run("pairs", write("rows.jsonl", rows)).scorers[0].overall.result
    expected = accuracy_interval(np.array(wins, dtype=float), [f"p{i}" for i in range(30)])
    assert found.method == "wilson"
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_scorers_that_hardly_differ_get_the_interval_of_bonett_and_price(write):
    rows = [{"prompt": f"p{i}", "chosen": f"x{i} 1", "rejected": f"y{i} 0"} for i in range(150)]
    twin = Oracle()
    twin.name, twin.identity = "twin", "0b" * 32
    result = run("pairs", write("rows.jsonl", rows), scorers=[Oracle(), twin])
    found = result.scorers[1].overall.difference
    assert found.method == "bonett-price"
    assert found.low < found.value == 0.0 < found.high


UNEVEN = Protocol(
    name="uneven",
    title="Uneven",
    sections=(Section("all", (Subset("big", 200), Subset("small", 20))),),
    layout="pair",
    tie="loss",
    rule="mean of two subsets",
    reference="made up",
)


def test_scorers_that_hardly_differ_on_uneven_subsets_have_few_effective_prompts(write):
    """Two halves of 200 and 20 prompts weigh as 1 / (200 / 400^2 + 20 / 40^2) equal ones."""
    twin = Oracle()
    twin.name, twin.identity = "twin", "0b" * 32
    rows = rewardbench_rows({"big": 200, "small": 20})
    result = run(UNEVEN, write("rows.jsonl", rows), scorers=[Oracle(), twin])
    found = result.scorers[1].sections["all"].difference
    effective = 1 / (200 / 400**2 + 20 / 40**2)
    half = stats.t.ppf(0.975, 219) * 2**0.5 / (effective + 2)
    assert (found.method, found.value) == ("bonett-price", 0.0)
    assert (found.low, found.high) == pytest.approx((-half, half))


def test_a_small_heavy_subset_counts_by_its_effective_number(write):
    """Two subsets of one weight, 200 and 20 rows: the 20 decide how wide the interval is."""
    rows = rewardbench_rows({"big": 200, "small": 20})
    lost = [*range(0, 200, 5), *range(200, 220, 5)]
    for i in lost:
        rows[i]["chosen"], rows[i]["rejected"] = rows[i]["rejected"], rows[i]["chosen"]
    oracle = run(UNEVEN, write("rows.jsonl", rows)).scorers[0]
    section, small = oracle.sections["all"].result, oracle.subsets["small"].result
    assert section.value == pytest.approx(0.8)
    assert (section.method, section.n_groups) == ("wilson", 220)
    # Half of the figure rests on 20 rows: the width is near half of theirs, not a third.
    assert section.high - section.low > 0.4 * (small.high - small.low)


def test_a_second_protocol_on_the_same_texts_scores_nothing(write, tmp_path):
    backbone = HashBackbone()
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    path = write("rows.jsonl", rewardbench_rows({"hep-go": 30}))
    cache = tmp_path / "scores"
    first = run("rewardbench", path, scorers=[BundleScorer(model)], partial=True, cache=cache)
    assert backbone.n_rows == 60
    run("pairs", path, scorers=[BundleScorer(model)], cache=cache)
    again = run("rewardbench", path, scorers=[BundleScorer(model)], partial=True, cache=cache)
    assert backbone.n_rows == 60
    assert again == first
    assert [p.name for p in cache.iterdir()] == [BundleScorer(model).identity]


def test_rows_that_a_backbone_cannot_take_are_dropped_and_counted(write):
    backbone = HashBackbone(options=FeatureOptions(max_tokens=6))
    scorer = BundleScorer(RewardModel(make_bundle(backbone.facts()), backbone))
    rows = [{"prompt": f"p{i}", "chosen": "a 1", "rejected": "b 0 " * (1 + i)} for i in range(4)]
    path = write("rows.jsonl", rows)
    result = run("pairs", path, scorers=[scorer], bad_rows="drop")
    assert result.n_rows == 2
    assert result.notes[0].startswith("dropped 2 of 4 rows")
    path = write("long.jsonl", rows[2:])
    with pytest.raises(DataError, match="at least one row must be usable; dropped 2 of 2 rows"):
        run("pairs", path, scorers=[scorer], bad_rows="drop")


def test_of_a_copied_repository_only_the_files_of_the_protocol_are_read(write, tmp_path):
    write("data/filtered-00000-of-00001.jsonl", rewardbench_rows({"hep-go": 2}))
    write("data/raw-00000-of-00001.jsonl", rewardbench_rows({"hep-go": 9}))
    assert len(read_protocol(PROTOCOLS["rewardbench"], str(tmp_path))) == 2


def test_prior_sets_are_named_by_their_files(write, tmp_path):
    write("filtered.jsonl", rewardbench_rows({"hep-go": 2}))
    plain = [{"prompt": "p", "chosen": "a 1", "rejected": "b 0"}]
    write("shp-00000-of-00001.jsonl", plain)
    rows = read_protocol(PROTOCOLS["rewardbench-prior"], str(tmp_path))
    assert [row.subset for row in rows] == ["hep-go", "hep-go", "shp"]
    result = run("rewardbench-prior", str(tmp_path), partial=True)
    assert list(result.scorers[0].sections) == ["Reasoning", "Prior Sets"]


def test_the_hub_is_asked_for_the_split_of_the_protocol(monkeypatch):
    asked = []

    def files_of(source):
        asked.append((source.hub, source.split))
        raise DataError("the hub is not reached in tests")

    monkeypatch.setattr("armorm.evaluate.protocols.read.files_of", files_of)
    for data in (None, "me/copy", "hub:me/copy@v1"):
        with pytest.raises(DataError, match="not reached"):
            read_protocol(PROTOCOLS["rewardbench"], data)
    assert [(hub.name, hub.revision, split) for hub, split in asked] == [
        ("allenai/reward-bench", None, "filtered"),
        ("me/copy", None, "filtered"),
        ("me/copy", "v1", "filtered"),
    ]


def test_data_of_ones_own_must_be_named():
    with pytest.raises(DataError, match=r"'pairs' has no published data: `data` \(--data\) must"):
        read_protocol(PROTOCOLS["pairs"], None)


def test_scorers_must_be_there_and_distinct(write):
    path = write("rows.jsonl", rewardbench_rows({"hep-go": 1}))
    with pytest.raises(ValueError, match="`scorers` must hold at least one scorer"):
        evaluate_protocol("pairs", [], data=path)
    with pytest.raises(ValueError, match="distinct names; 'oracle' stands twice"):
        evaluate_protocol("pairs", [Oracle(), Oracle()], data=path)
    result = evaluate_protocol("pairs", [LengthScorer()], data=path)
    assert [one.scorer for one in result.scorers] == ["longer wins", "shorter wins"]


def test_scorers_are_opened_once_the_rows_are_known_to_do(write):
    opened = []

    def scorers():
        opened.append(1)
        return [Oracle()]

    path = write("rows.jsonl", rewardbench_rows({"hep-go": 1}))
    with pytest.raises(DataError, match="'hep-go' has 1 of 164 rows"):
        evaluate_protocol("rewardbench", scorers, data=path)
    assert not opened
    assert evaluate_protocol("pairs", scorers, data=path).scorers[0].scorer == "oracle"
    assert opened == [1]


def test_protocol_json_is_read_back(write, tmp_path):
    result = run("pairs", write("rows.jsonl", rewardbench_rows({"hep-go": 4})))
    check_result_folder(tmp_path / "out")
    write_result(result, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "protocol.json").read_text())
    assert content["schema"] == 2
    assert content["scorers"][0]["overall"]["result"]["low"] is None
    assert result_json(ProtocolResult.model_validate(content)) == content


@pytest.mark.slow
def test_weighted_intervals_cover_the_true_figure():
    """RewardBench at a tenth of its rows, 300 times, with accuracies like those of ArmoRM."""
    protocol = PROTOCOLS["rewardbench"]
    rows = [
        row(subset.name, 2, group=f"{subset.name} {i}")
        for _, subset in protocol.subsets()
        for i in range(max(2, round(subset.count / 10)))
    ]
    protocol, rows, _ = cover(protocol, rows, path="rows", partial=True)
    figures = figures_of(protocol, [])
    keys = keys_of(figures)
    true = {s.name: 0.66 + 0.34 * i / 23 for i, (_, s) in enumerate(protocol.subsets())}
    accuracy = np.array([true[r.subset] for r in rows])
    expected = weight_matrix(figures, keys) @ np.array([true[key[1]] for key in keys])
    grouping = group_rows([r.group for r in rows], n_rows=len(rows))
    rng = np.random.default_rng(0)
    covered = np.zeros(5)
    for seed in range(300):
        wins = (rng.random(len(rows)) < accuracy).astype(float)
        scores = np.stack([wins, np.full(len(rows), 0.5)], axis=1).ravel()
        found = figure_intervals(
            figures,
            keys,
            [measure(protocol, rows, scores, keys)],
            grouping,
            resampling=Resampling(n_resamples=300, seed=seed),
        ).values[0][:5]
        covered += [f.low <= e <= f.high for f, e in zip(found, expected[:5], strict=True)]
    # Standard error 0.013 at 0.95: 0.91 is three of them below; Wilson's may be wider.
    assert (covered / 300 >= 0.91).all(), covered / 300
    assert covered[0] / 300 <= 0.985, covered[0] / 300
