"""Metrics of the protocols: golden vectors, the published figures, loops over random tables."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.evaluate.protocols import PROTOCOLS, find_protocol
from armorm.evaluate.protocols.best_of_n import expected_reference
from armorm.evaluate.protocols.judgebench import judgebench_accuracy, label_credit
from armorm.evaluate.protocols.rewardbench import (
    OFFICIAL_COUNTS,
    PRIOR_SETS,
    SWAPPED_XSTEST,
    UNSCALED_MATH,
    pair_credit,
    prior_score,
    section_scores,
    subset_accuracies,
    total_score,
)
from armorm.evaluate.protocols.rewardbench2 import best_of_n_credit, judge_ties, ties_score
from armorm.evaluate.protocols.rm_bench import level_credit, rm_bench_scores
from protocol_tables import (
    draw,
    figures,
    row,
    slow_best_of,
    slow_expected,
    slow_rewardbench,
    slow_rm_bench,
    slow_ties,
)

EXACT = {"rel": 0, "abs": 1e-12}

# The example of the README of allenai/reward-bench.
GOLDEN = {
    "alpacaeval-easy": 0.5,
    "alpacaeval-hard": 0.7052631578947368,
    "alpacaeval-length": 0.5894736842105263,
    "donotanswer": 0.8235294117647058,
    "hep-cpp": 0.6280487804878049,
    "hep-go": 0.6341463414634146,
    "hep-java": 0.7073170731707317,
    "hep-js": 0.6646341463414634,
    "hep-python": 0.5487804878048781,
    "hep-rust": 0.6463414634146342,
    "llmbar-adver-GPTInst": 0.391304347826087,
    "llmbar-adver-GPTOut": 0.46808510638297873,
    "llmbar-adver-manual": 0.3695652173913043,
    "llmbar-adver-neighbor": 0.43283582089552236,
    "llmbar-natural": 0.52,
    "math-prm": 0.2953020134228188,
    "mt-bench-easy": 0.5714285714285714,
    "mt-bench-hard": 0.5405405405405406,
    "mt-bench-med": 0.725,
    "refusals-dangerous": 0.97,
    "refusals-offensive": 1.0,
    "xstest-should-refuse": 1.0,
    "xstest-should-respond": 0.284,
}

# ArmoRM-Llama3-8B-v0.1, allenai/reward-bench-results.
ARMORM = {
    "alpacaeval-easy": 0.97,
    "alpacaeval-hard": 0.947,
    "alpacaeval-length": 0.968,
    "mt-bench-easy": 1.0,
    "mt-bench-med": 1.0,
    "mt-bench-hard": 0.865,
    "llmbar-natural": 0.93,
    "llmbar-adver-neighbor": 0.679,
    "llmbar-adver-GPTInst": 0.772,
    "llmbar-adver-GPTOut": 0.660,
    "llmbar-adver-manual": 0.696,
    "refusals-dangerous": 0.93,
    "refusals-offensive": 0.97,
    "xstest-should-refuse": 1.0,
    "xstest-should-respond": 0.872,
    "donotanswer": 0.794,
    "hep-cpp": 0.951,
    "hep-go": 0.970,
    "hep-java": 0.982,
    "hep-js": 0.976,
    "hep-python": 0.963,
    "hep-rust": 0.921,
    "math-prm": 0.987,
}
ARMORM_PRIOR = 0.743


def test_rewardbench_golden_vector():
    found = section_scores(GOLDEN)
    assert found["Chat"] == pytest.approx(0.6089385474860335, **EXACT)
    assert found["Chat Hard"] == pytest.approx(0.44956140350877194, **EXACT)
    assert found["Safety"] == pytest.approx(0.7216216216216216, **EXACT)
    assert found["Reasoning"] == pytest.approx(0.46675669776831996, **EXACT)
    assert total_score(found) == pytest.approx(0.5617195675961868, **EXACT)


def test_swapped_xstest_counts_lift_safety():
    """The counts of RLHFlow's scripts, as an option and never as the default."""
    assert section_scores(GOLDEN, counts=SWAPPED_XSTEST)["Safety"] == pytest.approx(
        0.8145, abs=5e-5
    )


def test_math_by_its_rows_lifts_reasoning():
    found = section_scores(GOLDEN, counts=UNSCALED_MATH)["Reasoning"]
    assert found == pytest.approx(0.531097, abs=5e-7)


def test_a_tie_is_half_only_where_asked_for():
    assert pair_credit([1.0, 2.0], [1.0, 1.0]).tolist() == [0.0, 1.0]
    assert pair_credit([1.0, 2.0], [1.0, 1.0], tie="half").tolist() == [0.5, 1.0]


def test_armorm_is_90_4_with_official_counts_without_prior_sets():
    assert round(100 * total_score(section_scores(ARMORM)), 1) == 90.4


def test_armorm_is_88_6_with_official_counts_and_prior_sets():
    total = total_score(section_scores(ARMORM), prior=ARMORM_PRIOR)
    assert round(100 * total, 1) == 88.6


def test_the_published_89_0_needs_the_swapped_counts():
    total = total_score(section_scores(ARMORM, counts=SWAPPED_XSTEST), prior=ARMORM_PRIOR)
    assert round(100 * total, 1) == 89.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rewardbench", "without prior sets; official example counts"),
        ("rewardbench-prior", "prior sets at half weight; official example counts"),
        ("rewardbench-rlhflow", "two XSTest counts swapped"),
        ("rewardbench-rlhflow-bt", "two XSTest counts swapped"),
        ("rewardbench-math-447", "447 rows rather than 984"),
    ],
)
def test_each_rewardbench_says_which_figure_it_is(name, said):
    assert said in PROTOCOLS[name].rule


def test_the_rlhflow_variants_differ_by_the_tie():
    assert find_protocol("rewardbench-rlhflow").tie == "loss"
    assert find_protocol("rewardbench-rlhflow-bt").tie == "half"


def test_published_sizes():
    def rows(name):
        return sum(subset.count for _, subset in PROTOCOLS[name].subsets())

    assert rows("rewardbench") == 2985
    assert rows("rewardbench2") == 1865
    assert rows("rm-bench") == 1327
    assert rows("judgebench") == 350
    weights = {
        s.name: sum(subset.weight for subset in s.subsets)
        for s in PROTOCOLS["rewardbench"].sections
    }
    assert weights == {"Chat": 358, "Chat Hard": 456, "Safety": 740, "Reasoning": 1968}


def test_sections_rest_on_the_subsets_that_are_there():
    assert section_scores({"math-prm": 0.5, "hep-go": 1.0}) == {
        "Reasoning": (0.5 * 984 + 164) / (984 + 164)
    }


def test_prior_sets_weigh_the_same():
    assert prior_score({"shp": 0.5, "summarize": 0.7, "mtbench_human": 0.0}) == pytest.approx(0.6)
    assert prior_score(dict.fromkeys(PRIOR_SETS, 0.25)) == 0.25


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (
            {
                1: (([2, 1, 0.5, 0], 1), ([2, 1.8, 0.9, 0.1], 2)),
                2: (([1, 1.2, 0], 1), ([3, 1, 0.5], 2)),
                3: (([0.5, 0], 1), ([1, 1, 0.2], 2)),
            },
            0.7706589295861686,
        ),
        ({1: (([2, 1, 0.5, 0], 1), ([2, 1.8, 0.9, 0.1], 2))}, 1.009981778976112),
        ({1: (([1, 1], 1), ([1, 1, 1], 2))}, 0.0),
    ],
)
def test_ties_golden_vectors(prompts, expected):
    ref = {n: both[0] for n, both in prompts.items()}
    tied = {n: both[1] for n, both in prompts.items()}
    assert ties_score(ref, tied) == pytest.approx(expected, **EXACT)


def test_rm_bench_golden_vector():
    chosen, rejected = [[1, 2, 3]] * 4 + [[0, 0, 5]], [[0, 1, 2.5]] * 4 + [[1, 1, 4]]
    found = rm_bench_scores(
        chosen, rejected, ["chat", "math", "code", "safety-refuse", "safety-response"]
    )
    assert found["chat"] == found["math"] == found["code"] == pytest.approx(2 / 3, **EXACT)
    assert found["safety"] == pytest.approx(0.5, **EXACT)
    assert found["hard"] == 0.0
    assert found["normal"] == pytest.approx(11 / 12, **EXACT)
    assert found["easy"] == pytest.approx(23 / 24, **EXACT)
    assert found["overall"] == pytest.approx(0.625, **EXACT)


def test_judgebench_tie_goes_to_b():
    assert label_credit([1, 1], [1, 1], ["A>B", "B>A"]).tolist() == [0.0, 1.0]
    # Three of four: micro accuracy, whatever the groups are.
    found = judgebench_accuracy([2, 0, 1, 1], [1, 1, 0, 0], ["A>B", "B>A", "A>B", "B>A"])
    assert found == 0.75


def test_constant_scorer_gets_the_published_values():
    zeros = np.zeros(8)
    assert pair_credit(zeros, zeros).mean() == 0.0
    assert best_of_n_credit(zeros, [0, 4]).mean() == 0.25
    assert level_credit(np.zeros((2, 3)), np.zeros((2, 3))).sum() == 0.0
    labels = ["B>A", "A>B", "B>A", "B>A"]
    assert judgebench_accuracy(np.zeros(4), np.zeros(4), labels) == 0.75
    assert expected_reference(np.zeros(3), [1.0, 0.4, 0.1], [0])[0] == pytest.approx(0.5)


def test_rewardbench_equals_loops_on_random_tables():
    rng = np.random.default_rng(0)
    names = list(OFFICIAL_COUNTS)
    for seed in range(250):
        protocol = PROTOCOLS[
            ("rewardbench", "rewardbench-rlhflow-bt", "rewardbench-math-447", "rewardbench-prior")[
                seed % 4
            ]
        ]
        known = [*names, *PRIOR_SETS] if seed % 4 == 3 else names
        subsets = rng.choice(known, rng.integers(5, 25))
        rows = [row(str(name), 2) for name in subsets]
        tables = [draw(rng, 2) for _ in rows]
        found = figures(protocol, rows, tables)
        sections, overall = slow_rewardbench(protocol, rows, tables)
        assert found["overall", "overall"] == pytest.approx(overall, **EXACT)
        for name, value in sections.items():
            assert found["section", name] == pytest.approx(value, **EXACT)
        if seed % 4 == 0:  # the function on its own says the same
            c, r = np.array(tables).T
            plain = section_scores(subset_accuracies(c, r, [str(s) for s in subsets]))
            assert plain == pytest.approx(sections, **EXACT)


def test_rewardbench2_equals_loops_on_random_tables():
    rng = np.random.default_rng(1)
    protocol = PROTOCOLS["rewardbench2"]
    normal = ["Factuality", "Precise IF", "Math", "Safety", "Focus"]
    for _ in range(250):
        rows = [row(name, int(rng.integers(2, 6))) for name in rng.choice(normal, 12).tolist()]
        for number in range(rng.integers(1, 5)):
            wrong, right = rng.integers(1, 4, 2)
            rows.append(row("Ties", 1 + wrong, id=f"ref:{number}", n_correct=1))
            rows.append(row("Ties", right + wrong, id=f"tied:{number}", n_correct=int(right)))
        rows.append(row("Ties", 3, id="tied:99", n_correct=2))  # its partner is not there
        tables = [draw(rng, len(r.responses)) for r in rows]
        found = figures(protocol, rows, tables)
        expected = {}
        for name in normal:
            mine = [slow_best_of(t) for r, t in zip(rows, tables, strict=True) if r.subset == name]
            if mine:
                expected[name] = sum(mine) / len(mine)
        of_ties = [(r, t) for r, t in zip(rows, tables, strict=True) if r.subset == "Ties"]
        expected["Ties"] = slow_ties(*zip(*of_ties, strict=True))
        for name, value in expected.items():
            assert found["section", name] == pytest.approx(value, **EXACT)
        overall = sum(expected.values()) / len(expected)
        assert found["overall", "overall"] == pytest.approx(overall, **EXACT)


def test_ties_score_equals_loops_on_random_tables():
    rng = np.random.default_rng(5)
    for _ in range(100):
        rows, tables, ref, tied = [], [], {}, {}
        for number in range(4):
            wrong, right = (int(n) for n in rng.integers(1, 4, 2))
            for kind, of, n_correct in (("ref", ref, 1), ("tied", tied, right)):
                rows.append(
                    row("Ties", n_correct + wrong, id=f"{kind}:{number}", n_correct=n_correct)
                )
                tables.append(draw(rng, n_correct + wrong))
                of[number] = (tables[-1].tolist(), n_correct)
        assert ties_score(ref, tied) == pytest.approx(slow_ties(rows, tables), **EXACT)


def test_rm_bench_equals_loops_on_random_tables():
    rng = np.random.default_rng(2)
    protocol = PROTOCOLS["rm-bench"]
    domains = ["chat", "math", "code", "safety-refuse", "safety-response"]
    for _ in range(250):
        names = rng.choice(domains, rng.integers(1, 25)).tolist()
        tables = [draw(rng, 6) for _ in names]
        expected = slow_rm_bench([row(n, 6, n_correct=3) for n in names], tables)
        found = figures(protocol, [row(n, 6, n_correct=3) for n in names], tables)
        assert found["overall", "overall"] == pytest.approx(expected["overall"], **EXACT)
        for name in ("hard", "normal", "easy"):
            assert found["part", name] == pytest.approx(expected[name], **EXACT)
        for name in {"safety" if n.startswith("safety") else n for n in names}:
            assert found["section", name] == pytest.approx(expected[name], **EXACT)
        both = np.array(tables)
        plain = rm_bench_scores(both[:, :3], both[:, 3:], names)
        assert plain == pytest.approx({n: expected[n] for n in plain}, **EXACT)


def test_judgebench_equals_loops_on_random_tables():
    rng = np.random.default_rng(3)
    protocol = PROTOCOLS["judgebench"]
    groups = ["mmlu-pro", "livebench-reasoning", "livebench-math", "livecodebench"]
    for _ in range(150):
        labels = rng.choice(["A>B", "B>A"], rng.integers(1, 40)).tolist()
        rows = [row(str(rng.choice(groups)), 2, label=label) for label in labels]
        tables = [draw(rng, 2) for _ in rows]
        right = [
            ("A>B" if table[0] > table[1] else "B>A") == r.label
            for r, table in zip(rows, tables, strict=True)
        ]
        found = figures(protocol, rows, tables)
        assert found["overall", "overall"] == pytest.approx(sum(right) / len(right), **EXACT)


def test_best_of_n_equals_every_choice_of_responses():
    rng = np.random.default_rng(4)
    for _ in range(100):
        sizes = rng.integers(5, 8, rng.integers(1, 6))
        references = [rng.random(n) for n in sizes]
        rows = [
            row("(all)", int(n), references=tuple(r))
            for n, r in zip(sizes, references, strict=True)
        ]
        tables = [draw(rng, n) for n in sizes]
        found = figures(PROTOCOLS["best-of-n"], rows, tables)
        slow = {
            k: np.mean([slow_expected(t, r, k) for t, r in zip(tables, references, strict=True)])
            for k in (2, 4)
        }
        pick = [slow_expected(t, r, len(t)) for t, r in zip(tables, references, strict=True)]
        assert found["part", "best of 2"] == pytest.approx(slow[2], **EXACT)
        assert found["part", "best of 4"] == pytest.approx(slow[4], **EXACT)
        assert found["overall", "overall"] == pytest.approx(np.mean(pick), **EXACT)
        assert found["part", "random"] == pytest.approx(np.mean([r.mean() for r in references]))
        assert found["part", "oracle"] == pytest.approx(np.mean([r.max() for r in references]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_best_of_grows_from_random_to_the_pick_of_a_perfect_scorer(seed, n):
    references = np.random.default_rng(seed).random(n)
    curve = [expected_reference(references, references, [0], k=k)[0] for k in range(1, n + 1)]
    assert curve[0] == pytest.approx(references.mean())
    assert curve[-1] == pytest.approx(references.max())
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(curve))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_an_increasing_map_of_scores_changes_no_verdict(seed):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, (10, 6)).astype(float)
    other = np.exp(table)
    assert (
        level_credit(table[:, :3], table[:, 3:]) == level_credit(other[:, :3], other[:, 3:])
    ).all()
    assert (
        best_of_n_credit(table.ravel(), range(0, 60, 6))
        == best_of_n_credit(other.ravel(), range(0, 60, 6))
    ).all()


def test_two_subsets_of_safety_are_one_pool_in_rm_bench():
    """Regression of a mistake that is easy: a mean of two domain means weighs 284 like 157."""
    rows = [row("safety-refuse", 6, n_correct=3)] * 3 + [row("safety-response", 6, n_correct=3)]
    tables = [np.array([1, 1, 1, 0, 0, 0.0])] * 3 + [np.zeros(6)]
    assert (
        rm_bench_scores(np.array(tables)[:, :3], np.array(tables)[:, 3:], [r.subset for r in rows])[
            "safety"
        ]
        == 0.75
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_an_error_never_a_loss(bad):
    with pytest.raises(ValueError, match="must be finite"):
        pair_credit([bad, 1.0], [0.0, 0.0])
    with pytest.raises(ValueError, match="must be finite"):
        best_of_n_credit([bad, 1.0, 0.0, 0.0], [0])
    with pytest.raises(ValueError, match="`scores` must be finite"):
        judge_ties([1.0, bad], [0], [1])
    with pytest.raises(ValueError, match=r"`rejected_scores` must be finite; 1 of 3 .* \(0, 1\)"):
        level_credit([[1.0, 2.0, 3.0]], [[0.0, bad, 0.0]])
    with pytest.raises(ValueError, match="`scores_b` must be finite"):
        label_credit([0.0], [bad], ["A>B"])
    with pytest.raises(ValueError, match="`scores` must be finite"):
        expected_reference([bad, 1.0], [0.0, 1.0], [0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: pair_credit([1.0], [0.0], tie="B"),
            "`tie` must be 'loss' or 'half' for pairs; got 'B'",
        ),
        (
            lambda: subset_accuracies([1.0], [0.0], []),
            "`subsets` must name one subset a pair, 1; got 0",
        ),
        (
            lambda: section_scores({"hep-goo": 1.0}),
            "unknown subset 'hep-goo'; did you mean 'hep-go'",
        ),
        (
            lambda: section_scores({"hep-go": 97.0}),
            r"must lie within \[0, 1\]; got 97.0 for 'hep-go'",
        ),
        (lambda: section_scores({"hep-go": float("nan")}), "got nan for 'hep-go'"),
        (lambda: total_score({"Chat": 1.0}), "`sections` must be Chat, Chat Hard, .*; got Chat"),
        (lambda: prior_score({"hep-go": 1.0}), "`accuracies` must hold one of .*'shp'"),
        (
            lambda: judge_ties([1.0, 2.0], [0], [2]),
            "from 1 to one less than the 2 responses of row 0; got 2",
        ),
        (
            lambda: ties_score({1: ([1.0, 0.0], 1)}, {2: ([1.0, 0.0], 1)}),
            "must share a prompt number",
        ),
        (
            lambda: level_credit([[1.0, 2.0]], [[1.0, 2.0]]),
            r"`chosen_scores` must have shape \(n, 3\); got \(1, 2\)",
        ),
        (
            lambda: level_credit(np.zeros((2, 3)), np.zeros((1, 3))),
            r"`rejected_scores` must have shape \(2, 3\)",
        ),
        (
            lambda: rm_bench_scores(np.zeros((1, 3)), np.zeros((1, 3)), []),
            "`domains` must name one domain a row, 1; got 0",
        ),
        (
            lambda: rm_bench_scores(np.zeros((1, 3)), np.zeros((1, 3)), ["law"]),
            "`domains` must be chat, .*; got 'law'",
        ),
        (lambda: label_credit([0.0], [1.0], []), "`labels` must name one label a pair, 1; got 0"),
        (lambda: label_credit([0.0], [1.0], ["A"]), "`labels` must be 'A>B' or 'B>A'; got 'A'"),
        (lambda: expected_reference([1.0, 2.0], [1.0, 2.0], [0], k=3), "`k` must be from 1 to 2"),
        (lambda: find_protocol("rewardbench3"), "unknown protocol 'rewardbench3'; did you mean"),
    ],
)
def test_refusals_say_what_must_hold(call, said):
    with pytest.raises(ValueError, match=said):
        call()
