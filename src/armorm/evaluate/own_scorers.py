"""Scorers that come with armorm: a reward model, the length of the response, a random number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from armorm.evaluate.baselines import LONGER, length_scores
from armorm.evaluate.score_cache import Progress, content_key, conversation_keys
from armorm.features.extract import compute_features
from armorm.features.interface import Unused
from armorm.model.reward import RewardModel
from armorm.model.tensors import network_tensors, tensor_bytes
from armorm.storage import fingerprint
from armorm.types import Conversation

SHORTER = "shorter wins"
"""Name of the scorer that prefers the shorter response."""

RANDOM = "random"
"""Name of the scorer that draws a number for each text."""


class BundleScorer:
    """A reward model, steered or not, as a scorer."""

    def __init__(
        self,
        model: RewardModel,
        *,
        name: str | None = None,
        family: VariantScores | None = None,
    ) -> None:
        """Take a model.

        Args:
            model: The reward model.
            name: Shown in tables instead of the name of the bundle; how the model is steered
                stands behind it.
            family: Scores that the model has in common with variants of it; None: none.
        """
        self._model = model
        self.name = (model.bundle.name if name is None else name) + _steering(model)
        self.identity = _model_identity(model)
        self._family = family
        if family is not None:
            family.add(self.identity, model)
        options = model.backbone.options
        # A decoder cuts all responses to a prompt alike, so the longest decides for the others.
        self.joint = options.too_long == "truncate" and model.backbone.kind == "decoder"

    def score(
        self, conversations: Sequence[Conversation], *, progress: Progress | None = None
    ) -> np.ndarray:
        """Score conversations; see `Scorer` and `RewardModel.score`."""
        if self._family is not None:
            keys = conversation_keys(conversations, joint=self.joint)
            return self._family.scores(self.identity, keys, conversations, progress)
        scores = self._model.score(conversations, progress=progress)
        return scores.score.numpy().astype(np.float64)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what a user may not expect."""
        return tuple(self._model.backbone.notes)

    def refusals(self, conversations: Sequence[Conversation]) -> list[str]:
        """Say which conversations the backbone cannot take.

        Args:
            conversations: All that will be scored: where prompts are cut, the longest
                response decides for the others.

        Returns:
            A short reason for each; empty where it can be scored.
        """
        backbone = self._model.backbone
        lenient = copy(backbone)  # a row that the chat template refuses gets a reason as well
        lenient.options = replace(backbone.options, bad_rows="drop")
        tokenized = lenient.tokenize(conversations, cuts=lenient.cuts(conversations))
        return [row.reason if isinstance(row, Unused) else "" for row in tokenized]


class VariantScores:
    """Scores of one backbone under several sets of weights: a text is run through it once."""

    def __init__(self) -> None:
        """Know no model yet."""
        self._models: dict[str, RewardModel] = {}
        self._known: dict[tuple[str, str], float] = {}

    def add(self, identity: str, model: RewardModel) -> None:
        """Add a variant.

        Args:
            identity: Of its scorer.
            model: Shares its backbone with the others.
        """
        self._models[identity] = model

    def scores(
        self,
        identity: str,
        keys: Sequence[str],
        conversations: Sequence[Conversation],
        progress: Progress | None,
    ) -> np.ndarray:
        """Return the scores of one variant, and keep those of the others.

        Args:
            identity: Of its scorer.
            keys: One a conversation; equal keys have equal scores.
            conversations: n conversations.
            progress: Called with (conversations done, conversations in all).

        Returns:
            Shape (n,), float64.
        """
        if any((identity, key) not in self._known for key in keys):
            backbone = self._models[identity].backbone
            features = compute_features(backbone, conversations, progress=progress)
            for name, model in self._models.items():
                scores = model.score_features(features.response, features.prompt).score
                of_keys = zip(((name, key) for key in keys), scores.tolist(), strict=True)
                self._known.update(of_keys)
        return np.array([self._known[identity, key] for key in keys])


class LengthScorer:
    """Prefers the response with more characters, or with fewer; reads no word of it."""

    def __init__(self, *, longer: bool = True) -> None:
        """Choose the direction.

        Args:
            longer: Whether the longer response wins.
        """
        self._sign = 1.0 if longer else -1.0
        self.name = LONGER if longer else SHORTER
        self.identity = fingerprint({"scorer": "length in characters", "sign": self._sign})

    def score(
        self, conversations: Sequence[Conversation], *, progress: Progress | None = None
    ) -> np.ndarray:
        """Score conversations; see `Scorer`."""
        del progress
        return self._sign * length_scores([row.response for row in conversations])


class RandomScorer:
    """Draws a number in [0, 1) for each text: the same text, the same number."""

    def __init__(self, *, seed: int = 0) -> None:
        """Choose the draw.

        Args:
            seed: Another seed gives other numbers.
        """
        self.name = RANDOM
        self.identity = fingerprint({"scorer": "random", "seed": seed})

    def score(
        self, conversations: Sequence[Conversation], *, progress: Progress | None = None
    ) -> np.ndarray:
        """Score conversations; see `Scorer`."""
        del progress
        seed = bytes.fromhex(self.identity)
        draws = (hashlib.blake2b(seed + content_key(c).encode()) for c in conversations)
        # The top 53 bits fill a float64 without rounding up to 1.
        bits = [int.from_bytes(draw.digest()[:8], "big") >> 11 for draw in draws]
        return np.array(bits, dtype=np.float64) * 2.0**-53


def _model_identity(model: RewardModel) -> str:
    """SHA-256 of heads, backbone, options of features and steering."""
    bundle = model.bundle
    tensors = {"weight": bundle.weight, "bias": bundle.bias, "debias": bundle.debias}
    tensors |= network_tensors("gating.", bundle.gating)
    return fingerprint(
        {
            "scorer": "bundle",
            "heads": hashlib.sha256(tensor_bytes(tensors)).hexdigest(),
            "objectives": list(bundle.objectives),
            "nuisances": list(bundle.nuisances),
            "temperature": bundle.gating.temperature,
            "masked": list(bundle.gating.masked),
            "score_scale": bundle.score_scale,
            # By digest: the same backbone gives the same scores wherever it lies.
            "backbone": {
                k: v for k, v in model.backbone.facts().items() if k not in ("name", "revision")
            },
            "weights": dict(model.weights) if model.weights is not None else None,
            "factors": dict(model.factors) if model.factors is not None else None,
        }
    )


def _steering(model: RewardModel) -> str:
    """How a model is steered, in brackets, or nothing."""
    steered = model.weights if model.weights is not None else model.factors
    if steered is None:
        return ""
    how = "weights" if model.weights is not None else "scale"
    return f" ({how} {', '.join(f'{name}={value:g}' for name, value in steered.items())})"
