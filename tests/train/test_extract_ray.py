"""Feature extraction on a local Ray cluster: the features of one process, up to the last bits."""

import pytest
import torch

from armorm.errors import DataError
from armorm.features.ray_pool import RayPool
from armorm.features.store import load_features
from armorm.train.extract import extract
from armorm.train.extract_ray import extract_on_ray
from armorm.train.recipe import load_recipe
from armorm.train.run import train
from ray_cluster import local_cluster

pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and files to the garbage collector, and deprecates what it uses itself.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with local_cluster() as ray:
        yield ray


def test_features_are_those_of_one_process(project):
    recipe = load_recipe(project.write())
    extract(recipe, project.folder / "one")
    seen = []
    done = extract_on_ray(
        recipe,
        project.folder / "many",
        pool=RayPool(2),
        watch=lambda stage, n, total, _: seen.append((stage, n, total)),
    )
    assert done.n_rows == {"rated": 60, "pairs": 60}
    assert done.missing == ()
    assert [entry for entry in seen if entry[0] == "shards"] == [
        ("shards", 1, 2),
        ("shards", 2, 2),
    ]
    for name in ("rated", "pairs"):
        one = load_features(project.folder / "one/features" / name)
        many = load_features(project.folder / "many/features" / name)
        assert one.ids == many.ids
        for part in ("response", "prompt"):
            torch.testing.assert_close(
                getattr(one, part), getattr(many, part), atol=1e-5, rtol=1e-2
            )  # stored in bfloat16, whose last bit is 2 ** -8 of a value
    stages = []
    train(recipe, project.folder / "many", watch=lambda stage, *rest: stages.append(stage))
    assert not [stage for stage in stages if stage.startswith("features")]


def test_error_of_a_shard_is_our_error(project):
    path = project.write()
    rated = next(project.folder.glob("*rated*.jsonl"))
    rated.write_text(rated.read_text() + "not json\n")
    with pytest.raises(DataError, match="not JSON"):
        extract_on_ray(load_recipe(path), project.folder / "bad", pool=RayPool(1))
