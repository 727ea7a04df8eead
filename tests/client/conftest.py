"""A server of a model on drawn features."""

import jaxtyping
import pytest

from armorm import RewardModel
from bundles import make_bundle
from fakes import HashBackbone
from serving import served


@pytest.fixture(scope="session")
def hashed():
    """A reward model on features that are drawn by the text."""
    backbone = HashBackbone()
    return RewardModel(make_bundle(backbone.facts()), backbone)


@pytest.fixture(scope="session")
def server(hashed):
    """A server of the drawn model that takes 8 conversations a request."""
    from armorm.serve.settings import Limits

    with served(hashed, limits=Limits(conversations=8)) as running:
        yield running


@pytest.fixture
def unchecked():
    """The types of arguments are not checked, as in the runs of users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
