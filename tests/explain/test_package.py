import subprocess
import sys

import pytest

import armorm.explain


def test_every_public_name_is_there():
    for name in armorm.explain.__all__:
        assert getattr(armorm.explain, name).__name__ == name


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match=r"'armorm\.explain' has no attribute 'explian_pair'"):
        _ = armorm.explain.explian_pair


def test_comparing_needs_no_torch():
    code = "import sys; from armorm.explain import compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
