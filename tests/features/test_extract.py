import errno
import hashlib
import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.errors import FeatureError, StorageError
from armorm.features.backbone import describe_backbone, load_backbone
from armorm.features.extract import (
    compute_features,
    extract_features,
    feature_fingerprint,
    made_with_other,
)
from armorm.features.interface import FeatureOptions
from armorm.features.store import iter_features, load_features, read_manifest, write_manifest
from armorm.types import Conversation, Message
from fakes import HashBackbone, conversations, save_tiny_decoder

ROWS = conversations(20)


def extract(folder, backbone=None, rows=ROWS, **settings):
    how = {"shard_rows": 6, "store_dtype": "float32"} | settings
    found = extract_features(backbone or HashBackbone(), rows, folder=folder, **how)
    return found.load()


def content(folder):
    """Name and SHA-256 of everything in a folder."""
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(Path(folder).iterdir())
    }


def same(a, b):
    """Whether two feature sets are equal, bit for bit."""
    tensors = ("response", "prompt", "rows", "n_tokens", "n_truncated")
    return (a.ids, a.dropped) == (b.ids, b.dropped) and all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in tensors
    )


def test_features_stand_in_input_order(tmp_path):
    backbone = HashBackbone()
    found = extract(tmp_path, backbone)
    response, prompt = backbone.features(backbone.tokenize(ROWS))
    assert found.ids == [row.id for row in ROWS]
    assert torch.equal(found.response, response)
    assert torch.equal(found.prompt, prompt)
    assert found.rows.tolist() == list(range(20))
    assert found.n_tokens.tolist() == [row.n_tokens for row in backbone.tokenize(ROWS)]
    assert len(found) == 20


def test_folder_holds_whole_shards_and_a_manifest(tmp_path):
    extract(tmp_path)
    assert sorted(content(tmp_path)) == [
        "manifest.json",
        *(f"shard-0000{i}-of-00004.safetensors" for i in range(4)),
    ]
    manifest = read_manifest(tmp_path)
    assert [shard["n_rows"] for shard in manifest["shards"]] == [6, 6, 6, 2]
    assert manifest["backbone"] == HashBackbone().facts()
    for shard in manifest["shards"]:
        assert content(tmp_path)[shard["file"]] == shard["sha256"]
        assert shard["threads"] == torch.get_num_threads()


@given(n=st.integers(1, 20), shard_rows=st.integers(1, 25))
@settings(max_examples=20, deadline=None)
def test_features_on_disk_equal_those_in_memory(n, shard_rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    rows = ROWS[:n]
    found = extract(folder, rows=rows, shard_rows=shard_rows)
    assert same(found, compute_features(HashBackbone(), rows, part_rows=7))
    assert same(found, load_features(folder))
    assert sum(len(part) for part in iter_features(folder)) == n


def test_two_extractions_write_the_same_bytes(tmp_path):
    extract(tmp_path / "a")
    extract(tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_real_model_writes_the_same_bytes_and_takes_the_same_features(tmp_path):
    name = str(save_tiny_decoder(tmp_path / "model"))
    backbone = load_backbone(name, device="cpu")
    found = extract(tmp_path / "a", backbone)
    extract(tmp_path / "b", load_backbone(name, device="cpu"))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert same(found, compute_features(backbone, ROWS, part_rows=6))


def test_finished_set_is_found_before_a_weight_is_read(tmp_path):
    name = str(save_tiny_decoder(tmp_path / "model"))
    options = FeatureOptions(max_tokens=60, token_budget=500)
    backbone = load_backbone(name, device="cpu", options=options)
    done = extract(tmp_path / "set", backbone)
    wanted = feature_fingerprint(
        describe_backbone(name, options=options),
        ROWS,
        options=options,
        shard_rows=6,
        store_dtype="float32",
    )
    assert same(load_features(tmp_path / "set", fingerprint=wanted), done)


def test_finished_set_is_loaded_without_running_the_model(tmp_path):
    backbone = HashBackbone()
    first, calls = extract(tmp_path, backbone), []
    second = extract(tmp_path, backbone, progress=lambda *done: calls.append(done))
    assert same(first, second)
    assert backbone.n_rows == 20
    assert calls == [(20, 20, "")]


def test_progress_counts_rows_after_every_block(tmp_path):
    calls = []
    extract(tmp_path, progress=lambda *done: calls.append(done))
    assert [call[:2] for call in calls] == [(6, 20), (12, 20), (18, 20), (20, 20)]
    assert all(re.fullmatch(r"[\d,.]+ rows/s, [\d,]+ tokens/s, [\d,]+ unique", c[2]) for c in calls)
    calls.clear()
    compute_features(HashBackbone(), ROWS, part_rows=8, progress=lambda *d: calls.append(d))
    assert calls == [(8, 20), (16, 20), (20, 20)]


class Killed(BaseException):
    """Stands for a kill between two blocks."""


@pytest.mark.parametrize("blocks_done", [0, 1, 3, 4])
def test_interrupted_extraction_goes_on_where_it_was(blocks_done, tmp_path):
    extract(tmp_path / "whole")

    def progress(n_done, *_):
        if n_done >= min(6 * blocks_done, 20):
            raise Killed

    backbone = HashBackbone()
    if blocks_done:
        with pytest.raises(Killed):
            extract(tmp_path / "cut", backbone, progress=progress)
        assert load_features(tmp_path / "cut") is None
    extract(tmp_path / "cut", backbone)
    assert backbone.n_rows == 20
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_shard_damaged_before_the_manifest_is_computed_again(tmp_path):
    extract(tmp_path)
    whole = content(tmp_path)
    (tmp_path / "manifest.json").unlink()
    shards = sorted(tmp_path.glob("shard-*"))
    shards[0].write_bytes(shards[0].read_bytes()[:-7])
    data = bytearray(shards[1].read_bytes())
    data[-3] ^= 1
    shards[1].write_bytes(data)
    shards[2].write_bytes(b"")
    (tmp_path / ".shard-00003-of-00004.safetensors.x.part").write_bytes(b"half")
    backbone = HashBackbone()
    extract(tmp_path, backbone)
    assert backbone.n_rows == 18
    assert content(tmp_path) == whole


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), shard=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_any_flipped_bit_of_a_shard_is_found_and_the_shard_named(
    place, bit, shard, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("set")
    extract(folder)
    path = sorted(folder.glob("shard-*"))[shard]
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    for load in (lambda: load_features(folder), lambda: extract(folder)):
        with pytest.raises(FeatureError, match=f"{path.name}: the SHA-256 must be .* damaged"):
            load()
    # The same damage in an unfinished set is noticed and repaired.
    (folder / "manifest.json").unlink()
    backbone = HashBackbone()
    extract(folder, backbone)
    assert backbone.n_rows == (2 if shard == 3 else 6)


def test_missing_shard_is_named_on_load_and_computed_on_extraction(tmp_path):
    extract(tmp_path)
    whole = content(tmp_path)
    (tmp_path / "shard-00001-of-00004.safetensors").unlink()
    with pytest.raises(
        FeatureError, match=r"shard-00001-of-00004.safetensors: the shard is missing"
    ):
        load_features(tmp_path)
    backbone = HashBackbone()
    extract(tmp_path, backbone)
    assert backbone.n_rows == 6
    assert content(tmp_path) == whole


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": [*ROWS[:-1], Conversation(ROWS[-1].prompt, "Other.", ROWS[-1].id)]},
        {"rows": [*ROWS[:-1], Conversation(ROWS[-1].prompt, ROWS[-1].response, "other")]},
        {"rows": ROWS[:7]},
        {"shard_rows": 5},
        {"store_dtype": "bfloat16"},
        {"backbone": HashBackbone(width=9)},
        {"backbone": HashBackbone(options=FeatureOptions(max_tokens=512, token_budget=99))},
        {"backbone": HashBackbone(options=FeatureOptions(max_tokens=511))},
    ],
    ids=["response", "id", "fewer", "shard", "dtype", "backbone", "budget", "limit"],
)
def test_other_inputs_in_the_same_folder_are_computed_from_nothing(changes, tmp_path):
    extract(tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    extract(tmp_path / "a", **changes)
    extract(tmp_path / "b", **changes)
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine"
    (tmp_path / "a" / "notes.txt").unlink()
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_other_fingerprint_is_no_set(tmp_path):
    extract(tmp_path)
    assert load_features(tmp_path, fingerprint="0" * 64) is None
    assert load_features(tmp_path / "nowhere") is None
    assert list(iter_features(tmp_path, fingerprint="0" * 64)) == []


def long_row(id):
    return Conversation((Message("user", f"{id} " * 30),), "word", id)


def test_rows_without_features_are_listed_with_their_reason(tmp_path):
    rows = [long_row("a"), *ROWS[:7], long_row("b")]
    backbone = HashBackbone(options=FeatureOptions(max_tokens=20))
    found = extract(tmp_path, backbone, rows=rows)
    assert [(d.row, d.id, d.reason) for d in found.dropped] == [
        (0, "a", "longer than 20 tokens"),
        (8, "b", "longer than 20 tokens"),
    ]
    assert found.rows.tolist() == list(range(1, 8))
    assert found.ids == [row.id for row in ROWS[:7]]
    manifest = read_manifest(tmp_path)
    assert (manifest["n_rows"], manifest["n_dropped"]) == (7, 2)
    assert manifest["shards"][1]["dropped"] == [[8, "b", "longer than 20 tokens"]]
    assert same(load_features(tmp_path), found)


def test_block_without_any_row_is_a_shard(tmp_path):
    rows = [long_row(str(i)) for i in range(3)]
    backbone = HashBackbone(options=FeatureOptions(max_tokens=20))
    found = extract(tmp_path, backbone, rows=rows, shard_rows=2)
    assert found.response.shape == (0, 8)
    assert len(found.dropped) == 3
    assert same(load_features(tmp_path), found)


def test_row_without_features_stops_a_computation_in_memory():
    backbone = HashBackbone(options=FeatureOptions(max_tokens=20))
    with pytest.raises(
        FeatureError, match=r"conversation 'b' \(row 7\) gets no features: longer than 20 tokens"
    ):
        compute_features(backbone, [*ROWS[:7], long_row("b")])


def test_no_rows_in_memory_are_an_empty_set():
    assert compute_features(HashBackbone(), []).response.shape == (0, 8)


def test_truncation_does_not_depend_on_the_blocks(tmp_path):
    # Rows 0 and 3 share a prompt and lie in different blocks; the longer one decides.
    name = str(save_tiny_decoder(tmp_path / "model"))
    prompt = (Message("user", "One two three four five six seven eight. " * 2),)
    rows = [
        Conversation(prompt, "Yes."),
        *ROWS[:2],
        Conversation(prompt, "No, never, and for many reasons."),
    ]
    options = FeatureOptions(max_tokens=70, too_long="truncate")
    backbone = load_backbone(name, device="cpu", options=options)
    found = extract(tmp_path / "set", backbone, rows=rows, shard_rows=2)
    assert found.n_truncated[0] == found.n_truncated[3] > 0
    torch.testing.assert_close(found.prompt[0], found.prompt[3], rtol=0.0, atol=1e-5)
    (tmp_path / "set" / "manifest.json").unlink()
    (tmp_path / "set" / "shard-00000-of-00002.safetensors").unlink()
    assert same(extract(tmp_path / "set", backbone, rows=rows, shard_rows=2), found)


def test_bfloat16_halves_the_shards_and_loads_as_float32(tmp_path):
    rows, wide = conversations(60), HashBackbone(width=256)
    exact = extract(tmp_path / "a", wide, rows=rows, shard_rows=60)
    half = extract(tmp_path / "b", wide, rows=rows, shard_rows=60, store_dtype="bfloat16")
    assert half.response.dtype == torch.float32
    assert torch.equal(half.response, exact.response.bfloat16().float())
    sizes = [next((tmp_path / x).glob("shard-*")).stat().st_size for x in "ab"]
    assert sizes[1] < 0.55 * sizes[0]


class Small(HashBackbone):
    """Runs out of memory above a number of tokens a batch."""

    room = 0

    def features(self, rows, *, token_budget=None):
        self.budgets = [*getattr(self, "budgets", []), token_budget]
        if token_budget > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return super().features(rows, token_budget=token_budget)


def test_token_budget_is_halved_when_memory_runs_out_and_stays_halved(tmp_path):
    small = Small()
    small.room = 3000
    extract(tmp_path / "a", small)
    # 8192 -> 4096 -> 2048 fits, once and for all.
    assert small.budgets == [8192, 4096, 2048, 2048, 2048, 2048]
    assert [s["token_budget"] for s in read_manifest(tmp_path / "a")["shards"]] == [2048] * 4
    whole = content(tmp_path / "a")
    (tmp_path / "a" / "manifest.json").unlink()
    (tmp_path / "a" / "shard-00002-of-00004.safetensors").unlink()
    again = Small()
    again.room = 3000
    extract(tmp_path / "a", again)
    assert again.budgets == [2048]
    assert content(tmp_path / "a") == whole


def test_one_row_that_does_not_fit_into_memory_is_an_error(tmp_path):
    with pytest.raises(
        FeatureError, match="one conversation of 10 tokens does not: lower `max_tokens`"
    ):
        extract(tmp_path, Small())


class Broken(HashBackbone):
    """Gives a feature that is not a number for one row."""

    def features(self, rows, *, token_budget=None):
        response, prompt = super().features(rows, token_budget=token_budget)
        for i, row in enumerate(rows):
            if row.row.id == "row-8":
                response[i, 1] = float("nan")
        return response, prompt


def test_feature_that_is_not_finite_names_its_row_and_no_other(tmp_path):
    with pytest.raises(
        FeatureError, match="conversation 'row-8': the response feature must be"
    ) as e:
        extract(tmp_path, Broken())
    assert "row-7" not in str(e.value)
    assert "1 of 6 rows" in str(e.value)
    with pytest.raises(FeatureError, match="conversation 'row-8': the response feature must be"):
        compute_features(Broken(), ROWS)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_disk_that_fails_in_the_middle_keeps_finished_shards(error, tmp_path, monkeypatch):
    write, n_writes = Path.write_bytes, []

    def failing(self, data):
        n_writes.append(self)
        if len(n_writes) == 3:
            write(self, data[: len(data) // 2])
            raise OSError(error, "simulated")
        return write(self, data)

    extract(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", failing)
        with pytest.raises(StorageError, match=r"shard-00002-of-00004.safetensors: "):
            extract(tmp_path / "cut")
    assert sorted(content(tmp_path / "cut")) == [
        "shard-00000-of-00004.safetensors",
        "shard-00001-of-00004.safetensors",
    ]
    backbone = HashBackbone()
    extract(tmp_path / "cut", backbone)
    assert backbone.n_rows == 8
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "set").write_text("a file")
    with pytest.raises((StorageError, FileExistsError)):
        extract(tmp_path / "set")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"rows": []}, "`conversations` must have one row or more; it has none"),
        ({"shard_rows": 0}, "`shard_rows` must be 1 or more; got 0"),
        ({"store_dtype": "int8"}, "`store_dtype` must be 'float32' or 'bfloat16'; got 'int8'"),
    ],
)
def test_wrong_arguments_are_named(settings, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        extract(tmp_path, **settings)


def test_manifest_of_a_newer_schema_is_refused(tmp_path):
    extract(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(FeatureError, match="the schema must be 2 or older; it is 99: written by a"):
        load_features(tmp_path)


def test_damaged_manifest_is_refused(tmp_path):
    extract(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"n_rows": 20', '"n_rows": 21'))
    with pytest.raises(FeatureError, match="the content does not match its own digest"):
        load_features(tmp_path)
    for text in ("{", "[]", '{"schema": 1}', "[" * 100_000, '{"a": ' + "[" * 950 + "]" * 950 + "}"):
        path.write_text(text)
        with pytest.raises(FeatureError, match="not the manifest of a feature set"):
            load_features(tmp_path)


def test_set_of_other_versions_says_so_and_one_of_these_does_not(tmp_path):
    extract(tmp_path)
    assert made_with_other(tmp_path) is None
    assert made_with_other(tmp_path / "none") is None
    manifest = read_manifest(tmp_path)
    for shard in manifest["shards"]:
        shard["software"]["torch"] = "1.0"
    manifest.pop("schema")
    write_manifest(tmp_path, manifest)
    assert made_with_other(tmp_path) == (
        f"were extracted with torch 1.0 (now {version('torch')}); "
        "the last bits may differ from a new run"
    )
