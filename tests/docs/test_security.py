"""The headers that the page calls a gap are one: when they are removed, the page has to change."""

from __future__ import annotations

import re

from support.pages import MANUAL

from mountpoint.wsgi.proxy_settings import FORWARDING

PAGE = (MANUAL / "security.md").read_text(encoding="utf-8")


def test_the_headers_that_are_said_to_pass_do_pass():
    section = PAGE.partition("## Headers that are not removed")[2].partition("If one of your apps")[0]
    names = {f"HTTP_{name.upper().replace('-', '_')}" for name in re.findall(r"`([\w-]+)`", section)}
    assert len(names) == 9
    assert not names & FORWARDING
