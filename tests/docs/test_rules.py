"""The rulebook: its numbers are complete, and each number that code or a test cites is on the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pages import MANUAL, ROOT

RULES = (MANUAL / "rules.md").read_text(encoding="utf-8")
NUMBERS = [int(number) for number in re.findall(r"^### (\d+)\. ", RULES, re.MULTILINE)]
_CITATION = re.compile(r"\brules? (\d+(?:(?:, | and | to )\d+)*)\b", re.IGNORECASE)


def cited(text: str) -> set[int]:
    """Return the numbers of the rules that *text* cites: "rule 3", "rules 1 to 4 and 7"."""
    found: set[int] = set()
    for citation in _CITATION.findall(text):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", citation):
            found |= set(range(int(first), int(last or first) + 1))
    return found


def sources() -> Iterator[Path]:
    for folder in ("mountpoint", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md") and path != Path(__file__):
                yield path


def test_a_citation_is_read_as_people_write_it():
    assert cited("Rules 1 to 3, 7 and 9: rule 12.") == {1, 2, 3, 7, 9, 12}


def test_the_rules_are_numbered_without_a_gap():
    assert list(range(1, 30)) == NUMBERS


@pytest.mark.parametrize("path", [path for path in sources() if cited(path.read_text())], ids=lambda path: path.name)
def test_each_cited_rule_is_on_the_page(path: Path):
    assert cited(path.read_text()) <= set(NUMBERS)


def test_the_tests_cite_the_rules():
    assert any(cited(path.read_text()) for path in (ROOT / "tests" / "wsgi").glob("*.py"))
