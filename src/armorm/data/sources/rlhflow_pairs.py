"""RLHFlow's ready pair sets: `chosen` and `rejected` as whole conversations.

Columns and sizes: the cards of the sets, and Table 5 of arXiv 2405.07863, whose sizes are
those of the ArmoRM paper. They show what the converters of the original sets should give.
"""

from __future__ import annotations

from armorm.data.sources.interface import PublishedSet
from armorm.data.sources.pairing import conversation_set

_SCORES = "Columns `chosen_score` and `rejected_score`, null in some of these sets, are not used."


def _standard(name: str, hub: str, n_rows: int | None, note: str = _SCORES) -> PublishedSet:
    """Return one set in this form."""
    return conversation_set(name, hub, n_rows, note)


SETS = (
    _standard(
        "rlhflow-pair-data-v2",
        "RLHFlow/pair_data_v2_80K_wsafety",
        None,
        "What the published stage 2 trains on; about 800,000 pairs in spite of its name.",
    ),
    _standard(
        "rlhflow-preference-700k",
        "hendrydong/preference_700K",
        700_000,
        "The mixture of arXiv 2405.07863 (HH-RLHF, SHP, UltraFeedback and others), already merged.",
    ),
    _standard(
        "rlhflow-ultrafeedback",
        "RLHFlow/UltraFeedback-preference-standard",
        340_025,
        "The reference set of the debias according to the published README "
        "(the paper's blog names `ultrafeedback-cleaned`).",
    ),
    _standard("rlhflow-helpsteer", "RLHFlow/Helpsteer-preference-standard", 37_131),
    _standard("rlhflow-shp", "RLHFlow/SHP-standard", 93_301),
    _standard("rlhflow-hh-rlhf-helpful", "RLHFlow/HH-RLHF-Helpful-standard", 115_396),
    _standard("rlhflow-hh-rlhf-harmless", "RLHFlow/HH-RLHF-Harmless-and-RedTeam-standard", None),
    _standard("rlhflow-pku-saferlhf-30k", "RLHFlow/PKU-SafeRLHF-30K-standard", 26_874),
    _standard("rlhflow-capybara", "RLHFlow/Capybara-distibalel-Filter-standard", 14_811),
    _standard(
        "rlhflow-prm800k",
        "RLHFlow/prm80k-phase2",
        79_527,
        "The paper's PRM-Phase-2 pairs; how they were made of PRM800K is not documented "
        "(`prm800k` makes its own).",
    ),
    _standard("rlhflow-preference-collection", "RLHFlow/Prometheus2-preference-standard", None),
)
