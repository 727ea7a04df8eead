"""The reward model: a backbone and its heads; scores, explains, is steered by name.

It does not know recipes, files of rows or terminals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from armorm.data import as_conversation
from armorm.errors import BundleError, DataError, nearest
from armorm.features.backbone import DeviceMap, backbone_digest, load_backbone
from armorm.features.extract import compute_features
from armorm.features.interface import Backbone, FeatureOptions
from armorm.heads.checks import check_shape
from armorm.heads.compose import Composition, compose, compose_fixed, scale_gating
from armorm.heads.ridge import predict
from armorm.model.bundle import Bundle
from armorm.model.find import find_model, open_found
from armorm.model.scores import Explanation, Scores, shortest
from armorm.types import Conversation, Message

__all__ = ["ConversationLike", "Explanation", "RewardModel", "Scores", "shortest"]

ConversationLike = Conversation | Mapping[str, Any] | Sequence[Mapping[str, str] | Message]
"""A `Conversation`, `{"prompt", "response"}`, `{"messages"}` or a list of messages."""

_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True, eq=False)
class RewardModel:
    """A backbone with its heads.

    Score = score_scale * sum_j g_j(prompt) * q_j, where q = r @ debias are the debiased
    objective scores r, and g is the gating; it comes apart again into contributions
    c_j r_j with coefficients c = score_scale * g @ debias.T (arXiv 2406.12845, section 3).

    Example:
        >>> from armorm import RewardModel
        >>> model = RewardModel.load("runs/quickstart/bundle")  # doctest: +SKIP
        >>> model.score([{"prompt": "2+2?", "response": "4."}]).score  # doctest: +SKIP
        tensor([0.7031])
    """

    bundle: Bundle
    """Heads and facts."""
    backbone: Backbone
    """The frozen language model."""
    weights: Mapping[str, float] | None = None
    """Fixed weights on the raw objective scores, set by `with_weights`."""
    factors: Mapping[str, float] | None = None
    """Factors of the gating, set by `scaled`."""

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "auto",
        backbone: str | Path | None = None,
        dtype: str | None = None,
        device_map: DeviceMap | None = None,
    ) -> RewardModel:
        """Load a bundle and the backbone that it names, or a released checkpoint.

        Args:
            path: Folder or hub id (`owner/name`, or `owner/name@revision`) of a bundle, or of
                a checkpoint in the layout of RLHFlow/ArmoRM-Llama3-8B-v0.1.
            device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
            backbone: Where the backbone is, when not at the id that the bundle names
                (a local copy); it must be the same one.
            dtype: What the backbone of a released checkpoint runs in: that of its stored
                tensors where None. A bundle's heads belong to features of one dtype.
            device_map: Spread the backbone over several devices, as accelerate takes it;
                heads run on the CPU.

        Returns:
            The reward model.

        Raises:
            BundleError: the bundle is incomplete, damaged or of a newer schema; tensors of
                the checkpoint are missing, left over or misshapen; it is neither of the two;
                the backbone is another one than the heads were fitted on.
            FeatureError: the backbone cannot be loaded.
            MissingDependency: the backbone or `device_map` needs an extra that is not
                installed.
            ValueError: `dtype` is not that of the bundle; `device` beside `device_map`.
        """
        found = find_model(path)
        bundle = open_found(found, dtype=dtype)
        facts = bundle.backbone
        name = str(backbone if backbone is not None else facts["name"])
        revision = facts["revision"] if backbone is None else None
        is_described = found.is_released and backbone is None  # its files were read just now
        digest = facts["digest"] if is_described else backbone_digest(name, revision=revision)
        # First: the options of one backbone make no sense for another.
        if digest != facts["digest"]:
            raise BundleError(
                f"{path}: the backbone must be {facts['name']!r} with digest "
                f"{facts['digest'][:12]}…; {name!r} has digest {digest[:12]}…: "
                "the heads were fitted on another backbone, their scores would mean nothing"
            )
        kept: dict[str, Any] = {
            "revision": revision,
            "dtype": facts["dtype"],
            "options": FeatureOptions.from_facts(facts),
            "digest": digest,
            "device_map": device_map,
        }
        return cls(bundle, load_backbone(name, device=device, **kept))

    @property
    def objectives(self) -> tuple[str, ...]:
        """Objective names, in the order of axis k."""
        return self.bundle.objectives

    def score(
        self,
        conversations: Sequence[ConversationLike],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Scores:
        """Score conversations.

        Args:
            conversations: n conversations, each a `Conversation`, a mapping with
                `prompt` and `response` or with `messages`, or a list of messages.
            progress: Called with (rows done, rows in all).

        Returns:
            Scores in the order given; a conversation scores the same alone and among
            others, to 1e-5 in float32.

        Raises:
            DataError: a conversation is none of these forms, does not end in a response, or
                has an empty prompt or response; no list, or one conversation in its place.
            FeatureError: a conversation is longer than the backbone takes and the
                bundle's recipe does not truncate; the chat template refuses it; its
                features are not finite.
        """
        _check_list(conversations)
        rows = [
            as_conversation(c, where=f"conversations[{i}]") for i, c in enumerate(conversations)
        ]
        features = compute_features(self.backbone, rows, progress=progress)
        return self.score_features(
            features.response,
            features.prompt,
            ids=tuple(row.id for row in rows),
            n_tokens=features.n_tokens,
            n_truncated=features.n_truncated,
        )

    def score_features(
        self,
        response: Tensor,
        prompt: Tensor,
        *,
        ids: tuple[str, ...] | None = None,
        n_tokens: Tensor | None = None,
        n_truncated: Tensor | None = None,
    ) -> Scores:
        """Score features that are already there.

        Args:
            response: Response features, shape (n, d).
            prompt: Prompt features, shape (n, dp).
            ids: n identifiers; empty ones by default.
            n_tokens: Shape (n,); zeros by default.
            n_truncated: Shape (n,); zeros by default.

        Returns:
            Scores in the order given.

        Raises:
            ValueError: shapes that disagree with each other or with the heads; another
                number of identifiers.
        """
        check_shape("response", response, "n d", d=self.bundle.weight.shape[1])
        n = len(response)
        check_shape("prompt", prompt, "n dp", n=n, dp=self.bundle.gating.in_features)
        if ids is not None and len(ids) != n:
            raise ValueError(f"`ids` must have {n} entries; got {len(ids)}")
        zeros = torch.zeros(n, dtype=torch.int64)
        objectives = predict(self.bundle.weight, self.bundle.bias, response.float())
        with torch.no_grad():
            parts, gating = self._compose(objectives, prompt.float())
        return Scores(
            names=self.objectives,
            ids=ids if ids is not None else ("",) * n,
            score=parts.score,
            objectives=objectives,
            gating=gating,
            coefficients=parts.coefficients,
            contributions=parts.contributions,
            n_tokens=n_tokens if n_tokens is not None else zeros,
            n_truncated=n_truncated if n_truncated is not None else zeros,
        )

    def explain(self, conversation: ConversationLike) -> Explanation:
        """Score one conversation and name the parts.

        Args:
            conversation: As in `score`.

        Returns:
            The score with objective scores, gating, coefficients and contributions.

        Raises:
            DataError: as in `score`.
            FeatureError: as in `score`.
        """
        return self.score([conversation])[0]

    def with_weights(self, weights: Mapping[str, float]) -> RewardModel:
        """Return a model with fixed weights on the raw objective scores.

        Gating and debias are bypassed: score = sum_j weights_j * r_j. An objective that
        is not named has weight 0. Weights or factors that this model has are replaced.

        Args:
            weights: Objective name -> weight, any sign.

        Returns:
            A model that shares backbone and heads with this one.

        Raises:
            ValueError: no mapping; an unknown name; no weight at all; a weight that is no
                number, or not finite in float32.
        """
        self._check_names("weights", weights)
        return replace(self, weights=dict(weights), factors=None)

    def scaled(self, factors: Mapping[str, float]) -> RewardModel:
        """Return a model whose gating is multiplied by factors and renormalised.

        Gating_j becomes factor_j g_j / sum_i factor_i g_i. Factors that this model has are
        multiplied by the new ones.

        Args:
            factors: Objective name -> factor >= 0; 1 for an objective that is not named.

        Returns:
            A model that shares backbone and heads with this one.

        Raises:
            ValueError: no mapping; an unknown name; no factor at all; a factor that is no
                number, negative or not finite in float32; a nuisance, which the debias step
                has removed; no objective keeps a factor above 0; this model has fixed weights.
        """
        if self.weights is not None:
            raise ValueError(
                "`factors` multiply the gating, which the fixed weights of this model bypass; "
                "call `scaled` on a model without weights"
            )
        self._check_names("factors", factors)
        for name, factor in factors.items():
            if factor < 0:
                raise ValueError(f"`factors` must be at least 0; got {factor:g} for {name!r}")
            if self.objectives.index(name) in self.bundle.nuisances:
                raise ValueError(
                    f"`factors` must not name the nuisance {name!r}: the debias step removes "
                    "it from the score; use `with_weights` to give it a weight"
                )
        old = self.factors or {}
        factors = {**old, **{n: f * old.get(n, 1) for n, f in factors.items()}}
        self._check_names("factors", factors)
        unused = {*self.bundle.nuisances, *self.bundle.gating.masked}
        weighed = [n for i, n in enumerate(self.objectives) if i not in unused]
        if not any(factors.get(name, 1) > 0 for name in weighed):
            raise ValueError("`factors` must leave one objective a factor above 0; all are 0")
        return replace(self, factors=factors)

    def _compose(self, objectives: Tensor, prompt: Tensor) -> tuple[Composition, Tensor | None]:
        """Score, coefficients and contributions, and the gating where there is one."""
        if self.weights is not None:
            fixed = [float(self.weights.get(name, 0)) for name in self.objectives]
            return compose_fixed(objectives, torch.tensor(fixed)), None
        gating = self.bundle.gating(prompt)
        if self.factors is not None:
            factors = torch.tensor([float(self.factors.get(n, 1)) for n in self.objectives])
            gating = scale_gating(gating, factors, nuisances=self.bundle.nuisances)
        scale = self.bundle.score_scale
        return compose(objectives, gating, self.bundle.debias, score_scale=scale), gating

    def _check_names(self, argument: str, values: Mapping[str, float]) -> None:
        """Raise for a name that is not an objective, or a value that float32 cannot hold."""
        if not isinstance(values, Mapping):
            raise ValueError(
                f"`{argument}` must map objective names to numbers; got {type(values).__name__}"
            )
        if not values:
            raise ValueError(f"`{argument}` must name at least one objective; it is empty")
        for name, value in values.items():
            if name not in self.objectives:
                raise ValueError(
                    f"`{argument}`: unknown objective {name!r}{nearest(name, self.objectives)}"
                )
            if not isinstance(value, Real) or isinstance(value, bool):
                raise ValueError(f"`{argument}` must be numbers; got {value!r} for {name!r}")
            if not abs(value) <= _LARGEST:
                raise ValueError(
                    f"`{argument}` must be finite in float32; got {value!r} for {name!r}"
                )


def _check_list(conversations: Any) -> None:
    """Raise unless there is a list of conversations, whatever they are."""
    one = isinstance(conversations, Conversation | Mapping | str)
    if one or not isinstance(conversations, Iterable):
        found = type(conversations).__name__
        hint = f"one {found}: put it in a list, or use `explain`" if one else found
        raise DataError(f"`conversations` must be a list of conversations; got {hint}")
