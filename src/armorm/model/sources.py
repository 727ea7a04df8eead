"""Sources of ratings that come and go: ridge heads refitted from statistics, without features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from armorm.data import Scales
from armorm.errors import BundleError, nearest
from armorm.heads.ridge import fit_ridge
from armorm.heads.statistics import Statistics
from armorm.model.bundle import Bundle, load_statistics
from armorm.model.changes import changed_facts, has_intercept
from armorm.types import Scale


def add_source(bundle: Bundle, rows: Statistics, *, scales: Scales) -> Bundle:
    """Add the rows of new sources, and refit the ridge heads of the objectives rated in them.

    Each of those heads is fitted on the summed statistics of all sources with the alpha that
    it has; the others stay bit for bit. Debias and gating stay as they are, fitted before.

    Args:
        bundle: With statistics; not changed.
        rows: Statistics of the new rows, of objectives of the bundle, in any order, and of
            sources that the bundle does not have.
        scales: Source -> objective -> scale, of everything that is rated in the new rows.

    Returns:
        The bundle with the new heads, statistics and scales.

    Raises:
        BundleError: the bundle has no statistics, or they are damaged.
        ValueError: no rated rows; an objective that is not the bundle's; a source that the
            bundle has; a rating without a scale; features of another width; an objective
            without a known alpha.
    """
    check_changeable(bundle, rows.objectives)
    sums = _statistics(bundle)
    if not rows.sources:
        raise ValueError("`rows` must have at least one rated row; got none")
    for source in rows.sources:
        if source in sums.sources:
            raise ValueError(
                f"`rows` must be of new sources; {source!r} is in the statistics of the bundle, "
                "and its rows would count twice: give other rows another source, or drop it first"
            )
    new = counts_of(rows)
    for source, counts in new.items():
        for name in counts:
            if name not in scales.get(source, {}):
                raise ValueError(
                    f"`scales` must have that of {name!r} for {source!r}; it is absent"
                )
    total = sums + rows.with_objectives(bundle.objectives)
    names = [name for name in bundle.objectives if any(name in of for of in new.values())]
    sources = _listed(rows.sources)
    kept = {s: {n: scales[s][n] for n in of} for s, of in new.items()}
    merged = {s: {**bundle.scales.get(s, {}), **of} for s, of in kept.items()}
    return _refitted(bundle, total, names, f"{sources} added", {**bundle.scales, **merged})


def drop_source(bundle: Bundle, source: str) -> Bundle:
    """Withdraw the rows of a source, and refit the ridge heads of the objectives rated in it.

    The statistics of the other sources are summed anew, nothing is subtracted; each head is
    fitted with the alpha that it has, and objectives that the source does not rate stay bit
    for bit. Debias and gating stay as they are: they were fitted with the source.

    Args:
        bundle: With statistics; not changed.
        source: The name.

    Returns:
        The bundle with the new heads, statistics and scales.

    Raises:
        BundleError: the bundle has no statistics, or they are damaged.
        ValueError: no such source; objectives that no other source rates; an objective
            without a known alpha.
    """
    sums = _statistics(bundle)
    if source not in sums.sources:
        raise ValueError(
            f"`source` must be one of the bundle's statistics; {source!r} is none"
            f"{nearest(source, sums.sources)}"
        )
    left = sums.without(source)
    names = list(counts_of(sums)[source])
    alone = [n for n in names if left.n_rated(bundle.objectives.index(n)) == 0]
    if alone:
        raise ValueError(
            f"every objective must keep a rating; {source!r} alone rates {_listed(alone)}"
        )
    scales = {s: of for s, of in bundle.scales.items() if s != source}
    return _refitted(bundle, left, names, f"{_listed([source])} withdrawn", scales)


def counts_of(statistics: Statistics) -> dict[str, dict[str, int]]:
    """Count ratings by source and objective.

    Args:
        statistics: Of rated rows.

    Returns:
        Source -> objective -> number of ratings; objectives that a source does not rate are
        left out.
    """
    counts: dict[str, dict[int, int]] = {source: {} for source in statistics.sources}
    k = len(statistics.objectives)
    for (source, rated), content in statistics.contents(range(k)):
        for j in rated:
            counts[source][j] = counts[source].get(j, 0) + content.n
    return {
        source: {statistics.objectives[j]: of[j] for j in sorted(of)}
        for source, of in counts.items()
    }


def check_changeable(bundle: Bundle, names: Sequence[str]) -> None:
    """Raise unless the heads of some objectives can be refitted; before the work for new rows.

    Args:
        bundle: The bundle.
        names: Of the objectives.

    Raises:
        BundleError: the bundle has no statistics.
        ValueError: no such objective, or its alpha is not known.
    """
    if bundle.statistics is None:
        raise BundleError(
            f"the bundle {bundle.name!r} must hold the statistics of its rated rows; it has none: "
            "train it with `ridge.keep_statistics: true`"
        )
    for name in names:
        if name not in bundle.objectives:
            raise ValueError(
                f"rows must rate objectives of the bundle; {name!r} is none"
                f"{nearest(name, bundle.objectives)}"
            )
        _alpha(bundle.facts.get("objectives", {}), name)


def _statistics(bundle: Bundle) -> Statistics:
    """The statistics that a change of sources needs."""
    check_changeable(bundle, ())
    sums = load_statistics(bundle)
    assert sums is not None
    return sums


def _refitted(
    bundle: Bundle,
    statistics: Statistics,
    names: Sequence[str],
    what: str,
    scales: Mapping[str, Mapping[str, Scale]],
) -> Bundle:
    """The bundle with the heads of some objectives fitted on other statistics."""
    known: Mapping[str, Any] = bundle.facts.get("objectives", {})
    fit = fit_ridge(
        statistics.with_objectives(names),
        alpha=torch.tensor([_alpha(known, name) for name in names], dtype=torch.float64),
        intercept=has_intercept(bundle),
    )
    rows = [bundle.objectives.index(name) for name in names]
    weight, bias = bundle.weight.clone(), bundle.bias.clone()
    weight[rows], bias[rows] = fit.weight, fit.bias
    facts = {**known}
    for name, n, noise in zip(
        names, fit.n_rows.tolist(), fit.noise_variance.sqrt().tolist(), strict=True
    ):
        noise_std = None if noise != noise else noise
        unknown = {"spearman": None, "r2": None}
        facts[name] = {**known[name], "n": n, **unknown, "noise_std": noise_std}
    sentence = (
        f"{what}: the ridge heads of {_listed(names)} were refitted with the alphas that they had; "
        "debias and gating were fitted before, and the figures of these heads and of the gated "
        "model are left out"
    )
    return replace(
        bundle,
        scales=scales,
        weight=weight,
        bias=bias,
        statistics=statistics,
        facts=changed_facts(bundle, sentence, objectives=facts, same_scores=False),
    )


def _alpha(known: Mapping[str, Any], name: str) -> float:
    """The penalty that a head has."""
    alpha = known.get(name, {}).get("alpha")
    if alpha is None:
        raise ValueError(f"the facts of the bundle must state the alpha of {name!r}; they do not")
    return float(alpha)


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return ", ".join(f"`{name}`" for name in names)
