"""Writes an export whole or not at all: files, then the same files loaded and held against it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from armorm.errors import BundleError
from armorm.model.bundle import (
    check_bundle_folder,
    load_bundle,
    save_bundle,
    scales_as_json,
)
from armorm.model.card import backbone_label
from armorm.model.exports.card import export_card
from armorm.model.exports.checkpoint import write_weights
from armorm.model.exports.checks import DTYPES
from armorm.model.exports.layouts import MODELING, Kind
from armorm.model.exports.parity import Difference, bundle_outputs, check_parity
from armorm.model.exports.plan import Checkpoint, ExportPlan, ExportSettings, plan_export
from armorm.model.exports.reload import export_outputs, reread_ids
from armorm.model.exports.tokenizer_files import write_tokenizer
from armorm.model.reward import ConversationLike, RewardModel, shortest
from armorm.storage import check_writable, json_bytes, whole_folder

FACTS = "armorm_export.json"
"""What an export is, for armorm and for people; a `head` is a bundle and has its facts."""
CARD = "README.md"

_FORMAT = "armorm-export"
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ExportReport:
    """An export that was written and holds what the bundle does."""

    folder: Path
    """Where it is."""
    to: Kind
    """Its kind."""
    n_conversations: int
    """How many it was compared on."""
    differences: tuple[Difference, ...]
    """How far its outputs are off."""
    notes: tuple[str, ...]
    """Sentences that a user of the export should know."""


def export_model(
    model: RewardModel,
    folder: str | Path,
    *,
    to: Kind,
    weights: Mapping[str, float] | None = None,
    rows: Sequence[ConversationLike] = (),
    debiased: bool = False,
    dtype: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ExportReport:
    """Export a reward model, load what was written, and hold it against the model.

    Kinds: `armorm` is the layout of the released ArmoRM, with its gate and a class of its own
    (`trust_remote_code=True`); `classifier` scores with the same weights for every prompt, as
    a plain sequence classifier of one label; `objectives` gives the objective scores, as one
    of k labels; `head` holds the heads alone, as a bundle. The first three carry the backbone.

    While the export is checked, its backbone is in memory beside the model's; `plan_export`
    and `write_export` let a caller free the one before the other is loaded.

    Args:
        model: The reward model, steered or not.
        folder: The folder to make; an older export there is replaced.
        to: Kind of the export.
        weights: Classifier: fixed weights of the objective scores by name. Without them a
            gated model takes the mean gating over `rows`.
        rows: Conversations that the export is compared on besides the built-in ones.
        debiased: Objectives: the debiased scores q = r @ debias.
        dtype: Precision of the export's backbone, `float32`, `bfloat16` or `float16`; by
            default the one that the bundle runs in, with the weights as they are stored.
        progress: Called with (stage, done, total).

    Returns:
        What was compared, and the largest differences.

    Raises:
        BundleError: an intercept, an encoder, a folder with other files or with the backbone
            of the model; the export does not load or does not score as the model does, and
            then nothing is left of it.
        DataError: a row is no conversation.
        FeatureError: the chat template or the tokenizer lacks what the layout needs.
        StorageError: the disk is full or cannot be written.
        ValueError: settings that do not go together or with the model.
    """
    settings = ExportSettings(to, weights=weights, debiased=debiased, dtype=dtype)
    check_export_folder(Path(folder), to)
    watch = None if progress is None else lambda done, all_: progress("score", done, all_)
    plan = plan_export(model, settings, rows=rows, progress=watch)
    return write_export(plan, folder, progress=progress)


def write_export(
    plan: ExportPlan,
    folder: str | Path,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> ExportReport:
    """Write a planned export, load what was written, and hold it against the plan.

    Args:
        plan: From `plan_export`.
        folder: The folder to make; an older export there is replaced.
        progress: Called with (stage, done, total).

    Returns:
        What was compared, and the largest differences.

    Raises:
        BundleError: as `export_model`.
        StorageError: the disk is full or cannot be written.
    """
    target = Path(folder)
    check_export_folder(target, plan.settings.to)
    if plan.checkpoint is not None and plan.checkpoint.source.resolve() == target.resolve():
        raise BundleError(
            f"{target}: holds the backbone of the model, which an export there would replace; "
            "give another folder"
        )
    try:
        with whole_folder(target) as part:
            differences, notes = _written(plan, part, progress)
    except BundleError as error:
        raise BundleError(f"{target}: nothing was written: {error}") from error
    return ExportReport(
        folder=target,
        to=plan.settings.to,
        n_conversations=len(plan.features[0]),
        differences=differences,
        notes=notes,
    )


def check_export_folder(folder: Path, to: str) -> None:
    """Refuse to replace a folder that holds more than an export.

    Args:
        folder: Where an export is to be written; need not exist.
        to: Its kind.

    Raises:
        BundleError: it holds files that an export did not write.
        StorageError: it is a file, cannot be read, or cannot be written.
    """
    if to == "head" or not folder.is_dir():
        check_bundle_folder(folder)
        return
    names = {path.name for path in folder.iterdir()}
    try:
        own = set(json.loads((folder / FACTS).read_bytes())["files"]) | {FACTS, CARD}
    except (OSError, ValueError, KeyError, TypeError):
        own = set[str]()
    if others := names - own:
        raise BundleError(
            f"{folder}: an export replaces the whole folder; this one holds other files, "
            f"{min(others)!r} among them"
        )
    check_writable(folder / FACTS)


def _written(
    plan: ExportPlan, part: Path, progress: Callable[[str, int, int], None] | None
) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Fill a folder and compare what is in it."""
    checkpoint, notes = plan.checkpoint, plan.notes
    if checkpoint is None:
        bundle = replace(plan.bundle, facts=dict(plan.bundle.facts) | {"export": _head_facts(plan)})
        save_bundle(bundle, part, card=export_card(plan, (), notes))
        differences = check_parity(plan.expected, bundle_outputs(load_bundle(part), *plan.features))
        (part / CARD).write_text(export_card(plan, differences, notes), encoding="utf-8")
        return differences, notes
    _write_checkpoint(checkpoint, plan, part, progress)
    if progress is not None:
        progress("check", 0, 1)
    ids = reread_ids(part, plan.probes.conversations)
    whole = [i for i, row in enumerate(plan.probes.rows) if not row.n_truncated]
    if n := sum(ids[i] != list(plan.probes.rows[i].token_ids) for i in whole):
        notes = (
            *notes,
            f"tools that tokenise the chat template's text themselves make other tokens than "
            f"armorm for {n:,} of {len(whole):,} conversations",
        )
    differences = check_parity(plan.expected, _checkpoint_outputs(plan, checkpoint, part))
    if progress is not None:
        progress("check", 1, 1)
    files = sorted(path.name for path in part.iterdir())
    (part / FACTS).write_bytes(json_bytes(_facts(plan, files)))
    (part / CARD).write_text(export_card(plan, differences, notes), encoding="utf-8")
    return differences, notes


def _write_checkpoint(
    checkpoint: Checkpoint,
    plan: ExportPlan,
    part: Path,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Write config, tokenizer, class and weights."""
    (part / "config.json").write_bytes(json_bytes(dict(checkpoint.config)))
    write_tokenizer(
        part, source=checkpoint.source, pad=checkpoint.pad, template=checkpoint.template
    )
    if checkpoint.code is not None:
        (part / MODELING).write_text(checkpoint.code, encoding="utf-8")
    dtype = plan.settings.dtype
    write_weights(
        part,
        checkpoint.layout.tensors,
        source=checkpoint.source,
        prefixes=checkpoint.prefixes,
        dtype=None if dtype is None else DTYPES[dtype],
        shard_bytes=plan.settings.shard_bytes,
        progress=None if progress is None else lambda done, n: progress("weights", done, n),
    )


def _checkpoint_outputs(plan: ExportPlan, checkpoint: Checkpoint, part: Path) -> dict[str, Tensor]:
    """What an export gives, under our names."""
    found = export_outputs(
        part,
        plan.probes.rows,
        dtype=checkpoint.dtype,
        device=plan.device,
        spread=plan.spread,
        own_code=checkpoint.code is not None,
    )
    if plan.settings.to == "objectives":
        return {"objectives": found["logits"]}
    names = {"score": "logits", "objectives": "rewards", "gating": "gating_output"}
    return {name: found[theirs] for name, theirs in names.items() if theirs in found}


def _head_facts(plan: ExportPlan) -> dict[str, Any]:
    """What a bundle says of its text, for those who make the features themselves."""
    return {
        "chat_template_sha256": plan.template_digest,
        "gating_token_pattern": None if plan.pattern is None else list(plan.pattern),
    }


def _facts(plan: ExportPlan, files: Sequence[str]) -> dict[str, Any]:
    """The facts of an export as JSON."""
    bundle, weights = plan.bundle, plan.coefficients
    return {
        "format": _FORMAT,
        "schema": _SCHEMA,
        "kind": plan.settings.to,
        "name": bundle.name,
        "objectives": list(bundle.objectives),
        "nuisances": [bundle.objectives[i] for i in bundle.nuisances],
        "scales": scales_as_json(bundle.scales),
        "score_scale": bundle.score_scale,
        "beta": bundle.beta,
        "debiased": plan.settings.debiased,
        "coefficients": None
        if weights is None
        else dict(zip(bundle.objectives, map(shortest, weights.tolist()), strict=True)),
        "backbone": {key: bundle.backbone[key] for key in ("revision", "digest", "dtype")}
        | {"name": backbone_label(bundle.backbone)},
        **_head_facts(plan),
        "files": list(files),
    }
