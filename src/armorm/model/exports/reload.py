"""An export as transformers loads it: the class of its architecture, its scores, nothing kept."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from armorm.errors import BundleError
from armorm.features.backbone import quiet_transformers
from armorm.features.chat import TokenizedConversation
from armorm.features.checkpoint import first_line
from armorm.features.pooling import token_batches

_BATCH_TOKENS = 2048


class Architecture(NamedTuple):
    """What transformers makes of a config."""

    model_type: str
    """As in the config."""
    classifier: str | None
    """Name of its sequence classifier; None where there is none."""
    stored_prefix: str
    """What the names of the backbone's tensors start with in its checkpoint, where they start
    with anything, without the dot."""
    prefix: str
    """The same in the classifier."""
    vocab_size: int
    """Number of embeddings."""
    soft_capped: bool
    """True where only the plain attention computes what the model was trained with."""


def architecture(folder: Path) -> Architecture:
    """Say what transformers knows of the architecture of a checkpoint.

    Args:
        folder: With a config.

    Returns:
        The names that an export needs.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        AutoConfig,
    )

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    text = config.get_text_config()
    known = type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    found: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)] if known else None
    causal: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return Architecture(
        model_type=config.model_type,
        classifier=None if found is None else found.__name__,
        stored_prefix=causal.base_model_prefix,
        prefix="model" if found is None else found.base_model_prefix,
        vocab_size=text.vocab_size,
        soft_capped=getattr(text, "attn_logit_softcapping", None) is not None,
    )


def export_outputs(
    folder: Path,
    rows: Sequence[TokenizedConversation],
    *,
    dtype: torch.dtype,
    device: str,
    spread: bool,
    own_code: bool,
) -> dict[str, Tensor]:
    """Load an export as its users do, and score conversations with it.

    Args:
        folder: The export.
        rows: n conversations as token ids; padded on the right, as trainers do.
        dtype: Precision of the backbone.
        device: Where it runs, or takes its tokens.
        spread: True for layers on all devices that are there, as the bundle's backbone is.
        own_code: True where the class is the file that armorm wrote into the folder; only
            then is code of the folder run.

    Returns:
        `logits` (n, labels), and where the model has them `rewards` (n, k) and
        `gating_output` (n, k); float32 on the CPU.

    Raises:
        BundleError: it does not load, lacks weights, or has some of other shapes.
    """
    with _loaded(folder, dtype=dtype, spread=spread, own_code=own_code) as model:
        model = model.eval() if spread else model.to(device).eval()
        parts: dict[str, list[Tensor]] = {}
        order: list[int] = []
        for batch in token_batches([row.n_tokens for row in rows], budget=_BATCH_TOKENS):
            ids, mask = _padded([rows[i].token_ids for i in batch], model.config.pad_token_id)
            with torch.no_grad():
                found = model(input_ids=ids.to(device), attention_mask=mask.to(device))
            for name in ("logits", "rewards", "gating_output"):
                if name in found:
                    parts.setdefault(name, []).append(found[name].float().cpu())
            order += list(batch)
        place = torch.tensor(order).argsort()
        return {name: torch.cat(pieces)[place] for name, pieces in parts.items()}


def reread_ids(folder: Path, conversations: Sequence[Any]) -> list[list[int]]:
    """Return the token ids of conversations as trainers make them from an export's tokenizer.

    Args:
        folder: The export.
        conversations: n conversations.

    Returns:
        Ids of the chat template's text, tokenised without special tokens.

    Raises:
        BundleError: the tokenizer does not load.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # every tokenizer has its own
        raise BundleError(
            f"the tokenizer of the export must load; it does not: {first_line(error)}"
        ) from error
    texts = [tokenizer.apply_chat_template(c.messages(), tokenize=False) for c in conversations]
    return [list(tokenizer(str(t), add_special_tokens=False)["input_ids"]) for t in texts]


@contextlib.contextmanager
def _loaded(folder: Path, *, dtype: torch.dtype, spread: bool, own_code: bool) -> Generator[Any]:
    """Give the model of an export."""
    from transformers import AutoModelForSequenceClassification

    with quiet_transformers(), warnings.catch_warnings(), _own_modules():
        warnings.simplefilter("ignore")
        try:
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                dtype=dtype,
                device_map="auto" if spread else None,
                output_loading_info=True,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=own_code,
            )
        except Exception as error:  # safetensors, torch and transformers each have their own
            raise BundleError(f"the export must load; it does not: {first_line(error)}") from error
        wrong = sorted(
            str(key) for kind in ("missing", "mismatched") for key in info[f"{kind}_keys"]
        )
        if wrong:
            shown = ", ".join(f"`{key}`" for key in wrong[:3])
            raise BundleError(
                f"the export must hold every weight of its class; {len(wrong)} are missing or "
                f"misshapen: {shown}"
            )
        yield model


def _padded(
    rows: Sequence[Sequence[int]], pad: int
) -> tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]:
    """Ids and mask of a batch, padded on the right."""
    length = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[pad] * (length - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return ids, mask


@contextlib.contextmanager
def _own_modules() -> Generator[None]:
    """Let transformers copy code into a folder that goes away, and forget the modules after."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as MAPPING
    from transformers import dynamic_module_utils as loader

    modules: Any = loader  # the name is not exported by transformers
    registered: Any = MAPPING._extra_content  # a class of ours, where transformers has none
    others = dict(registered)
    kept, before = modules.HF_MODULES_CACHE, set(sys.modules)
    with tempfile.TemporaryDirectory() as folder:
        modules.HF_MODULES_CACHE = folder
        try:
            yield
        finally:
            modules.HF_MODULES_CACHE = kept
            registered.clear()
            registered.update(others)
            if folder in sys.path:
                sys.path.remove(folder)
            for name in set(sys.modules) - before:
                if name.startswith("transformers_modules"):
                    del sys.modules[name]
