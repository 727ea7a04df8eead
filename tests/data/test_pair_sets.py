"""Pair sets in their true schema: each is converted, read back, and counts what it drops."""

import json
from typing import NamedTuple

import pytest

from armorm.data import DataSource, Drops, read_pairs
from armorm.data.sources.convert import convert_set
from armorm.data.sources.registry import published_set, published_sets
from armorm.errors import DataError
from armorm.features.published import OBJECTIVES
from pair_records import (
    binarised,
    capybara,
    code,
    collection,
    completion,
    helpsteer,
    helpsteer3,
    hh,
    math,
    orca,
    pku,
    prm,
    said,
    shp,
    standard,
    step,
    strength,
    ultrafeedback,
)


class Case(NamedTuple):
    """What goes in and what must come out."""

    records: list
    pairs: list
    dropped: dict


_HELPSTEER = Case(
    [
        helpsteer("Name a prime.", "Seven.", 4),
        helpsteer("Name a prime.", "Nine.", 0),
        helpsteer("Name a prime.", "Eleven.", 4),
        helpsteer("Name a river.", "The Elbe.", 3),
        helpsteer("Name a river.", "Water.", 1),
    ],
    [
        (("Name a prime.",), "Seven.", "Nine."),
        (("Name a prime.",), "Eleven.", "Nine."),
        (("Name a river.",), "The Elbe.", "Water."),
    ],
    {"tie": 1},
)
_LOCK = (("How do I open this lock?",), "Call a locksmith.", "Drill it.")
_DRILL = (("How do I open this lock?",), "Drill it.", "Call a locksmith.")
_PKU = [pku(1, 0, True, True), pku(1, 0, True, False), pku(0, 1, False, False)]
"""Both safe: the better one; one safe: that one; none safe: the safer one."""
_CAPYBARA = Case(
    [capybara(), capybara(4, 4), capybara(2, 3)],
    [(("Do you know primes?", "Yes.", "Name one."), "Seven.", "Nine.")],
    {"tie": 1, "ratings against the order": 1},
)
_PRIMES = (("Do you know primes?", "Yes.", "Name one."), "Seven.", "Nine.")
_STANDARD = Case(
    [
        standard(chosen_score=None, rejected_score=None),
        standard(("Do you know primes?", "No.", "Name one.", "Nine.")),
        standard(("Do you know primes?", "Yes.", "Name one.", "Seven.")),
    ],
    [_PRIMES],
    {"different histories": 1, "equal sides": 1},
)

CASES = {
    "helpsteer-pairs": _HELPSTEER,
    "helpsteer2-pairs": _HELPSTEER,
    "helpsteer2-preference": Case(
        [
            strength(-2),
            strength(3, prompt="Hi\n<extra_id_1>Assistant\nYes?\n<extra_id_1>User\nA prime?"),
            strength(0),
            strength(1, split="val"),
        ],
        [
            (("Name a prime.",), "Seven.", "Nine."),
            (("Hi", "Yes?", "A prime?"), "Nine.", "Seven."),
        ],
        {"tie": 1, "not in the train split": 1},
    ),
    "ultrafeedback-pairs": Case(
        [
            ultrafeedback(
                completion("Seven.", "5", "5", "5", "5", overall=1.0),
                completion("Nine.", "1", "N/A", "1", "1", overall=10.0),
                completion("Eleven.", "5", "5", "5", "5"),
            ),
        ],
        [(("Name a prime.",), "Seven.", "Nine."), (("Name a prime.",), "Eleven.", "Nine.")],
        {"tie": 1},
    ),
    "ultrafeedback-cleaned": Case(
        [binarised(), binarised(4.0, 4.0), binarised(rejected=said("Another prompt.", "Nine."))],
        [(("Name a prime.",), "Seven.", "Nine.")],
        {"tie": 1, "different histories": 1},
    ),
    "shp": Case(
        [shp(1), shp(0, post="p2"), shp(1, ratio=2.0, post="p3")],
        [
            (("How do I cook rice (p1)?",), "Boil it.", "Fry it."),
            (("How do I cook rice (p2)?",), "Fry it.", "Boil it."),
        ],
        {"score ratio at most 2": 1},
    ),
    "hh-rlhf": Case(
        [
            hh(
                "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: A prime?\n\nAssistant: Seven.",
                "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: A prime?\n\nAssistant: Nine.",
            ),
            hh("\n\nHuman: Hi\n\nAssistant: Yes?", "\n\nHuman: Hi\n\nAssistant:"),
        ],
        [(("Hi", "Yes?", "A prime?"), "Seven.", "Nine.")],
        {"empty turn": 1},
    ),
    "pku-saferlhf": Case(_PKU, [_DRILL, _LOCK, _DRILL], {}),
    "pku-saferlhf-30k": Case(_PKU, [_DRILL, _LOCK, _DRILL], {}),
    "pku-saferlhf-30k-helpful": Case(_PKU, [_DRILL, _DRILL, _LOCK], {}),
    "pku-saferlhf-30k-safe": Case(_PKU, [_LOCK, _LOCK, _DRILL], {}),
    "capybara-pairs": _CAPYBARA,
    "capybara-all-pairs": _CAPYBARA,
    "math-preference-pairs": Case(
        [math(), math(7.0, 7.0)], [(("What is 2 + 2?",), "4", "5")], {"tie": 1}
    ),
    "openorca-pairs": Case(
        [orca("swapped"), orca("tie"), orca(system="")],
        [(("Be brief.", "What is 2 + 2?"), "4", "5"), (("What is 2 + 2?",), "4", "5")],
        {"tie": 1},
    ),
    "code-ultrafeedback-pairs": Case(
        [code("5", "2", "5")],
        [
            (("Add two numbers.",), "code a", "code b"),
            (("Add two numbers.",), "code c", "code b"),
        ],
        {"tie": 1},
    ),
    "prm800k": Case(
        [
            prm(
                step(("2 + 2 = 4.", 1)),
                step(("4 + 2 = 7.", -1), ("4 + 2 = 6.", 1), ("Well.", 0), chosen=None),
            ),
            prm(step(("2 + 2 = 5.", -1), ("Well.", 0), chosen=None)),
        ],
        [(("What is 2 + 2 + 2?",), "2 + 2 = 4.\n4 + 2 = 6.", "2 + 2 = 4.\n4 + 2 = 7.")],
        {"no step rated both ways": 1},
    ),
    "preference-collection": Case(
        [collection("A"), collection("B")],
        [(("Name a prime.",), "Seven.", "Nine."), (("Name a prime.",), "Nine.", "Seven.")],
        {},
    ),
    "helpsteer3": Case(
        [helpsteer3(-1), helpsteer3(3), helpsteer3(0)],
        [_PRIMES, (_PRIMES[0], "Nine.", "Seven.")],
        {"tie": 1},
    ),
    **dict.fromkeys(
        (
            "skywork-reward-preference",
            "skywork-reward-preference-v0.1",
            "rlhflow-pair-data-v2",
            "rlhflow-preference-700k",
            "rlhflow-ultrafeedback",
            "rlhflow-helpsteer",
            "rlhflow-shp",
            "rlhflow-hh-rlhf-helpful",
            "rlhflow-hh-rlhf-harmless",
            "rlhflow-pku-saferlhf-30k",
            "rlhflow-capybara",
            "rlhflow-prm800k",
            "rlhflow-preference-collection",
        ),
        _STANDARD,
    ),
}

PAIRS = [name for name, one in published_sets().items() if one.kind == "pairs"]


def written(folder, records):
    """A file of records."""
    given = folder / "given.jsonl"
    given.write_text("".join(json.dumps(record) + "\n" for record in records))
    return DataSource(str(given))


def seen(pair):
    """A pair as the cases write it."""
    return tuple(message.content for message in pair.prompt), pair.chosen, pair.rejected


def test_every_pair_set_has_a_case():
    assert set(CASES) == set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_set_is_converted_and_read_back(name, ending, tmp_path):
    case, drops, made = CASES[name], Drops(), tmp_path / f"made.{ending}"
    given = written(tmp_path, case.records)
    done = convert_set(published_set(name), output=made, source=given, drops=drops)
    pairs = read_pairs([DataSource(str(made))], drops=Drops())
    assert [seen(pair) for pair in pairs] == case.pairs
    assert {pair.source for pair in pairs} == {name}
    assert {pair.prompt[-1].role for pair in pairs} == {"user"}
    assert len({pair.id for pair in pairs}) == len(pairs) == done.n_rows
    assert drops.reasons() == case.dropped


@pytest.mark.parametrize("name", PAIRS)
def test_missing_column_is_named(name, tmp_path):
    published, record = published_set(name), CASES[name].records[0]
    column = published.columns[0]
    changed = {key: value for key, value in record.items() if key != column.split(".")[0]}
    with pytest.raises(DataError, match=rf"given\.jsonl:1: .*missing .*'{column}'"):
        convert_set(
            published,
            output=tmp_path / "made.parquet",
            source=written(tmp_path, [changed]),
            drops=Drops(),
        )
    assert not (tmp_path / "made.parquet").exists()


@pytest.mark.parametrize("name", PAIRS)
def test_all_columns_are_in_the_true_schema(name):
    for column in published_set(name).columns:
        value = CASES[name].records[0]
        for part in column.split("."):
            value = value[0] if isinstance(value, list) else value
            assert part in value, column
            value = value[part]


@pytest.mark.parametrize("name", PAIRS)
def test_entry_says_what_a_user_must_know(name):
    published = published_set(name)
    assert not published.scales
    assert published.licence
    assert published.link.startswith("https://")
    assert published.note.endswith(".")
    assert published.hub.count("/") in (1, 2)


def test_pair_sets_take_no_name_of_an_objective():
    assert not {*PAIRS} & {*OBJECTIVES}
