"""file.md has each key of the file, with the description and the default that the code has."""

from __future__ import annotations

import pytest
from support.pages import Page
from support.reference import PAGE, TABLES, filled, rejected_row, row

from mountpoint.config.schema import REPLACED

TEXT = PAGE.read_text(encoding="utf-8")
ROWS = [row(name, key) for keys in TABLES.values() for name, key in keys.items()]
ROWS += [rejected_row(*item) for item in REPLACED.items()]


def test_the_tables_are_those_that_the_code_makes():
    assert filled(TEXT) == TEXT, "run PYTHONPATH=tests python -m support.reference"


@pytest.mark.parametrize("text", ROWS, ids=lambda text: text.split("`")[1])
def test_a_missing_row_is_noticed(text):
    assert TEXT.count(text) == 1
    without = TEXT.replace(text, "")
    assert filled(without) != without


@pytest.mark.parametrize("name", [*TABLES, "rejected"])
def test_a_missing_table_is_noticed(name):
    with pytest.raises(ValueError, match="expected the markers"):
        filled(TEXT.replace(f"<!-- keys: {name} -->\n", ""))


def test_each_section_of_the_file_has_a_heading():
    names = ("mounts", "defaults", "server", "proxy", "logging", "doctor", "status")
    assert {f"`[{name}]`" for name in names} <= set(Page.read(PAGE).headings)
