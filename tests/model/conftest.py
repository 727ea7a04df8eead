import jaxtyping
import pytest

from armorm import RewardModel
from bundles import decoder_backbone, encoder_backbone, make_bundle
from fakes import HashBackbone


@pytest.fixture(scope="session")
def decoder(tmp_path_factory):
    """A tiny decoder that refuses conversations above 120 tokens."""
    return decoder_backbone(tmp_path_factory.mktemp("decoder"), max_tokens=120)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return encoder_backbone(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session", params=["decoder", "encoder"])
def model(request):
    """A reward model on a tiny backbone of each kind."""
    backbone = request.getfixturevalue(request.param)
    return RewardModel(make_bundle(backbone.facts()), backbone)


@pytest.fixture(scope="session")
def hashed():
    """A reward model on features that are drawn by the text: fast, same in every process."""
    backbone = HashBackbone()
    return RewardModel(make_bundle(backbone.facts()), backbone)


@pytest.fixture
def unchecked():
    """The types of arguments are not checked, as in the runs of users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
