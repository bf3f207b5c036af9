"""Servers for the app in apps/limited_app.py, and clients that use it in every way that a client can."""

from __future__ import annotations

import http.client
import importlib.util
import json
import random
import re
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from support.apps.limited_app import BLOCK, CHUNK, FILE, LARGE, THREADS
from support.client import APPS, Client
from support.waiting import TIMEOUT

__all__ = ["BLOCK", "FILE", "LARGE", "SERVERS", "command", "is_installed", "permits_out", "url_in", "use", "uwsgi"]

CLIENTS = 8
APP = APPS / "limited_app.py"

# ---------------------------------------------------------------------------------------------------------- the servers


SERVERS = ("waitress", "cheroot", "gunicorn-sync", "gunicorn-gthread", "uwsgi")


def uwsgi() -> str | None:
    """Return the uWSGI for this version of Python: compiled beside it, or from Debian."""
    beside = Path(sys.executable).with_name("uwsgi")
    return str(beside) if beside.exists() else shutil.which(f"uwsgi_python3{sys.version_info.minor}")


def is_installed(server: str) -> bool:
    """Whether *server* can be started here."""
    if server == "uwsgi":
        return uwsgi() is not None
    module = server.partition("-")[0]
    return importlib.util.find_spec(module) is not None and not (module == "gunicorn" and sys.platform == "win32")


def command(server: str, port: int = 0) -> list[str | Path]:
    """Return the command that serves the app with *server* in one process. With port 0 the server logs its port."""
    gunicorn = ["gunicorn", f"--bind=127.0.0.1:{port}", "--timeout=600", f"--pythonpath={APPS}"]
    address = ["--http-socket", f"127.0.0.1:{port}", "--master", "--die-on-term", "--enable-threads", "--need-app"]
    where = ["--virtualenv", sys.prefix, "--pythonpath", APPS, "--module", "limited_app:app"]
    return {
        "waitress": [sys.executable, APP, "waitress", str(port)],
        "cheroot": [sys.executable, APP, "cheroot", str(port)],
        "gunicorn-sync": [sys.executable, "-m", *gunicorn, "limited_app:app"],
        "gunicorn-gthread": [sys.executable, "-m", *gunicorn, f"--threads={THREADS}", "limited_app:app"],
        "uwsgi": [uwsgi() or "uwsgi", *address, "--threads", str(THREADS), *where],
    }[server]


ADDRESS = re.compile(r"127\.0\.0\.1:[1-9]\d*")


def url_in(log: str) -> str:
    """Return the URL that a server has logged."""
    found = ADDRESS.search(log)
    assert found, log
    return f"http://{found[0]}"


# ---------------------------------------------------------------------------------------------------------- the clients

KINDS = {  # the size of a whole response in bytes, or None if the response fails
    "one": 100,
    "write": 100,
    "sized": LARGE,
    "streamed": LARGE,
    "file": LARGE,
    "upload": len(str(LARGE)),
    "boom": None,
    "failing": None,
    "unclosable": 100,
}


def get(url: str, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (in lower case, without Date) and body of a response."""
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT)) as connection:
        connection.request(method, path, body=body, headers={"Connection": "close"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders() if name.lower() != "date"}
        return response.status, headers, response.read()


def leave(url: str, kind: str, chance: random.Random) -> str:
    """Start a request and reset the connection: during the request, before the response or during it."""
    with Client(url) as client:
        with suppress(OSError):  # the server may have closed first
            if kind == "upload":
                client.request("/upload", f"Content-Length: {LARGE}", method="POST")
                client.send(CHUNK)
            else:
                client.request(f"/{kind}", "Connection: close")
                if chance.random() < 0.7:
                    client.socket.recv(chance.choice((1, 1000, 100_000)))
        client.reset()
    return "left"


def one_request(url: str, seed: int) -> str:
    """Send one request, chosen by *seed*, and return how it ended. Raises AssertionError for a wrong response."""
    chance = random.Random(seed)
    kind = chance.choice(list(KINDS))
    if chance.random() < 0.1:
        return leave(url, kind, chance)
    method = "POST" if kind == "upload" else "HEAD" if chance.random() < 0.1 else "GET"
    try:
        status, _, body = get(url, f"/{kind}", method, b"x" * LARGE if kind == "upload" else None)
    except (OSError, http.client.HTTPException) as error:
        # The server does not read a rejected upload, and may close the connection before the client reads the response.
        if KINDS[kind] and kind != "upload":
            raise AssertionError(f"{method} /{kind}: {error!r}") from error
        return "failed"
    if status == 503:
        return "refused"
    if KINDS[kind] is None:
        return "failed"
    assert status == 200 or kind == "unclosable", f"{method} /{kind}: {status}"
    assert method == "HEAD" or kind == "unclosable" or len(body) == KINDS[kind], f"{method} /{kind}: {len(body)} bytes"
    return "served"


def use(url: str, requests: int, seed: int) -> Counter[str]:
    """Send *requests* of all kinds from several threads, and abandon a tenth. Return how many ended in each way."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return Counter(clients.map(lambda number: one_request(url, seed * 1_000_003 + number), range(requests)))


def permits_out(url: str) -> int:
    """Wait until no request runs. Return how many permits are out, below 0 if one was returned twice."""
    deadline = time.monotonic() + TIMEOUT
    while (out := json.loads(get(url, "/running/")[2])["running"]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return out
