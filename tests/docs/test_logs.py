"""The page on logs has the format of the access log."""

from __future__ import annotations

import re

from support.pages import MANUAL

from mountpoint.server.access_log import access_line

PAGE = (MANUAL / "logs.md").read_text(encoding="utf-8")


def test_the_line_of_the_access_log_is_the_one_that_is_written():
    shown = next(line for line in PAGE.splitlines() if line.startswith("192.0.2.7 "))
    line = access_line(
        remote_addr="192.0.2.7",
        request_line="GET /tv_ws/?stn=Lund HTTP/1.1",
        status="200",
        size=512,
        referer=None,
        user_agent="curl/8.5",
        mount="/tv_ws",
        started=0.0,
        finished=0.0032,
    )
    assert re.sub(r"\[.*?\]", "[]", line) == re.sub(r"\[.*?\]", "[]", shown)
