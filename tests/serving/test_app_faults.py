"""Mistakes of an app between its call and its last byte: 500 before the first byte, and a cut connection after it."""

import re

import pytest
from support.apps.faulty_app import AFTER, BEFORE, GOOD
from support.client import Client, app_file
from support.running import serving

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
