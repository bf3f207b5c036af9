"""how-it-works.md names modules that exist, and every room."""

from __future__ import annotations

import re

from support.pages import MANUAL
from test_import_directions import ALLOWED

TEXT = (MANUAL / "how-it-works.md").read_text(encoding="utf-8")
PACKAGE = MANUAL.parent


def test_each_module_on_the_page_exists():
    modules = re.findall(r"\b(?:\w+/)?\w+\.py\b", TEXT.replace("tests/test_import_directions.py", ""))
    assert len(modules) > 15
    assert [name for name in modules if name != "__init__.py" and not (PACKAGE / name).exists()] == []


def test_each_room_is_in_the_table_and_in_the_picture():
    rooms = {name for name in ALLOWED if not name.startswith("__")}
    table = TEXT.partition("| Room |")[2].partition("\n\n")[0]
    assert {
        name for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"\w+", cell)
    } == rooms
    picture = (MANUAL / "rooms.svg").read_text(encoding="utf-8")
    assert set(re.findall(r'class="name"[^>]*>(\w+)<', picture)) == rooms
