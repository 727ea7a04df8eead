"""A judge decides rows of every shape by comparisons or ratings, and may have no verdict."""

import json
import math

import numpy as np
import pytest

from armorm import DataError
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.protocols import PROTOCOLS, evaluate_protocol, find_protocol
from armorm.evaluate.protocols.shapes import MAIN, ScoredRows, judge, judge_comparisons
from armorm.evaluate.protocols.verdicts import check_judge_mode
from armorm.evaluate.scorers import JudgeSettings, ScorerOptions, open_bench_judge
from armorm.evaluate.scoring import LengthScorer
from judge_server import Reply, judge_server
from protocol_tables import row

OBJECTIVES = ("helpfulness", "correctness", "honesty", "harmlessness", "clarity")
QUICK = JudgeSettings(first_wait_s=0.0, timeout_s=5.0)
FEW = Resampling(n_resamples=200)


def worth(text):
    """The number that a response ends with."""
    return float(text.split()[-1])


def shown(user, heading):
    return user.split(f"begin {heading}]\n")[1].split("\n[")[0]


def honest(user, i):
    """A judge that reads the worth of a response; equal ones tie."""
    if "begin response A]" in user:
        a, b = worth(shown(user, "response A")), worth(shown(user, "response B"))
        return Reply("Verdict: " + ("tie" if a == b else "A" if a > b else "B"))
    rating = round(worth(shown(user, "response")))
    return Reply("\n".join(f"{name}: {rating}" for name in OBJECTIVES))


@pytest.fixture
def write(tmp_path):
    def to(rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return to


def run(protocol, data, script, *, mode=None, beside=(), settings=QUICK, **options):
    with judge_server(script) as server:
        opened = open_bench_judge(
            f"judge:m@{server.url}", options=ScorerOptions(judge=settings, judge_mode=mode)
        )
        result = evaluate_protocol(
            protocol, [opened, *beside], data=data, **({"resampling": FEW} | options)
        )
    return result, server


def pairs(n, subset="hep-go"):
    return [
        {
            "id": i,
            "prompt": f"{subset} {i}",
            "chosen": f"a{i} {3 + i % 3}",
            "rejected": f"b{i} 4",
            "subset": subset,
        }
        for i in range(n)
    ]


def test_a_tie_of_a_judge_counts_by_the_rule_of_the_protocol(write):
    # By hand: worth 3, 4 and 5 against 4 in turn: a third each lost, tied and won.
    path = write(pairs(30))
    half, _ = run("pairs", path, honest)
    loss, _ = run("rewardbench", path, honest, partial=True)
    values = [one.scorers[0].overall.result.value for one in (half, loss)]
    assert values == pytest.approx([0.5, 1 / 3])
    assert half.scorers[0].n_ties == 10
    assert half.scorers[0].judge.n_comparisons == 30
    assert half.scorers[0].judge.n_contradictions == 0


def test_a_judge_of_labelled_rows_is_right_where_it_names_the_labelled_one(write):
    rows = [
        {
            "pair_id": f"p{i}",
            "source": "livebench-math",
            "question": f"q{i}",
            "response_A": f"a{i} {3 + i % 3}",
            "response_B": f"b{i} 4",
            "label": "B>A" if i % 3 == 0 or i % 6 == 1 else "A>B",
        }
        for i in range(24)
    ]
    result, _ = run("judgebench", write(rows), honest, partial=True)
    # By hand: A is worth 3, 4, 5 in turn; the first and the third are labelled so, and a tie
    # names nobody, which is wrong even where the label is B (every other one).
    assert result.scorers[0].overall.result.value == pytest.approx(2 / 3)
    assert result.scorers[0].n_ties == 8


def test_best_of_four_is_three_comparisons_and_ties_are_rated(write):
    rows = [
        {
            "id": f"m{i}",
            "prompt": f"m{i}",
            "chosen": [f"c{i} 5"],
            "rejected": [f"x{i} 4", f"y{i} {5 if i % 2 else 4}", f"z{i} {6 if i % 4 == 0 else 1}"],
            "subset": "Math",
        }
        for i in range(20)
    ]
    for i in range(12):
        rows.append(
            {
                "id": f"ref:{i}",
                "prompt": f"t{i}",
                "chosen": [f"r{i} 8"],
                "rejected": [f"w{i} 2"],
                "subset": "Ties",
            }
        )
        rows.append(
            {
                "id": f"tied:{i}",
                "prompt": f"t{i}",
                "chosen": [f"r{i} 8", f"s{i} 7"],
                "rejected": [f"w{i} 2"],
                "subset": "Ties",
            }
        )
    result, server = run("rewardbench2", write(rows), honest, partial=True)
    ours = result.scorers[0]
    assert ours.judge.mode == {"Math": "pairwise", "Ties": "ratings"}
    # By hand: odd rows tie with one response (1/2), every fourth loses, the others win.
    assert ours.sections["Math"].result.value == pytest.approx((10 * 0.5 + 5) / 20)
    # Ratings 8 and 7 of right, 2 of wrong responses on 1 to 10: gap 5/9 over spread 1/9.
    margin = 0.01 * math.tanh(5 - 1)
    assert ours.sections["Ties"].result.value == pytest.approx(1.0 + margin, abs=1e-12)
    # 3 comparisons in two orders a row; texts of ref and tied rows are asked about once.
    assert ours.judge.n_questions == 20 * 6 + 12 * 5
    assert len(server.requests) == ours.judge.n_requests == 20 * 6 + 12 * 3


def test_a_grid_is_nine_comparisons_that_equal_those_of_scores(write):
    rows = [
        {
            "id": i,
            "prompt": f"p{i}",
            "chosen": [f"c{i} {1 + i % 4}", f"d{i} 2", f"e{i} 3"],
            "rejected": [f"f{i} 0", f"g{i} 1", f"h{i} 2.5"],
            "domain": "chat",
        }
        for i in range(8)
    ]

    class Worth(LengthScorer):
        def __init__(self):
            super().__init__()
            self.name, self.identity = "worth", "0a" * 32

        def score(self, conversations, *, progress=None):
            return np.array([worth(c.response) for c in conversations])

    result, server = run("rm-bench", write(rows), honest, partial=True, beside=[Worth()])
    ours, scorer = result.scorers[:2]
    assert {n: f.result for n, f in ours.parts.items()} == {
        n: f.result for n, f in scorer.parts.items()
    }
    assert ours.overall.result == scorer.overall.result
    assert len(server.requests) == 8 * 9 * 2


def test_ratings_decide_pairs_where_asked_for(write):
    result, server = run("pairs", write(pairs(24)), honest, mode="ratings")
    assert result.scorers[0].overall.result.value == pytest.approx(0.5)
    assert list(result.scorers[0].judge.mode.values()) == ["ratings"]
    assert math.isnan(result.scorers[0].judge.first_share)
    assert len(server.requests) == 48


def test_a_row_without_a_verdict_is_counted_by_nobody_it_is_compared_with(write):
    def silent(user, i):
        return Reply("Well.") if "pairs 7" in user else honest(user, i)

    rows = [row | {"prompt": f"pairs {i}"} for i, row in enumerate(pairs(30))]
    result, _ = run("pairs", write(rows), silent, beside=[LengthScorer()])
    judged, longer = result.scorers[:2]
    assert (judged.n_without, longer.n_without) == (1, 0)
    assert (judged.overall.result.n_rows, longer.overall.result.n_rows) == (29, 30)
    # By hand: row 7 is worth 4 against 4, a tie; without it 10 wins and 9 ties of 29.
    assert judged.overall.result.value == pytest.approx(14.5 / 29)
    first = result.differences[0]
    assert (first.first, first.second, first.difference.n_rows) == ("judge:m", "longer wins", 29)
    assert longer.overall.difference.n_rows == 29
    assert result.notes[-1] == (
        "judge:m: 1 of 30 rows have no verdict; its figures, and differences to it, rest on the "
        "others"
    )


def test_a_section_without_any_verdict_has_no_figure_and_nor_has_the_overall(write):
    def silent(user, i):
        return Reply("Well.") if "math-prm" in user else honest(user, i)

    rows = [*pairs(25), *pairs(25, "math-prm"), *pairs(25, "donotanswer")]
    result, _ = run("rewardbench", write(rows), silent, partial=True, beside=[LengthScorer()])
    judged = result.scorers[0]
    assert math.isnan(judged.overall.result.value)
    assert math.isnan(judged.sections["Reasoning"].result.value)
    assert math.isnan(judged.subsets["math-prm"].result.value)
    assert judged.sections["Safety"].result.value == pytest.approx(8 / 25)
    assert result.scorers[1].overall.result.value >= 0
    assert result.differences[0].finding == "unknown"


def test_ties_need_both_rows_of_a_number(write):
    def silent(user, i):
        return Reply("Well.") if "lone" in user else honest(user, i)

    base = {"rejected": ["w 2"], "subset": "Ties"}
    rows = []
    for i in range(3):
        rows.append(base | {"id": f"ref:{i}", "prompt": f"t{i}", "chosen": [f"r{i} 8"]})
        extra = f"s{i} lone 7" if i == 0 else f"s{i} 7"
        rows.append(base | {"id": f"tied:{i}", "prompt": f"t{i}", "chosen": [f"r{i} 8", extra]})
    result, _ = run("rewardbench2", write(rows), silent, partial=True)
    assert result.scorers[0].n_without == 2
    assert result.scorers[0].parts["ref accuracy"].result.n_rows == 2


def test_a_capped_run_asks_about_rows_of_all_kinds(write):
    rows = [*pairs(40), *pairs(40, "math-prm")]
    settings = JudgeSettings(first_wait_s=0.0, max_requests=40, n_parallel=1)
    result, server = run("rewardbench", write(rows), honest, partial=True, settings=settings)
    asked = [("hep-go" in r.user, "math-prm" in r.user) for r in server.requests]
    assert len(asked) == 40
    # 20 of 80 rows, drawn without regard to the kind: fewer than 3 of one has chance 0.03 %.
    assert 6 <= sum(first for first, _ in asked) <= 34
    assert result.scorers[0].n_without == 60


def test_a_judge_without_any_verdict_is_refused(write):
    with pytest.raises(DataError, match=r"judge:m: a judge must have a verdict on one row or more"):
        run("pairs", write(pairs(3)), lambda user, i: Reply("Well."))


@pytest.mark.parametrize(
    ("name", "sections"), [("best-of-n", "'Best of n'"), ("rewardbench2", "'Ties'")]
)
def test_comparisons_are_refused_where_they_cannot_decide(name, sections):
    with pytest.raises(ValueError, match=f"must have ratings in {sections}, which comparisons"):
        check_judge_mode(find_protocol(name), "pairwise")
    check_judge_mode(find_protocol(name), "ratings")
    check_judge_mode(find_protocol(name), None)


@pytest.mark.parametrize("name", ["rewardbench", "judgebench", "rm-bench", "pairs"])
def test_comparisons_decide_everything_else(name):
    check_judge_mode(PROTOCOLS[name], "pairwise")


def test_a_judge_that_cannot_decide_is_refused_before_it_is_asked(write):
    rows = [{"prompt": "p", "responses": ["a 1", "b 2"], "references": [1, 2]}]
    with pytest.raises(ValueError, match="got 'pairwise'"):
        run("best-of-n", write(rows), honest, mode="pairwise")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("shape", "n_right", "n_wrong", "tie"),
    [
        ("pairs", 1, 1, "loss"),
        ("pairs", 1, 1, "half"),
        ("best of n", 1, 3, "shared"),
        ("grid", 3, 3, "loss"),
    ],
)
def test_comparisons_of_scores_count_what_the_scores_count(shape, n_right, n_wrong, tie, seed):
    """A judge that compares by a score decides every row as the score does."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (6, n_right + n_wrong)).astype(float)
    right, wrong = scores[:, :n_right, None], scores[:, None, n_right:]
    wins = 0.5 + 0.5 * np.sign(right - wrong)
    rows = [row("s", n_right + n_wrong, n_correct=n_right) for _ in range(6)]
    expected = judge(shape, ScoredRows(rows, scores.ravel()), tie=tie)
    found = judge_comparisons(shape, wins, tie=tie)
    for name, values in expected.components.items():
        assert found.components[name].tolist() == values.tolist()
    assert (MAIN in found.components, found.tied.tolist()) == (True, expected.tied.tolist())
