"""Why one response scores higher than another, for a reader."""

from __future__ import annotations

from armorm.explain.compare import Comparison, ExplanationLike, ObjectiveDifference, compare
from armorm.explain.render import ComparisonView, ExplanationView
from armorm.explain.sentence import decided_in_words, explain_in_words

__all__ = [
    "Comparison",
    "ComparisonView",
    "ExplanationLike",
    "ExplanationView",
    "ObjectiveDifference",
    "compare",
    "decided_in_words",
    "explain_in_words",
]
