"""Rows, features and folds in one order; rows that are too few are refused early."""

import numpy as np
import pytest
import torch

from armorm.data import Drops, folds_of
from armorm.errors import DataError
from armorm.features.store import DroppedRow, FeatureSet
from armorm.train.inputs import (
    Rows,
    assign_folds,
    count_unused,
    derive,
    line_up,
    pair_conversations,
    rated_conversations,
    stage_inputs,
)
from armorm.types import Message, PreferencePair, RatedResponse, Scale

SCALES = {"s": {"x": Scale(0, 4), "y": Scale(0, 4)}}


def prompt(i):
    return (Message("user", f"question {i}"),)


def make_rows(n=24, p=12, y_from=0):
    rated = [
        RatedResponse(
            f"r{i}",
            prompt(i // 2),
            f"response {i}",
            "s",
            {"x": i % 5} | ({"y": i % 3} if i >= y_from else {}),
        )
        for i in range(n)
    ]
    pairs = [PreferencePair(f"p{i}", prompt(100 + i), f"yes {i}", f"no {i}") for i in range(p)]
    return Rows(rated, pairs, SCALES, ("x", "y"), Drops())


def features(ids, gone=(), seed=0):
    """A feature whose first entry is the number of the row in the input."""
    kept = [i for i in range(len(ids)) if i not in gone]
    response = torch.tensor([[float(i), seed] for i in kept]).reshape(-1, 2)
    zeros = torch.zeros(len(kept), dtype=torch.int64)
    return FeatureSet(
        [ids[i] for i in kept],
        response,
        response + 0.5,
        zeros,
        zeros,
        torch.tensor(kept, dtype=torch.int64),
        [DroppedRow(i, ids[i], "longer than 8 tokens") for i in gone],
    )


def lined_up(rows, *, gone_rated=(), gone_pairs=(), n_folds=4):
    folds = assign_folds(rows, n_folds=n_folds, rounds=n_folds, salt="0")
    rated = features([c.id for c in rated_conversations(rows)], gone_rated) if rows.rated else None
    pairs = features([c.id for c in pair_conversations(rows)], gone_pairs) if rows.pairs else None
    return line_up(rows, rated, pairs, folds), folds


def test_features_ratings_and_folds_stand_in_the_order_of_the_rows():
    rows = make_rows()
    data, folds = lined_up(rows)
    assert data.rated.features[:, 0].tolist() == list(range(24))
    assert data.pairs.chosen[:, 0].tolist() == list(range(0, 24, 2))
    assert data.pairs.rejected[:, 0].tolist() == list(range(1, 24, 2))
    assert data.pairs.prompt[:, 0].tolist() == [i + 0.5 for i in range(0, 24, 2)]
    np.testing.assert_allclose(data.rated.ratings[:, 0], [i % 5 / 4 for i in range(24)])
    assert data.rated.folds.tolist() == [folds.of[row.prompt] for row in rows.rated]
    assert data.pairs.folds.tolist() == [folds.of[row.prompt] for row in rows.pairs]


def test_dropped_rows_leave_the_others_in_line():
    data, _ = lined_up(make_rows(), gone_rated=(3, 4), gone_pairs=(0, 5))
    kept = [i for i in range(24) if i not in (3, 4)]
    assert [row.id for row in data.rated_rows] == [f"r{i}" for i in kept]
    assert data.rated.features[:, 0].tolist() == kept
    # Pair 0 has lost its chosen side, pair 2 its rejected one.
    assert [row.id for row in data.pair_rows] == [f"p{i}" for i in range(12) if i not in (0, 2)]
    assert data.pairs.chosen[:, 0].tolist() == [i for i in range(0, 24, 2) if i not in (0, 4)]


def test_prompt_of_rated_rows_and_pairs_is_in_one_fold():
    rows = make_rows()
    shared = [PreferencePair(f"q{i}", prompt(i), "a", "b") for i in range(6)]
    copies = [PreferencePair("c", (Message("user", " QUESTION  0"),), "a", "b")]
    rows = Rows(rows.rated, [*rows.pairs, *shared, *copies], SCALES, rows.objectives, Drops())
    data, _ = lined_up(rows)
    fold = dict(zip([r.prompt for r in rows.rated], data.rated.folds.tolist(), strict=True))
    assert data.pairs.folds.tolist()[12:18] == [fold[prompt(i)] for i in range(6)]
    assert data.pairs.folds.tolist()[18] == fold[prompt(0)]


def test_fewer_prompts_than_folds_are_refused():
    with pytest.raises(DataError, match="number of different prompts; got 25 folds for 24 prom"):
        assign_folds(make_rows(), n_folds=25, rounds=25, salt="")


def test_objective_on_prompts_of_too_few_folds_is_named():
    rows = make_rows(y_from=22)
    with pytest.raises(DataError, match=r"ratings of 'y' must be on prompts in at least 3 of") as e:
        assign_folds(rows, n_folds=4, rounds=4, salt="0")
    assert str(e.value).endswith("of the 4 folds of `evaluation.folds`; found in 1")
    assert "'x'" not in str(e.value)


@pytest.mark.parametrize("rounds", [1, 4])
def test_objective_that_varies_in_one_fold_alone_is_named_where_that_is_held_out(rounds):
    rows = make_rows()
    for row in rows.rated:
        row.ratings["y"] = 3 if row.prompt == prompt(5) else 2
    prompts = [row.prompt for row in [*rows.rated, *rows.pairs]]
    (fold,) = {f for p, f in zip(prompts, folds_of(prompts, 4, "0"), strict=True) if p == prompt(5)}
    if fold >= rounds:  # never held out
        assign_folds(rows, n_folds=4, rounds=rounds, salt="0")
        return
    text = rf"^ratings of 'y' must vary outside fold {fold} of .*; all \d+ there are 0.5 \(normal"
    with pytest.raises(DataError, match=text):
        assign_folds(rows, n_folds=4, rounds=rounds, salt="0")


def test_pairs_on_prompts_of_too_few_folds_are_refused():
    with pytest.raises(DataError, match=r"preference pairs must be on prompts .* found in 2$"):
        assign_folds(make_rows(p=2), n_folds=4, rounds=4, salt="3")


def test_rows_outside_the_folds_that_are_held_out_are_refused():
    # The 12 prompts of rated rows are in all folds, so only the pairs decide.
    rows, seen = make_rows(p=4), set()
    for salt in map(str, range(12)):
        prompts = [row.prompt for row in [*rows.rated, *rows.pairs]]
        found = set(folds_of(prompts, 4, salt)[len(rows.rated) :])
        if len(found) == 3:
            judged = {0, 1} <= found
            seen.add(judged)
            if judged:
                assign_folds(rows, n_folds=4, rounds=1, salt=salt)
                continue
            with pytest.raises(DataError, match="and in those that are held out: 1; found in 3"):
                assign_folds(rows, n_folds=4, rounds=1, salt=salt)
    assert seen == {True, False}


def test_rows_lost_to_the_backbone_are_checked_again():
    with pytest.raises(DataError, match="objective 'x' must have at least 10 ratings; got 9"):
        lined_up(make_rows(), gone_rated=range(15))
    with pytest.raises(DataError, match="preference pairs must be on prompts in at least 3"):
        lined_up(make_rows(), gone_pairs=range(24))


def test_pair_that_loses_one_side_or_both_is_one_dropped_row():
    ids = [c.id for c in pair_conversations(make_rows())]
    found, drops = features(ids, gone=(2, 3, 7)), Drops()
    count_unused(found, "pairs", drops, sides=2)
    assert drops.as_dict() == {"features of pairs": {"longer than 8 tokens": 2}}


def test_truncated_rows_are_counted_once_and_not_where_they_are_dropped():
    ids = [c.id for c in pair_conversations(make_rows())]
    found, drops = features(ids, gone=(2,)), Drops()
    # Both sides of pair 0, the one left side of pair 1, one side of pair 4.
    for row in (0, 1, 3, 8):
        found.n_truncated[found.rows == row] = 5
    count_unused(found, "pairs", drops, sides=2)
    assert drops.total == 1
    assert drops.total_truncated == 2
    drops = Drops()
    count_unused(found, "rated", drops, sides=1)
    assert (drops.total, drops.total_truncated) == (1, 4)


def derived(rows, data, found, **changes):
    how = {"weights": {"x": 1.0}, "min_gap": 0.2, "loss_weight": 0.5} | changes
    return derive(rows, data, found, **how)


def test_derived_pairs_point_to_the_better_and_the_worse_row():
    rows = make_rows()
    data, _ = lined_up(rows, gone_rated=(0,))
    found = features([c.id for c in rated_conversations(rows)], (0,))
    made = derived(rows, data, found)
    assert len(made.derived_rows) == len(made.derived.chosen) > 5
    for row, better, worse in zip(
        made.derived_rows, made.derived.chosen, made.derived.rejected, strict=True
    ):
        a, b = data.rated_rows[better], data.rated_rows[worse]
        assert (row.chosen, row.rejected) == (a.response, b.response)
        assert a.prompt == b.prompt
        assert a.ratings["x"] > b.ratings["x"]
    assert made.derived.prompt[:, 0].tolist() == [i + 0.5 for i in range(1, 24)]


def test_no_derived_pair_is_an_error():
    rows = make_rows()
    data, _ = lined_up(rows)
    found = features([c.id for c in rated_conversations(rows)])
    with pytest.raises(DataError, match=r"derived_pairs: no two responses to one prompt differ by"):
        derived(rows, data, found, weights={"y": 1.0}, min_gap=0.99)


def test_each_kind_of_input_has_its_own_fingerprint():
    rows = make_rows()
    data, _ = lined_up(rows)
    keys = {"rated": "a", "pairs": "b"}
    before = stage_inputs(rows, data, keys, None)
    assert stage_inputs(rows, data, keys, None) == before
    other = stage_inputs(rows, data, keys | {"pairs": "c"}, {"min_gap": 0.2})
    assert other["rated"] == before["rated"]
    assert other["pairs"] != before["pairs"]
    assert other["derived"] == {"min_gap": 0.2}
    scales = {"s": {"x": Scale(0, 5), "y": Scale(0, 4)}}
    wider = Rows(rows.rated, rows.pairs, scales, rows.objectives, Drops())
    assert stage_inputs(wider, data, keys, None)["rated"] != before["rated"]
    assert stage_inputs(wider, data, keys, None)["pairs"] == before["pairs"]
