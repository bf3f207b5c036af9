"""Fixtures: the stacks of `support/sites.py`, one process for all tests, and the doctor as a command with a table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import running
from support.running import nginx, serve, start

__all__ = ["nginx", "serve", "start"]

SUPPORT = Path(__file__).parent.parent / "support"


@pytest.fixture(scope="session")
def stacks() -> Iterator[dict[str, int]]:
    """Return the port of each stack in `support/sites.py`, by the name of the stack."""
    if sys.platform == "win32":
        pytest.skip("the process ends at SIGTERM, which Windows does not have")
    with running.children(running.Child) as start:
        yield json.loads(start([sys.executable, SUPPORT / "sites.py"]).wait_for("}\n"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """Return a file with a certificate for localhost and its key."""
    openssl = running.needed("openssl", "openssl")
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, *names, "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


# --------------------------------------------------------------------------------------------------- with a mount table

APP = """
import flask


def make(name, extra="", cookie="session"):
    app = flask.Flask(name)
    app.config.update(SECRET_KEY="-", SESSION_COOKIE_NAME=cookie)

    @app.get("/")
    def home():
        flask.session["seen"] = 1
        to = flask.url_for
        return f'<script src="{to("asset")}"></script><a href="{to("past")}">past</a>\\n{extra}'

    @app.get("/history")
    def past():
        return "the past"

    @app.get("/ws.js")
    def asset():
        return flask.Response("alert()", content_type="text/javascript")

    return app
"""


class Done(NamedTuple):
    """The exit code of `mountpoint doctor --json`, its report, and its output on stderr."""

    code: int
    report: dict
    log: str

    @property
    def named(self) -> set[tuple[str, str, str]]:
        """Return the findings except for notes, as (mount, symptom, certainty)."""
        found = ((each["mount"], each["symptom"], each["certainty"]) for each in self.report["findings"])
        return {each for each in found if each[2] != "note"}

    @property
    def skipped(self) -> str:
        return "\n".join(self.report["not_looked_at"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the module ``site_app``; its function ``make`` returns a Flask app."""
    (tmp_path / "site_app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def examine(folder: Path) -> Callable[..., Done]:
    """Return ``examine(*args)``: it runs `mountpoint doctor --json` in the folder."""

    def examine(*args: str) -> Done:
        command = [sys.executable, "-m", "mountpoint", "doctor", "--json", *args]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
        return Done(done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr)

    return examine
