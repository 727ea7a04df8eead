"""Writes `docs/files.md`: every module with the first line of its docstring.

`python tests/file_tree.py` rewrites the page; a test holds it to the docstrings.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "files.md"

_HEAD = (
    "# Every module\n\n"
    "One line a file, the first of its docstring; `python tests/file_tree.py` writes this page. "
    "A module imports only from layers below its own: `cli` > `train`, `integrations` > "
    "`explain` > `evaluate` > `model` > `heads`, `features` > `data` > `storage` > `types` > "
    "`errors`.\n\n"
)


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert said, f"{path} has no docstring"
    return said.splitlines()[0].rstrip(".")


def rows_of(folder: Path) -> list[str]:
    """The table of one package, then those of the packages inside it."""
    name = folder.relative_to(ROOT / "src").as_posix()
    rows = [f"## `{name}/`", "", first_line(folder / "__init__.py") + ".", ""]
    modules = sorted(p for p in folder.glob("*.py") if p.name != "__init__.py")
    if modules:
        rows += ["| file | |", "| --- | --- |"]
        rows += [f"| [{p.name}](../src/{name}/{p.name}) | {first_line(p)} |" for p in modules]
        rows.append("")
    for inner in sorted(p.parent for p in folder.glob("*/__init__.py")):
        rows += rows_of(inner)
    return rows


def page() -> str:
    """The whole page."""
    return _HEAD + "\n".join(rows_of(ROOT / "src" / "armorm")).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
