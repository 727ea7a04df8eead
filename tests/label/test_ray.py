"""Labelling on a local Ray cluster: the rows of the local engine, also after an actor is killed."""

import functools

import pytest

from armorm.errors import BundleError, FeatureError
from armorm.features.blocks import Shard
from armorm.features.ray_pool import RayPool
from armorm.label import LabelOptions, PairOptions, label
from fakes import HashBackbone
from label_rows import DyingBackbone, fail, lines, load, prompts
from ray_cluster import local_cluster

OPTIONS = LabelOptions(part_rows=6, pairs=PairOptions())

pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and files to the garbage collector, and deprecates what it uses itself.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with local_cluster() as ray:
        yield ray


def test_rows_are_those_of_the_local_engine(write, tmp_path):
    path = write(prompts(40))
    make = functools.partial(load, HashBackbone())
    label(make, path, tmp_path / "local.jsonl", options=OPTIONS)
    seen = []
    done = label(
        make,
        path,
        tmp_path / "ray.jsonl",
        options=OPTIONS,
        pool=RayPool(2),
        watch=lambda stage, n, total, _: seen.append((stage, n, total)),
    )
    assert done.summary["candidates"]["scored"] == 120
    assert [n for stage, n, _ in seen if stage == "score"] == list(range(6, 121, 6))
    for folder in ("local.jsonl", "ray.jsonl"):
        assert len(list((tmp_path / f"{folder}.parts/scores").iterdir())) == 20
    for one, other in zip(
        _scores(tmp_path / "local.jsonl.parts"), _scores(tmp_path / "ray.jsonl.parts"), strict=True
    ):
        assert (one["id"], one["candidate"]) == (other["id"], other["candidate"])
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert one["objectives"] == pytest.approx(other["objectives"], abs=1e-5)
    assert (tmp_path / "local.jsonl").read_bytes() == (tmp_path / "ray.jsonl").read_bytes()


def _scores(folder):
    return [row for path in sorted((folder / "scores").iterdir()) for row in lines(path)]


def test_an_actor_that_is_killed_in_the_middle_loses_nothing(write, tmp_path):
    path, marker = write(prompts(40)), tmp_path / "killed"
    label(load(HashBackbone()), path, tmp_path / "local.jsonl", options=OPTIONS)
    make = functools.partial(load, DyingBackbone(marker))
    label(make, path, tmp_path / "ray.jsonl", options=OPTIONS, pool=RayPool(2))
    assert marker.exists()
    assert (tmp_path / "local.jsonl").read_bytes() == (tmp_path / "ray.jsonl").read_bytes()


def test_cluster_goes_on_where_a_local_run_was_stopped(write, tmp_path):
    path = write(prompts(40))
    model = load(HashBackbone())
    label(model, path, tmp_path / "local.jsonl", options=OPTIONS)
    label(model, path, tmp_path / "ray.jsonl", options=OPTIONS, shard=Shard(1, 2))
    seen = []
    label(
        model,
        path,
        tmp_path / "ray.jsonl",
        options=OPTIONS,
        pool=RayPool(1),
        watch=lambda stage, n, *_: seen.append(n) if stage == "score" else None,
    )
    assert min(seen) == 66
    assert (tmp_path / "local.jsonl").read_bytes() == (tmp_path / "ray.jsonl").read_bytes()


def test_errors_of_actors_are_our_errors(write, tmp_path):
    with pytest.raises(BundleError, match="bundle: not a bundle"):
        label(fail, write(prompts(2)), tmp_path / "a.jsonl", pool=RayPool(1))
    path = write([*prompts(2), {"prompt": "Long?", "responses": ["word " * 600, "a"]}])
    options = LabelOptions(bad_rows="stop")
    with pytest.raises(FeatureError, match="candidate 0 of 'in:3' cannot be scored"):
        label(load(HashBackbone()), path, tmp_path / "b.jsonl", options=options, pool=RayPool(1))
