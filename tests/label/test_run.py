"""Whole labellings: what is scored and written, going on after any break, shards, refusals."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from armorm.data import as_source
from armorm.errors import DataError, FeatureError, MissingDependency, StorageError
from armorm.features.blocks import Shard
from armorm.features.interface import FeatureOptions
from armorm.features.ray_pool import RayPool
from armorm.label import LabelOptions, PairOptions, PairRule, engines, label
from armorm.label.facts import dominance
from armorm.label.place import Place
from armorm.label.survey import Input
from armorm.label.work import Work, make_plan
from armorm.model.reward import RewardModel
from armorm.types import Conversation, Message
from bundles import NUISANCE, OBJECTIVES, decoder_backbone, make_bundle
from fakes import HashBackbone
from label_rows import content, lines, prompts

SMALL = LabelOptions(part_rows=7)
PAIRS = LabelOptions(part_rows=7, pairs=PairOptions())


def of_rows(path):
    """Every response of a file of candidates as a conversation."""
    return [
        Conversation((Message("user", row["prompt"]),), response)
        for row in lines(path)
        for response in row["responses"]
    ]


def test_scores_are_those_of_the_model(model, candidates, tmp_path):
    done = label(model, candidates, tmp_path / "out.jsonl", options=SMALL)
    rows = lines(tmp_path / "out.jsonl")
    wanted = model.score(of_rows(candidates))
    assert [row["score"] for row in rows] == pytest.approx(wanted.score.tolist(), abs=1e-5)
    for row, explanation in zip(rows, wanted, strict=True):
        for part in ("objectives", "gating", "coefficients"):
            assert row[part] == pytest.approx(getattr(explanation, part), abs=1e-5)
        made_of = sum(row["coefficients"][name] * row["objectives"][name] for name in OBJECTIVES)
        assert made_of == pytest.approx(row["score"], abs=1e-5)
        assert (row["n_tokens"], row["truncated"]) == (explanation.n_tokens, False)
    assert [row["candidate"] for row in rows] == [0, 1, 2] * 10
    assert [row["prompt_number"] for row in rows] == np.repeat(np.arange(10), 3).tolist()
    assert rows[4]["id"] == "in:2"
    assert done.summary["candidates"]["scored"] == 30


def test_decoder_packs_the_candidates_of_a_prompt_and_scores_the_same(tmp_path, write):
    candidates = write([*prompts(6), {"prompt": "Why? " * 60, "responses": ["So.", "No. " * 9]}])
    backbone = decoder_backbone(tmp_path / "decoder", too_long="truncate", max_tokens=120)
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    done = label(model, candidates, tmp_path / "out.jsonl", options=SMALL)
    wanted = model.score(of_rows(candidates))
    rows = lines(tmp_path / "out.jsonl")
    assert [row["score"] for row in rows] == pytest.approx(wanted.score.tolist(), abs=1e-5)
    assert [row["n_truncated"] for row in rows] == wanted.n_truncated.tolist()
    truncated = sum(row["truncated"] for row in rows)
    assert truncated == done.summary["candidates"]["truncated"] == 2
    assert backbone.engine == "packed"


def test_texts_are_written_where_they_are_asked_for(model, candidates, tmp_path):
    label(model, candidates, tmp_path / "out.jsonl", options=LabelOptions(texts=True))
    first = lines(tmp_path / "out.jsonl")[1]
    assert first["prompt"] == [{"role": "user", "content": "What is 0 plus 0?"}]
    assert first["response"] == "It is 1, surely "


def test_fixed_weights_have_no_gating(model, candidates, tmp_path):
    steered = model.with_weights({"honesty": 2.0})
    label(steered, candidates, tmp_path / "out.jsonl")
    row = lines(tmp_path / "out.jsonl")[0]
    assert "gating" not in row
    assert row["score"] == pytest.approx(2 * row["objectives"]["honesty"], abs=1e-6)


def test_parquet_holds_the_same_rows(model, candidates, tmp_path):
    from pyarrow import parquet

    label(model, candidates, tmp_path / "out.jsonl", options=SMALL)
    label(model, candidates, tmp_path / "out.parquet", options=SMALL)
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    rows = lines(tmp_path / "out.jsonl")
    assert [row.keys() for row in table] == [row.keys() for row in rows]
    for one, other in zip(table, rows, strict=True):
        for name in ("id", "prompt_number", "candidate", "n_tokens", "truncated"):
            assert one[name] == other[name]
        assert np.float32(one["score"]) == np.float32(other["score"])
        for part in ("objectives", "gating", "coefficients"):
            numbers = [np.float32(list(row[part].values())) for row in (one, other)]
            np.testing.assert_array_equal(*numbers)


def test_pairs_are_the_same_whatever_the_kind_of_file(model, candidates, tmp_path):
    from pyarrow import parquet

    label(model, candidates, tmp_path / "out.jsonl", options=PAIRS)
    label(model, candidates, tmp_path / "out.parquet", options=PAIRS)
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    texts = [(row["prompt"], row["chosen"], row["rejected"]) for row in table]
    assert texts == [
        (r["prompt"], r["chosen"], r["rejected"]) for r in lines(tmp_path / "out.jsonl")
    ]
    summaries = [
        json.loads((tmp_path / f"out.{ending}.parts/summary.json").read_text())
        for ending in ("jsonl", "parquet")
    ]
    assert summaries[0] == summaries[1]


def test_best_and_worst_of_every_prompt_are_written(model, candidates, tmp_path):
    done = label(model, candidates, tmp_path / "pairs.jsonl", options=PAIRS)
    scores = model.score(of_rows(candidates)).score.reshape(10, 3)
    rows = lines(tmp_path / "pairs.jsonl")
    assert [row["chosen_score"] for row in rows] == pytest.approx(
        scores.max(1).values.tolist(), abs=1e-5
    )
    assert [row["rejected_score"] for row in rows] == pytest.approx(
        scores.min(1).values.tolist(), abs=1e-5
    )
    assert done.summary["pairs"]["n"] == 10
    curve = done.summary["best_of_n"]["expected_score"]
    assert curve[0] == pytest.approx(scores.mean().item(), abs=1e-5)
    assert curve[2] == pytest.approx(scores.max(1).values.mean().item(), abs=1e-5)


def test_every_row_is_accounted_for(model, write, tmp_path):
    long = {"prompt": "Long?", "responses": ["word " * 600, "short", ""]}
    path = write([*prompts(2), "not json", long])
    done = label(model, path, tmp_path / "out.jsonl")
    found = done.summary
    assert found["rows"] == {"read": 4, "dropped": {str(path): {"malformed JSON": 1}}}
    assert found["candidates"] == {
        "read": 9,
        "scored": 7,
        "dropped": {str(path): {"empty response": 1, "longer than 512 tokens": 1}},
        "truncated": 0,
    }
    assert len(lines(tmp_path / "out.jsonl")) == 7
    assert found["first_dropped"][-1] == (
        f"{path}: candidate 0 of 'in:4' cannot be scored: longer than 512 tokens"
    )


def test_under_stop_a_candidate_that_cannot_be_scored_stops(model, write, tmp_path):
    path = write([*prompts(1), {"prompt": "Long?", "responses": ["short", "word " * 600]}])
    said = r"in.jsonl: candidate 1 of 'in:2' cannot be scored: longer than 512 tokens"
    with pytest.raises(FeatureError, match=said):
        label(model, path, tmp_path / "out.jsonl", options=LabelOptions(bad_rows="stop"))
    # The parts that are there serve a run that leaves such candidates out.
    assert label(model, path, tmp_path / "out.jsonl").summary["candidates"]["scored"] == 4


def test_a_file_of_nothing_that_can_be_scored_is_refused(model, write, tmp_path):
    path = write([{"prompt": "Long?", "responses": ["word " * 600] * 2}])
    said = "at least one candidate must be scored; all 2 were dropped, the first as longer than"
    with pytest.raises(DataError, match=said):
        label(model, path, tmp_path / "out.jsonl")


def test_given_preferences_are_compared_with_the_scores(model, write, tmp_path):
    rows = [
        {"prompt": f"{i}?", "chosen": f"yes {i}", "rejected": f"no {i}", "id": f"p{i}"}
        for i in range(8)
    ]
    done = label(model, write(rows), tmp_path / "out.jsonl")
    written = lines(tmp_path / "out.jsonl")
    assert [row["given"] for row in written] == ["chosen", "rejected"] * 8
    agreed = [one["score"] > two["score"] for one, two in zip(*[iter(written)] * 2, strict=True)]
    assert done.summary["pairs"]["given"] == {"n": 8, "agreement": sum(agreed) / 8}


def test_input_of_pairs_and_others_is_refused(model, write, tmp_path):
    (tmp_path / "in").mkdir()
    write([{"prompt": "a", "chosen": "b", "rejected": "c"}], "in/a.jsonl")
    write(prompts(1), "in/b.jsonl")
    with pytest.raises(DataError, match="all files must hold preference pairs or none of them"):
        label(model, tmp_path / "in", tmp_path / "out.jsonl")


def test_finished_labelling_is_found_without_the_model(model, candidates, tmp_path):
    first = label(model, candidates, tmp_path / "out.jsonl", options=PAIRS)
    before, n = content(tmp_path), len(model.backbone.computed)
    again = label(model, candidates, tmp_path / "out.jsonl", options=PAIRS)
    assert (again.is_found, first.is_found) == (True, False)
    assert again.summary == first.summary
    assert content(tmp_path) == before
    assert len(model.backbone.computed) == n == 30


def test_bad_input_is_told_before_the_model_is_loaded(write, tmp_path):
    def load():
        raise AssertionError("the model was loaded")

    with pytest.raises(DataError, match="at least one row must be usable"):
        label(load, write(["not json"]), tmp_path / "out.jsonl")
    with pytest.raises(ValueError, match=r"the output must end in .jsonl or .parquet; got 'o.csv'"):
        label(load, write(prompts(1)), tmp_path / "o.csv")


class Killed(BaseException):
    """Ends a labelling where a kill would."""


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_labelling_that_breaks_between_any_two_writes_ends_with_the_same_bytes(
    model, candidates, tmp_path, monkeypatch, ending
):
    label(model, candidates, tmp_path / f"whole/out.{ending}", options=PAIRS)
    whole = content(tmp_path / "whole")
    replace, n_written = Path.replace, [0]

    def counted(self, target):
        if n_written[0] == stop:
            raise Killed
        n_written[0] += 1
        return replace(self, target)

    for stop in range(100):
        folder, n_written[0] = tmp_path / f"{ending}-{stop}", 0
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", counted)
            try:
                label(model, candidates, folder / f"out.{ending}", options=PAIRS)
            except Killed:
                pass
            else:
                break
        left = content(folder)
        assert left.items() <= whole.items()
        n_before = len(model.backbone.computed)
        label(model, candidates, folder / f"out.{ending}", options=PAIRS)
        assert content(folder) == whole
        # Nothing that was finished is computed again.
        n_records = sum("records" in name for name in left)
        assert len(model.backbone.computed) - n_before == 30 - 6 * n_records
    # The plan, rows and record of 5 parts, the output, the summary and the manifest.
    assert stop == n_written[0] == 14


def test_damaged_part_is_computed_again(model, candidates, tmp_path):
    output = tmp_path / "out.jsonl"
    label(model, candidates, output, options=PAIRS)
    whole = content(tmp_path)
    part = next((tmp_path / "out.jsonl.parts/scores").glob("part-00001*"))
    part.write_bytes(part.read_bytes()[:-20])
    output.unlink()
    n_before = len(model.backbone.computed)
    label(model, candidates, output, options=PAIRS)
    assert content(tmp_path) == whole
    assert len(model.backbone.computed) - n_before == 6


def test_shards_leave_the_bytes_of_one_process(model, candidates, tmp_path):
    label(model, candidates, tmp_path / "one/out.jsonl", options=PAIRS)
    for order in ([1, 2, 3], [3, 1, 2]):
        folder = tmp_path / str(order)
        for number in order[:-1]:
            done = label(
                model, candidates, folder / "out.jsonl", options=PAIRS, shard=Shard(number, 3)
            )
            assert done.summary is None
            assert done.missing > 0
        last = label(
            model, candidates, folder / "out.jsonl", options=PAIRS, shard=Shard(order[-1], 3)
        )
        assert last.summary is not None
        assert content(folder) == content(tmp_path / "one")


def test_more_shards_than_parts_do_no_harm(model, candidates, tmp_path):
    for number in range(1, 8):
        done = label(
            model, candidates, tmp_path / "out.jsonl", options=SMALL, shard=Shard(number, 7)
        )
    assert done.summary["candidates"]["scored"] == 30


def other_options(model, path, write):
    more = write(prompts(11), "more.jsonl")
    return [
        (model, more, PAIRS, "other rows"),
        (model.with_weights({"honesty": 1.0}), path, PAIRS, "another bundle, backbone or steering"),
        (model, path, LabelOptions(part_rows=7, texts=True, pairs=PairOptions()), "other options"),
        (model, path, SMALL, "other rules for pairs"),
        (
            model,
            path,
            LabelOptions(part_rows=7, pairs=PairOptions(PairRule.parse("top-1"))),
            "other rules for pairs",
        ),
    ]


def test_output_of_another_labelling_is_never_written_over(model, candidates, write, tmp_path):
    label(model, candidates, tmp_path / "out.jsonl", options=PAIRS)
    before = content(tmp_path)
    for steered, path, options, text in other_options(model, candidates, write):
        said = f"out.jsonl: belongs to a labelling of {text}; name another file with -o, or remove"
        with pytest.raises(StorageError, match=said):
            label(steered, path, tmp_path / "out.jsonl", options=options)
    after = content(tmp_path)
    assert {name: after[name] for name in before} == before


def test_file_that_no_labelling_wrote_is_left_alone(model, candidates, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine\n")
    with pytest.raises(StorageError, match=r"the file is there and no labelling wrote it"):
        label(model, candidates, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "mine\n"


def test_plan_of_a_newer_version_is_refused(model, candidates, tmp_path):
    label(model, candidates, tmp_path / "out.jsonl")
    plan = tmp_path / "out.jsonl.parts/plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"schema": 99}))
    with pytest.raises(StorageError, match="the schema must be 1; it is 99: another version"):
        label(model, candidates, tmp_path / "out.jsonl")


def test_damaged_plan_is_refused(model, candidates, tmp_path):
    label(model, candidates, tmp_path / "out.jsonl")
    before = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl.parts/plan.json").write_text("{")
    with pytest.raises(StorageError, match="must be the plan of a labelling; it is no JSON object"):
        label(model, candidates, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_part_that_an_actor_of_a_cluster_writes_is_that_of_one_process(model, candidates, tmp_path):
    """What an actor does, without a cluster; `test_ray.py` has one."""
    label(model, candidates, tmp_path / "one/out.jsonl", options=PAIRS)
    reader = Input(as_source(candidates), PAIRS)
    survey = reader.survey()
    facts = engines._facts(lambda: model)
    place = Place(tmp_path / "many/out.jsonl")
    work = Work(facts, reader, survey, place, place.claim(make_plan(facts, reader, survey)))
    write = engines._worker(work, lambda: model)
    # Out of order, and one of them twice, as after the death of an actor.
    n_before = len(model.backbone.computed)
    assert [write(part) for part in (2, 4, 0, 2, 1, 3)] == [6] * 6
    assert len(model.backbone.computed) - n_before == 30
    done = label(model, candidates, tmp_path / "many/out.jsonl", options=PAIRS)
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert done.summary["pairs"]["n"] == 10


def test_a_shard_beside_a_pool_is_refused(model, candidates, tmp_path):
    with pytest.raises(ValueError, match="`shard` must be the whole where a `pool` shares out"):
        label(model, candidates, tmp_path / "o.jsonl", shard=Shard(1, 2), pool=RayPool(1))


def test_progress_tells_candidates_and_rate(model, candidates, tmp_path):
    seen = []
    label(
        model,
        candidates,
        tmp_path / "out.jsonl",
        options=SMALL,
        watch=lambda *said: seen.append(said),
    )
    assert [(stage, done, total) for stage, done, total, _ in seen] == [
        *(("score", n, 30) for n in (6, 12, 18, 24, 30)),
        *(("write", n, 5) for n in (1, 2, 3, 4, 5)),
    ]
    assert seen[0][3].endswith(" candidates/s")


def test_parquet_without_its_packages_names_the_extra(model, candidates, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"pip install 'armorm\[data\]'"):
        label(model, candidates, tmp_path / "out.parquet")


def test_leftovers_of_a_kill_are_cleared(model, candidates, tmp_path):
    label(model, candidates, tmp_path / "out.jsonl", options=SMALL)
    whole = content(tmp_path)
    folder = tmp_path / "out.jsonl.parts"
    for path in (
        folder / "scores/.part-00001-of-00005.jsonl.0123.part",
        folder / "records/.part-00001-of-00005.json.0123.part",
        folder / ".summary.json.0123.part",
        tmp_path / ".out.jsonl.0123.part",
    ):
        path.write_text("half")
    (folder / ".lock-1-of-2").touch()
    label(model, candidates, tmp_path / "out.jsonl", options=SMALL)
    assert content(tmp_path) == whole
    assert not (folder / ".lock-1-of-2").exists()


def test_two_processes_do_not_label_into_one_file(model, candidates, tmp_path):
    place = Place(tmp_path / "out.jsonl")
    with place.hold(Shard()), pytest.raises(StorageError, match="another process is labelling"):
        label(model, candidates, tmp_path / "out.jsonl")
    said = "another process is computing shard 1/2"
    with place.hold(Shard(1, 2)):
        with pytest.raises(StorageError, match=said):
            label(model, candidates, tmp_path / "out.jsonl", shard=Shard(1, 2))
        label(model, candidates, tmp_path / "out.jsonl", shard=Shard(2, 2))


def test_input_that_changes_meanwhile_is_refused(model, candidates, tmp_path):
    def load():
        candidates.write_text(candidates.read_text().replace("is 4 plus 4", "is 4 times 4"))
        return model

    said = "the rows must stay as they are while they are labelled; they have changed"
    with pytest.raises(DataError, match=said):
        label(load, candidates, tmp_path / "out.jsonl", options=SMALL)


def test_input_that_gets_shorter_meanwhile_is_refused(model, candidates, tmp_path):
    def load():
        rows = candidates.read_text().splitlines(keepends=True)
        candidates.write_text("".join(rows[:4]))
        return model

    with pytest.raises(DataError, match="they have changed since the labelling began"):
        label(load, candidates, tmp_path / "out.jsonl", options=SMALL)


def test_budget_that_was_halved_stays_halved_for_the_parts_after_it(candidates, tmp_path):
    class Small(HashBackbone):
        """Takes batches of 100 tokens at most."""

        def features(self, rows, *, token_budget=None):
            if token_budget > 100:
                raise torch.OutOfMemoryError
            return super().features(rows, token_budget=token_budget)

    backbone = Small(options=FeatureOptions(max_tokens=512, token_budget=400))
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    done = label(model, candidates, tmp_path / "out.jsonl", options=SMALL)
    records = [
        json.loads(path.read_text())
        for path in sorted((tmp_path / "out.jsonl.parts/records").iterdir())
    ]
    assert {(record["token_budget"], record["halved"]) for record in records} == {(100, 2)}
    assert any("the token budget was halved 2 times, to 100" in note for note in done.notes)


def test_pareto_leaves_the_nuisance_out(model):
    values = dominance(model)
    assert values.shape == (len(OBJECTIVES), len(OBJECTIVES) - 1)
    objectives = torch.randn(50, len(OBJECTIVES), generator=torch.Generator().manual_seed(0))
    debiased = (objectives @ model.bundle.debias).numpy()
    kept = [i for i in range(len(OBJECTIVES)) if i != NUISANCE]
    np.testing.assert_allclose(objectives.numpy() @ values, debiased[:, kept], atol=1e-5)


def test_pareto_under_weights_compares_what_has_one(model):
    values = dominance(model.with_weights({"honesty": 2.0, "verbosity": -0.5}))
    assert values.tolist() == [[0, 0], [1, 0], [0, -1], [0, 0]]


def test_pareto_leaves_out_what_a_factor_of_zero_removes(model):
    values = dominance(model.scaled({"honesty": 0.0}))
    assert values.shape == (4, 2)


@pytest.mark.parametrize("steering", ["none", "weights", "factors"])
def test_pareto_pairs_never_lose(model, write, tmp_path, steering):
    steered = {
        "none": model,
        "weights": model.with_weights({"honesty": 1.0, "verbosity": -1.0}),
        "factors": model.scaled({"honesty": 3.0, "is_safe": 0.0}),
    }[steering]
    options = LabelOptions(pairs=PairOptions(PairRule.parse("pareto")))
    done = label(steered, write(prompts(20, 4)), tmp_path / "out.jsonl", options=options)
    rows = lines(tmp_path / "out.jsonl")
    assert len(rows) == done.summary["pairs"]["n"] > 5
    assert all(row["chosen_score"] > row["rejected_score"] for row in rows)


def test_part_rows_must_be_positive():
    with pytest.raises(ValueError, match="`part_rows` must be 1 or more; got 0"):
        LabelOptions(part_rows=0)


def test_bad_rows_must_be_known():
    with pytest.raises(ValueError, match="`bad_rows` must be 'stop' or 'drop'; got 'skip'"):
        LabelOptions(bad_rows="skip")
