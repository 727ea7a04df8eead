import pytest

from armorm.data import DataSource, Drops, folds_of
from armorm.evaluate.report import read_report
from armorm.train.inputs import read_rows
from armorm.types import Scale

FOLDS = 3


@pytest.fixture(scope="module")
def report(trained):
    return trained.run.report


def test_every_pair_of_a_small_run_is_taken_apart_by_heads_that_have_not_seen_it(report):
    assert len(report.comparisons) == 30
    assert len({one.id for one in report.comparisons}) == 30
    gated = report.scorer("gated")
    right = sum((one.margin > 0) + 0.5 * (one.margin == 0) for one in report.comparisons)
    assert right / 30 == pytest.approx(gated.accuracy.value)
    for one in report.comparisons:
        assert sum(part.contribution for part in one.objectives) == pytest.approx(
            one.margin, abs=1e-5
        )
        assert (one.margin < 0) == (one.probability < 0.5)


def test_rated_rows_beside_a_pair_are_those_that_its_heads_were_fitted_on(trained, report):
    scales = {"s": {"good": Scale(0, 4), "kind": Scale(1, 5), "verbosity": Scale(0, 4)}}
    rows = read_rows(
        [DataSource(str(trained.folder / "rated.jsonl"))],
        [DataSource(str(trained.folder / "pairs.jsonl"))],
        scales=scales,
        objectives=("good", "kind", "verbosity"),
        bad_rows="stop",
        drops=Drops(),
    )
    everything = [*rows.rated, *rows.pairs]
    folds = folds_of([row.prompt for row in everything], FOLDS, "0")
    fold = {row.id: number for row, number in zip(everything, folds, strict=True)}
    by_id = {row.id: row for row in rows.rated}
    for one in report.comparisons:
        assert len(one.nearest) == 6
        for row in one.nearest:
            assert fold[row.id] != fold[one.id]
            assert row.rating == by_id[row.id].ratings[row.objective]


def test_a_recipe_can_hold_fewer_comparisons_or_none(copied):
    few = copied.train("evaluation.comparisons=5").report
    assert [one.kind for one in few.comparisons].count("spread") == 2
    assert len(few.comparisons) == 5
    none = copied.train("evaluation.comparisons=0").report
    assert none.comparisons == ()
    assert read_report(copied.folder / "run") == none
