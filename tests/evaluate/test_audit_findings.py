"""Findings on figures made by hand: severity, rows and advice."""

import math

import pytest

from armorm.data.text_measures import MEASURES
from armorm.evaluate.audit.calibration import calibration as calibration_of
from armorm.evaluate.audit.figures import (
    SCORE,
    Correlation,
    EditEffect,
    GatingAudit,
    ParaphraseEffect,
    RowChange,
    Structure,
)
from armorm.evaluate.audit.findings import find
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.figures import GatingFigures
from armorm.evaluate.interval import Interval, value_only
from armorm.train.config import DebiasRecipe


def interval(value, width=0.01):
    return Interval(value=value, low=value - width, high=value + width, n_rows=50, n_groups=50)


NOTHING = {
    "correlations": (),
    "edits": (),
    "paraphrases": (),
    "calibration": None,
    "structure": Structure(
        objectives=("a", "b"),
        before=((1.0, 0.0), (0.0, 1.0)),
        after=((1.0, 0.0), (0.0, 1.0)),
        effective_before=2.0,
        effective_after=2.0,
        most_alike=(),
    ),
    "gating": None,
    "shared_prompts": (),
    "extremes": {"length": ("x",)},
}


def edit_of(change, *, kind="edit", name="flattery", raised=0.6):
    return EditEffect(
        edit=name,
        kind=kind,
        target=SCORE,
        n=50,
        n_left_out=0,
        share_raised=interval(raised),
        share_lowered=0.4,
        mean_change=change,
        largest=(RowChange(id="r1", change=1.0),),
    )


def test_no_figures_no_findings():
    assert find(**NOTHING) == ()


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        (interval(0.6), "high"),
        (interval(0.3), "medium"),
        (interval(0.06), "low"),
        (interval(0.01), None),
        (interval(0.3, width=0.4), None),  # holds 0
        (value_only(0.9, n_rows=5, n_groups=5), "low"),
    ],
)
def test_severity_of_an_edit_follows_its_rise(change, severity):
    found = find(**NOTHING | {"edits": (edit_of(change),)})
    assert [f.severity for f in found] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("padding", "Train with `debias.measured: [log_length]` in the recipe; add pairs"),
        ("markdown", "Train with `debias.measured: [markdown_density]` in the recipe; add"),
        ("flattery", "Add pairs whose rejected response is the chosen one with this edit or give"),
        ("chat header", "Remove such marks from responses before they are scored."),
    ],
)
def test_advice_names_what_can_be_done_about_an_edit(name, advice):
    lifted = edit_of(interval(0.4), name=name).model_copy(update={"target": "honesty"})
    (found,) = find(**NOTHING | {"edits": (edit_of(interval(0.3), name=name), lifted)})
    assert advice in found.advice
    assert found.sentence.endswith("Most lifted: honesty (+0.40).")


def test_a_small_rise_of_nearly_all_rows_is_a_finding():
    found = find(**NOTHING | {"edits": (edit_of(interval(0.02), raised=0.95),)})
    assert [(f.severity, f.rows) for f in found] == [("low", ("r1",))]


@pytest.mark.parametrize(
    ("name", "change", "severity"),
    [
        ("second half cut", interval(0.3), "high"),
        ("second half cut", interval(0.05), "medium"),
        ("second half cut", interval(0.05, width=0.3), "low"),
        ("second half cut", interval(-0.05), "low"),
        ("second half cut", interval(-0.5), None),
        ("last sentence cut", interval(-0.01), None),
        ("last sentence cut", interval(0.2), "medium"),
    ],
)
def test_severity_of_a_cut_follows_what_is_kept(name, change, severity):
    found = find(**NOTHING | {"edits": (edit_of(change, kind="cut", name=name),)})
    assert [f.severity for f in found] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("target", "value", "severity"),
    [(SCORE, 0.6, "high"), (SCORE, -0.4, "medium"), ("a", 0.6, "medium"), ("a", 0.3, None)],
)
def test_severity_of_a_correlation(target, value, severity):
    nothing = value_only(math.nan, n_rows=50, n_groups=50)
    one = Correlation(
        target=target,
        measure="length",
        before=interval(0.1),
        after=interval(value),
        within_before=nothing,
        within_after=nothing,
    )
    found = find(**NOTHING | {"correlations": (one,)})
    assert [f.severity for f in found] == ([severity] if severity else [])
    for f in found:
        assert ("falls" if value < 0 else "rises") in f.sentence
        assert "over all rows" in f.sentence
        assert f.rows == (("x",) if target == SCORE else ())
    rated = one.model_copy(update={"within_ratings": interval(value / 2)})
    for f in find(**NOTHING | {"correlations": (rated,)}):
        assert f.advice.startswith("The ratings follow it too")


def test_gating_that_follows_one_objective_and_no_prompt_is_found():
    figures = GatingFigures(mean={"a": 1.0, "b": 0.0}, by_source={}, entropy_mean=0, entropy_max=0)
    gating = GatingAudit(
        figures=figures, n_prompts=9, effective=1.0, largest_spread=0.0, unused=("b",)
    )
    found = find(**NOTHING | {"gating": gating})
    assert [f.severity for f in found] == ["medium", "low", "low"]
    assert "no weight varies by more than 0 (standard deviation)" in found[1].sentence


def test_objectives_that_repeat_each_other_are_found():
    same = tuple(tuple(0.99 if i != j else 1.0 for j in range(5)) for i in range(5))
    hanging = NOTHING["structure"].model_copy(
        update={"after": same, "effective_after": 1.02, "most_alike": (("a", "b", 0.99),)}
    )
    found = find(**NOTHING | {"structure": hanging})
    assert [f.severity for f in found] == ["medium", "low"]
    assert "a and b (0.99)" in found[1].sentence


def test_paraphrases_that_move_the_score_are_found():
    effect = ParaphraseEffect(
        target=SCORE, n=24, mean_size=interval(0.6), largest=(RowChange(id="q", change=-2.0),)
    )
    found = find(**NOTHING | {"paraphrases": (effect,)})
    assert [(f.severity, f.rows) for f in found] == [("medium", ("q",))]


def test_a_bold_model_is_found_by_its_calibration():
    margins, groups = [1.0, 1.0, -1.0, 1.0] * 10, [str(i) for i in range(40)]
    calibration = calibration_of(
        margins, groups, beta=1.0, is_fit=[True] * 40, resampling=Resampling(100)
    )
    bold = calibration.all_pairs.model_copy(update={"ece": 0.3, "ece_by_chance": 0.1})
    found = find(**NOTHING | {"calibration": calibration.model_copy(update={"all_pairs": bold})})
    assert [f.severity for f in found] == ["high"]
    chance = bold.model_copy(update={"ece_by_chance": 0.31})
    assert not find(
        **NOTHING | {"calibration": calibration.model_copy(update={"all_pairs": chance})}
    )
    helped = calibration.model_copy(
        update={"all_pairs": bold, "temperature": 2.0, "log_loss_change": interval(-0.1)}
    )
    (one,) = find(**NOTHING | {"calibration": helped})
    assert one.advice.startswith("Divide beta by 2.00")
    few = bold.model_copy(update={"log_loss": value_only(1.0, n_rows=5, n_groups=5)})
    unsure = helped.model_copy(update={"all_pairs": few})
    (one,) = find(**NOTHING | {"calibration": unsure})
    assert one.severity == "low"


@pytest.mark.parametrize("measure", list(MEASURES))
def test_advice_on_a_measure_is_the_line_of_a_recipe_unless_it_is_there_already(measure):
    label = MEASURES[measure].label
    one = Correlation(
        target=SCORE,
        measure=label,
        before=interval(0.6),
        after=interval(0.6),
        within_before=interval(0.6),
        within_after=interval(0.6),
        within_ratings=None,
    )
    (found,) = find(**NOTHING | {"correlations": (one,)})
    assert found.advice.startswith(f"Train with `debias.measured: [{measure}]` in the recipe")
    assert DebiasRecipe(measured=(measure,)).measured == (measure,)
    (found,) = find(**NOTHING | {"correlations": (one,), "measured": [measure]})
    assert found.advice.startswith(f"`{measure}` is in `debias.measured` already; what is left is")
