"""Published evaluations as data, and one runner for all of them."""

from __future__ import annotations

from armorm.evaluate.protocols.figures import (
    FigureResult,
    JudgeFigures,
    ProtocolResult,
    ScorerResult,
    overall_side_by_side,
    result_json,
)
from armorm.evaluate.protocols.files import check_result_folder, read_result, write_result
from armorm.evaluate.protocols.protocol import Protocol, ProtocolRow, Published, Section, Subset
from armorm.evaluate.protocols.read import read_protocol
from armorm.evaluate.protocols.registry import PROTOCOLS, find_protocol
from armorm.evaluate.protocols.run import evaluate_protocol

__all__ = [
    "PROTOCOLS",
    "FigureResult",
    "JudgeFigures",
    "Protocol",
    "ProtocolResult",
    "ProtocolRow",
    "Published",
    "ScorerResult",
    "Section",
    "Subset",
    "check_result_folder",
    "evaluate_protocol",
    "find_protocol",
    "overall_side_by_side",
    "read_protocol",
    "read_result",
    "result_json",
    "write_result",
]
