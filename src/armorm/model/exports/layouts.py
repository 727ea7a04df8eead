"""What each kind of export is made of: its tensors, its labels, its entries of the config."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from armorm.heads.gating import GatingNetwork
from armorm.model.bundle import Bundle, scales_as_json
from armorm.model.exports.gate import gate_tensors

Kind = Literal["armorm", "classifier", "objectives", "head"]

KINDS: tuple[Kind, ...] = ("armorm", "classifier", "objectives", "head")
"""What a reward model can be exported to."""

CLASS = "ArmoRMForSequenceClassification"
"""The class of the `armorm` layout; its file travels with the export."""

MODELING = "modeling_armorm.py"
"""That file."""

_MAPPED = "AutoModelForSequenceClassification"

# Where transformers has a classifier of the architecture it takes ours in its place as it is.
_BINDING = """

from transformers import CONFIG_MAPPING  # noqa: E402

# Transformers has no classifier of this architecture, and asks for the config of this one.
{name}.config_class = CONFIG_MAPPING["{model_type}"]
"""


@dataclass(frozen=True, eq=False)
class Layout:
    """The head of an export."""

    tensors: dict[str, Tensor]
    """Name -> tensor, float32."""
    labels: tuple[str, ...]
    """One an output of `logits`."""
    config: dict[str, Any]
    """Entries of the config besides labels."""


def collapsed_row(bundle: Bundle, coefficients: Float[Tensor, " k"]) -> Float[Tensor, "1 d"]:
    """Return the one row that scores with fixed coefficients: c @ W, multiplied in float64."""
    return (coefficients.double() @ bundle.weight.double()).float()[None]


def classifier_layout(bundle: Bundle, coefficients: Tensor) -> Layout:
    """Return a classifier of one label.

    Args:
        bundle: With a ridge head without intercept.
        coefficients: Shape (k,). Derivative of the score by each objective score.

    Returns:
        Its head, `score.weight` (1, d).
    """
    row = collapsed_row(bundle, coefficients)
    return Layout({"score.weight": row}, ("score",), {"value_head_prefix": "score"})


def objectives_layout(bundle: Bundle, *, debiased: bool) -> Layout:
    """Return a classifier of k labels, one an objective.

    Args:
        bundle: With a ridge head without intercept.
        debiased: True for q = r @ debias in place of the objective scores r: a nuisance's
            label is then 0.

    Returns:
        Its head, `score.weight` (k, d).
    """
    weight = bundle.weight
    if debiased:
        weight = (bundle.debias.T.double() @ weight.double()).float()
    return Layout({"score.weight": weight.clone()}, bundle.objectives, {})


def modeling_code(*, model_type: str | None) -> str:
    """Return the file of the class that the `armorm` layout carries.

    Args:
        model_type: Architecture that the class is bound to, of which transformers has no
            classifier; None where it has one.

    Returns:
        Python that needs torch and transformers.
    """
    code = resources.files("armorm.model").joinpath(MODELING).read_text(encoding="utf-8")
    if model_type is None:
        return code
    return code + _BINDING.format(name=CLASS, model_type=model_type)


def armorm_layout(bundle: Bundle, gate: GatingNetwork, pattern: Sequence[int]) -> Layout:
    """Return the heads of the released layout.

    Args:
        bundle: With a ridge head without intercept.
        gate: The gate, factors built in.
        pattern: Token ids that begin where a prompt ends.

    Returns:
        `regression_layer.weight`, `reward_transform_matrix` and `gating.*`.
    """
    tensors = {
        "regression_layer.weight": bundle.weight.clone(),
        "reward_transform_matrix": bundle.debias.clone(),
        **gate_tensors(gate, score_scale=bundle.score_scale),
    }
    config: dict[str, Any] = {
        "auto_map": {_MAPPED: f"{MODELING.removesuffix('.py')}.{CLASS}"},
        "num_objectives": len(bundle.objectives),
        "objective_names": list(bundle.objectives),
        "objective_scales": scales_as_json(bundle.scales),
        "preference_beta": bundle.beta,
        "gating_temperature": gate.temperature,
        "gating_n_hidden": len(gate.hidden),
        "gating_hidden": list(gate.hidden),
        "gating_token_pattern": list(pattern),
    }
    if len(set(gate.hidden)) == 1:  # all that the published class can read
        config["gating_hidden_dim"] = gate.hidden[0]
    return Layout(tensors, ("score",), config)
