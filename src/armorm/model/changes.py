"""What the facts of a bundle still say truthfully after its heads were changed without a run."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from armorm.model.bundle import Bundle
from armorm.model.rivals import FIXED_WEIGHTS, UNIFORM, WITHOUT_DEBIAS, WITHOUT_MEASURED

GATED = "gated"
"""The reward model itself among the scorers of a report."""

CHANGES = "changes"
"""Key of the facts under which every change is told, one sentence each, in order."""


def has_intercept(bundle: Bundle) -> bool:
    """Say whether the ridge heads were fitted with an intercept: without one each bias is 0."""
    return bool(bundle.bias.any())


def changed_facts(
    bundle: Bundle,
    sentence: str,
    *,
    objectives: Mapping[str, Any],
    same_scores: bool,
) -> dict[str, Any]:
    """Return the facts of a bundle after a change; figures that it made untrue are left out.

    Args:
        bundle: Before the change.
        sentence: What was changed, for the model card.
        objectives: Facts by objective after the change.
        same_scores: Whether every conversation scores what it did: the accuracy of the
            gated model and of its rivals holds then, but for the mean of all objectives.

    Returns:
        JSON facts.
    """
    facts = dict(bundle.facts)
    facts["objectives"] = dict(objectives)
    if "mean_spearman" in facts:
        rated = [of for name, of in objectives.items() if name not in bundle.measured]
        known = [of.get("spearman") for of in rated]
        defined = [value for value in known if value is not None]
        facts["mean_spearman"] = fmean(defined) if defined else None
    if "accuracy" in facts:
        stale = {UNIFORM}
        if not same_scores:
            stale |= {GATED, WITHOUT_DEBIAS, WITHOUT_MEASURED, FIXED_WEIGHTS}
        kept = {scorer: v for scorer, v in facts["accuracy"].items() if scorer not in stale}
        facts["accuracy"] = kept
    facts[CHANGES] = [*facts.get(CHANGES, []), sentence]
    return facts
