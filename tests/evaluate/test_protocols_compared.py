"""Overall figures are compared at the joint level, as scorers on pairs are, and by prompt."""

import json

import numpy as np
import pytest

from armorm.errors import DataError
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import group_rows
from armorm.evaluate.protocols import (
    PROTOCOLS,
    evaluate_protocol,
    read_result,
    result_json,
    write_result,
)
from armorm.evaluate.protocols.compared import figure_intervals
from armorm.evaluate.protocols.coverage import cover
from armorm.evaluate.protocols.plan import figures_of, keys_of, measure
from armorm.evaluate.protocols.render import render_result
from armorm.evaluate.protocols.verdicts import Verdicts
from armorm.evaluate.scorers import side_by_side
from protocol_tables import row

FEW = Resampling(n_resamples=300)


class Drawn:
    """Wins a share of the rows, which ones drawn by a seed."""

    def __init__(self, name, share, seed):
        self.name, self.identity = name, f"{seed:064x}"
        self._share, self._seed = share, seed

    def score(self, conversations, *, progress=None):
        rng = np.random.default_rng(self._seed)
        draws = dict.fromkeys(c.prompt[0].content for c in conversations)
        wins = {prompt: rng.random() < self._share for prompt in draws}
        return np.array(
            [
                float(wins[c.prompt[0].content] == (c.response.split()[0] == "yes"))
                for c in conversations
            ]
        )


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(250)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


SCORERS = [Drawn("good", 0.8, 1), Drawn("alike", 0.8, 2), Drawn("poor", 0.5, 3)]


def test_findings_are_those_of_side_by_side(data):
    result = evaluate_protocol("pairs", SCORERS, data=data, resampling=FEW)
    rows = range(250)
    prompts = [f"p{i}" for i in rows]
    wins = {}
    for scorer in SCORERS:
        rng = np.random.default_rng(scorer._seed)
        wins[scorer.name] = np.array([float(rng.random() < scorer._share) for _ in rows])
    # "yes 1" is one letter longer than "no 1", whatever the number.
    wins |= {"longer wins": np.ones(250), "shorter wins": np.zeros(250)}
    table = side_by_side(wins, prompts, n_resamples=300)
    expected = {(one.first, one.second): one for one in table.differences}
    assert len(result.differences) == 9
    joint = 1 - 0.05 / 9
    assert result.joint_level == pytest.approx(joint)
    for one in result.differences:
        assert one.difference.value == pytest.approx(
            expected[one.first, one.second].difference.value
        )
        assert one.finding == expected[one.first, one.second].finding
    found = {(one.first, one.second): one.finding for one in result.differences}
    assert found["good", "poor"] == "ahead"
    assert found["good", "alike"] == "no clear difference"


def test_a_difference_of_one_interval_is_not_one_of_the_whole_table():
    # By hand: 60 of 300 pairs differ, 38 for a and 22 for b: z = 16 / sqrt(60) = 2.07, beyond
    # 1.96 of one comparison and within 2.64, that of six.
    a = np.r_[np.ones(38), np.zeros(22), np.ones(240)]
    b = np.r_[np.zeros(38), np.ones(22), np.ones(240)]
    protocol, rows, _ = cover(
        PROTOCOLS["pairs"], [row("all", 2) for _ in a], path="rows", partial=False
    )
    figures = figures_of(protocol, [])
    keys = keys_of(figures)
    grouping = group_rows(np.arange(300), n_rows=300)

    def found(wins, pairs):
        measured = [measure(protocol, rows, np.stack([w, 1 - w], 1).ravel(), keys) for w in wins]
        return figure_intervals(
            figures, keys, measured, grouping, resampling=Resampling(), compared=pairs
        )

    alone = found([a, b], [(0, 1)])
    assert alone.compared[0][3] == "ahead"
    assert alone.joint_level == 0.95
    six = found([a, b, a, b], [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
    assert six.compared[0][2].low > 0
    assert six.compared[0][3] == "no clear difference"
    assert six.compared[0][2] == alone.compared[0][2]


def test_differences_of_a_weighted_figure_are_those_of_its_draws():
    """RewardBench sections weigh subsets: the paired bootstrap written out as a loop."""
    rng = np.random.default_rng(5)
    names = ["math-prm", "hep-go"]
    rows = [row(name, 2, group=f"{name} {i // 2}") for name in names for i in range(150)]
    protocol, rows, _ = cover(PROTOCOLS["rewardbench"], rows, path="rows", partial=True)
    figures = figures_of(protocol, [])
    keys = keys_of(figures)
    wins = [(rng.random(300) < share).astype(float) for share in (0.9, 0.6)]
    measured = [measure(protocol, rows, np.stack([w, 1 - w], 1).ravel(), keys) for w in wins]
    grouping = group_rows([r.group for r in rows], n_rows=300)
    found = figure_intervals(
        figures, keys, measured, grouping, resampling=Resampling(400), compared=[(0, 1)]
    ).compared[0][2]
    subsets = np.array([r.subset for r in rows])
    draws = []
    draw = np.random.default_rng(0)
    for _ in range(400):
        picked = draw.integers(grouping.n_groups, size=grouping.n_groups)
        at = np.concatenate([np.flatnonzero(grouping.index == g) for g in picked])
        values = []
        for w in wins:
            accuracy = [w[at][subsets[at] == name].mean() for name in names]
            values.append((984 * accuracy[0] + 164 * accuracy[1]) / (984 + 164))
        draws.append(values[0] - values[1])
    assert found.method == "bootstrap"
    assert found.low == pytest.approx(np.quantile(draws, 0.025), abs=0.012)
    assert found.high == pytest.approx(np.quantile(draws, 0.975), abs=0.012)


def test_scorers_with_verdicts_on_other_rows_meet_where_both_have_one():
    rows = [row("all", 2, group=f"g{i}") for i in range(90)]
    protocol, rows, _ = cover(PROTOCOLS["pairs"], rows, path="rows", partial=False)
    figures = figures_of(protocol, [])
    keys = keys_of(figures)
    wins = np.r_[np.ones(60), np.zeros(30)]
    scores = np.stack([wins, 1 - wins], 1).ravel()
    known = [np.ones(90, dtype=bool), np.arange(90) < 70, np.arange(90) >= 40]
    known.append(~known[1])
    measured = [measure(protocol, rows, Verdicts(scores, one), keys) for one in known]
    grouping = group_rows([r.group for r in rows], n_rows=90)
    pairs = [(0, 1), (1, 2), (1, 3)]
    found = figure_intervals(figures, keys, measured, grouping, resampling=FEW, compared=pairs)
    # By hand: 60 of 90, 60 of the first 70, 20 of the last 50, none of the last 20.
    values = [one[0].value for one in found.values]
    assert values == pytest.approx([60 / 90, 60 / 70, 20 / 50, 0.0])
    assert [one[0].n_rows for one in found.values] == [90, 70, 50, 20]
    assert [one[2].n_rows for one in found.compared] == [70, 30, 0]
    assert found.compared[2][3] == "unknown"
    assert [one.n_ties for one in measured] == [0] * 4


def test_a_figure_whose_rows_all_lack_a_verdict_is_undefined_and_others_are_not():
    rows = [row(name, 2, group=f"{name} {i}") for name in ("a", "b") for i in range(30)]
    protocol, rows, _ = cover(PROTOCOLS["pairs"], rows, path="rows", partial=False)
    figures = figures_of(protocol, [])
    keys = keys_of(figures)
    scores = np.tile([1.0, 0.0], 60)
    half = Verdicts(scores, np.arange(60) < 30)
    measured = [measure(protocol, rows, one, keys) for one in (scores, half)]
    grouping = group_rows([r.group for r in rows], n_rows=60)
    found = figure_intervals(figures, keys, measured, grouping, resampling=FEW)
    names = [figure.name for figure in figures]
    assert np.isnan(found.values[1][names.index("b")].value)
    assert found.values[1][names.index("a")].value == 1.0
    assert found.values[1][0].value == 1.0  # over the rows that there is a verdict on
    assert found.values[0][names.index("b")].value == 1.0


def test_the_files_hold_the_result(data, tmp_path):
    result = evaluate_protocol("pairs", SCORERS, data=data, resampling=FEW)
    write_result(result, tmp_path / "out")
    assert result_json(read_result(tmp_path / "out")) == result_json(result)
    text = (tmp_path / "out" / "protocol.md").read_text()
    assert text == render_result(result)
    assert text.startswith("# Preference pairs\n")
    assert "| A   | good         |  250 |" in text
    line = next(line for line in text.splitlines() if line.startswith("| A - C |"))
    assert line.split("|")[5].strip() == r"ahead \*"
    assert "judged for all 9 together" in text
    file = tmp_path / "out" / "protocol.json"
    file.write_text(file.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(DataError, match="`schema` must be 1 or 2; found 3, written by a newer"):
        read_result(file)


def test_a_result_of_the_first_schema_is_read(data, tmp_path):
    result = evaluate_protocol("pairs", SCORERS, data=data, resampling=FEW)
    content = result_json(result) | {"schema": 1}
    for name in ("differences", "level", "joint_level"):
        del content[name]
    for scorer in content["scorers"]:
        del scorer["n_without"], scorer["judge"]
    file = tmp_path / "protocol.json"
    file.write_text(json.dumps(content))
    assert read_result(file) == result.model_copy(update={"differences": (), "joint_level": 0.95})
