"""An app behind a `ConcurrencyLimit`, and two servers for it.

    python limited_app.py waitress 8080      # or cheroot; with port 0 it logs the free port that it chose

``/one``, ``/file`` and so on end in every way that a response can. ``/running`` tells, from outside the limit, how many
permits are out. ``/bare/file`` is the same app without the limit. The working folder holds a file named `FILE`.

No validator stands around it: the tests compare the responses, and the files among them, with and without the limit.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections import Counter
from wsgiref.util import FileWrapper

from mountpoint import Dispatcher
from mountpoint.wsgi.limits import ConcurrencyLimit

LIMIT, THREADS = 4, 8
CHUNK = b"x" * 65_536
LARGE = 40 * len(CHUNK)  # bytes: more than a server and its socket buffer before they wait for the reader
FILE = "content"
BLOCK = 50_000  # bytes that a wrapper of the file reads at once; no server chooses this size itself

reads: Counter[str] = Counter()  # the largest read of the file, in bytes, by the path of the request


class File(io.FileIO):
    """A file that records the size of reads: a server that sends the file itself never reads `BLOCK` bytes."""

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
    time.sleep(0.001 if kind == "one" else 0)  # so that requests overlap
    length = {"one": 100, "sized": LARGE, "failing": LARGE, "unclosable": 100, "write": 100}.get(kind)
    headers = [("Content-Type", "text/plain")]
    if kind == "file":
        file = File(FILE)
        file.path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        start_response("200 OK", [*headers, ("Content-Length", str(LARGE))])
        return environ.get("wsgi.file_wrapper", FileWrapper)(file, BLOCK)
    if length and kind != "one":  # a server finds out the length of "one" itself
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


if __name__ == "__main__":
    main()
