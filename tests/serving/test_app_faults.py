"""Mistakes of an app between its call and its last byte: 500 before the first byte, and a cut connection after it."""

import json
import re
import sys
import threading

import pytest
from support.apps.faulty_app import AFTER, BEFORE, GOOD
from support.apps.unreadable_app import NAMES, run_as
from support.client import Client, app_file
from support.running import serving
from support.tables import command
from support.waiting import TIMEOUT, wait_until

from mountpoint.server.slow_requests import stack_of

TABLE = f"""
[server]
threads = 2
[mounts]
"/faulty" = "{app_file("faulty_app")}:app"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(TABLE, tmp_path_factory.mktemp("faulty")) as server:
        yield server


def log_since(server, length: int, pattern: str) -> str:
    """Return the log of *server* from *length* on, once it has *pattern*."""
    return server.wait_for(re.compile(f"(?s)^.{{{length}}}.*{pattern}"))[length:]


@pytest.mark.parametrize(("name", "message"), [(name, message) for name, (_, message) in BEFORE.items()])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_mistake_before_the_first_byte_is_500_and_logged(server, name, message, method):
    before = len(server.log())
    with Client(server.url) as client:
        client.request(f"/faulty/{name}", method=method)
        answer = client.answer(bodiless=method == "HEAD")
        assert (answer.status, answer.closes) == (500, True)
        assert client.read_to_end() == b""
    log = log_since(server, before, f'"{method} /faulty/{name} HTTP/1.1" 500 ')
    assert message in log
    assert "mount /faulty" in log
    assert log.count("Traceback (most recent call last)") >= 1
    assert log.count(" HTTP/1.1") == 1


@pytest.mark.parametrize("name", AFTER)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_mistake_after_the_first_byte_cuts_the_response_off(server, name, version):
    before = len(server.log())
    with Client(server.url) as client:
        client.request(f"/faulty/{name}", "Connection: keep-alive", version=version)
        status, headers = client.head()
        rest = client.read_to_end()
    assert status == 200
    assert rest.endswith(b"5\r\nbegun\r\n" if headers["Transfer-Encoding"] else b"begun")
    assert b"0\r\n" not in rest
    log = log_since(server, before, f'"GET /faulty/{name} HTTP/{version}" 200 5 ')
    assert log.count(f" HTTP/{version}") == 1
    if name != "short":
        log_since(server, before, "mount /faulty")  # logged before the line of the access log, or after it


@pytest.mark.parametrize("name", GOOD)
def test_an_app_that_bends_the_rules_gets_its_response_sent(server, name):
    with Client(server.url) as client:
        assert client.get(f"/faulty/{name}").body == b"body"
    server.wait_for(f'"GET /faulty/{name} HTTP/1.1" 200 4 ')


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no control sockets")
@pytest.mark.parametrize("settings", ["", ', process = "own"'], ids=["shared", "own"])
def test_a_traceback_that_python_cannot_format_is_500_logged_and_counted(tmp_path, settings):
    file = app_file("unreadable_app")
    table = f'[mounts]\n"/app" = {{ app = "{file}:app"{settings} }}\n'
    with serving(table, tmp_path) as server, Client(server.url) as first:
        wait_until(lambda: first.get("/app/").status == 200)
        for name in NAMES:
            with Client(server.url) as client:
                assert client.get(f"/app{name}").status == 500
            server.wait_for(f'"GET /app{name} HTTP/1.1" 500 ')
        assert first.get("/app/").status == 200
        counted = json.loads(command("status", "--json", cwd=tmp_path).stdout)["mounts"][0]
        log = server.log()
    assert (counted["exceptions"], counted["last_exceptions"][0]["type"].rpartition(".")[2]) == (2, "Unreadable")
    assert log.count("Exception while serving /app") == 2
    assert "traceback cannot be formatted" in log
    assert "Logging error" not in log
    assert "worker died" not in log


def test_a_stack_that_python_cannot_format_is_named_as_such():
    began, end = threading.Event(), threading.Event()
    for name in NAMES.values():
        began.clear()
        end.clear()
        thread = threading.Thread(target=run_as, args=(name, lambda: (began.set(), end.wait())))
        thread.start()
        assert began.wait(TIMEOUT)
        text = stack_of(thread.ident)
        end.set()
        thread.join()
        assert text.startswith("(a stack that cannot be formatted: ")
