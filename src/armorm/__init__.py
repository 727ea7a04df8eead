"""Interpretable multi-objective reward models: train, score, explain, steer, evaluate.

Importing `armorm` is cheap: torch is loaded with the first name that needs it,
transformers with the first model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from armorm.errors import (
    ArmormError,
    BundleError,
    DataError,
    FeatureError,
    MissingDependency,
    RecipeError,
    StorageError,
)
from armorm.types import (
    Candidates,
    Conversation,
    Message,
    Objective,
    PreferencePair,
    RatedResponse,
    Scale,
)

if TYPE_CHECKING:
    from armorm.client import AsyncClient, Client
    from armorm.model.reward import Explanation, RewardModel, Scores

__version__ = "0.1.0"

__all__ = [
    "ArmormError",
    "AsyncClient",
    "BundleError",
    "Candidates",
    "Client",
    "Conversation",
    "DataError",
    "Explanation",
    "FeatureError",
    "Message",
    "MissingDependency",
    "Objective",
    "PreferencePair",
    "RatedResponse",
    "RecipeError",
    "RewardModel",
    "Scale",
    "Scores",
    "StorageError",
    "__version__",
]

_LAZY = {
    **dict.fromkeys(("AsyncClient", "Client"), "armorm.client"),
    **dict.fromkeys(("Explanation", "RewardModel", "Scores"), "armorm.model.reward"),
}


def __getattr__(name: str) -> Any:
    """Load a public name that needs torch, or a client of HTTP, on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'armorm' has no attribute {name!r}")
