"""Serve the status page: one thread, a few connections, and none of the code that the page reports on.

The page must answer when every request thread is busy, while the server drains, and when the loop is blocked. So it
shares neither the loop nor the queues nor their code. `http.server.ThreadingHTTPServer` is not an alternative: the
number of its threads has no limit, and a client that sends one byte now and then keeps its thread for ever.

Here one thread waits for all connections with a selector. It collects the head of a request, and then the classes of
`wsgiref` parse it, call the app and format the response, without a socket. A connection serves one request. The number
of connections, the size of a head and the time of a connection are limited, so a hostile client can only keep others
from the page for a moment.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import TYPE_CHECKING, Any
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler

from ..loading.forking import close_in_children

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

MAX_CONNECTIONS = 16  # a further one closes the oldest
MAX_HEAD = 16 * 2**10  # bytes of the request line and the headers
HEAD_SECONDS = 5.0  # for the head, from the accept on
RESPONSE_SECONDS = 10.0  # for the client to take the response
LINGER_SECONDS = 2.0  # after the response, for a client that still sends
STOP_SECONDS = 0.5  # after `stop`, for a client to send its request
_CALM_SECONDS = 10.0  # without a failed accept, after which the next one is logged
_REST_SECONDS = 0.1  # after an accept has failed: it might fail again at once

logger = logging.getLogger("mountpoint")


class StatusListener:
    """Serves *app* on *sockets*, which listen and stay the caller's, in a thread of its own until `stop`."""

    def __init__(self, sockets: Sequence[socket.socket], app: WSGIApplication) -> None:
        self._app = app
        self._selector = selectors.DefaultSelector()
        self._connections: dict[socket.socket, _Connection] = {}  # the oldest first
        self._waker, self._woken = socket.socketpair()
        self._listening = [*sockets]
        self._is_stopped = False
        self._failed_at = float("-inf")  # a `time.monotonic`, of the last accept that failed
        self._selector.register(self._woken, selectors.EVENT_READ)
        for sock in sockets:
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="mountpoint-status", daemon=True)
        close_in_children(self)

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if the system allows no more threads."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more connections, and end the thread once the open ones have their responses."""
        self._is_stopped = True
        with suppress(OSError):  # the thread has ended
            self._waker.send(b"\0")

    def join(self, seconds: float) -> None:
        """Wait up to *seconds* for the end of the thread."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def close_in_child(self) -> None:
        """Close the copies of all descriptors in a child that an app has forked."""
        self._close_all()

    def _close_all(self) -> None:
        closes = [one.close for one in (*self._connections, self._waker, self._woken)]
        for close in (*closes, self._selector.close):
            with suppress(OSError):  # an app has closed the descriptor
                close()

    # ---------------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        try:
            while not self._is_stopped or self._connections:
                self._run_once()
                if self._is_stopped and self._listening:
                    self._wind_down()
        except Exception:  # an app has closed our descriptors
            logger.exception("the status page has stopped")
        finally:
            self._close_all()

    def _wind_down(self) -> None:
        """Accept no more connections. A client that has connected just now gets a moment for its request."""
        for sock in self._listening:
            self._selector.unregister(sock)
        self._listening.clear()
        latest = time.monotonic() + STOP_SECONDS
        for connection in self._connections.values():
            if not connection.output:
                connection.deadline = min(connection.deadline, latest)

    def _run_once(self) -> None:
        deadlines = [one.deadline for one in self._connections.values()]
        for key, _ in self._selector.select(max(min(deadlines) - time.monotonic(), 0.0) if deadlines else None):
            if not isinstance(key.data, _Connection):
                if key.fileobj is self._woken:
                    self._woken.recv(64)
                else:
                    self._accept(key.fileobj)
            elif key.data.sock in self._connections:  # else an accept has just closed it
                self._advance(key.data)
        now = time.monotonic()
        for connection in [one for one in self._connections.values() if one.deadline <= now]:
            self._close(connection)

    def _accept(self, listener: Any) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionError):  # the client has gone, or another process was faster
            return
        except OSError as error:
            now = time.monotonic()
            if now - self._failed_at > _CALM_SECONDS:  # a shortage of descriptors would fill the log
                logger.warning("the status page cannot accept connections for now: %s", error)
            self._failed_at = now
            time.sleep(_REST_SECONDS)
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._close(next(iter(self._connections.values())))
        sock.setblocking(False)
        connection = self._connections[sock] = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, data=connection)

    def _advance(self, connection: _Connection) -> None:
        try:
            if connection.read_head():
                connection.begin_response(_respond(self._app, bytes(connection.head)))
            if connection.output is not None:
                connection.write()
            if connection.is_over:
                self._close(connection)
            else:
                self._selector.modify(connection.sock, connection.events, data=connection)
        except BlockingIOError:
            self._selector.modify(connection.sock, connection.events, data=connection)
        except OSError:  # the client has gone
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        del self._connections[connection.sock]
        self._selector.unregister(connection.sock)
        connection.sock.close()


class _Connection:
    """A client's connection. It reads the head, writes the response, and then reads until the client closes.

    ``deadline`` is a `time.monotonic`. ``output`` is None until the response begins. Methods raise OSError if the
    client has gone, and BlockingIOError if they must wait.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.deadline = time.monotonic() + HEAD_SECONDS
        self.head = bytearray()
        self.output: memoryview | None = None
        self.is_over = False
        self._lingers = False

    @property
    def events(self) -> int:
        return selectors.EVENT_WRITE if self.output else selectors.EVENT_READ

    def read_head(self) -> bool:
        """Read what has arrived; return whether the head has just become complete, or too large."""
        if self.output:
            return False
        data = self.sock.recv(MAX_HEAD)
        if not data:
            self.is_over = True
        if self._lingers or not data:
            return False
        self.head += data
        return len(self.head) > MAX_HEAD or b"\r\n\r\n" in self.head or b"\n\n" in self.head

    def begin_response(self, output: bytes) -> None:
        self.output = memoryview(output)
        self.deadline = time.monotonic() + RESPONSE_SECONDS

    def write(self) -> None:
        """Send as much as the client takes. After the last byte close this direction, so that nothing is lost."""
        if self.output:
            self.output = self.output[self.sock.send(self.output) :]
        if not self.output and not self._lingers:
            self._lingers = True
            self.deadline = time.monotonic() + LINGER_SECONDS
            self.sock.shutdown(socket.SHUT_WR)


def _respond(app: WSGIApplication, head: bytes) -> bytes:
    """Return the response of *app* to the request with this *head*, as bytes for the client."""
    if len(head) > MAX_HEAD:
        return _error(431)
    try:
        return _Request(head, app).wfile.getvalue()
    except Exception:
        logger.exception("unhandled exception in the status page")
        return _error(500)


def _error(code: int) -> bytes:
    text = f"{code} {HTTPStatus(code).phrase}"
    head = f"HTTP/1.0 {text}\r\nContent-Type: text/plain\r\nContent-Length: {len(text) + 1}\r\nConnection: close"
    return f"{head}\r\n\r\n{text}\n".encode("ascii")


class _Responder(SimpleHandler):
    """Calls an app and formats its response. The app gets nothing of the process's environment."""

    server_software = "mountpoint"
    os_environ: dict[str, str] = {}  # noqa: RUF012 - as in the base class


class _Request(WSGIRequestHandler):
    """Parses *head* and calls *app*; the response is then in ``wfile``."""

    rfile: BytesIO
    wfile: BytesIO
    server_version = "mountpoint"
    sys_version = ""

    def __init__(self, head: bytes, app: WSGIApplication) -> None:
        self._head, self._app = head, app
        BaseHTTPRequestHandler.__init__(self, None, ("", 0), _ServerValues())  # type: ignore[arg-type]

    def setup(self) -> None:
        self.rfile, self.wfile = BytesIO(self._head.lstrip(b"\r\n")), BytesIO()  # RFC 9112 section 2.2

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline()
        if not self.raw_requestline:
            self.send_error(400)
        elif self.parse_request():  # else it has written an error response
            body = BytesIO()
            _Responder(body, self.wfile, self.get_stderr(), self.get_environ(), multithread=False).run(self._app)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Write an error. That of the base class has no status line if the request line cannot be read."""
        self.wfile.write(_error(code))

    def finish(self) -> None:
        """Keep ``wfile`` open, which the base class closes."""

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as in the base class
        """Log nothing. A scraper asks every few seconds."""


class _ServerValues:
    """The attribute of a server that `WSGIRequestHandler` reads."""

    base_environ: Mapping[str, Any] = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
    }
