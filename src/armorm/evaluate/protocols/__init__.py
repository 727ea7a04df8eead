"""Published evaluations as data, and one runner for all of them."""

from __future__ import annotations

from armorm.evaluate.protocols.figures import (
    FigureResult,
    ProtocolResult,
    ScorerResult,
    check_result_folder,
    result_json,
    write_result,
)
from armorm.evaluate.protocols.protocol import Protocol, ProtocolRow, Published, Section, Subset
from armorm.evaluate.protocols.read import read_protocol
from armorm.evaluate.protocols.registry import PROTOCOLS, find_protocol
from armorm.evaluate.protocols.run import evaluate_protocol

__all__ = [
    "PROTOCOLS",
    "FigureResult",
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
    "read_protocol",
    "result_json",
    "write_result",
]
