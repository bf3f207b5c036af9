"""A request that has ended, as the access log and the observer of the server see it.

Responses that mountpoint itself has made have ended too: a rejection, a 404, and the error for a request that cannot be
read. Counters need a few numbers of every request, so those come as a plain tuple. The object is made only for a reader
that asks for it. It refers to objects that the server has anyway, and a field that takes time is a property.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..wsgi.dispatch import Route
from ..wsgi.record import RequestRecord

if TYPE_CHECKING:
    from waitress.utilities import Error

Rejection = Literal["queue", "limit", "body"]

#: Mount, status, end, seconds in the queue, seconds in the app, bytes in, bytes out: the fields of these names.
Measures = tuple[str | None, int, float, float, float, int, int]


class ServerObserver(Protocol):
    """Is notified of every response. Its methods are called in the thread that serves the request, and must not raise.

    They delay the next request of the connection, so they must not wait either.
    """

    def request_finished(self, measures: Measures, describe: Callable[[], FinishedRequest]) -> None:
        """A request with *measures* has its response. *describe* returns all about it until this method returns."""

    def app_raised(self, mount: str | None, error: BaseException) -> None:
        """The app of *mount*, a key, has raised *error*. The request itself follows, with its 500."""


class ClientRequest(Protocol):
    """The part of a `mountpoint.server.parser.Parser` that is read here."""

    command: str
    path_info: str
    headers: dict[str, str]
    url_scheme: str
    error: Error | None
    record: RequestRecord | None
    route: Route | None
    received_at: float
    started_at: float
    rejection: Rejection | None
    request_id: str | None

    @property
    def request_line(self) -> str: ...
    @property
    def body_length(self) -> int: ...


class FinishedRequest:
    """A request that has ended. Text of the client is a WSGI string, as sent: escape it where it is shown.

    ``status``      the status code; 0 if no byte of a response was sent
    ``bytes_out``   the bytes of the body of the response, without the framing
    ``is_cut_off``  whether the response ended before its last byte: the app raised, or the client disconnected
    ``ended_at``    when the last byte was handed to the connection, from `time.monotonic`, in seconds
    """

    __slots__ = ("_peer", "_request", "bytes_out", "ended_at", "is_cut_off", "status")

    def __init__(self, request: ClientRequest, peer: str | None, measures: Measures, is_cut_off: bool) -> None:
        self._request = request
        self._peer = peer
        _, self.status, self.ended_at, _, _, _, self.bytes_out = measures
        self.is_cut_off = is_cut_off

    # ------------------------------------------------------------------------------------------- what the server did

    @property
    def mount(self) -> str | None:
        """The key of the mount, None if no mount owns the path or if the request could not be read."""
        record = self._request.record
        return record.mount if record else None

    @property
    def request_id(self) -> str | None:
        """The id of the request, None if the server gives no ids."""
        return self._request.request_id

    @property
    def queue_seconds(self) -> float:
        """The seconds from the last byte of the request to the start of the app."""
        request = self._request
        return request.started_at - request.received_at if request.started_at and request.received_at else 0.0

    @property
    def app_seconds(self) -> float:
        """The seconds from the start of the app to the end of the response."""
        started_at = self._request.started_at
        return self.ended_at - started_at if started_at else 0.0

    @property
    def total_seconds(self) -> float:
        """The seconds from the last byte of the request to the end of the response."""
        received_at = self._request.received_at
        return self.ended_at - received_at if received_at else self.app_seconds

    @property
    def rejection(self) -> Rejection | None:
        """Why mountpoint rejected the request, None if it did not.

        ``queue``: the queue of the mount was full. ``limit``: so it was, and the mount ran as many requests as its
        ``limit`` allows. ``body``: the body was too large, or the server could not store it.
        """
        request = self._request
        if request.rejection is not None:
            return request.rejection
        if request.error is not None:
            return "body" if self.status in (413, 503, 507) else None
        is_ours = request.record is not None and request.record.reason is not None
        return "body" if is_ours and self.status == 413 else None

    @property
    def reason(self) -> str | None:
        """Why mountpoint responds itself, None if the app responds."""
        if self._request.error is not None:
            return str(self._request.error.body)
        record = self._request.record
        return record.reason if record else None

    # ------------------------------------------------------------------------------------------- what the client sent

    @property
    def request_line(self) -> str:
        """The request line, as far as it has arrived."""
        return self._request.request_line

    @property
    def method(self) -> str:
        """The method, empty if the request could not be read."""
        return self._request.command

    @property
    def path(self) -> str:
        """The whole path with its prefix, decoded, without the query."""
        return self._request.path_info

    @property
    def bytes_in(self) -> int:
        """The bytes of the body of the request that have arrived."""
        return self._request.body_length

    @property
    def client(self) -> str | None:
        """The address of the client, from a trusted proxy's header if there is one; None on a unix socket."""
        record = self._request.record
        return record.remote_addr if record else self._peer

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, from a trusted proxy's header if there is one."""
        return str(self._variable("wsgi.url_scheme") or self._request.url_scheme)

    @property
    def host(self) -> str | None:
        """The value of ``Host``, from a trusted proxy's header if there is one."""
        found = self._variable("HTTP_HOST")
        return self._request.headers.get("HOST") if found is None else str(found)

    @property
    def user_agent(self) -> str | None:
        return self._request.headers.get("USER_AGENT")

    @property
    def referer(self) -> str | None:
        return self._request.headers.get("REFERER")

    def _variable(self, name: str) -> Any:
        """Return a variable of the environ that the app was called with."""
        if self._request.route is None:
            return None
        environ = self._request.route.environ
        return environ.get(name)


def measure(request: ClientRequest, status: int, bytes_out: int, ended_at: float) -> Measures:
    """Return what counters need of every request."""
    record, started_at, received_at = request.record, request.started_at, request.received_at
    return (
        record.mount if record else None,
        status,
        ended_at,
        started_at - received_at if started_at and received_at else 0.0,
        ended_at - started_at if started_at else 0.0,
        request.body_length,
        bytes_out,
    )
