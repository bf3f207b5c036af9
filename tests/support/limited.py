"""An app behind a `ConcurrencyLimit`, the servers that it is served by, and clients that use it in every way.

    python limited.py waitress 8080      # or cheroot: serves `app`; on a free port, which it says, if that is 0

``/one``, ``/file`` and so on end in every way that a response can; ``/running`` says, from outside the limit, how many
permits are out; ``/bare/file`` is the same app without the limit. In its working folder is a file named `FILE`.
"""

from __future__ import annotations

import http.client
import importlib.util
import io
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
from wsgiref.util import FileWrapper

sys.path.append(str(Path(__file__).parents[1]))  # for the package support, when this runs as a script

from mountpoint import Dispatcher
from mountpoint.wsgi.limits import ConcurrencyLimit
from support.client import Client
from support.waiting import TIMEOUT

LIMIT, THREADS, CLIENTS = 4, 8, 8
CHUNK = b"x" * 65_536
LARGE = 40 * len(CHUNK)  # more than a server and its socket take of a response before they wait for the reader
FILE = "content"
BLOCK = 50_000  # bytes that the wrapper of a file is to read at once: nobody else asks for as many
HERE = Path(__file__).resolve()

# ------------------------------------------------------------------------------------------------ the app

reads: Counter[str] = Counter()  # the most bytes that were asked of a file, by the path of the request


class File(io.FileIO):
    """A file that says who reads it: a server that sends it by itself asks for no block of `BLOCK` bytes."""

    path = ""

    def read(self, size=-1, /):
        reads[self.path] = max(reads[self.path], size)
        return super().read(size)


class Unclosable:
    def __iter__(self):
        return iter([b"x" * 100])

    def close(self):
        raise RuntimeError("it does not close")


def chunks(size):
    for _ in range(size // len(CHUNK)):
        yield CHUNK


def failing():
    yield CHUNK
    raise RuntimeError("late boom")


def mixed(environ, start_response):
    kind = environ["PATH_INFO"].strip("/")
    if kind == "boom":
        raise RuntimeError("boom")
    time.sleep(0.001 if kind == "one" else 0)  # so that others come meanwhile
    length = {"one": 100, "sized": LARGE, "failing": LARGE, "unclosable": 100, "write": 100}.get(kind)
    headers = [("Content-Type", "text/plain")]
    if kind == "file":
        file = File(FILE)
        file.path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        start_response("200 OK", [*headers, ("Content-Length", str(LARGE))])
        return environ.get("wsgi.file_wrapper", FileWrapper)(file, BLOCK)
    if length and kind != "one":  # whose length a server may know by itself
        headers.append(("Content-Length", str(length)))
    if kind == "upload":
        size = len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [*headers, ("Content-Length", str(len(str(size))))])
        return [str(size).encode()]
    write = start_response("200 OK", headers)
    if kind == "write":
        write(b"x" * 100)
        return []
    bodies = {"one": [b"x" * 100], "unclosable": Unclosable(), "failing": failing()}
    return bodies.get(kind) or chunks(LARGE)


def running(_, start_response):
    body = json.dumps({"running": limit.running, "reads": reads}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


limit = ConcurrencyLimit(mixed, LIMIT)
app = Dispatcher({"/": limit, "/bare": mixed, "/running": running})

# ------------------------------------------------------------------------------------------------ the servers


SERVERS = ("waitress", "cheroot", "gunicorn-sync", "gunicorn-gthread", "uwsgi")


def uwsgi() -> str | None:
    """Return the uWSGI that serves this version of Python, compiled beside it, or else Debian's."""
    beside = Path(sys.executable).with_name("uwsgi")
    return str(beside) if beside.exists() else shutil.which(f"uwsgi_python3{sys.version_info.minor}")


def is_installed(server: str) -> bool:
    """Whether *server* can be started here."""
    if server == "uwsgi":
        return uwsgi() is not None
    module = server.partition("-")[0]
    return importlib.util.find_spec(module) is not None and not (module == "gunicorn" and sys.platform == "win32")


def command(server: str, port: int = 0) -> list[str | Path]:
    """Return the command that serves `app` with *server*, in one process; it says on which port, if that is 0."""
    gunicorn = ["gunicorn", f"--bind=127.0.0.1:{port}", "--timeout=600", f"--pythonpath={HERE.parent}"]
    address = ["--http-socket", f"127.0.0.1:{port}", "--master", "--die-on-term", "--enable-threads", "--need-app"]
    where = ["--virtualenv", sys.prefix, "--pythonpath", HERE.parent, "--module", "limited:app"]
    return {
        "waitress": [sys.executable, HERE, "waitress", str(port)],
        "cheroot": [sys.executable, HERE, "cheroot", str(port)],
        "gunicorn-sync": [sys.executable, "-m", *gunicorn, "limited:app"],
        "gunicorn-gthread": [sys.executable, "-m", *gunicorn, f"--threads={THREADS}", "limited:app"],
        "uwsgi": [uwsgi() or "uwsgi", *address, "--threads", str(THREADS), *where],
    }[server]


SAYS_WHERE = re.compile(r"127\.0\.0\.1:[1-9]\d*")


def url_in(log: str) -> str:
    """Return where a server has said that it serves."""
    found = SAYS_WHERE.search(log)
    assert found, log
    return f"http://{found[0]}"


def main() -> None:
    if sys.argv[1] == "waitress":
        import waitress

        server = waitress.create_server(app, host="127.0.0.1", port=int(sys.argv[2]), threads=THREADS)
        print(f"serving on http://127.0.0.1:{server.effective_port}", file=sys.stderr, flush=True)
        server.run()
    else:
        from cheroot.wsgi import Server

        server = Server(("127.0.0.1", int(sys.argv[2])), app, numthreads=THREADS)
        server.prepare()
        print(f"serving on http://127.0.0.1:{server.bind_addr[1]}", file=sys.stderr, flush=True)
        server.serve()


# ------------------------------------------------------------------------------------------------ the clients

KINDS = {  # how many bytes a whole response has; None: it fails
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
    """Return status, headers (lower case, those that tell the time left out) and body of a response, read whole."""
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT)) as connection:
        connection.request(method, path, body=body, headers={"Connection": "close"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders() if name.lower() != "date"}
        return response.status, headers, response.read()


def leave(url: str, kind: str, chance: random.Random) -> str:
    """Begin a request and go away: while it is sent, before the answer, or in it."""
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
    """Do one request, chosen by *seed*, and say how it ended. Raises AssertionError if that is not as it should be."""
    chance = random.Random(seed)
    kind = chance.choice(list(KINDS))
    if chance.random() < 0.1:
        return leave(url, kind, chance)
    method = "POST" if kind == "upload" else "HEAD" if chance.random() < 0.1 else "GET"
    try:
        status, _, body = get(url, f"/{kind}", method, b"x" * LARGE if kind == "upload" else None)
    except (OSError, http.client.HTTPException) as error:
        # A refused upload is not read, and the end of its connection may come before its answer.
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
    """Send *requests* of all kinds at once, a tenth of which are left; return how many ended how."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return Counter(clients.map(lambda number: one_request(url, seed * 1_000_003 + number), range(requests)))


def permits_out(url: str) -> int:
    """Wait until no request runs; return how many permits are out still, less than none if one was given back twice."""
    deadline = time.monotonic() + TIMEOUT
    while (out := json.loads(get(url, "/running/")[2])["running"]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return out


if __name__ == "__main__":
    main()
