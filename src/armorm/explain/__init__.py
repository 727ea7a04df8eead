"""Why one response scores higher than another, for a reader.

Importing it loads no torch: the names that need a model load it on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from armorm.explain.compare import Comparison, ExplanationLike, ObjectiveDifference, compare
from armorm.explain.flip import Flip, SingleChange, flip_gating, flip_weights
from armorm.explain.sentence import decided_in_words, explain_in_words

if TYPE_CHECKING:
    from armorm.explain.explained import (
        ConversationExplanation,
        PairExplanation,
        explain_conversation,
        explain_pair,
    )
    from armorm.explain.nearest import NoRows, RatedNeighbour, RatedRows
    from armorm.explain.rated_file import rows_of_file
    from armorm.explain.render import ComparisonView, ExplanationView

__all__ = [
    "Comparison",
    "ComparisonView",
    "ConversationExplanation",
    "ExplanationLike",
    "ExplanationView",
    "Flip",
    "NoRows",
    "ObjectiveDifference",
    "PairExplanation",
    "RatedNeighbour",
    "RatedRows",
    "SingleChange",
    "compare",
    "decided_in_words",
    "explain_conversation",
    "explain_in_words",
    "explain_pair",
    "flip_gating",
    "flip_weights",
    "rows_of_file",
]

_MODULES = {
    "explained": (
        "ConversationExplanation",
        "PairExplanation",
        "explain_conversation",
        "explain_pair",
    ),
    "nearest": ("NoRows", "RatedNeighbour", "RatedRows"),
    "rated_file": ("rows_of_file",),
    "render": ("ComparisonView", "ExplanationView"),
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name that needs torch on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"armorm.explain.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'armorm.explain' has no attribute {name!r}")
