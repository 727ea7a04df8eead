"""What else than quality moves a score: correlations, edits, calibration, gating, findings."""

from __future__ import annotations

from armorm.evaluate.audit.calibration import (
    calibrated,
    calibration,
    fit_temperature,
    reliability,
)
from armorm.evaluate.audit.edits import Edit, edits_with
from armorm.evaluate.audit.figures import Audit, Finding
from armorm.evaluate.audit.run import audit_bundle
from armorm.evaluate.audit.structure import effective_number

__all__ = [
    "Audit",
    "Edit",
    "Finding",
    "audit_bundle",
    "calibrated",
    "calibration",
    "edits_with",
    "effective_number",
    "fit_temperature",
    "reliability",
]
