"""The table under other WSGI servers: each file of examples/embed as a real process."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.limited import uwsgi
from support.proxies import listens, reserved_ports
from support.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
EMBED = EXAMPLES / "embed"
PYTHON = sys.executable
GUNICORN = [PYTHON, "-m", "gunicorn", "--bind", "127.0.0.1:0"]


@pytest.fixture
def embedded(start, tmp_path) -> Callable:
    """Return ``embedded(command)``, which starts a server on a free port and waits until it logs its address."""

    def embedded(command, *, env=None, cwd=tmp_path):
        server = start(command, env={"PORT": "0", **(env or {})}, cwd=cwd)
        log = server.wait_for(re.compile(r"127\.0\.0\.1:[1-9]\d*"))
        server.url = "http://" + re.findall(r"127\.0\.0\.1:[1-9]\d*", log)[0]
        return server

    return embedded


@pytest.fixture
def needs(lacking) -> Callable[[str], None]:
    """Return ``needs(module)``, which skips the test if the module is missing."""
    return lambda module: None if importlib.util.find_spec(module) else lacking(f"pip install {module}")


def assert_both_apps_live_under_their_prefixes(server, outer: str = "") -> None:
    """Request both apps. *outer* is the prefix that a proxy strips."""
    slashless = server.request("/tv_ws?stn=Lund")
    assert (slashless.status, slashless.headers["location"]) == (308, f"{outer}/tv_ws/?stn=Lund")

    page = server.request("/tv_ws/?stn=Lund")
    assert page.status == 200
    assert f'<script src="{outer}/tv_ws/static/ws.js">' in page.text
    assert server.request("/tv_ws/static/ws.js").status == 200
    assert server.request("/tv_ws/static/ws.js", "HEAD").body == b""
    assert json.loads(server.request("/tv_ws/readings/Lund").body)["celsius"][-1] == 2.1

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    chosen = server.request("/tv_ws/remember", "POST", headers=form, body=b"station=Kiruna")
    assert (chosen.status, chosen.headers["location"]) == (302, f"{outer}/tv_ws/")
    assert f"Path={outer}/tv_ws/" in chosen.headers["set-cookie"]

    assert f'action="{outer}/notes/add"' in server.request("/notes/").text
    forged = {"X-Forwarded-Host": "evil.example"}  # Bottle alone would trust it
    added = server.request("/notes/add", "POST", headers=form | forged, body="text=Blåbär".encode())
    assert added.status == 303
    assert added.headers["location"] == f"{server.url}{outer}/notes/"
    assert "<li>Blåbär</li>" in server.request("/notes/").text

    assert server.request("/").text == server.request("/tv_wsx").text == "404 Not Found\n"  # from the dispatcher
    assert server.request("/notes/%2e%2e/tv_ws/").status == 400  # encoded, since uWSGI resolves the plain form itself


def test_wsgiref_serves_the_table(embedded):
    assert_both_apps_live_under_their_prefixes(embedded([PYTHON, EMBED / "with_wsgiref.py"]))


def test_a_dispatcher_needs_no_file(embedded):
    folders = os.pathsep.join(str(EXAMPLES / "apps" / name) for name in ("tv_ws", "notes"))
    server = embedded([PYTHON, EMBED / "without_a_file.py"], env={"PYTHONPATH": folders})
    assert_both_apps_live_under_their_prefixes(server)


def test_cheroot_serves_the_table(embedded, needs):
    needs("cheroot")
    assert_both_apps_live_under_their_prefixes(embedded([PYTHON, EMBED / "with_cheroot.py"]))


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn is for POSIX")
def test_gunicorn_serves_the_table(embedded, needs):
    needs("gunicorn")
    assert_both_apps_live_under_their_prefixes(embedded([*GUNICORN, "--config", EMBED / "gunicorn.conf.py"]))


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn is for POSIX")
def test_gunicorn_with_a_call_as_its_app_behind_a_stripping_proxy(embedded, needs, tmp_path):
    needs("gunicorn")
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples")
    table = (folder / "mounts.toml").read_text().replace("# [proxy]", "[proxy]").replace("# strips", "strips")
    (folder / "mounts.toml").write_text(table)
    server = embedded([*GUNICORN, 'mountpoint:load("mounts.toml")'], cwd=folder)
    assert_both_apps_live_under_their_prefixes(server, outer="/apps")


@pytest.mark.skipif(sys.platform != "linux", reason="Granian is an extra on Linux only")
def test_granian_serves_the_table(start, needs):
    needs("granian")
    with reserved_ports() as ports:
        options = ["--interface", "wsgi", "--port", str(ports["80"]), "--working-dir", EMBED]
        server = start([PYTHON, "-m", "granian", *options, "with_granian:app"])
        wait_until(lambda: listens(ports["80"]))
    server.url = f"http://127.0.0.1:{ports['80']}"
    assert_both_apps_live_under_their_prefixes(server)


def test_uwsgi_serves_the_table(embedded):
    program = uwsgi()
    if program is None:
        pytest.skip("uWSGI for this version of Python is missing: pip install uwsgi")
    options = ["--http-socket", "127.0.0.1:0", "--master", "--die-on-term", "--enable-threads", "--need-app"]
    where = ["--virtualenv", sys.prefix, "--wsgi-file", EMBED / "with_uwsgi.py"]
    assert_both_apps_live_under_their_prefixes(embedded([program, *options, *where]))
