"""Load reward models of others: decoders of Hugging Face with a classification head of one label.

No code of a repository is run, and no head is ever made up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from armorm.errors import BundleError, FeatureError
from armorm.features.backbone import describe_backbone, load_tokenizer, quiet_transformers
from armorm.features.chat import check_tokenizer
from armorm.features.checkpoint import find_folder, first_line, read_config
from armorm.features.interface import FeatureOptions
from armorm.features.placement import find_device
from armorm.model.classifier import ClassifierOptions, ClassifierScores, SequenceClassifier
from armorm.model.released import is_released_layout
from armorm.model.released.checkpoint import stored_tensors

__all__ = [
    "ClassifierOptions",
    "ClassifierScores",
    "SequenceClassifier",
    "load_sequence_classifier",
]

_HEAD = "AutoModelForSequenceClassification"
_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def load_sequence_classifier(
    name: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    options: ClassifierOptions | None = None,
) -> SequenceClassifier:
    """Load a reward model that is a decoder with a classification head of one label.

    Args:
        name: A local folder or a hub id.
        revision: Commit, tag or branch of a hub id.
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda`, `cuda:1` or `mps`.
        options: How conversations become scores; the defaults where None.

    Returns:
        The model, in eval mode, with its facts.

    Raises:
        FeatureError: there is no such folder or hub repository; it is a checkpoint in the
            released layout, which is loaded as a reward model of ours; it needs code of its
            own; it is no sequence classifier, not a decoder, or has not one label; weights
            are missing, damaged or stored in a dtype that cannot run; `max_tokens` is above
            the model's limit; the tokenizer is slow or has no chat template.
        ValueError: `device` is not a name of one.
    """
    options = options or ClassifierOptions()
    device = find_device(device)
    first, commit = find_folder(name, revision, patterns=["config.json"])
    _check_kind(name, first)
    folder, _ = find_folder(name, commit)
    dtype = _stored_dtype(name, folder) if options.dtype == "stored" else options.dtype
    facts = describe_backbone(
        name, revision=commit, dtype=dtype, options=FeatureOptions(max_tokens=options.max_tokens)
    )
    if facts["kind"] != "decoder":
        raise FeatureError(f"{name}: must be a decoder; it is an {facts['kind']}")
    with quiet_transformers():
        tokenizer = _load_tokenizer(name, folder)
        model = _load_model(name, folder, dtype=dtype)
    model = model.to(device).eval().requires_grad_(False)
    return SequenceClassifier(model, tokenizer, facts, options=options, device=device)


def _check_kind(name: str, folder: Path) -> None:
    """Raise by the config alone, before anything large is downloaded."""
    path = folder / "config.json"
    if not path.is_file():
        raise FeatureError(f"{name}: there is no `config.json`: not a model folder")
    if is_released_layout(folder):
        raise FeatureError(
            f"{name}: must be a plain sequence classifier; its config.json has `num_objectives`, "
            f"the layout of the released ArmoRM: name it without `hf:`"
        )
    raw = read_config(name, path, "model_type")
    if _HEAD in (raw.get("auto_map") or {}):
        raise FeatureError(
            f"{name}: its head needs code of its own repository, which is never run; use a "
            "checkpoint whose architecture transformers has"
        )
    names = [str(kind) for kind in raw.get("architectures") or ()]
    if names and not any(kind.endswith("ForSequenceClassification") for kind in names):
        raise FeatureError(
            f"{name}: must be a sequence classifier; its config.json names {names[0]!r}"
        )


def _stored_dtype(name: str, folder: Path) -> str:
    """The precision that keeps every stored value."""
    try:
        kinds = {tensor.dtype for tensor in stored_tensors(folder).values()}
    except BundleError as error:
        raise FeatureError(f"{name}: the weights cannot be loaded: {error}") from error
    if unknown := sorted(kinds - set(_STORED)):
        raise FeatureError(
            f"{name}: weights must be stored as {', '.join(_STORED.values())} to run as they "
            f"are; some are {unknown[0]}"
        )
    return _STORED[kinds.pop()] if len(kinds) == 1 else "float32"


def _load_tokenizer(name: str, folder: Path) -> Any:
    """Load the tokenizer, which must have a chat template."""
    tokenizer = load_tokenizer(name, folder)
    check_tokenizer(tokenizer)
    return tokenizer


def _load_model(name: str, folder: Path, *, dtype: str) -> Any:
    """Load the weights, every one of them from the checkpoint."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if config.num_labels != 1:
        raise FeatureError(
            f"{name}: must have one label, whose logit is the score; it has {config.num_labels}"
        )
    config.use_cache = False
    # Other kernels leave the soft cap of the attention out (Gemma-2).
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            attn_implementation="eager" if capped else None,
            output_loading_info=True,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except Exception as error:  # safetensors, torch and transformers each have their own
        raise FeatureError(f"{name}: the weights cannot be loaded: {first_line(error)}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        shown = ", ".join(f"`{key}`" for key in missing[:3])
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        raise FeatureError(
            f"{name}: the checkpoint must hold all weights, those of the head too; it lacks "
            f"{shown}{more}"
        )
    return model
