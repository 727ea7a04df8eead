"""One or two records of each set of pairs that the paper trains on."""

import pair_records as made

PAIRS = {
    "helpsteer-pairs": [made.helpsteer("Q", "Seven.", 4), made.helpsteer("Q", "Nine.", 0)],
    "ultrafeedback-pairs": [
        made.ultrafeedback(
            made.completion("Seven.", "5", "5", "5", "5"),
            made.completion("Nine.", "1", "1", "1", "1"),
        )
    ],
    "shp": [made.shp()],
    "hh-rlhf": [
        made.hh(
            "\n\nHuman: A prime?\n\nAssistant: Seven.", "\n\nHuman: A prime?\n\nAssistant: Nine."
        )
    ],
    "pku-saferlhf-30k": [made.pku(1, 0, True, False)],
    "capybara-pairs": [made.capybara()],
    "math-preference-pairs": [made.math()],
    "code-ultrafeedback-pairs": [made.code("5", "2")],
    "prm800k": [made.prm(made.step(("4", 1), ("5", -1)))],
    "preference-collection": [made.collection()],
}
"""Records by name of the set; each gives at least one pair."""
