"""The page lists every header that is removed, and no other."""

from __future__ import annotations

import re

from support.pages import MANUAL

from mountpoint.wsgi.forwarding_headers import FAMILIES, NAMES, forwarding_variables, variable

PAGE = (MANUAL / "security.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Headers that are removed")[2].partition("`X-HTTP-Method-Override`")[0]


def test_the_removed_headers_are_those_of_the_code():
    cells = " ".join(re.findall(r"^\| (`.*?) \|", TABLE, re.MULTILINE))
    listed = {variable(name) for name in re.findall(r"`([A-Z][\w-]+)`", cells)}
    assert listed >= NAMES
    assert {*forwarding_variables(dict.fromkeys(listed))} == listed
    families = {variable(name).rstrip("_") for name in re.findall(r"`([A-Z][\w-]+)\*`", cells)}
    assert families == {family.rstrip("_") for family in FAMILIES}


def test_the_header_that_is_said_to_pass_does_pass():
    assert "`X-HTTP-Method-Override` is not removed" in PAGE
    assert forwarding_variables({"HTTP_X_HTTP_METHOD_OVERRIDE": "PUT"}) == []
