"""``mountpoint status`` and servers that give it no snapshot that it can show."""

import io
import json

import pytest

from mountpoint.console import status as module
from mountpoint.console.status import require_known, status
from mountpoint.errors import ControlError


@pytest.fixture
def answered(monkeypatch):
    """Have every server answer with this snapshot: ``answered(snapshot)``."""
    return lambda snapshot: monkeypatch.setattr(module, "fetch", lambda *_: snapshot)


def test_a_server_of_another_release_is_shown_only_as_json(snapshot, answered):
    snapshot["version"] = 2
    answered(snapshot)
    output = io.StringIO()
    code, message = status("mounts.toml", None, output, as_json=False)
    assert (code, output.getvalue()) == (3, "")
    assert "this mountpoint shows version 1 of the status, and the server sends version 2" in message
    assert status("mounts.toml", None, output, as_json=True) == (1, "")
    assert json.loads(output.getvalue())["version"] == 2


def test_the_version_of_the_server_here_is_known(snapshot):
    from mountpoint.status.snapshot import VERSION

    require_known(snapshot | {"version": VERSION})
    with pytest.raises(ControlError, match="or write --json"):
        require_known(snapshot | {"version": VERSION + 1})


def test_the_exit_code_is_that_of_the_verdict(snapshot, answered):
    answered(snapshot)
    assert status("mounts.toml", None, io.StringIO(), as_json=False) == (1, "")
    snapshot["verdict"]["ok"] = True
    assert status("mounts.toml", None, io.StringIO(), as_json=False) == (0, "")
