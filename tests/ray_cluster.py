"""A Ray cluster on this machine for a module of tests; it is stopped at its end."""

import contextlib
from pathlib import Path

import pytest


@contextlib.contextmanager
def local_cluster(n_cpus=2):
    """Start Ray on loopback; its workers find the modules of the tests."""
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=n_cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
        _node_ip_address="127.0.0.1",
    )
    try:
        yield ray
    finally:
        ray.shutdown()
