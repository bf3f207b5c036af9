"""Servers that send malformed messages: the commands print no traceback, and no character that a terminal obeys."""

import copy
import io
import json
import socket
import sys
import threading
from contextlib import contextmanager
from itertools import cycle

import pytest
from support.snapshots import SNAPSHOT, mount

from mountpoint.cli import main
from mountpoint.console.screen import View, screen
from mountpoint.console.status import require_known, status
from mountpoint.errors import ControlError

if sys.platform == "win32":
    pytest.skip("Windows has no control sockets", allow_module_level=True)

ESCAPES = "\x1b[2J\x9b31m\r\x07\u202e\U000e0041\ud800"
GREETING = {"pid": 1, "file": "/srv/mounts.toml"}


@pytest.fixture
def fake(tmp_path):
    """Return ``fake(answer)``, the path of a server that greets and then sends *answer* to each command."""

    @contextmanager
    def fake(answer, greeting=GREETING):
        path = tmp_path / "c.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            thread = threading.Thread(target=serve, args=(listener, line(greeting), line(answer)))
            thread.start()
            yield str(path)
            listener.shutdown(socket.SHUT_RDWR)  # ends the wait in accept
            thread.join()
        path.unlink()

    return fake


def line(message):
    return message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"


def serve(listener, greeting, answer):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.sendall(greeting)
            if greeting and client.recv(65536):
                client.sendall(answer)


def places(value, path=()):
    """Yield the path of each value in a document of JSON."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def full_snapshot():
    """Return a snapshot that has an entry in each list."""
    snapshot = copy.deepcopy(SNAPSHOT)
    snapshot["server"]["last_reload"] = {"at": 1_007_000.0, "seconds": 0.1, "ok": False, "message": "not reloaded"}
    worker = {"pid": 7, "state": "ready", "started_at": 1_000_000.0, "memory": 1, "requests": 1}
    error = {"type": "E", "place": "a.py:1 in f", "count": 2, "last_at": 1_000_001.0}
    snapshot["mounts"] = [
        mount("/app", 1, 1, workers=[worker], last_exceptions=[error], state="broken", reason="it is")
    ]
    request = {"mount": "/app", "method": "GET", "path": "/app/", "request_id": "id"}
    snapshot["in_flight"] = [request | {"age": 1.0}]
    snapshot["slowest"] = [request | {"status": 200, "seconds": 1.0, "at": 1_000_001.0}]
    return snapshot


def changed(path, value):
    """Return the full snapshot with *value* at *path*, without that key if it is ``...``."""
    document = {"snapshot": full_snapshot()}
    *path, last = ("snapshot", *path)
    inner = document
    for key in path:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return document.get("snapshot")


def is_printable(text):
    return all(char.isprintable() or char == "\n" for char in text)


def refusal(snapshot):
    """Return why *snapshot* cannot be shown, empty if it can."""
    try:
        require_known(snapshot)
    except ControlError as error:
        return str(error)
    return ""


def test_a_broken_snapshot_is_an_error_or_shown_without_control_characters():
    require_known(full_snapshot())
    shown, others = 0, cycle((ESCAPES, None, [], float("nan"), 10**400, True, {}))
    for path in [*places(full_snapshot())][1:]:
        for value, view in ((..., View(sort="p99")), (next(others), View(detail=("/app",)))):
            snapshot = changed(path, value)
            text = refusal(snapshot)
            if not text:
                shown += 1
                text = "\n".join(line.text for line in screen(view, snapshot, ESCAPES, 80, 60))
            assert is_printable(text), path
    assert shown > 50


def test_status_shows_nothing_that_a_terminal_obeys(fake):
    document = {"ok": True, "snapshot": replaced(full_snapshot())}
    document["snapshot"]["server"]["state"] = document["snapshot"]["mounts"][0]["state"] = ESCAPES
    with fake(document) as path:
        for as_json in (False, True):
            output = io.StringIO()
            assert status("mounts.toml", path, output, as_json=as_json) == (1, "")
            assert is_printable(output.getvalue())
        assert json.loads(output.getvalue()) == document["snapshot"]


def replaced(value):
    """Return *value* with escapes in each string."""
    if isinstance(value, dict):
        return {key: replaced(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner) for inner in value]
    return f"{value}{ESCAPES}" if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("answer", "greeting"),
    [
        (b"", b""),
        (b"", GREETING),
        (b"\xff\n", GREETING),
        ([], GREETING),
        ({"ok": True}, GREETING),
        ({"ok": True, "snapshot": "version"}, GREETING),
        ({"ok": True, "snapshot": [1]}, GREETING),
        ({"ok": True, "snapshot": {}}, GREETING),
        ({"ok": "yes", "snapshot": {"version": 1}}, GREETING),
        ({"ok": False, "message": ESCAPES}, GREETING),
        ({"ok": True, "snapshot": {"version": ESCAPES}}, GREETING),
        (b"", {"ok": False, "message": ESCAPES}),
        (b"", [ESCAPES]),
    ],
)
def test_an_answer_of_another_form_is_an_error(fake, capsys, answer, greeting):
    with fake(answer, greeting) as path:
        assert main(["status", "--control", path]) == 3
        assert main(["status", "--control", path, "--json"]) in (1, 3)
        main(["reload", "--control", path])
        main(["restart", "mounts.toml", "/app", "--control", path])
    printed = capsys.readouterr()
    assert is_printable(printed.out + printed.err)
    assert not printed.err.rstrip().endswith(":")  # an error without its reason
