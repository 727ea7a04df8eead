"""Skywork-Reward-Preference-80K: a curated mixture of pairs, versions 0.1 and 0.2.

Columns and sizes: the cards of both versions (arXiv 2410.18451).
"""

from __future__ import annotations

from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import conversation_set


def _version(name: str, version: str, n_rows: int, note: str) -> PublishedSet:
    """Return one version; its column `source`, the subset of a record, is not kept."""
    hub = f"Skywork/Skywork-Reward-Preference-80K-{version}"
    return conversation_set(name, hub, n_rows, note)


SETS = (
    _version(
        "skywork-reward-preference",
        "v0.2",
        77_016,
        "Version 0.2, without the 4,957 pairs of 0.1 whose prompts overlap with RewardBench.",
    ),
    _version(
        "skywork-reward-preference-v0.1",
        "v0.1",
        81_973,
        "4,957 prompts overlap with RewardBench, so that figures on it mean little after "
        "training on them; `skywork-reward-preference` is version 0.2 without them.",
    ),
)
