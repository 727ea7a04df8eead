"""Statistics travel with a bundle, are read only when asked for, and checked then."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from armorm import BundleError, RewardModel
from armorm.heads.ridge import fit_ridge
from armorm.model.bundle import load_bundle, load_statistics, save_bundle
from armorm.model.card import model_card
from armorm.model.statistics_file import StoredStatistics
from armorm.storage import digest_file
from bundles import make_bundle, rewrite_facts, saved
from changed_bundles import fitted_bundle
from fakes import HashBackbone

BACKBONE = HashBackbone().facts()
FILE = "statistics.safetensors"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path):
    """A saved bundle with statistics: of 40 rows a source at width 8, so sums and no rows."""
    return saved(tmp_path / "bundle", fitted_bundle(BACKBONE))


def test_statistics_come_back_to_the_last_bit(folder):
    wanted = fitted_bundle(BACKBONE).statistics
    found = load_statistics(load_bundle(folder))
    (mine, header), (theirs, other) = found.state(), wanted.state()
    assert header == other
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    alpha = torch.tensor([1.0, 10.0, 0.1, 100.0])
    assert torch.equal(fit_ridge(found, alpha=alpha).weight, load_bundle(folder).weight)


def test_statistics_of_few_rows_come_back_as_rows(tmp_path):
    # 3 rows a source are fewer than the width 8: they are kept as they came.
    bundle = fitted_bundle(BACKBONE, n=3)
    found = load_statistics(load_bundle(saved(tmp_path / "few", bundle)))
    (mine, _), (theirs, _) = found.state(), bundle.statistics.state()
    assert "0.features" in theirs
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_bundle_without_statistics_has_the_bytes_that_it_had(tmp_path):
    plain = saved(tmp_path / "plain", make_bundle(BACKBONE))
    assert sorted(contents(plain)) == [
        "README.md",
        "baselines.safetensors",
        "bundle.json",
        "heads.safetensors",
    ]
    assert b"statistics" not in (plain / "bundle.json").read_bytes()
    assert load_bundle(plain).statistics is None
    assert load_statistics(load_bundle(plain)) is None


def test_statistics_change_no_other_byte_of_the_heads(folder, tmp_path):
    plain = saved(tmp_path / "plain", fitted_bundle(BACKBONE, statistics=False))
    ours, theirs = contents(folder), contents(plain)
    assert ours.keys() - theirs.keys() == {FILE}
    for name in ("heads.safetensors", "baselines.safetensors"):
        assert ours[name] == theirs[name]


def test_a_load_does_not_read_the_statistics(folder):
    # Damage that a reader would meet at once: a load for scoring must not look.
    (folder / FILE).write_bytes(b"damage")
    bundle = load_bundle(folder)
    assert isinstance(bundle.statistics, StoredStatistics)
    text = rf"^{folder}/statistics.safetensors: the SHA-256 must be \w{{12}}…; it is \w{{12}}…"
    with pytest.raises(BundleError, match=text):
        load_statistics(bundle)
    with pytest.raises(BundleError, match=text):
        save_bundle(bundle, folder.parent / "copy", card="")
    assert not (folder.parent / "copy").exists()


def test_a_bundle_that_lost_its_statistics_is_refused(folder):
    (folder / FILE).unlink()
    text = rf"^{folder} has no statistics.safetensors: not a bundle, or its save did not finish"
    with pytest.raises(BundleError, match=text):
        load_bundle(folder)


def test_a_loaded_bundle_saves_to_the_same_bytes_also_over_itself(folder, tmp_path):
    before = contents(folder)
    save_bundle(load_bundle(folder), tmp_path / "again", card="# tiny\n")
    assert contents(tmp_path / "again") == before
    save_bundle(load_bundle(folder), folder, card="# tiny\n")
    assert contents(folder) == before


def test_two_saves_have_the_same_bytes(folder, tmp_path):
    other = saved(tmp_path / "other", fitted_bundle(BACKBONE))
    assert contents(other) == contents(folder)


def test_a_save_without_statistics_leaves_no_older_ones(folder):
    saved(folder, fitted_bundle(BACKBONE, statistics=False))
    assert FILE not in contents(folder)


def damaged(folder, change):
    """Replace the statistics by what `change` writes, with a digest that agrees."""
    change(folder / FILE)
    facts = {name: digest_file(folder / name) for name in sorted(contents(folder))}
    rewrite_facts(folder, files={n: d for n, d in facts.items() if n.endswith(".safetensors")})
    return load_bundle(folder)


def test_a_file_that_is_not_statistics_is_refused(folder, tmp_path):
    bundle = damaged(folder, lambda path: path.write_bytes(b"text"))
    with pytest.raises(BundleError, match=rf"^{folder}/{FILE}: not a safetensors file: "):
        load_statistics(bundle)
    bundle = damaged(folder, lambda path: save_file({"x": torch.zeros(2)}, path))
    text = rf"^{folder}/{FILE}: not statistics of rated rows: KeyError\('armorm.statistics'\)"
    with pytest.raises(BundleError, match=text):
        load_statistics(bundle)


def test_statistics_of_other_objectives_are_refused(folder, tmp_path):
    sums = fitted_bundle(BACKBONE).statistics.with_objectives(("a", "b"))
    with pytest.raises(ValueError, match=r"`statistics` must be of the objectives \('helpfulness'"):
        make_bundle(BACKBONE, statistics=sums)
    wide = saved(tmp_path / "wide", fitted_bundle(HashBackbone(width=9).facts()))
    bundle = damaged(folder, lambda path: shutil.copyfile(wide / FILE, path))
    with pytest.raises(BundleError, match=r"the statistics must be of the objectives .* and width"):
        load_statistics(bundle)


def test_scores_do_not_depend_on_the_statistics(folder):
    backbone = HashBackbone()
    rows = [{"prompt": "2+2?", "response": "4."}]
    with_them = RewardModel(load_bundle(folder), backbone).score(rows)
    without = RewardModel(fitted_bundle(BACKBONE, statistics=False), backbone).score(rows)
    assert torch.equal(with_them.score, without.score)


def test_the_card_says_that_statistics_travel_along():
    said = "The statistics of the rated rows travel with this bundle (`statistics.safetensors`)"
    assert said in model_card(fitted_bundle(BACKBONE))
    assert "statistics" not in model_card(fitted_bundle(BACKBONE, statistics=False))
