"""`access_log = "json"`: every line of the log is one JSON object. `access_log_exclude` leaves paths out."""

import dataclasses
import itertools
import json
import logging
import re
import sys
import threading

import pytest
from support.client import Client, app_file, table
from support.site_in_thread import router_to, running_site
from support.sources import LINTED
from support.waiting import TIMEOUT, wait_until

APP = app_file("own_app")
HAS_WORKERS = sys.platform != "win32"
TABLE = f"""
[server]
access_log = "json"
request_id = true
[proxy]
trusted = ["127.0.0.1"]
[defaults]
slow_after = 0.2
[mounts]
"/app" = "{APP}:app"
"/logging" = "logging_app:app"
"""
OWN = f"""
[mounts."/own"]
app = "{APP}:app"
process = "own"
"""
LOGGING = f"""
import logging

def app(environ, start_response):
    logging.getLogger("shop").warning("asked\\n%s", "twice", extra={{"user": "\\xe9"}})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return []
{LINTED}"""


@pytest.fixture
def json_server(serve, tmp_path):
    """Serve the table, and return a client of it, and the server."""
    (tmp_path / "logging_app.py").write_text(LOGGING)
    server = serve(TABLE + (OWN if HAS_WORKERS else ""), wait=False)
    log = server.wait_for(re.compile(r"serving on http://[^\"]+\"}\n"))
    with Client(re.search(r"serving on (http://[^/]+:\d+)", log)[1]) as client:
        yield client, server


def objects(server):
    """Stop *server*, and return the objects of its log. Fails if a line is not one."""
    assert server.stop() == 0
    assert server.log().isascii()
    return [json.loads(line) for line in server.log().splitlines()]


def only(found, **expected):
    """Return the one object that has what is *expected*."""
    [one] = [each for each in found if expected.items() <= each.items()]
    return one


def test_every_line_is_an_object_with_the_facts_about_its_request(json_server, tmp_path):
    client, server = json_server
    assert client.get("/app/caf\xc3\xa9?q=%22", "X-Request-ID: one", 'User-Agent: \xc3\xa9"').status == 404
    assert client.get("/logging/", "X-Request-ID: two").status == 200
    client.request(f"/app/hold?{tmp_path}/go", "X-Request-ID: slow")
    server.wait_for("has run for")
    (tmp_path / "go").touch()
    assert client.answer().status == 200
    server.wait_for("ended after")
    assert client.get("/app/raise", "X-Request-ID: three").status == 500
    if HAS_WORKERS:
        server.wait_for("is ready")
        with Client(f"http://{client.host}") as other:
            assert other.get("/own/raise", "X-Request-ID: four").status == 500
        with Client(f"http://{client.host}") as other:
            assert other.get("/own/print?hello").status == 200
        server.wait_for("to stdout: hello")
    with Client(f"http://{client.host}") as other:
        other.send("GARBAGE\r\n\r\n")
        assert other.answer().status == 400
    found = objects(server)
    assert all({"time", "level", "logger"} <= each.keys() for each in found)

    access = only(found, logger="mountpoint.access", request_id="one")
    assert (access["mount"], access["method"], access["path"]) == ("/app", "GET", "/app/caf%C3%A9")
    assert (access["status"], access["user_agent"], access["client"]) == (404, '\u00e9"', "127.0.0.1")
    assert access["request_line"] == "GET /app/caf\u00e9?q=%22 HTTP/1.1"
    assert only(found, logger="mountpoint.access", status=400)["request_line"] == "GARBAGE"
    by_app = only(found, logger="shop")
    assert (by_app["level"], by_app["message"], by_app["user"]) == ("WARNING", "asked\ntwice", "\u00e9")
    assert (by_app["mount"], by_app["path"], by_app["request_id"]) == ("/logging", "/logging/", "two")
    slow = [each for each in found if each["logger"] == "mountpoint.slow" and each["request_id"] == "slow"]
    assert [(each["mount"], each["path"]) for each in slow] == [("/app", "/app/hold")] * 2
    for mount, request_id in [("/app", "three"), ("/own", "four")][: 1 + HAS_WORKERS]:
        error = only(found, logger="waitress", request_id=request_id)
        assert (error["level"], error["mount"], error["method"]) == ("ERROR", mount, "GET")
        assert error["path"] == f"{mount}/raise"
        assert error["traceback"].startswith("Traceback (most recent call last):\n")


def test_excluded_paths_are_not_in_the_access_log(serve):
    server = serve(table(access_log_exclude=["/app/healthz", "/app/caf\u00e9", "/nothing"]))
    with Client(server.url) as client:
        for path in ("/app/healthz", "/app/healthz?q=1", "/app/%68ealthz", "/app/caf%c3%a9", "/nothing"):
            client.get(path)
        for path in ("/app/healthz/", "/app/healthz/x", "/app/Healthz", "/healthz"):
            client.get(path)
    assert server.stop() == 0
    found = re.findall(r"GET (\S+) HTTP/1.1", server.log())
    assert found == ["/app/healthz/", "/app/healthz/x", "/app/Healthz", "/healthz"]


def test_a_reload_changes_the_excluded_paths(tmp_path, caplog, monkeypatch):
    logger = logging.getLogger("mountpoint.access")
    monkeypatch.setattr(logger, "disabled", False)  # a test before may have configured logging
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(caplog.handler)
    try:
        with running_site(tmp_path, access_log_exclude=["/app/before"]) as site, Client(site.url) as client:
            server, replaced = site.server, threading.Event()
            for path in ("/app/before", "/app/after"):
                client.get(path)

            def replace():
                settings = dataclasses.replace(server.settings, access_log_exclude=("/app/after",))
                server.replace(router_to(site.app), {}, settings)
                replaced.set()

            server.call_soon_threadsafe(replace)
            assert replaced.wait(TIMEOUT)
            for path in ("/app/before", "/app/after", "/app/last"):
                client.get(path)
            wait_until(lambda: "/app/last" in caplog.text)
    finally:
        logger.removeHandler(caplog.handler)
    paths = [record.path for record in caplog.records if record.name == logger.name]
    assert [path for path, _ in itertools.groupby(paths)] == ["/app/after", "/app/before", "/app/last"]


def test_an_error_of_an_app_is_logged_on_an_excluded_path_too(serve):
    server = serve(table(access_log_exclude=["/app/boom"]))
    with Client(server.url) as client:
        assert client.get("/app/boom").status == 500
    assert server.stop() == 0
    assert "Exception while serving /app/boom, mount /app" in server.log()
    assert "HTTP/1.1" not in server.log()


def test_an_excluded_path_is_the_public_one_behind_a_proxy_that_strips(serve):
    server = serve(table(access_log_exclude=["/apps/app/healthz"]) + '[proxy]\nstrips = "/apps"\n')
    with Client(server.url) as client:
        client.get("/app/healthz")
        client.get("/apps/app/healthz")
    assert server.stop() == 0
    assert re.findall(r"GET (\S+) HTTP/1.1", server.log()) == ["/apps/app/healthz"]


def test_without_an_access_log_the_other_logs_are_still_json(serve):
    server = serve(table(access_log="json"), "--no-access-log", wait=False)
    log = server.wait_for("serving on http")
    with Client(re.search(r"serving on (http://[^/]+:\d+)", log)[1]) as client:
        assert client.get("/app/boom").status == 500
    assert {each["logger"] for each in objects(server)} == {"mountpoint", "waitress"}
