"""The WSGI application of a mount with processes of its own: it forwards each request to a worker."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import marshal
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..wsgi.record import RECORD_KEY
from ..wsgi.responses import OwnResponse, unavailable
from . import frames
from .connection import BrokenWorker, RequestNotTaken, RequestTimedOut, Response, WorkerLost
from .pool import NoWorker, Pool
from .report import AppFailed
from .worker import WorkerConnection

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

RETRY_AFTER = 5  # seconds until a client may ask again while no worker is ready
ATTEMPTS = 3  # workers that a request is offered to
_PLAIN = frozenset((str, int, float, bool, type(None)))

_DIED = OwnResponse("502 Bad Gateway", "the worker died")
_TIMED_OUT = OwnResponse("504 Gateway Timeout", "the app took longer than the timeout of its mount")
_NONE_READY = unavailable(RETRY_AFTER, "no worker of the mount is ready")


class ForwardingApp:
    """Forwards each request to a worker of *pool*.

    Responds 503 while no worker is ready, 502 if the worker dies before the response begins, and 504 if the app takes
    too long. Raises `AppFailed` if the app raises. If the worker dies later, the iteration raises `WorkerLost`.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = _RequestBody(environ)
        request = _request(environ, body)
        for _ in range(ATTEMPTS):
            try:
                connection = self.pool.acquire()
            except NoWorker:
                return _NONE_READY(environ, start_response)
            try:
                response = connection.begin(request, body.read)
            except AppFailed:
                self.pool.release(connection, reusable=True)
                raise
            except RequestTimedOut:
                self.pool.release(connection, reusable=False)
                return _TIMED_OUT(environ, start_response)
            except RequestNotTaken:
                self.pool.report_gone(connection.worker)
                self.pool.release(connection, reusable=False)
                continue
            except WorkerLost as error:
                self._give_up(connection, error)
                break
            except BaseException:  # the body of the request cannot be read
                self.pool.release(connection, reusable=False)
                raise
            return self._respond(connection, response, start_response, environ["REQUEST_METHOD"] == "HEAD")
        return _DIED(environ, start_response)

    def _give_up(self, connection: WorkerConnection, error: WorkerLost) -> None:
        if isinstance(error, BrokenWorker):
            self.pool.report_broken(connection.worker, f"it has sent {error}")
        self.pool.release(connection, reusable=False)

    def _respond(
        self, connection: WorkerConnection, response: Response, start_response: StartResponse, is_head: bool
    ) -> Iterable[bytes]:
        body = response.body
        if body is not None:
            self.pool.release(connection, reusable=True)
            start_response(response.status, response.headers)
            return body if response.is_single else iter(body)  # without a length, as the app's own iterable
        try:
            start_response(response.status, response.headers)
        except BaseException:
            self.pool.release(connection, reusable=False)
            raise
        return (_SingleBody if response.is_single else _Body)(self, connection, is_head)


class _Body:
    """The body of a response that has not arrived completely.

    ``close`` waits until the app has closed its own response. It gives up a response that has not ended, unless
    *is_head*: then the worker ends it by itself.
    """

    def __init__(self, app: ForwardingApp, connection: WorkerConnection, is_head: bool) -> None:
        self._app = app
        self._is_head = is_head
        self._has_ended = False
        self._connection: WorkerConnection | None = connection

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        connection = self._connection
        if connection is None or self._has_ended:
            raise StopIteration
        try:
            piece = self._next_piece(connection)
        except AppFailed:
            self._connection = None
            self._app.pool.release(connection, reusable=True)
            raise
        except WorkerLost as error:
            self._connection = None
            self._app._give_up(connection, error)
            raise
        if piece is None:
            self._has_ended = True
            raise StopIteration
        return piece

    def _next_piece(self, connection: WorkerConnection) -> bytes | None:
        return connection.next_piece()

    def close(self) -> None:
        if self._is_head:
            for _ in self:
                pass
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not self._has_ended:
            self._app.pool.release(connection, reusable=False)
            return
        try:
            connection.finish()
        except AppFailed:
            self._app.pool.release(connection, reusable=True)
            raise
        except WorkerLost as error:  # the client has the whole response
            self._app._give_up(connection, error)
        else:
            self._app.pool.release(connection, reusable=True)


class _SingleBody(_Body):
    """A body of one item: a server derives its Content-Length from the first one."""

    _is_read = False

    def __len__(self) -> int:
        return 1

    def _next_piece(self, connection: WorkerConnection) -> bytes | None:
        if self._is_read:
            return connection.next_piece()
        self._is_read = True
        return connection.read_whole()


class _RequestBody:
    """The body of a request, read in pieces."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._input: Any = environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH") or ""
        self._left = int(length) if length.isascii() and length.isdigit() else 0  # the server knows every length
        self.start = self.read(frames.EAGER_BODY) if self._left else b""

    @property
    def has_more(self) -> bool:
        return self._left > 0

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes, none at the end."""
        data: bytes = self._input.read(min(size, self._left))
        self._left = self._left - len(data) if data else 0
        return data


def _request(environ: WSGIEnvironment, body: _RequestBody) -> bytes:
    """Return the frame of the request."""
    plain = {name: value for name, value in environ.items() if type(value) in _PLAIN}
    record = environ.get(RECORD_KEY)
    facts = record and {name: value for name in record.__slots__ if type(value := getattr(record, name)) in _PLAIN}
    # The names are the same in many requests, so the worker caches what it makes of their text.
    request = ("\n".join(plain), [*plain.values()], facts, body.start, body.has_more)
    payload = marshal.dumps(request, frames.FORMAT)
    return frames.FRAME.pack(frames.REQUEST, len(payload)) + payload
