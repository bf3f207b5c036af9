"""The page on operating has the defaults of the code, and the signals that are handled."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from support.pages import MANUAL
from waitress.adjustments import Adjustments

from mountpoint import load_config
from mountpoint.config.schema import WAITRESS_KEYS
from mountpoint.lifecycle import serve

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
