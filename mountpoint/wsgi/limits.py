"""Two bounds around an app, under any WSGI server: how many requests run in it at once, and how long a body may be.

Both refuse at once and never wait: a request that waits holds one of the server's threads, and those are what the
other apps need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError, Problem
from .responses import OwnResponse, unavailable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

#: The most that a limit can be: its places lie in a list, of eight bytes each.
MOST_PLACES: Final = 1_000_000


class ConcurrencyLimit:
    """WSGI middleware that lets at most *limit* requests run in *app*, and answers 503 to what comes beyond.

    A request runs until its response is closed, so that a slow reader counts as long as it reads. The 503 asks the
    client to come again in *retry_after* seconds. Each process counts its own. Raises `ConfigError`.

    Under ``mountpoint serve`` a mount's own ``limit`` does better: there a request waits outside the threads.

    >>> shop = ConcurrencyLimit(shop, 4)
    >>> shop.running
    0
    """

    def __init__(self, app: WSGIApplication, limit: int, *, retry_after: int = 1) -> None:
        problems = [
            *_not_an_integer("limit", limit, 1, MOST_PLACES),
            *_not_an_integer("retry_after", retry_after, 0),
        ]
        if problems:
            raise ConfigError(problems)
        self.app = app
        self.limit = limit
        self.retry_after = retry_after
        # Not a lock and a number: the garbage collector may end a response at any moment, and so within the lock that
        # it would need. A list's pop and append are atomic.
        self._free: list[None] = [None] * limit

    @property
    def running(self) -> int:
        """How many requests are running."""
        return self.limit - len(self._free)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            self._free.pop()
        except IndexError:
            return unavailable(self.retry_after, "the mount's limit is reached")(environ, start_response)
        permit = _Permit(self._free)
        try:
            app = self.app
            response = app(environ, start_response)
            permit.response_close = getattr(response, "close", None)
            if _is_handed_over(response, environ.get("wsgi.file_wrapper")) and _set_close(response, permit.close):
                return response
            return (_SizedResponse if hasattr(response, "__len__") else _Response)(response, permit.close)
        except BaseException:
            permit.close()
            raise


class _Permit:
    """The right of one request to run. It goes back once, whoever closes it, on whatever thread, and how often."""

    __slots__ = ("_places", "response_close")

    def __init__(self, free: list[None]) -> None:
        self._places = [free]  # a list for its pop, which one caller only gets through
        self.response_close: Callable[[], object] | None = None

    def close(self) -> None:
        """Close the response of the app, then give the permit back, even if that raises. Again: do nothing."""
        try:
            free = self._places.pop()
        except IndexError:
            return
        # The wrapper of a file refers to us by its close, and we to it by this one: leave no cycle behind.
        response_close, self.response_close = self.response_close, None
        try:
            if response_close is not None:
                response_close()
        finally:
            free.append(None)

    def __del__(self) -> None:
        # A server that drops a response and never closes it breaks PEP 3333; the permit goes back all the same.
        if self._places:
            self._places.pop().append(None)


class _Response:
    """An app's response that gives its permit back when it is closed."""

    __slots__ = ("_chunks", "close")

    def __init__(self, chunks: Iterable[bytes], close: Callable[[], None]) -> None:
        self._chunks = chunks
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        # A generator, since it keeps us, and so the permit, alive as long as somebody iterates. No "yield from": that
        # would close an iterator that is given up halfway, and the server closes the response a second time.
        for chunk in self._chunks:  # noqa: UP028
            yield chunk


class _SizedResponse(_Response):
    """The same for a response with a length: of a list of one item, servers know the Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._chunks)  # type: ignore[arg-type]


def _is_handed_over(response: object, file_wrapper: Any) -> bool:
    """Whether *response* is one that the server sends by itself, if it gets the very object back.

    waitress, gunicorn and wsgiref know it by its type, which is *file_wrapper*. uWSGI's *file_wrapper* is a function:
    it returns the file that it is given, and the file is known again by its identity.
    """
    if isinstance(file_wrapper, type):
        return isinstance(response, file_wrapper)
    return file_wrapper is not None and hasattr(response, "read")


def _set_close(response: object, close: Callable[[], None]) -> bool:
    """Let *close* stand in for the method of that one object; return False if it takes no attribute, as some in C."""
    try:
        response.close = close  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        return False
    return True


_TOO_LARGE = OwnResponse("413 Content Too Large", "the body is over the mount's max_body")


class MaxBody:
    """WSGI middleware that answers 413 to a request whose Content-Length is more than *most* bytes.

    The app is not called. A request without a Content-Length is handed on: waitress gives one to every body, for it
    has read it by then; gunicorn, cheroot and uWSGI let a chunked body through, which is the app's to bound. What is
    no Content-Length at all is handed on as well, since it is the server's to refuse. Raises `ConfigError`.
    """

    def __init__(self, app: WSGIApplication, most: int) -> None:
        if problems := list(_not_an_integer("most", most, 0)):
            raise ConfigError(problems)
        self.app = app
        self._most = _in_order(str(most))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH", "")
        if length.isascii() and length.isdigit() and _in_order(length) > self._most:
            return _TOO_LARGE(environ, start_response)
        app = self.app
        return app(environ, start_response)


def _in_order(digits: str) -> tuple[int, str]:
    """Return what sorts as the number does. int() would refuse one of 5,000 digits."""
    digits = digits.lstrip("0")
    return len(digits), digits


def _not_an_integer(key: str, found: object, least: int, most: int | None = None) -> Iterator[Problem]:
    """Yield what is wrong with *found*, if it is no integer of at least *least* and at most *most*."""
    if type(found) is not int or found < least or (most is not None and found > most):
        expected = f"of at least {least}" if most is None else f"from {least} to {most}"
        yield Problem(key, f"expected an integer {expected}, found {found!r}")
