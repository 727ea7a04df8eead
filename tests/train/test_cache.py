"""A stage is fitted once, and again when its file is not what was asked for."""

import pytest
import torch
from safetensors.torch import save_file

import armorm.train.cache as cache_module
from armorm.errors import StorageError
from armorm.train.cache import StageCache, StageResult


class Counted:
    """A stage that counts how often it is fitted."""

    def __init__(self, value=1.5):
        self.n, self.value = 0, value

    def __call__(self):
        self.n += 1
        tensors = {"a": torch.full((2, 3), self.value), "b": torch.tensor([True, False])}
        return StageResult(tensors, {"value": self.value, "text": "é", "list": [1, 2]})


def test_second_look_finds_what_the_first_left(tmp_path):
    stage = Counted()
    first = StageCache(tmp_path)
    made = first.get("ridge/all", {"x": 1}, stage)
    second = StageCache(tmp_path)
    found = second.get("ridge/all", {"x": 1}, stage)
    assert stage.n == 1
    assert (first.fitted, first.reused) == (["ridge/all"], [])
    assert (second.fitted, second.reused) == ([], ["ridge/all"])
    assert found.key == made.key != ""
    assert found.facts == made.facts
    assert torch.equal(found.tensors["a"], made.tensors["a"])
    assert torch.equal(found.tensors["b"], made.tensors["b"])


def test_tensors_that_are_views_are_kept_as_they_look(tmp_path):
    wide = torch.arange(12.0).reshape(3, 4)
    result = StageResult({"t": wide.T, "row": wide[1:2], "empty": torch.zeros(3, 0)})
    StageCache(tmp_path).get("s", {}, lambda: result)
    found = StageCache(tmp_path).get("s", {}, Counted())
    assert torch.equal(found.tensors["t"], wide.T)
    assert torch.equal(found.tensors["row"], wide[1:2])
    assert found.tensors["empty"].shape == (3, 0)


@pytest.mark.parametrize(
    ("stage", "inputs"),
    [("ridge/all", {"x": 2}), ("ridge/all", {"x": 1, "y": 0}), ("other", {"x": 1})],
)
def test_other_inputs_are_another_stage(tmp_path, stage, inputs):
    first, again = Counted(), Counted(2.5)
    made = StageCache(tmp_path).get("ridge/all", {"x": 1}, first)
    found = StageCache(tmp_path).get(stage, inputs, again)
    assert again.n == 1
    assert found.key != made.key
    assert found.facts["value"] == 2.5


def test_any_flipped_byte_makes_the_stage_be_fitted_again(tmp_path):
    path = tmp_path / "s.safetensors"
    StageCache(tmp_path).get("s", {}, Counted())
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        stage = Counted()
        found = StageCache(tmp_path).get("s", {}, stage)
        assert stage.n == 1, place
        assert found.facts["value"] == 1.5
        assert path.read_bytes() == good


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_file_that_is_no_result_is_replaced(tmp_path, content):
    path = tmp_path / "s.safetensors"
    if content is None:  # safetensors of someone else
        save_file({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    stage = Counted()
    StageCache(tmp_path).get("s", {}, stage)
    StageCache(tmp_path).get("s", {}, stage)
    assert stage.n == 1


def test_result_of_another_version_is_not_used(tmp_path, monkeypatch):
    stage = Counted()
    StageCache(tmp_path).get("s", {}, stage)
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "__version__", "0.0.0")
        StageCache(tmp_path).get("s", {}, stage)
    assert stage.n == 2


def test_result_of_another_thread_count_is_not_used(tmp_path):
    stage, before = Counted(), torch.get_num_threads()
    StageCache(tmp_path).get("s", {}, stage)
    try:
        torch.set_num_threads(before + 1)
        StageCache(tmp_path).get("s", {}, stage)
    finally:
        torch.set_num_threads(before)
    assert stage.n == 2


def test_stage_that_fails_leaves_no_file(tmp_path):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        StageCache(tmp_path).get("s", {}, fail)
    with pytest.raises(ValueError, match="not JSON compliant"):
        StageCache(tmp_path).get("s", {}, lambda: StageResult({}, {"x": float("nan")}))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "ridge").write_text("a file")
    with pytest.raises(StorageError, match=r"ridge/all.safetensors: cannot be written: "):
        StageCache(tmp_path).get("ridge/all", {}, Counted())
