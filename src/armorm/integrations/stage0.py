"""A Bradley-Terry backbone trained with TRL's RewardTrainer, before armorm's own training.

The conversations are tokenised as features are, so that the score is trained at the very token
that the response feature is taken from.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from armorm.errors import DataError, MissingDependency, StorageError, nearest
from armorm.features.backbone import load_tokenizer
from armorm.features.chat import tokenize_conversations
from armorm.features.checkpoint import find_folder
from armorm.features.interface import Unused
from armorm.features.template import check_tokenizer
from armorm.storage import check_writable, storage_errors, whole_folder
from armorm.types import PreferencePair

_PART = 1024  # pairs that are tokenised at a time; token ids are kept as int32

_SAVED = (".json", ".jinja", ".safetensors", ".txt", ".model")  # by `save_pretrained`

FULL: dict[str, Any] = {
    "learning_rate": 2e-6,
    "weight_decay": 0.001,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,  # a share of all steps
    "num_train_epochs": 1,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 64,
    "max_length": 4096,
}
"""Settings of FsfairX-LLaMA3-RM-v0.1, the backbone of arXiv 2406.12845, on 8 GPUs: batches of 512.

From `bradley-terry-rm/llama3_8B_rm.py` of RLHFlow/RLHF-Reward-Modeling, with AdamW of torch in
place of its paged one.
"""

LORA: dict[str, Any] = FULL | {"learning_rate": 1e-4}
"""As `FULL`, with the learning rate that TRL has for adapters."""


@dataclass(frozen=True, slots=True)
class TrainedBackbone:
    """Where a backbone lies, and what it was trained on."""

    folder: Path
    """Weights, config, tokenizer and chat template; a recipe's `backbone:`."""
    n_pairs: int
    """Pairs that were trained on."""
    dropped: dict[str, int]
    """Pairs that were not, by reason."""
    n_steps: int
    """Optimiser steps."""
    history: list[dict[str, float]]
    """What TRL logged: loss, accuracy, margin, learning rate by step."""


def train_backbone(
    backbone: str,
    pairs: Sequence[PreferencePair],
    folder: str | Path,
    *,
    lora: int | None = None,
    pad_token: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TrainedBackbone:
    """Train a backbone to prefer the chosen responses, and save it for `backbone:`.

    Minimises -log sigmoid(r_chosen - r_rejected), r a linear map of the state at the last token
    of the conversation. The map stays in the folder as the classifier's `score`; armorm reads
    the backbone without it. A LoRA adapter is merged. Checkpoints of the training lie beside the
    folder, in `<folder>-checkpoints`.

    Args:
        backbone: Local folder or hub id of a causal model with a chat template.
        pairs: What `read_pairs` returns.
        folder: Where the backbone is saved; an older one there is replaced.
        lora: Rank of the adapter; None trains all weights.
        pad_token: Token of the vocabulary that pads. It must not end conversations: the
            classifier takes trailing padding off, and the token that the score is trained at
            with it. None: the tokenizer's own where it has one.
        settings: What differs from `FULL` or `LORA`, as arguments of TRL's `RewardConfig`.
            `max_length`: pairs with a longer side are left out and counted.

    Returns:
        The folder, what was used and what was logged.

    Raises:
        MissingDependency: TRL, PEFT or datasets are not installed.
        FeatureError: there is no such backbone; its tokenizer is slow or has no chat template.
        DataError: no pair is left.
        ValueError: `lora` below 1; the padding token is not in the vocabulary, is missing, or
            ends conversations (another one is named); a setting that RewardConfig does not
            have, or that would change the tokens; `max_length` below 2; the backbone has no
            causal architecture.
        StorageError: the folder cannot be written, or holds other files.

    Source:
        arXiv 2406.12845, section 4.1, names the backbone; its training script is the one that
        `FULL` cites. There, longer conversations are cut on the left; here they are left out.
    """
    trl, datasets, peft = _packages()
    if lora is not None and lora < 1:
        raise ValueError(f"`lora` must be a rank of 1 or more; got {lora}")
    chosen = {**(FULL if lora is None else LORA), **(settings or {})}
    _check_settings(chosen)
    max_length = chosen.pop("max_length")
    folder = Path(folder)
    _check_folder(folder.resolve())
    source, _ = find_folder(backbone, None)
    tokenizer = _tokenizer(backbone, source)
    rows, dropped = _token_ids(tokenizer, pairs, max_length, datasets)
    pad = _pad_token(tokenizer, rows, pad_token)
    config = _config(trl, folder, chosen, pad)
    adapter = None if lora is None else _adapter(peft, lora)
    trainer = trl.RewardTrainer(
        model=str(source),
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=adapter,
    )
    n_pairs = len(trainer.train_dataset)
    trainer.train(resume_from_checkpoint=config.resume_from_checkpoint)
    _save(trainer, folder, merge=lora is not None)
    return TrainedBackbone(
        folder=folder,
        n_pairs=n_pairs,
        dropped=dict(dropped),
        n_steps=int(trainer.state.global_step),
        history=[dict(entry) for entry in trainer.state.log_history],
    )


def _check_settings(chosen: Mapping[str, Any]) -> None:
    """Raise for settings that TRL would take and that would spoil the backbone."""
    for name in ("pad_token", "eos_token", "chat_template_path"):
        if name in chosen:
            use = "; use the argument `pad_token`" if name == "pad_token" else ""
            raise ValueError(
                f"`settings` must not hold {name!r}, which would change the tokens after they "
                f"are made{use}"
            )
    length = chosen["max_length"]
    if not isinstance(length, int) or isinstance(length, bool) or length < 2:
        raise ValueError(f"`max_length` must be a whole number of 2 or more; got {length!r}")


def _check_folder(folder: Path) -> None:
    """Raise, before the training, where the backbone could not be saved or would replace more."""
    with storage_errors(folder):
        files = list(folder.iterdir()) if folder.exists() else []
    if others := [f.name for f in files if f.is_dir() or f.suffix not in _SAVED]:
        raise StorageError(
            f"{folder}: a backbone replaces the whole folder; this one holds other files, "
            f"{min(others)!r} among them"
        )
    check_writable(folder.with_name(f"{folder.name}.part"))  # it is written there, and renamed


def _packages() -> tuple[Any, Any, Any]:
    """TRL, datasets and PEFT."""
    try:
        import datasets
        import peft
        import trl
    except ImportError as error:
        raise MissingDependency("training a backbone", "trl") from error
    return trl, datasets, peft


def _tokenizer(name: str, folder: Path) -> Any:
    """Load the tokenizer as `load_backbone` does; it must have a chat template."""
    tokenizer = load_tokenizer(name, folder)
    check_tokenizer(tokenizer)
    return tokenizer


def _token_ids(
    tokenizer: Any, pairs: Sequence[PreferencePair], max_length: int, datasets: Any
) -> tuple[Any, Counter[str]]:
    """Token ids of both sides as TRL takes them, and the pairs that have none by reason."""
    parts: list[Any] = []
    dropped: Counter[str] = Counter()
    for start in range(0, len(pairs), _PART):
        sides = [c for pair in pairs[start : start + _PART] for c in pair.conversations]
        found = tokenize_conversations(tokenizer, sides, max_tokens=max_length, bad_rows="drop")
        kept: dict[str, list[Any]] = {"chosen_ids": [], "rejected_ids": []}
        for one, other in zip(found[::2], found[1::2], strict=True):
            if isinstance(one, Unused) or isinstance(other, Unused):
                unused = one if isinstance(one, Unused) else other
                assert isinstance(unused, Unused)
                dropped[unused.reason] += 1
                continue
            kept["chosen_ids"].append(np.array(one.token_ids, dtype=np.int32))
            kept["rejected_ids"].append(np.array(other.token_ids, dtype=np.int32))
        if kept["chosen_ids"]:
            parts.append(datasets.Dataset.from_dict(kept))
    if not parts:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in dropped.items()) or "none were given"
        raise DataError(f"`pairs` must leave at least one to train on; {reasons}")
    return datasets.concatenate_datasets(parts), dropped


def _pad_token(tokenizer: Any, rows: Any, asked: str | None) -> str:
    """A padding token that ends no conversation."""
    vocabulary = tokenizer.get_vocab()
    pad = asked if asked is not None else tokenizer.pad_token
    last = {int(ids[-1]) for side in ("chosen_ids", "rejected_ids") for ids in rows[:64][side]}
    if pad is not None and pad in vocabulary and vocabulary[pad] not in last:
        return pad
    spare = sorted(t for t in vocabulary if re.match(r"[<\[].*(pad|PAD|reserved)", t))
    hint = next((t for t in spare if vocabulary[t] not in last), None)
    found = "it has none" if pad is None else f"got {pad!r}, which ends a conversation"
    if pad is not None and pad not in vocabulary:
        found = f"got {pad!r}, which is not there"
    use = "" if hint is None else f"; {hint!r} would do"
    raise ValueError(
        "`pad_token` must be a token of the vocabulary that ends no conversation; " + found + use
    )


def _config(trl: Any, folder: Path, chosen: Mapping[str, Any], pad: str) -> Any:
    """TRL's configuration."""
    place = folder.resolve()
    own: dict[str, Any] = {
        "output_dir": str(place.with_name(f"{place.name}-checkpoints")),
        "report_to": "none",
        # Rows are tokenised and filtered already.
        "max_length": None,
        "pad_token": pad,
        # A GPU or nothing: TRL's default of bfloat16 is an error on older ones, and slow on CPUs.
        "bf16": torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
    }
    known = {f.name for f in dataclasses.fields(trl.RewardConfig)}
    for name in chosen:
        if name not in known:
            hint = nearest(name, known)
            near = hint if hint.startswith("; did") else ""  # there are more than a hundred
            raise ValueError(f"`settings`: RewardConfig has no {name!r}{near}")
    given = own | dict(chosen)
    if "warmup_ratio" in known and 0 < given.get("warmup_steps", 0) < 1:
        # Transformers 4 has two names for what 5 has one for.
        given["warmup_ratio"] = given.pop("warmup_steps")
    return trl.RewardConfig(**given)


def _adapter(peft: Any, rank: int) -> Any:
    """A LoRA adapter of all linear layers, with the head trained beside it."""
    return peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        modules_to_save=["score"],
        task_type="SEQ_CLS",
    )


def _save(trainer: Any, folder: Path, *, merge: bool) -> None:
    """Save the classifier, its tokenizer and its chat template; whole or not at all."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    # Every process takes part where weights are spread over several.
    state = None if merge else trainer.accelerator.get_state_dict(trainer.model)
    if trainer.is_world_process_zero():
        if merge:
            model = model.merge_and_unload()
        if trainer.args.bf16:
            model = model.to(torch.bfloat16)
            state = state and {name: t.to(torch.bfloat16) for name, t in state.items()}
        model.config.use_cache = True  # off while gradients were checkpointed
        with whole_folder(folder) as part:
            model.save_pretrained(part, state_dict=state)
            trainer.processing_class.save_pretrained(part)
    trainer.accelerator.wait_for_everyone()
