"""The page on sharing a process lists the signals that isolation restores."""

from __future__ import annotations

import re

from support.pages import MANUAL

from mountpoint.loading import isolation

PAGE = (MANUAL / "sharing.md").read_text(encoding="utf-8")


def test_the_signals_that_are_restored_are_those_of_the_code():
    line = next(line for line in PAGE.splitlines() if line.startswith("- the handlers of "))
    assert set(re.findall(r"SIG[A-Z0-9]+", line)) == set(isolation.SERVER_SIGNALS) - {"SIGBREAK"}
