import subprocess
import sys


def test_import_loads_neither_torch_nor_transformers():
    code = "import armorm, sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
