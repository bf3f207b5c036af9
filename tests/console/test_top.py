"""The thread of ``mountpoint top`` that asks the server."""

import pytest
from support.waiting import wait_until

from mountpoint.console import top
from mountpoint.errors import ControlError, Problem, UnreadableError


@pytest.mark.parametrize(
    "error",
    [
        ControlError("no server runs"),
        UnreadableError([Problem("", "no such file")], file="mounts.toml"),
        FileNotFoundError(2, "no working folder"),
    ],
)
def test_it_goes_on_to_ask_after_every_error(snapshot, monkeypatch, error):
    monkeypatch.setattr(top, "_ASK_SECONDS", 0.001)
    answers = [error]

    def ask():
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers[-1]

    poller = top.Poller(ask, snapshot)
    poller.start()
    wait_until(lambda: poller.latest == (snapshot, str(error)))
    answers.append({"version": 1})
    wait_until(lambda: poller.latest == ({"version": 1}, ""))
    poller.stop()
