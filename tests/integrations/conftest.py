"""A reward model on drawn features, a saved bundle with a tiny decoder, a clean environment."""

import os

import jaxtyping
import pytest

from armorm import RewardModel
from armorm.integrations.settings import _scorer_of
from bundles import decoder_backbone, make_bundle, saved
from fakes import HashBackbone


@pytest.fixture(scope="session")
def hashed():
    """A reward model on features that are drawn by the text: fast, same in every process."""
    backbone = HashBackbone()
    return RewardModel(make_bundle(backbone.facts()), backbone)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """Folder of a bundle whose decoder drops conversations above 120 tokens."""
    backbone = decoder_backbone(tmp_path_factory.mktemp("decoder"), max_tokens=120)
    return saved(tmp_path_factory.mktemp("run") / "bundle", make_bundle(backbone.facts()))


@pytest.fixture(scope="session")
def loaded(bundle):
    return RewardModel.load(bundle, device="cpu")


@pytest.fixture
def settings(monkeypatch):
    """Set ARMORM_* variables; none is set before, and no model is kept from another test."""
    for name in [n for n in os.environ if n.startswith("ARMORM_") and n != "ARMORM_MUTANT"]:
        monkeypatch.delenv(name)
    _scorer_of.cache_clear()

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"ARMORM_{name.upper()}", str(value))

    yield put
    _scorer_of.cache_clear()


@pytest.fixture
def unchecked():
    """The types of arguments are not checked, as in the runs of users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
