"""`config.json` of an export, in words that transformers 4.57 and 5 both read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_OWN = (
    "_name_or_path",
    "auto_map",
    "dtype",
    "gating_hidden",
    "gating_hidden_dim",
    "gating_n_hidden",
    "gating_temperature",
    "gating_token_pattern",
    "id2label",
    "label2id",
    "num_labels",
    "num_objectives",
    "objective_names",
    "objective_scales",
    "preference_beta",
    "problem_type",
    "torch_dtype",
    "transformers_version",
    "value_head_prefix",
)
"""What another layout or another machine wrote, and an export states anew or leaves out."""


def export_config(
    backbone: Mapping[str, Any],
    *,
    architecture: str,
    labels: Sequence[str],
    pad_id: int,
    dtype: str,
    soft_capped: bool,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the config of an export: that of the backbone with a head's facts.

    `problem_type` is regression: engines would put a sigmoid or a softmax on the outputs of
    any other classifier.

    Args:
        backbone: The backbone's `config.json`.
        architecture: Name of the class.
        labels: One name an output.
        pad_id: The padding token.
        dtype: Precision that the backbone runs in, by name; the heads are float32.
        soft_capped: True for attention with a soft cap, which kernels other than the plain
            one leave out; the config then asks for that one.
        more: Further entries.

    Returns:
        The content of the file.
    """
    config = {key: value for key, value in backbone.items() if key not in _OWN}
    config |= _rope(backbone)
    config |= {
        "architectures": [architecture],
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": "regression",
        "pad_token_id": pad_id,
        "torch_dtype": dtype,
        "use_cache": False,
    }
    if soft_capped:
        config["_attn_implementation"] = "eager"
    nested: Any = config.get("text_config")
    if isinstance(nested, dict):
        config["text_config"] = {**nested, "pad_token_id": pad_id}
    return config | dict(more)


def _rope(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """The entries by which transformers 4.57 knows rotary frequencies that 5 has written."""
    rope = backbone.get("rope_parameters")
    if not isinstance(rope, dict) or "rope_theta" not in rope:
        return {}
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    scaled = scaling.get("rope_type", "default") != "default"
    return {"rope_theta": rope["rope_theta"], "rope_scaling": scaling if scaled else None}
