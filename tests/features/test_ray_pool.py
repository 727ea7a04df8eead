"""The size of a pool of Ray actors; what runs on a cluster is tested with labelling."""

import pytest

from armorm.errors import ArmormError, DataError
from armorm.features.ray_pool import RayPool, _Actor, _called, _error


@pytest.mark.parametrize(
    ("pool", "resources", "wanted"),
    [
        (RayPool(), {"CPU": 8.0}, (8, 0)),
        (RayPool(), {"CPU": 8.0, "GPU": 2.0}, (2, 1)),
        (RayPool(gpus=0.5), {"CPU": 8.0, "GPU": 2.0}, (4, 0.5)),
        (RayPool(gpus=0), {"CPU": 8.0, "GPU": 2.0}, (8, 0)),
        (RayPool(3), {"CPU": 8.0, "GPU": 2.0}, (3, 1)),
        (RayPool(), {}, (1, 0)),
    ],
)
def test_a_pool_has_an_actor_a_gpu_or_a_cpu(pool, resources, wanted):
    assert pool.sized(resources) == wanted


def test_pool_is_checked_when_it_is_made():
    with pytest.raises(ValueError, match="`workers` must be 1 or more; got 0"):
        RayPool(0)
    with pytest.raises(ValueError, match="`gpus` must be 0 or more; got -1"):
        RayPool(gpus=-1)


def test_error_of_an_actor_keeps_its_class_and_text():
    def fail():
        raise DataError("a.jsonl:2: not JSON")

    found, name, text = _called(fail, ".")
    assert found is None
    with pytest.raises(DataError, match=r"^a.jsonl:2: not JSON$"):
        raise _error(name, text)
    assert type(_error("RecipeError", "a")) is ArmormError


def test_actor_that_cannot_be_made_answers_with_its_error():
    import numpy as np

    def fail():
        raise DataError("no bundle")

    found = _Actor(fail, ".")({"task": np.array([3])})
    assert found == {"task": [3], "error": ["DataError"], "text": ["no bundle"]}
    found = _Actor(lambda: lambda task: task + 1, ".")({"task": np.array([3])})
    assert found == {"task": [3], "error": [""], "text": ["4"]}
