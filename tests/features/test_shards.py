"""Feature sets that several processes share, and how a prompt's feature is stored."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.errors import FeatureError
from armorm.features.backbone import load_backbone
from armorm.features.blocks import Shard
from armorm.features.extract import extract_features, how_extracted
from armorm.features.store import load_features, open_features, read_manifest
from armorm.types import Conversation, Message
from fakes import HashBackbone, conversations, save_tiny_decoder

ROWS = conversations(23, n_responses=3)


def content(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def extract(folder, shard="1/1", rows=ROWS, backbone=None, **how):
    how = {"shard_rows": 4} | how
    return extract_features(
        backbone or HashBackbone(), rows, folder=folder, shard=Shard.parse(shard), **how
    )


@given(order=st.permutations([1, 2, 3]), shard_rows=st.integers(1, 9))
@settings(max_examples=10, deadline=None)
def test_shards_in_any_order_leave_the_bytes_of_one_run(order, shard_rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    extract(folder / "whole", shard_rows=shard_rows)
    found = [extract(folder / "shared", f"{i}/3", shard_rows=shard_rows) for i in order]
    assert found[-1] is not None
    assert content(folder / "shared") == content(folder / "whole")


def test_set_is_not_there_before_the_last_shard(tmp_path):
    assert extract(tmp_path, "1/2") is None
    assert load_features(tmp_path) is None
    done = extract(tmp_path, "2/2")
    assert done is not None
    assert done.ids == [row.id for row in ROWS]


def test_shards_compute_their_own_rows_alone(tmp_path):
    counts = []
    for i in (1, 2, 3):
        backbone = HashBackbone()
        extract(tmp_path, f"{i}/3", backbone=backbone)
        counts.append(backbone.n_rows)
    assert counts == [8, 8, 7]


def test_more_shards_than_blocks_have_nothing_to_do(tmp_path):
    found = [extract(tmp_path, f"{i}/9") for i in range(1, 10)]
    assert [f is not None for f in found][-1]
    assert load_features(tmp_path).ids == [row.id for row in ROWS]


def test_shard_leaves_what_another_is_writing(tmp_path):
    other = tmp_path / ".shard-00005-of-00006.safetensors.0123456789abcdef.part"
    own = tmp_path / ".shard-00000-of-00006.safetensors.0123456789abcdef.part"
    other.write_bytes(b"not finished")
    own.write_bytes(b"not finished")
    extract(tmp_path, "1/2")
    assert other.exists()
    assert not own.exists()


def test_shard_without_a_block_leaves_what_another_is_writing(tmp_path):
    other = tmp_path / ".shard-00002-of-00006.safetensors.0123456789abcdef.part"
    other.write_bytes(b"not finished")
    extract(tmp_path, "1/9")
    assert other.exists()


def test_shard_never_deletes_the_work_of_one_with_other_blocks(tmp_path):
    extract(tmp_path, "1/2")
    before = content(tmp_path)
    with pytest.raises(FeatureError, match="belongs to an extraction with other blocks; give ev"):
        extract(tmp_path, "2/2", shard_rows=5)
    assert content(tmp_path) == before


def test_shard_of_other_options_is_named_when_the_set_comes_together(tmp_path):
    extract(tmp_path, "1/2")
    text = r"shard-00000-of-00006\S+: belongs to an extraction of other rows or options"
    with pytest.raises(FeatureError, match=text):
        extract(tmp_path, "2/2", store_dtype="float32")


def test_damaged_file_of_another_shard_is_named(tmp_path):
    extract(tmp_path, "1/2")
    path = tmp_path / "shard-00001-of-00006.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(FeatureError, match=r"shard-00001-of-00006\S+: the shard is damaged; del"):
        extract(tmp_path, "2/2")


class Late(HashBackbone):
    """Packs until it has seen two responses to one prompt, and says so."""

    packs = True

    @property
    def engine(self):
        return "packed" if self.packs else "padded"

    def prepare(self, rows):
        self.asked = [row.row.id for row in rows]
        if len({row.row.prompt for row in rows}) < len(rows) and self.packs:
            self.packs = False
            self.notes.append("it does not pack")


def test_every_shard_and_restart_decides_by_the_same_rows(tmp_path):
    alone = [Conversation((Message("user", f"Only {i}?"),), "Yes.", f"a{i}") for i in range(8)]
    rows = [*alone, *ROWS[:4], *alone[:0]]
    extract(tmp_path / "whole", rows=rows, backbone=Late())
    asked = set()
    for shard in ("3/3", "1/3", "2/3"):
        backbone = Late()
        extract(tmp_path / "shared", shard, rows=rows, backbone=backbone)
        asked.add(tuple(backbone.asked))
    assert len(asked) == 1
    assert {"row-0", "row-1", "row-2"} <= set(asked.pop())
    assert content(tmp_path / "whole") == content(tmp_path / "shared")
    shards = read_manifest(tmp_path / "shared")["shards"]
    assert {shard["engine"] for shard in shards} == {"padded"}
    assert how_extracted(read_manifest(tmp_path / "shared")) == ["it does not pack"]


def test_shards_of_a_real_model_equal_one_run(tmp_path):
    name = str(save_tiny_decoder(tmp_path / "model"))
    for folder, shards in (("whole", ["1/1"]), ("shared", ["2/2", "1/2"])):
        for shard in shards:
            extract(tmp_path / folder, shard, backbone=load_backbone(name, device="cpu"))
    assert content(tmp_path / "whole") == content(tmp_path / "shared")


CHILD = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import torch
torch.set_num_threads(1)
from fakes import HashBackbone, conversations
from armorm.features.blocks import Shard
from armorm.features.extract import extract_features
extract_features(
    HashBackbone(), conversations(200), folder=Path(sys.argv[1]), shard_rows=5,
    shard=Shard.parse(sys.argv[2]),
)
"""


@pytest.mark.slow
def test_processes_side_by_side_leave_the_bytes_of_one_run(tmp_path):
    extract_features(HashBackbone(), conversations(200), folder=tmp_path / "whole", shard_rows=5)
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "shared"), f"{i}/3"])
        for i in (1, 2, 3)
    ]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert content(tmp_path / "shared") == content(tmp_path / "whole")


def test_prompt_of_several_responses_is_stored_once(tmp_path):
    rows = conversations(12, n_responses=4)
    found = extract(tmp_path, rows=rows, shard_rows=12, store_dtype="float32")
    from safetensors import safe_open

    with safe_open(next(tmp_path.glob("shard-*")), framework="pt") as file:
        assert file.get_tensor("prompt").shape == (3, 8)
        assert file.get_tensor("prompt_of").tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    backbone = HashBackbone()
    assert torch.equal(found.load().prompt, backbone.features(backbone.tokenize(rows))[1])


def test_rows_out_of_order_are_computed_together_and_come_back_in_input_order(tmp_path):
    rows = conversations(12, n_responses=2)
    mixed = [*rows[0::2], *rows[1::2]]
    found = extract(tmp_path, rows=mixed, shard_rows=4, store_dtype="float32")
    assert found.ids == [row.id for row in mixed]
    assert found.rows.tolist() == list(range(12))
    backbone = HashBackbone()
    response, prompt = backbone.features(backbone.tokenize(mixed))
    assert torch.equal(found.load().response, response)
    assert torch.equal(found.load().prompt, prompt)


def test_set_of_the_first_layout_is_still_read(tmp_path):
    import json

    import safetensors.torch
    from safetensors import safe_open

    from armorm.features.store import write_manifest
    from armorm.storage import digest_file

    found = extract(tmp_path, rows=ROWS[:4], store_dtype="float32").load()
    path = next(tmp_path.glob("shard-*"))
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["armorm"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["prompt"] = tensors["prompt"][tensors.pop("prompt_of")]
    safetensors.torch.save_file(tensors, path, {"armorm": json.dumps(header)})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["shards"][0]["sha256"] = digest_file(path)
    write_manifest(tmp_path, {k: v for k, v in manifest.items() if k not in ("schema", "digest")})
    assert torch.equal(load_features(tmp_path).prompt, found.prompt)


def test_opened_set_has_the_stored_precision_and_the_loaded_one_float32(tmp_path):
    extract(tmp_path)
    opened = open_features(tmp_path)
    assert opened.response.dtype == opened.prompt.dtype == torch.bfloat16
    assert opened.load().response.dtype == torch.float32
    assert torch.equal(opened.load().response, opened.response[:].float())


def test_next_block_is_tokenised_while_one_is_computed(tmp_path):
    class Recorder(HashBackbone):
        def tokenize(self, conversations, *, cuts=None):
            said.append("tokenise")
            return super().tokenize(conversations, cuts=cuts)

        def features(self, rows, *, token_budget=None):
            while said.count("tokenise") < min(3 + said.count("compute"), 7):
                pass  # waits for the block after this one: it would never come if it waited for us
            said.append("compute")
            return super().features(rows, token_budget=token_budget)

    said = []
    extract(tmp_path, backbone=Recorder())
    assert said.count("compute") == 6


def test_one_conversation_twice_is_two_rows(tmp_path):
    row = Conversation((Message("user", "Why?"),), "Because.", "a")
    found = extract(tmp_path, rows=[row, row], store_dtype="float32")
    assert found.ids == ["a", "a"]
    assert torch.equal(found.response[:][0], found.response[:][1])
