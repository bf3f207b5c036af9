"""The page on operating has the defaults of the code, the signals that are handled, and the format of the log."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from support.pages import MANUAL
from waitress.adjustments import Adjustments

from mountpoint import load_config
from mountpoint.config.schema import WAITRESS_KEYS
from mountpoint.lifecycle import serve
from mountpoint.server.access_log import access_line

PAGE = (MANUAL / "operating.md").read_text(encoding="utf-8")
SECONDS = ("drain_timeout", "header_timeout", "body_timeout", "slow_after")


def test_the_defaults_of_the_limits_are_those_of_the_code(tmp_path):
    (tmp_path / "mounts.toml").write_text('[mounts]\n"/" = "app"\n')
    config = load_config(tmp_path / "mounts.toml")
    defaults = {name: getattr(Adjustments, name) for name in WAITRESS_KEYS} | config.server.adjustments
    defaults |= {field.name: getattr(config.server, field.name) for field in fields(config.server)}
    defaults |= {field.name: getattr(config.mounts[0], field.name) for field in fields(config.mounts[0])}
    shown = dict(re.findall(r"^\| (?:`\[server\] |a mount's `)(\w+)` \| (\d+)\b", PAGE, re.MULTILINE))
    assert shown == {name: f"{defaults[name]:g}" if name in SECONDS else str(defaults[name]) for name in shown}
    assert len(shown) == 12


def test_each_signal_that_the_server_handles_is_in_the_table():
    names = set(re.findall(r'"(SIG[A-Z0-9]+)"', Path(serve.__file__).read_text(encoding="utf-8")))
    assert "SIGHUP" in names
    assert names <= set(re.findall(r"`(SIG[A-Z0-9]+)`", PAGE))


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
