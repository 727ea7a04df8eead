"""A model audited on rows of its user's: read, edit, score everything once, measure, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from armorm.data import BadRows
from armorm.evaluate.audit.edits import edits_with
from armorm.evaluate.audit.effects import Target
from armorm.evaluate.audit.figures import SCORE, Audit, Calibration, EditEffect
from armorm.evaluate.audit.findings import find
from armorm.evaluate.audit.header import template_header
from armorm.evaluate.audit.measured import Measured
from armorm.evaluate.audit.paraphrases import paraphrases
from armorm.evaluate.audit.rows import AuditRows, plan_edits, read_audit_rows, shared_prompts
from armorm.evaluate.audit.scored import Scored, score_all
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.interval import FEWEST_GROUPS
from armorm.model.reward import RewardModel
from armorm.model.rows import rows_of

N_EDITED = 200
"""Rows that are edited unless another number is asked for."""
N_RESAMPLES = 1000
"""Of every interval unless another number is asked for."""


def audit_bundle(
    model: RewardModel,
    *,
    rated: str | None = None,
    pairs: str | None = None,
    training: Sequence[str] = (),
    bad_rows: BadRows = "stop",
    n_edited: int = N_EDITED,
    resampling: Resampling | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Measure what else than quality moves the scores of a model.

    All rows, their edits and the shipped paraphrases go through the backbone in one call,
    so that what they share is computed once. Targets are the score and every objective,
    after debias unless said; a steered model is audited as it is steered. The temperature
    is fitted on half of the prompts of the pairs and judged on the other half.

    Args:
        model: The reward model.
        rated: File, folder or hub id of rated rows.
        pairs: File, folder or hub id of preference pairs.
        training: Files, folders or hub ids of rows that the heads were fitted on; prompts
            in common with them are counted.
        bad_rows: `stop`, or `drop` bad rows and count them.
        n_edited: Rows that are edited, spread over prompts; at least 1. Each is scored
            about ten times.
        resampling: How intervals are found; 1,000 resamples by default.
        progress: Called with (conversations done, conversations in all).

    Returns:
        The audit; figures on fewer than 20 prompts come without intervals.

    Raises:
        DataError: a bad row under `stop`; all rows were dropped; a score that is not finite.
        FeatureError: the backbone cannot take a row, under `stop`.
        ValueError: neither rated rows nor pairs; `n_edited` is below 1.
    """
    if n_edited < 1:
        raise ValueError(f"`n_edited` must be at least 1; got {n_edited}")
    resampling = Resampling(N_RESAMPLES) if resampling is None else resampling
    rows = read_audit_rows(model.backbone, rated=rated, pairs=pairs, bad_rows=bad_rows)
    shared = shared_prompts(rows, training)
    header, note = template_header(model.backbone)
    edits = edits_with(header)
    planned = plan_edits(rows, edits, n_rows=n_edited, seed=resampling.seed)
    n_chosen = min(n_edited, len(rows.conversations))
    with rows_of(" and ".join(file.path for file in rows.files)):
        scored = score_all(model, rows, planned, progress)
    targets = [Target(n, v) for n, v in zip(scored.names, scored.after[scored.base].T, strict=True)]
    measured = Measured(model, rows, scored, targets, resampling)
    correlations = measured.correlations()
    effects = measured.edits(edits, n_chosen)
    moved = measured.paraphrases()
    calibrated = measured.calibration()
    hanging, gating = measured.structure(), measured.gating()
    return Audit(
        name=model.bundle.name,
        backbone=dict(model.bundle.backbone),
        files=rows.files,
        n_rows=len(rows.conversations),
        n_prompts=len(set(rows.groups)),
        correlations=correlations,
        edits=effects,
        paraphrases=moved,
        calibration=calibrated,
        structure=hanging,
        gating=gating,
        shared_prompts=shared,
        findings=find(
            correlations=correlations,
            edits=effects,
            paraphrases=moved,
            calibration=calibrated,
            structure=hanging,
            gating=gating,
            shared_prompts=shared,
            extremes=measured.extremes(),
            # Fixed weights bypass the debias step.
            measured=model.bundle.measured if model.weights is None else (),
        ),
        notes=_notes(rows, scored, effects, calibrated, note),
    )


def _notes(
    rows: AuditRows,
    scored: Scored,
    effects: Sequence[EditEffect],
    calibrated: Calibration | None,
    note: str,
) -> tuple[str, ...]:
    """What a reader must know."""
    notes = [note] if note else []
    n_prompts = len(set(rows.groups))
    if rows.drops.total:
        notes.append(rows.drops.sentence(sum(f.n_rows for f in rows.files) + rows.drops.total))
    if n_prompts < FEWEST_GROUPS:
        notes.append(
            f"{n_prompts} prompts: fewer than {FEWEST_GROUPS} give no intervals, and no finding "
            "above low severity"
        )
    left = {one.edit: one.n_left_out for one in effects if one.target == SCORE}
    if any(left.values()):
        named = ", ".join(f"{name} {n}" for name, n in left.items() if n)
        notes.append(f"rows that an edit leaves as they are or makes too long: {named}")
    n_lost = len(paraphrases()) - len(scored.paraphrases)
    if n_lost:
        notes.append(f"{n_lost} of the shipped paraphrases are longer than the backbone takes")
    if calibrated is None:
        notes.append("no preference pairs: calibration is left out")
    elif calibrated.temperature is None:
        notes.append(
            "no temperature is fitted: half of the prompts must have pairs that the model judges "
            "wrong, and a mean margin above 0"
        )
    return tuple(notes)
