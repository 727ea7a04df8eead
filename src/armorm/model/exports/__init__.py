"""Exports: a reward model in the layouts that other tools load, checked before it is kept."""

from armorm.model.exports.checks import check_exportable
from armorm.model.exports.layouts import KINDS, Kind
from armorm.model.exports.parity import Difference
from armorm.model.exports.plan import ExportPlan, ExportSettings, plan_export
from armorm.model.exports.push import check_repository, push_export
from armorm.model.exports.write import (
    ExportReport,
    check_export_folder,
    export_model,
    write_export,
)

__all__ = [
    "KINDS",
    "Difference",
    "ExportPlan",
    "ExportReport",
    "ExportSettings",
    "Kind",
    "check_export_folder",
    "check_exportable",
    "check_repository",
    "export_model",
    "plan_export",
    "push_export",
    "write_export",
]
