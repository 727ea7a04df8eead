"""A bundle comes back bit for bit, or is refused with one located error; never anything else."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from armorm import BundleError, RewardModel, StorageError
from armorm.heads.gating import GatingNetwork
from armorm.model import bundle as module
from armorm.model.bundle import Baselines, load_bundle, save_bundle
from armorm.types import Scale
from bundles import OBJECTIVES, decoder_backbone, make_bundle, rewrite_facts, rewrite_tensors, saved
from fakes import HashBackbone, save_tiny_decoder

BACKBONE = HashBackbone().facts()
FILES = ("bundle.json", "heads.safetensors", "baselines.safetensors")


@pytest.fixture
def folder(tmp_path):
    """A saved bundle."""
    return saved(tmp_path / "bundle", make_bundle(BACKBONE))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same(found, wanted):
    """Every field equal, tensors to the last bit."""
    for name in ("name", "objectives", "nuisances", "beta", "score_scale"):
        assert getattr(found, name) == getattr(wanted, name)
    for name in ("scales", "backbone", "facts"):
        assert json.dumps(getattr(found, name), default=repr) == json.dumps(
            getattr(wanted, name), default=repr
        )
    for name in ("weight", "bias", "debias"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))
    assert_same_network(found.gating, wanted.gating)
    assert (found.baselines is None) == (wanted.baselines is None)
    if wanted.baselines is not None:
        plain = (found.baselines, wanted.baselines)
        assert_same_network(*(b.gating_without_debias for b in plain))
        for name in ("fixed_weights", "bradley_terry"):
            mine, theirs = (getattr(b, name) for b in plain)
            assert (mine is None and theirs is None) or torch.equal(mine, theirs)


def assert_same_network(found, wanted):
    for name in ("in_features", "n_objectives", "hidden", "temperature", "masked"):
        assert getattr(found, name) == getattr(wanted, name)
    mine, theirs = found.state_dict(), wanted.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    baselines=st.booleans(),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    beta=st.floats(allow_nan=False, allow_infinity=False),
    low=st.floats(-1e6, 1e6),
    offset=st.none() | st.floats(-1e6, 1e6),
)
def test_save_then_load_is_the_identity(tmp_path_factory, seed, baselines, name, beta, low, offset):
    scales = {name: {"honesty": Scale(low, low + 5, offset=offset)}}
    wanted = make_bundle(
        BACKBONE, seed=seed, baselines=baselines, name=name, beta=beta, scales=scales
    )
    folder = saved(tmp_path_factory.mktemp("saved") / "bundle", wanted)
    assert_same(load_bundle(folder), wanted)


def test_baselines_without_pairs_come_back_without_heads_fitted_on_pairs(tmp_path):
    plain = make_bundle(BACKBONE).baselines.gating_without_debias
    wanted = make_bundle(BACKBONE, baselines=Baselines(plain))
    assert_same(load_bundle(saved(tmp_path / "bundle", wanted)), wanted)


def test_a_linear_gating_comes_back(tmp_path):
    gating = GatingNetwork(BACKBONE["prompt_width"], len(OBJECTIVES), hidden=())
    wanted = make_bundle(BACKBONE, gating=gating, baselines=None)
    assert_same(load_bundle(saved(tmp_path / "bundle", wanted)), wanted)


def test_two_saves_in_different_folders_have_the_same_bytes(tmp_path):
    first = saved(tmp_path / "here" / "one", make_bundle(BACKBONE))
    second = saved(tmp_path / "another", make_bundle(BACKBONE))
    assert contents(first) == contents(second)


def test_a_bundle_names_no_folder_of_the_machine_that_wrote_it(folder, tmp_path):
    for name, content in contents(folder).items():
        assert str(tmp_path).encode() not in content, name
        assert str(Path.home()).encode() + b"/" not in content, name


def test_a_loaded_bundle_saves_to_the_same_bytes(folder, tmp_path):
    again = tmp_path / "again"
    save_bundle(load_bundle(folder), again, card="# tiny\n")
    assert contents(again) == contents(folder)


def test_the_gating_of_a_loaded_bundle_cannot_be_trained(folder):
    gating = load_bundle(folder).gating
    assert not gating.training
    assert not any(p.requires_grad for p in gating.parameters())


def flip(path, position, mask):
    """Change some bits of one byte."""
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= mask
    path.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A bundle that tests damage in copies."""
    return saved(tmp_path_factory.mktemp("whole") / "bundle", make_bundle(BACKBONE))


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 2**20), mask=st.integers(1, 255))
def test_a_byte_changed_anywhere_is_a_bundle_error(whole, tmp_path_factory, name, position, mask):
    copy = shutil.copytree(whole, tmp_path_factory.mktemp("damaged") / "bundle")
    flip(copy / name, position, mask)
    with pytest.raises(BundleError) as caught:
        load_bundle(copy)
    assert str(copy / name) in str(caught.value)


def test_every_byte_of_the_facts_counts(tmp_path):
    # A digest of the parsed facts once let white space and other spellings of a number pass.
    copy = saved(tmp_path / "bundle", make_bundle(BACKBONE, facts={}, scales={}))
    content = (copy / "bundle.json").read_bytes()
    for position in range(len(content)):
        (copy / "bundle.json").write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
        with pytest.raises(BundleError):
            module._read_facts(copy)


def test_white_space_that_the_parser_ignores_is_named_as_a_change(folder):
    path = folder / "bundle.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BundleError, match=r"bundle\.json: the bytes must be as armorm writes them"):
        load_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_refused(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_bundle(folder)


def test_the_model_card_is_free_to_be_edited(folder):
    (folder / "README.md").write_text("# Mine\n")
    assert load_bundle(folder).name == "tiny"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere: no such bundle$"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES)
def test_an_unfinished_save_is_not_a_bundle(folder, name):
    (folder / name).unlink()
    text = rf"{folder} has no {name}: not a bundle, or its save did not finish$"
    with pytest.raises(BundleError, match=text):
        load_bundle(folder)


def test_a_run_folder_points_to_the_bundle_in_it(folder):
    with pytest.raises(BundleError, match=rf"did not finish; did you mean '{folder}'\?$"):
        load_bundle(folder.parent)


def test_a_folder_that_the_system_refuses_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"/x+: cannot be read: File name too long$"):
        load_bundle(tmp_path / ("x" * 300))


def test_a_file_is_not_a_bundle(tmp_path):
    (tmp_path / "file").write_text("{}")
    with pytest.raises(BundleError, match=r"file has no bundle\.json: not a bundle"):
        load_bundle(tmp_path / "file")


def test_a_newer_schema_is_named_whatever_else_it_holds(folder):
    (folder / "bundle.json").write_text('{"schema": 2, "all": "is different"}')
    text = r"bundle\.json: schema 2 is newer than this version of armorm reads \(1\); upgrade"
    with pytest.raises(BundleError, match=text):
        load_bundle(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"3",
        b"{}",
        b"\xff\xfe{}",
        b'{"schema": 1, "x": NaN}',
        b'{"schema": "\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_facts_that_are_not_facts_are_refused(folder, content):
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json: not the facts of a bundle: "):
        load_bundle(folder)


def test_a_changed_number_is_told_by_the_digest(folder):
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace('"beta": 4.0', '"beta": 5.0'))
    with pytest.raises(
        BundleError, match=r"bundle\.json: the digest must be \w{12}…; it is \w{12}…"
    ):
        load_bundle(folder)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_changed_tensor_is_told_by_the_digest(folder, name):
    flip(folder / name, -1, 1)
    text = rf"{name}: the SHA-256 must be \w{{12}}…; it is \w{{12}}…: the file is damaged or was"
    with pytest.raises(BundleError, match=text):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"objectives": ...}, "KeyError('objectives')"),
        ({"objectives": ["a", "a", "b", "c"]}, "`objectives` must be distinct names"),
        ({"nuisances": ["unheard"]}, "ValueError"),
        ({"scales": {"general": {"honesty": {"low": 3, "high": 1}}}}, "must be below"),
        ({"scales": [1]}, "AttributeError"),
        ({"files": {}}, "KeyError('heads.safetensors')"),
        ({"backbone": {}}, "KeyError('response_width')"),
    ],
)
def test_facts_that_agree_with_their_digest_but_describe_no_bundle(folder, changes, found):
    rewrite_facts(folder, **{"nuisances": [], **changes})
    with pytest.raises(BundleError, match=r"bundle\.json: the facts do not describe a") as caught:
        load_bundle(folder)
    assert found in str(caught.value)


def _delete(tensors):
    del tensors["ridge.bias"]


def _add(tensors):
    tensors["ridge.extra"] = torch.zeros(1)


def _reshape(tensors):
    tensors["ridge.weight"] = tensors["ridge.weight"].T.contiguous()


def _spoil(tensors):
    tensors["debias.matrix"][1, 2] = torch.nan
    tensors["debias.matrix"][0, 2] = torch.inf


def _halve(tensors):
    tensors["ridge.bias"] = tensors["ridge.bias"].half()


def _narrow(tensors):
    tensors["gating.layers.0.weight"] = tensors["gating.layers.0.weight"][:5].contiguous()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_delete, r"the tensor 'ridge.bias' \(4,\) must be there; it is missing"),
        (_add, r"the tensor 'ridge.extra' is not part of a bundle"),
        (_reshape, r"the tensor 'ridge.weight' must have shape \(4, 8\); got \(8, 4\)"),
        (_spoil, r"the tensor 'debias.matrix' must be finite; 2 of 16 entries are not"),
        (_halve, r"the tensor 'ridge.bias' must be float32; got float16"),
        (_narrow, r"the tensor 'gating.layers.0.weight' must have shape \(6, 8\); got \(5, 8\)"),
    ],
)
def test_tensors_that_do_not_fit_the_facts_are_named_with_their_shapes(folder, change, text):
    rewrite_tensors(folder, change)
    with pytest.raises(BundleError, match=r"heads\.safetensors: " + text):
        load_bundle(folder)


def test_a_baseline_that_does_not_fit_the_facts_is_named(folder):
    def change(tensors):
        tensors["bradley_terry"] = torch.zeros(9)

    rewrite_tensors(folder, change, "baselines.safetensors")
    text = r"baselines\.safetensors: the tensor 'bradley_terry' must have shape \(8,\); got \(9,\)"
    with pytest.raises(BundleError, match=text):
        load_bundle(folder)


def test_a_file_that_is_not_safetensors_is_named(folder):
    (folder / "heads.safetensors").write_bytes(b"no tensors here")
    files = json.loads((folder / "bundle.json").read_bytes())["files"]
    sha = module.digest_file(folder / "heads.safetensors")
    rewrite_facts(folder, files=files | {"heads.safetensors": sha})
    with pytest.raises(BundleError, match=r"heads\.safetensors: not a safetensors file: "):
        load_bundle(folder)


class FullDisk:
    """Bytes that no disk has room for, from the n-th write on."""

    def __init__(self, monkeypatch, n):
        write = Path.write_bytes

        def write_bytes(path, content):
            self.n -= 1
            if self.n < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(path, content)

        self.n = n
        monkeypatch.setattr(Path, "write_bytes", write_bytes)


@pytest.mark.parametrize("n_files", [0, 1, 2])
def test_a_save_that_fails_keeps_the_older_bundle(folder, monkeypatch, n_files):
    before, places = contents(folder), sorted(folder.parent.iterdir())
    with monkeypatch.context() as patch:
        FullDisk(patch, n_files)
        with pytest.raises(StorageError, match=rf"^{folder}: the disk is full; free some space"):
            save_bundle(make_bundle(BACKBONE, seed=1), folder, card="")
    assert contents(folder) == before
    assert sorted(folder.parent.iterdir()) == places


def test_a_save_that_fails_leaves_nothing_where_nothing_was(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        FullDisk(patch, 1)
        with pytest.raises(StorageError, match="the disk is full"):
            save_bundle(make_bundle(BACKBONE), tmp_path / "new", card="")
    assert list(tmp_path.iterdir()) == []


def test_facts_that_json_cannot_hold_are_refused_before_the_older_bundle_is_touched(folder):
    before = contents(folder)
    with pytest.raises(ValueError, match="JSON"):
        save_bundle(make_bundle(BACKBONE, facts={"figure": float("nan")}), folder, card="")
    assert contents(folder) == before


def test_a_save_replaces_an_older_bundle_whole(folder):
    save_bundle(make_bundle(BACKBONE, seed=1, baselines=False), folder, card="# new\n")
    assert sorted(contents(folder)) == ["README.md", "bundle.json", "heads.safetensors"]
    assert torch.equal(load_bundle(folder).weight, make_bundle(BACKBONE, seed=1).weight)


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    text = r"a bundle replaces the whole folder; this one holds other files, 'thesis.tex' among"
    with pytest.raises(BundleError, match=text):
        save_bundle(make_bundle(BACKBONE), tmp_path, card="")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"objectives": ("a", "b", "a", "c")}, "`objectives` must be distinct names; got "),
        ({"objectives": ()}, "`objectives` must be distinct names; got "),
        ({"nuisances": (4,)}, "`nuisances` must be indices from 0 to 3; got 4"),
        ({"weight": torch.zeros(4, 9)}, r"`weight` must have shape \(k, d\); got \(4, 9\): axis 1"),
        ({"bias": torch.zeros(5)}, r"`bias` must have shape \(k,\); got \(5,\)"),
        ({"debias": torch.zeros(3, 3)}, r"`debias` must have shape \(k, k\); got \(3, 3\)"),
        ({"weight": torch.full((4, 8), torch.nan)}, "`weight` must be finite; 32 of 32"),
        (
            {"gating": GatingNetwork(9, 4, hidden=(6,))},
            r"`gating` must map 8 features through \(6,\) to 4 objectives; it maps 9 through",
        ),
        (
            {"baselines": Baselines(GatingNetwork(8, 4, hidden=(7,)))},
            r"`baselines.gating_without_debias` must map 8 features through \(6,\) to 4 obj",
        ),
        (
            {"baselines": Baselines(GatingNetwork(8, 4, hidden=(6,), temperature=2.0))},
            r"`baselines.gating_without_debias` must have the temperature of the gating, 0.5; g",
        ),
        (
            {
                "baselines": Baselines(
                    GatingNetwork(8, 4, hidden=(6,), temperature=0.5),
                    torch.ones(3),
                    torch.ones(8),
                )
            },
            r"`baselines.fixed_weights` must have shape \(k,\); got \(3,\)",
        ),
    ],
)
def test_heads_that_do_not_fit_each_other_are_no_bundle(changes, text):
    with pytest.raises(ValueError, match=text):
        make_bundle(BACKBONE, **changes)


def test_one_head_fitted_on_pairs_alone_is_refused():
    # A save once dropped the one that was there without a word.
    with pytest.raises(ValueError, match="must both be given, or neither"):
        Baselines(make_bundle(BACKBONE).gating, fixed_weights=torch.ones(4))


def test_another_backbone_at_load_is_refused(encoder, tmp_path):
    folder = saved(tmp_path / "bundle", make_bundle(encoder.facts()))
    other = shutil.copytree(encoder.name, tmp_path / "other")
    config = json.loads((other / "config.json").read_bytes())
    (other / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-5}))
    text = (
        rf"^{folder}: the backbone must be '{encoder.name}' with digest "
        rf"{encoder.digest[:12]}…; '{other}' has digest \w{{12}}…: the heads were fitted on"
    )
    with pytest.raises(BundleError, match=text):
        RewardModel.load(folder, backbone=other, device="cpu")


def test_another_backbone_is_told_before_its_options_are_looked_at(encoder, tmp_path):
    # "`max_tokens` must be at most 64; got 77" once hid that it was the wrong folder.
    decoder = decoder_backbone(tmp_path / "decoder", max_tokens=77)
    folder = saved(tmp_path / "bundle", make_bundle(decoder.facts()))
    text = rf"^{folder}: the backbone must be '{decoder.name}' with digest .*; '{encoder.name}' has"
    with pytest.raises(BundleError, match=text):
        RewardModel.load(folder, backbone=encoder.name, device="cpu")


def test_the_same_backbone_elsewhere_scores_the_same(encoder, tmp_path):
    bundle = make_bundle(encoder.facts())
    copy = shutil.copytree(encoder.name, tmp_path / "copy")
    loaded = RewardModel.load(saved(tmp_path / "bundle", bundle), backbone=copy, device="cpu")
    rows = [{"prompt": "2+2?", "response": "4."}]
    assert_close(loaded.score(rows).score, RewardModel(bundle, encoder).score(rows).score)


def test_the_options_of_the_backbone_come_back_with_the_bundle(tmp_path):
    backbone = decoder_backbone(tmp_path / "decoder", max_tokens=77, too_long="truncate")
    loaded = RewardModel.load(saved(tmp_path / "bundle", make_bundle(backbone.facts())))
    assert loaded.backbone.facts() == backbone.facts()
    assert loaded.backbone.options == backbone.options


def test_a_decoder_is_not_taken_for_another_with_the_same_config(tmp_path):
    backbone = decoder_backbone(tmp_path / "decoder", max_tokens=64)
    other = save_tiny_decoder(tmp_path / "other", seed=1)
    folder = saved(tmp_path / "bundle", make_bundle(backbone.facts()))
    with pytest.raises(BundleError, match="the heads were fitted on another backbone"):
        RewardModel.load(folder, backbone=other)
