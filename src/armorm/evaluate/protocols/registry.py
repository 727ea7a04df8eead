"""The protocols that are known by name."""

from __future__ import annotations

from collections.abc import Mapping

from armorm.errors import nearest
from armorm.evaluate.protocols.best_of_n import BEST_OF_N
from armorm.evaluate.protocols.judgebench import JUDGEBENCH, JUDGEBENCH_CLAUDE
from armorm.evaluate.protocols.protocol import Protocol
from armorm.evaluate.protocols.rewardbench import (
    REWARDBENCH,
    SWAPPED,
    SWAPPED_HALF,
    UNSCALED,
    WITH_PRIOR_SETS,
)
from armorm.evaluate.protocols.rewardbench2 import REWARDBENCH2
from armorm.evaluate.protocols.rm_bench import RM_BENCH

PAIRS = Protocol(
    name="pairs",
    title="Preference pairs",
    sections=(),
    layout="own",
    tie="half",
    rule="accuracy over all pairs",
    reference="preference accuracy with ties at one half",
    overall="rows",
)
"""Any file of preference pairs; its sources are the subsets."""

PROTOCOLS: Mapping[str, Protocol] = {
    one.name: one
    for one in (
        REWARDBENCH,
        WITH_PRIOR_SETS,
        SWAPPED,
        SWAPPED_HALF,
        UNSCALED,
        REWARDBENCH2,
        RM_BENCH,
        JUDGEBENCH,
        JUDGEBENCH_CLAUDE,
        BEST_OF_N,
        PAIRS,
    )
}
"""Every protocol by name."""


def find_protocol(name: str) -> Protocol:
    """Return a protocol by its name.

    Args:
        name: A key of `PROTOCOLS`.

    Returns:
        The protocol.

    Raises:
        ValueError: no protocol has that name.

    Example:
        >>> find_protocol("rm-bench").title
        'RM-Bench'
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}{nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
