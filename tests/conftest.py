"""What every test runs under: no network but loopback, warnings are errors, shapes are checked."""

import ipaddress
import os
import socket

NETWORK = os.environ.get("ARMORM_NETWORK") == "1"
if not NETWORK:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

# Shapes of private functions are checked on every call of the test run, and only there.
install_import_hook("armorm", "strictness.check")

import hypothesis
import pytest
import torch

# Examples are few and the machine may be busy: a slow example is not a failure.
hypothesis.settings.register_profile("armorm", deadline=None, max_examples=30)
if "ARMORM_MUTANT" not in os.environ:
    hypothesis.settings.load_profile("armorm")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def loopback_only(request, monkeypatch):
    """Refuse every connection that leaves this machine, but for tests marked `network`."""
    if request.node.get_closest_marker("network"):
        if not NETWORK:
            pytest.skip("needs a model or data hub: set ARMORM_NETWORK=1")
        return
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                raise RuntimeError(f"a test tried to connect to {host!r}: tests use loopback only")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
