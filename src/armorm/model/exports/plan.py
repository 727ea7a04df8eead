"""What an export will hold and what it must give, worked out while the backbone is loaded.

A plan keeps no weight of the backbone, so that it may be freed before the export is reloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from armorm.data import as_conversation
from armorm.errors import FeatureError
from armorm.features.checkpoint import find_folder
from armorm.features.extract import compute_features
from armorm.model.bundle import Bundle
from armorm.model.exports.checkpoint import SHARD_BYTES, read_json
from armorm.model.exports.checks import (
    DTYPES,
    check_exportable,
    check_settings,
    fixed_coefficients,
)
from armorm.model.exports.config_file import export_config
from armorm.model.exports.gate import steered_gate
from armorm.model.exports.layouts import (
    CLASS,
    Kind,
    Layout,
    armorm_layout,
    classifier_layout,
    modeling_code,
    objectives_layout,
)
from armorm.model.exports.parity import Expected, expected_outputs
from armorm.model.exports.pattern import gating_token_pattern, last_occurrence
from armorm.model.exports.probes import Probes, probes_for, tokenized, usable_probes
from armorm.model.exports.reload import Architecture, architecture
from armorm.model.exports.tokenizer_files import Pad, choose_pad, fixed_template
from armorm.model.reward import ConversationLike, RewardModel
from armorm.types import Conversation


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is exported, and how."""

    to: Kind
    """`armorm`, `classifier`, `objectives` or `head`."""
    weights: Mapping[str, float] | None = None
    """Classifier: fixed weights of the objective scores by name; None: the mean over rows."""
    debiased: bool = False
    """Objectives: q = r @ debias in place of the objective scores r."""
    dtype: str | None = None
    """Precision of the export's backbone; None: as the bundle runs it, weights as stored."""
    shard_bytes: int = SHARD_BYTES
    """Largest file of weights."""

    def __post_init__(self) -> None:
        """Check that the settings go together.

        Raises:
            ValueError: as `check_settings`.
        """
        check_settings(self.to, weights=self.weights, debiased=self.debiased, dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The part of an export that other tools load; a `head` has none."""

    layout: Layout
    """Tensors, labels and config entries of the head."""
    config: Mapping[str, Any]
    """Content of `config.json`."""
    source: Path
    """Folder of the backbone's checkpoint."""
    prefixes: tuple[str, str]
    """Of the names of the backbone's tensors, in the source and in the export."""
    pad: Pad
    """Padding token."""
    template: str | None
    """Chat template in place of the backbone's, where that leaves something out."""
    dtype: torch.dtype
    """Precision that the export is checked in."""
    code: str | None
    """Of the class that travels with the export; None where transformers has it."""


@dataclass(frozen=True, eq=False)
class ExportPlan:
    """An export before it is written."""

    settings: ExportSettings
    """What was asked for."""
    bundle: Bundle
    """Heads and facts, factors of the gating built in; no baselines and no statistics."""
    checkpoint: Checkpoint | None
    """What other tools load; None of a `head`."""
    probes: Probes
    """The conversations of the parity check."""
    features: tuple[Tensor, Tensor]
    """Their response and prompt features."""
    expected: Mapping[str, Expected]
    """What the export must give for them."""
    coefficients: Tensor | None
    """Of a classifier: of the objective scores, shape (k,)."""
    pattern: tuple[int, ...] | None
    """Token ids that begin where a prompt ends; None where they are not known."""
    template_digest: str | None
    """SHA-256 of the chat template; None of an encoder."""
    device: str
    """Where the export is checked."""
    spread: bool
    """Whether its layers are spread over all devices for that."""
    notes: tuple[str, ...]
    """Sentences that a user of the export should know."""


def plan_export(
    model: RewardModel,
    settings: ExportSettings,
    *,
    rows: Sequence[ConversationLike] = (),
    progress: Callable[[int, int], None] | None = None,
) -> ExportPlan:
    """Work out an export: heads, config, tokens, and the outputs that it must have.

    Args:
        model: The reward model, steered or not.
        settings: What is exported.
        rows: Conversations whose mean gating a classifier takes, and on which the export is
            held against the bundle besides the built-in ones.
        progress: Called with (conversations done, conversations in all).

    Returns:
        The plan; it holds on to no weight of the backbone.

    Raises:
        BundleError: the layout has no place for what the bundle is.
        DataError: a row is no conversation; the backbone takes none of the built-in ones.
        FeatureError: the chat template does not show where a prompt ends; transformers has no
            classifier of this architecture; no token can pad; a row is too long.
        ValueError: settings that the model does not go with.
    """
    model = replace(model, bundle=replace(model.bundle, baselines=None, statistics=None))
    if settings.weights is not None:
        model = model.with_weights(settings.weights)
    check_exportable(model.bundle, settings.to, fixed_weights=model.weights is not None)
    own = [as_conversation(row, where=f"rows[{i}]") for i, row in enumerate(rows)]
    if settings.to == "classifier" and not own:
        fixed_coefficients(model, None)
    if model.backbone.kind != "decoder":
        return _encoder_plan(model, settings, own, progress)
    return _decoder_plan(model, settings, own, progress)


def _encoder_plan(
    model: RewardModel,
    settings: ExportSettings,
    rows: list[Conversation],
    progress: Callable[[int, int], None] | None,
) -> ExportPlan:
    """The plan of heads on an encoder, which has no token ids to compare."""
    kept = usable_probes(model.backbone)
    features = compute_features(model.backbone, [*kept, *rows], progress=progress)
    pair = (features.response, features.prompt)
    return _plan(model, settings, None, Probes((), ()), pair, None, None, ())


def _decoder_plan(
    model: RewardModel,
    settings: ExportSettings,
    rows: list[Conversation],
    progress: Callable[[int, int], None] | None,
) -> ExportPlan:
    """The plan of an export of heads on a decoder."""
    backbone: Any = model.backbone
    probes = probes_for(backbone)
    given = tokenized(backbone, rows)
    pattern, notes = _pattern(backbone, probes, needed=settings.to == "armorm"), []
    if settings.to == "armorm" and pattern is not None:
        kept = [
            i
            for i, r in enumerate(given.rows)
            if last_occurrence(r.token_ids, pattern) == r.prompt_end
        ]
        if n_other := len(given) - len(kept):
            notes.append(
                f"{n_other:,} of {len(given):,} rows hold the tokens that end a prompt elsewhere, "
                "too; the layout looks for the last of them, so that these score differently"
            )
        given = _chosen(given, kept)
    everything = Probes(probes.conversations + given.conversations, probes.rows + given.rows)
    features = compute_features(backbone, list(everything.conversations), progress=progress)
    pair = (features.response, features.prompt)
    n = len(probes)
    coefficients = None
    if settings.to == "classifier":
        scored = model.score_features(pair[0][n:], pair[1][n:]) if len(given) else None
        coefficients = fixed_coefficients(model, scored)
    checkpoint = None
    if settings.to != "head":
        layout = _layout(model, settings, coefficients, pattern)
        checkpoint = _checkpoint(model, settings, layout, everything)
        if checkpoint.template is not None:
            notes.append(
                "the chat template of the export writes the BOS or the date itself, which the "
                "backbone's leaves to others, so that every tool makes the same tokens"
            )
    return _plan(model, settings, checkpoint, everything, pair, coefficients, pattern, tuple(notes))


def _plan(
    model: RewardModel,
    settings: ExportSettings,
    checkpoint: Checkpoint | None,
    probes: Probes,
    features: tuple[Tensor, Tensor],
    coefficients: Tensor | None,
    pattern: tuple[int, ...] | None,
    notes: tuple[str, ...],
) -> ExportPlan:
    """Put a plan together, with what the export must give."""
    backbone: Any = model.backbone
    template = None
    if backbone.kind == "decoder":
        text = str(backbone.tokenizer.get_chat_template())
        template = hashlib.sha256(text.encode()).hexdigest()
    dtype, n_layers = torch.float32, 0
    if checkpoint is not None:
        dtype = max(checkpoint.dtype, DTYPES[backbone.dtype], key=lambda d: torch.finfo(d).eps)
        n_layers = backbone.model.config.get_text_config().num_hidden_layers
    row = coefficients
    if settings.to == "objectives":
        k = len(model.objectives)
        row = model.bundle.debias if settings.debiased else torch.eye(k)
    expected = expected_outputs(
        model,
        features,
        to=settings.to,
        row=row if row is not None else torch.zeros(0),
        dtype=dtype,
        n_layers=n_layers,
    )
    bundle = model.bundle
    if model.factors is not None:
        gate = steered_gate(bundle.gating, model.factors, bundle.objectives)
        bundle = replace(bundle, gating=gate)
    return ExportPlan(
        settings=settings,
        bundle=bundle,
        checkpoint=checkpoint,
        probes=probes,
        features=features,
        expected=expected,
        coefficients=coefficients,
        pattern=pattern,
        template_digest=template,
        device=backbone.device,
        spread=getattr(getattr(backbone, "model", None), "hf_device_map", None) is not None,
        notes=notes,
    )


def _layout(
    model: RewardModel,
    settings: ExportSettings,
    coefficients: Tensor | None,
    pattern: tuple[int, ...] | None,
) -> Layout:
    """The head of an export."""
    bundle = model.bundle
    if settings.to == "classifier":
        return classifier_layout(bundle, cast(Tensor, coefficients))
    if settings.to == "objectives":
        return objectives_layout(bundle, debiased=settings.debiased)
    gate = steered_gate(bundle.gating, model.factors or {}, bundle.objectives)
    return armorm_layout(bundle, gate, cast("tuple[int, ...]", pattern))


def _checkpoint(
    model: RewardModel, settings: ExportSettings, layout: Layout, probes: Probes
) -> Checkpoint:
    """Everything but weights of the part that other tools load."""
    backbone: Any = model.backbone
    source, _ = find_folder(backbone.name, backbone.revision)
    known: Architecture = architecture(source)
    if known.classifier is None and settings.to != "armorm":
        raise FeatureError(
            f"{backbone.name}: transformers must have a sequence classifier of the architecture "
            f"{known.model_type!r}; it has none: export as 'armorm' or 'head'"
        )
    pad = choose_pad(
        backbone.tokenizer, probes.rows, vocab_size=known.vocab_size, name=backbone.name
    )
    dtype = settings.dtype or backbone.dtype
    config = export_config(
        read_json(source / "config.json"),
        architecture=CLASS if settings.to == "armorm" else str(known.classifier),
        labels=layout.labels,
        pad_id=pad.id,
        dtype=dtype,
        soft_capped=known.soft_capped,
        more=layout.config,
    )
    return Checkpoint(
        layout=layout,
        config=config,
        source=source,
        prefixes=(known.stored_prefix, "model" if settings.to == "armorm" else known.prefix),
        pad=pad,
        template=fixed_template(backbone.tokenizer, probes.conversations, probes.rows),
        dtype=DTYPES[dtype],
        code=None
        if settings.to != "armorm"
        else modeling_code(model_type=known.model_type if known.classifier is None else None),
    )


def _pattern(backbone: Any, probes: Probes, *, needed: bool) -> tuple[int, ...] | None:
    """The token pattern of a template; None where it has none and none is needed."""
    try:
        return gating_token_pattern(backbone.tokenizer, probes.conversations, probes.rows)
    except FeatureError as error:
        if not needed:
            return None
        raise FeatureError(f"{backbone.name}: {error}") from error


def _chosen(probes: Probes, places: Sequence[int]) -> Probes:
    """Some of the conversations."""
    return Probes(
        tuple(probes.conversations[i] for i in places), tuple(probes.rows[i] for i in places)
    )
