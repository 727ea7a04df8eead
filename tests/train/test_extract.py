"""Features by themselves: alone, by shards, through the command line, and as torchrun starts it."""

import os
import subprocess
import sys

import pytest
import torch

from armorm.errors import FeatureError, StorageError
from armorm.features.blocks import Shard
from armorm.train import inputs
from armorm.train.extract import extract
from armorm.train.place import hold_run
from armorm.train.recipe import load_recipe
from armorm.train.run import train


def content(folder):
    import hashlib

    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "features").rglob("*.*"))
        if path.is_file()
    }


def test_train_finds_what_extract_left_and_leaves_the_same(project):
    recipe = load_recipe(project.write())
    done = extract(recipe, project.folder / "a")
    assert done.n_rows == {"rated": 60, "pairs": 60}
    assert done.missing == ()
    assert "features are complete: 60 of rated, 60 of pairs conversations" in done.work
    before = content(project.folder / "a")
    stages = []
    train(recipe, project.folder / "a", watch=lambda stage, *rest: stages.append(stage))
    assert not [stage for stage in stages if stage.startswith("features")]
    train(recipe, project.folder / "b")
    assert content(project.folder / "a") == content(project.folder / "b") == before


def test_shards_leave_the_features_of_one_run(project):
    recipe = load_recipe(project.write())
    extract(recipe, project.folder / "whole")
    first = extract(recipe, project.folder / "shared", shard=Shard(1, 2))
    assert first.missing == ("rated", "pairs")
    assert "rated and pairs wait for other shards" in first.work
    last = extract(recipe, project.folder / "shared", shard=Shard(2, 2))
    assert last.missing == ()
    assert content(project.folder / "whole") == content(project.folder / "shared")


@pytest.mark.parametrize("command", [extract, train])
def test_shard_that_was_damaged_and_deleted_is_computed_again(command, project):
    recipe, folder = load_recipe(project.write()), project.folder / "a"
    extract(recipe, folder)
    before = content(folder)
    path = next((folder / "features/rated").glob("shard-00001-*"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(FeatureError, match="the shard is damaged; delete it and run the same comm"):
        command(recipe, folder)
    path.unlink()
    command(recipe, folder)
    assert content(folder) == before


def test_rows_without_features_are_counted(project):
    recipe = load_recipe(project.write(), ["features.max_tokens=8"])
    done = extract(recipe, project.folder / "a")
    assert done.n_rows == {"rated": 0, "pairs": 0}
    assert "dropped 90 of 90 rows" in done.notes[-1]
    assert "longer than 8 tokens" in done.notes[-1]


def test_file_that_a_kill_left_does_not_make_a_folder_foreign(project):
    folder = project.folder / "a"
    folder.mkdir()
    (folder / "..lock.0123456789abcdef.part").touch()
    extract(load_recipe(project.write()), folder)


def test_progress_says_how_fast(project):
    said = []
    extract(load_recipe(project.write()), project.folder / "a", watch=lambda *d: said.append(d))
    rates = [remark for stage, *_, remark in said if stage == "features: pairs"]
    assert all("rows/s" in r and "tokens/s" in r and "unique" in r for r in rates)


def test_several_extractions_share_a_folder_and_a_training_does_not(project):
    recipe, folder = load_recipe(project.write()), project.folder / "a"
    with hold_run(folder, part="2/2"):
        extract(recipe, folder, shard=Shard(1, 2))
        for alone in (train, extract):
            with pytest.raises(StorageError, match="another run is using this folder"):
                alone(recipe, folder)
        with pytest.raises(StorageError, match="another process is computing shard 2/2"):
            extract(recipe, folder, shard=Shard(2, 2))
    with hold_run(folder), pytest.raises(StorageError, match="another run is using this folder"):
        extract(recipe, folder)


def test_backbone_that_is_not_there_is_said_before_anything_is_written(project):
    project.recipe["backbone"] = str(project.folder / "nothing")
    with pytest.raises(FeatureError, match="nothing"):
        extract(load_recipe(project.write()), project.folder / "a")


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_features_that_stay_on_disk_train_the_same_model(stored, project, monkeypatch):
    override = [f"features.store_dtype={stored}"]
    small = train(load_recipe(project.write(), override), project.folder / "small").report
    monkeypatch.setattr(inputs, "IN_MEMORY", 0)
    large = train(load_recipe(project.write(), override), project.folder / "large").report
    ours = {s.scorer: s.accuracy.value for s in large.preferences}
    assert ours == pytest.approx({s.scorer: s.accuracy.value for s in small.preferences}, abs=0.05)
    found = [row.spearman.value for row in large.objectives]
    assert found == pytest.approx([row.spearman.value for row in small.objectives], abs=1e-6)


def run(*words, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from armorm.cli.main import main; main()", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def test_command_line_extracts_a_shard(project):
    path, folder = project.write(), project.folder / "a"
    done = run("extract", path, "-o", folder, "--shard", "1/2")
    assert done.returncode == 0, done.stderr
    assert "wait for other shards" in " ".join(done.stderr.split())
    done = run("extract", path, "-o", folder, "--shard", "2/2")
    assert "features are complete" in " ".join(done.stderr.split())


def test_shard_of_another_form_is_one_line(project):
    done = run("extract", project.write(), "--shard", "3/2")
    assert done.returncode == 2
    assert done.stderr == "error: --shard: a shard must be `i/n` with i from 1 to n; got '3/2'\n"


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE must be a whole number from 1 to 1,000,000,000, as"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE must be a whole number from 1 to"),
        ({"WORLD_SIZE": "2"}, "RANK must be a whole number from 0 to 1, as torchrun sets it; got"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK must be a whole number from 0 to 1"),
    ],
)
def test_nonsense_in_place_of_torchrun_is_one_line(environment, text, project):
    done = run("extract", project.write(), "-o", project.folder / "a", **environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {text}")
    assert done.stderr.count("\n") == 1


def test_shard_by_hand_under_torchrun_is_refused(project):
    done = run("extract", project.write(), "--shard", "1/2", WORLD_SIZE="2", RANK="0")
    assert done.stderr == "error: --shard: torchrun gives each of its 2 processes a part\n"


def test_torchrun_says_the_shard(project):
    path, folder = project.write(), project.folder / "a"
    for rank in (0, 1):
        done = run("extract", path, "-o", folder, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK="0")
        assert done.returncode == 0, done.stderr
        assert ("wait for other shards" in " ".join(done.stderr.split())) == (rank == 0)


@pytest.mark.slow
def test_torchrun_starts_it(project):
    path, folder = project.write(), project.folder / "a"
    program = project.folder / "armorm"
    program.write_text("from armorm.cli.main import main\nmain()\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *(str(program), "extract", str(path), "-o", str(folder)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    extract(load_recipe(path), project.folder / "whole")
    assert content(folder) == content(project.folder / "whole")
    assert torch.get_num_threads() == 1
