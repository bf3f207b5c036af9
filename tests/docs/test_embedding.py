"""embedding.md names every public name and every example. Its blocks are run by test_pages.py."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from support.pages import MANUAL, ROOT

import mountpoint

TEXT = (MANUAL / "embedding.md").read_text(encoding="utf-8")


def public_names() -> set[str]:
    """Return each ``X`` of an ``import X as X`` in the package, the form in which it exports a name."""
    tree = ast.parse(Path(mountpoint.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names if alias.asname == alias.name}


def test_the_table_has_every_public_name_and_no_other():
    table = TEXT.partition("## Names of the package")[2]
    found = {
        name for cells in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", cells)
    }
    assert found == public_names()
    assert all(hasattr(mountpoint, name) for name in found)
    assert len(found) > 15


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "examples" / "embed").glob("with_*.py")))
def test_each_example_of_a_server_is_named(file):
    assert f"examples/embed/{file}" in TEXT
