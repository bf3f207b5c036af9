"""Two limits on one app, under any WSGI server: how many requests run in it at once, and how long a body may be.

Both reject a request immediately. A request that waited here would hold a thread of the server, and the other apps
need the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError, Problem
from .responses import OwnResponse, unavailable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

#: The largest limit. Each permit takes eight bytes.
MAX_LIMIT: Final = 1_000_000


class ConcurrencyLimit:
    """WSGI middleware that lets at most *limit* requests run in *app*, and responds 503 to every further request.

    A request runs until its response is closed, so a client that reads slowly counts for as long as it reads. The 503
    asks the client to retry after *retry_after* seconds. Each process counts its own requests. Raises `ConfigError`.

    Under ``mountpoint serve``, use the ``limit`` of the mount instead: there a request waits without a thread.

    >>> shop = ConcurrencyLimit(shop, 4)
    >>> shop.running
    0
    """

    def __init__(self, app: WSGIApplication, limit: int, *, retry_after: int = 1) -> None:
        problems = [
            *_integer_problems("limit", limit, 1, MAX_LIMIT),
            *_integer_problems("retry_after", retry_after, 0),
        ]
        if problems:
            raise ConfigError(problems)
        self.app = app
        self.limit = limit
        self.retry_after = retry_after
        # The garbage collector can release a permit at any moment, even while this thread takes one. A semaphore would
        # deadlock then. SimpleQueue.put is reentrant.
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(limit):
            self._permits.put(None)

    @property
    def running(self) -> int:
        """How many requests are running."""
        return self.limit - self._permits.qsize()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            self._permits.get_nowait()
        except Empty:
            return unavailable(self.retry_after, "the mount's limit is reached")(environ, start_response)
        permit = _Permit(self._permits)
        try:
            app = self.app
            response = app(environ, start_response)
            permit.response_close = getattr(response, "close", None)
            if _is_sent_by_server(response, environ.get("wsgi.file_wrapper")) and _set_close(response, permit.close):
                return response
            return (_SizedResponse if hasattr(response, "__len__") else _Response)(response, permit.close)
        except BaseException:
            permit.close()
            raise


class _Permit:
    """The right of one request to run. Released exactly once, however often and from whichever thread it is closed."""

    __slots__ = ("_release_to", "response_close")

    def __init__(self, permits: SimpleQueue[None]) -> None:
        self._release_to = [permits]  # list.pop is atomic, so only the first caller gets the queue
        self.response_close: Callable[[], object] | None = None

    def close(self) -> None:
        """Close the app's response, then release the permit, even if that raises. Further calls do nothing."""
        try:
            permits = self._release_to.pop()
        except IndexError:
            return
        # A file wrapper refers to this permit through its close, and the permit to the wrapper. This breaks the cycle.
        response_close, self.response_close = self.response_close, None
        try:
            if response_close is not None:
                response_close()
        finally:
            permits.put(None)

    def __del__(self) -> None:
        # Some servers drop a response without closing it, against PEP 3333.
        if self._release_to:
            self._release_to.pop().put(None)


class _Response:
    """An app's response that releases its permit when it is closed."""

    __slots__ = ("_chunks", "close")

    def __init__(self, chunks: Iterable[bytes], close: Callable[[], None]) -> None:
        self._chunks = chunks
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        # A generator, because it keeps this object alive, and so the permit, until the iteration ends. "yield from"
        # would close an iterator that is abandoned halfway, and the server then closes the response a second time.
        for chunk in self._chunks:  # noqa: UP028
            yield chunk


class _SizedResponse(_Response):
    """A response with a length: servers derive the Content-Length from a list of one item."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._chunks)  # type: ignore[arg-type]


def _is_sent_by_server(response: object, file_wrapper: Any) -> bool:
    """Whether the server sends *response* itself, as a file, if it gets this very object back.

    waitress, gunicorn and wsgiref recognize it by its type, which is *file_wrapper*. uWSGI's *file_wrapper* is a
    function that returns the file that it is given, and uWSGI recognizes the file by its identity.
    """
    if isinstance(file_wrapper, type):
        return isinstance(response, file_wrapper)
    return file_wrapper is not None and hasattr(response, "read")


def _set_close(response: object, close: Callable[[], None]) -> bool:
    """Replace the ``close`` of this one object; return False if it accepts no attributes, like some types in C."""
    try:
        response.close = close  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        return False
    return True


class MaxBody:
    """WSGI middleware that responds 413 to a request whose Content-Length is more than *max_bytes*.

    The app is not called. Two kinds of requests pass: one without a Content-Length, and one whose Content-Length is
    not a number, which the server has to reject. waitress reads every body first, so it always knows a length.
    gunicorn, cheroot and uWSGI pass chunked bodies on without one: the app has to limit these. Raises `ConfigError`.
    """

    def __init__(self, app: WSGIApplication, max_bytes: int) -> None:
        if problems := list(_integer_problems("max_bytes", max_bytes, 0)):
            raise ConfigError(problems)
        self.app = app
        self._max_bytes = _numeric_key(str(max_bytes))
        self._too_large = OwnResponse(
            "413 Content Too Large",
            f"the body exceeds the mount's max_body of {max_bytes}",
            text=f"413 Content Too Large: exceeds max_body of {max_bytes}",
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = self.refusal(environ) or self.app
        return app(environ, start_response)

    def refusal(self, environ: WSGIEnvironment) -> OwnResponse | None:
        """Return the response to a request whose Content-Length is too large, else None."""
        length = environ.get("CONTENT_LENGTH", "")
        if length.isascii() and length.isdigit() and _numeric_key(length) > self._max_bytes:
            return self._too_large
        return None


def _numeric_key(digits: str) -> tuple[int, str]:
    """Return a key that sorts as the number does. int() raises for 5,000 digits."""
    digits = digits.lstrip("0")
    return len(digits), digits


def _integer_problems(key: str, found: object, least: int, most: int | None = None) -> Iterator[Problem]:
    """Yield a problem at *key* unless *found* is an integer of at least *least* and at most *most*."""
    if type(found) is not int or found < least or (most is not None and found > most):
        expected = f"of at least {least}" if most is None else f"from {least} to {most}"
        yield Problem(key, f"expected an integer {expected}, found {found!r}")
