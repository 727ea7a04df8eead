"""Bundles whose ridge heads were fitted on rows that are at hand, with statistics, for tests."""

from __future__ import annotations

import torch

from armorm.heads.ridge import fit_ridge
from armorm.heads.statistics import Statistics
from armorm.types import Scale
from bundles import FACTS, OBJECTIVES, make_bundle

RATED_BY = {
    "general": ("helpfulness", "honesty", "verbosity"),
    "second": ("honesty", "verbosity"),
    "safety": ("is_safe",),
}
"""What each source rates."""
ALPHA = dict(zip(OBJECTIVES, (1.0, 10.0, 0.1, 100.0), strict=True))
TRUTH = 3  # seed of the weights that the ratings follow


def rated_rows(n, d, names, *, seed):
    """Features (n, d) and ratings (n, k) of rows rated on some objectives; NaN elsewhere."""
    features = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    truth = torch.randn(d, len(OBJECTIVES), generator=torch.Generator().manual_seed(TRUTH))
    ratings = (0.5 + 0.1 * features @ truth).double()
    ratings[:, [j for j, name in enumerate(OBJECTIVES) if name not in names]] = torch.nan
    return features, ratings


def statistics_of(source, n, d, *, seed, names=None):
    """Statistics of one source."""
    features, ratings = rated_rows(n, d, names or RATED_BY[source], seed=seed)
    return Statistics.from_features(features, ratings, objectives=OBJECTIVES, sources=[source] * n)


def fitted_bundle(backbone, *, statistics=True, intercept=True, n=40, **changes):
    """A bundle with heads fitted on three sources; gating and debias are random."""
    d = backbone["response_width"]
    parts = [statistics_of(s, n, d, seed=i) for i, s in enumerate(RATED_BY)]
    sums = parts[0] + parts[1] + parts[2]
    fit = fit_ridge(sums, alpha=torch.tensor(list(ALPHA.values())), intercept=intercept)
    objectives = {
        name: {"n": sums.n_rated(j), "spearman": 0.5, "r2": 0.25, "alpha": ALPHA[name]}
        for j, name in enumerate(OBJECTIVES)
    }
    scales = {s: {name: Scale(0, 4) for name in names} for s, names in RATED_BY.items()}
    facts = FACTS | {"objectives": objectives, "mean_spearman": 0.5}
    made = {
        "weight": fit.weight,
        "bias": fit.bias,
        "scales": scales,
        "facts": facts,
        "statistics": sums if statistics else None,
    }
    return make_bundle(backbone, **(made | changes))
