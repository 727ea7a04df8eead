"""A server of a model on drawn features, and a saved bundle with a tiny decoder."""

import pytest

from armorm import RewardModel
from bundles import decoder_backbone, make_bundle, saved
from fakes import HashBackbone
from serving import served


@pytest.fixture(scope="session")
def hashed():
    """A reward model on features that are drawn by the text: fast, same in every process."""
    backbone = HashBackbone()
    return RewardModel(make_bundle(backbone.facts()), backbone)


@pytest.fixture(scope="session")
def server(hashed):
    """A server of the drawn model; rows without a score get -1 from trainers' routes."""
    with served(hashed, unscored=-1.0) as running:
        yield running


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """Folder of a bundle whose decoder drops conversations above 120 tokens."""
    backbone = decoder_backbone(tmp_path_factory.mktemp("decoder"), max_tokens=120)
    return saved(tmp_path_factory.mktemp("run") / "bundle", make_bundle(backbone.facts()))


@pytest.fixture(scope="session")
def loaded(bundle):
    return RewardModel.load(bundle, device="cpu")
