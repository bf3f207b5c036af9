"""The dispatcher: match, shift, call.

The matched prefix moves from ``PATH_INFO`` to ``SCRIPT_NAME`` (PEP 3333), so that the app knows its prefix and every
link that it builds stays under its mount. The app gets a copy of environ. The caller's environ never changes: outer
middleware and server logs still read it, and a generator reads its own copy long after the call has returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, overload

from ..errors import ConfigError, Problem
from .keys import host_name
from .percent import encode_path, encode_query
from .record import RECORD_KEY, RequestRecord
from .responses import OwnResponse
from .table import Mount, MountTable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Route(NamedTuple):
    """The *app* for a request and the *environ* to call it with. *mount* is the key of its mount, None without one."""

    app: WSGIApplication
    environ: WSGIEnvironment
    mount: str | None


def host_of(environ: WSGIEnvironment) -> str | None:
    """Return the bare host of a request, or None if ``Host`` is malformed.

    Without ``Host``, it is ``SERVER_NAME``, or empty if that is not a host either.
    """
    value = environ.get("HTTP_HOST")
    if value:
        return host_name(value)
    return host_name(environ.get("SERVER_NAME", "")) or ("" if value is None else None)


class Dispatcher:
    """A WSGI application that hands each request to the app mounted at its path.

    *mounts* maps keys to apps, or lists `Mount` objects, or is a `MountTable`. *default* is the app of the root, the
    mount ``/`` without a host. Raises `ConfigError`, which names every bad mount, if a mount is wrong or there are two
    roots.

    >>> site = Dispatcher({"/tv_ws": tv_ws, "/other": other}, default=home)

    The dispatcher itself responds in three cases: 404 to a path that no mount owns; 400 to a path that does not start
    with a slash or that has a dot segment; 308 to GET and HEAD of a mount's exact prefix, to add the slash.

    In the app's environ, ``mountpoint.mount`` is the key of its mount and ``mountpoint.request`` the `RequestRecord`.

    To replace the table of a running dispatcher, assign to its attribute ``table``. Each request reads it once, so
    requests in flight finish on the old table.
    """

    def __init__(
        self,
        mounts: Mapping[str, WSGIApplication] | Iterable[Mount] | MountTable,
        default: WSGIApplication | None = None,
    ) -> None:
        if isinstance(mounts, Mapping):
            mounts = [Mount(key, app) for key, app in mounts.items()]
        problems: list[Problem] = []
        if default is not None:
            mounts = list(mounts)
            if any(isinstance(mount, Mount) and mount.key == "/" for mount in mounts):
                problems.append(
                    Problem("/", "expected one app for the root, found a mount and default; remove one of them")
                )
            else:
                mounts.append(Mount("/", default))
        try:
            self.table = mounts if isinstance(mounts, MountTable) else MountTable(mounts)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)

    def route(self, environ: WSGIEnvironment) -> Route:
        """Return the app that responds to *environ*, without calling it.

        The app is that of the mount, or an `OwnResponse` for a redirect and for an error. *environ* does not change,
        but its `RequestRecord` gets the mount.
        """
        return self(environ, None)

    @overload
    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]: ...

    @overload
    def __call__(self, environ: WSGIEnvironment, start_response: None) -> Route: ...

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse | None) -> Iterable[bytes] | Route:
        """Call the app that responds to *environ*; without *start_response*, return its `Route`.

        One function does both, so that they cannot differ. A call of `route` in here would take a tenth of the time.
        """
        table = self.table
        try:
            path: str = environ["PATH_INFO"]
            script_name: str = environ["SCRIPT_NAME"]
        except KeyError:  # a server may leave out an empty variable (PEP 3333)
            path = environ.get("PATH_INFO", "")
            script_name = environ.get("SCRIPT_NAME", "")
        if table.names_hosts:
            host = host_of(environ)
            if host is None:
                return _finish(_BAD_HOST, environ, None, start_response)
            mount = table.owner_at_host(path, host)
        else:
            owner = table.owner  # CPython calls a local name faster than an attribute that holds a function
            mount = owner(path)
        # A proxy evaluates its rules on the resolved path and forwards the raw path, so a path with a dot segment has
        # bypassed the rules for the mount that it names. (The cheap tests come first, so most paths are scanned once.)
        if (
            "." in path
            and "/." in path
            and (mount is None or mount.dot_segments != "pass")
            and ("/./" in path or "/../" in path or path.endswith(("/.", "/..")))
        ):
            return _finish(_DOT_SEGMENT, environ, None, start_response)
        if mount is None:
            own = _NOT_FOUND if not path or path[0] == "/" else _response_to_non_path(environ, path)
            return _finish(own, environ, None, start_response)

        if script_name:
            script_name = script_name.rstrip("/")  # "/" and "/x" would make "//x", which names another host
        record: RequestRecord | None = environ.get(RECORD_KEY)
        prefix = mount.prefix
        if prefix:
            script_name += prefix
            path = path.removeprefix(prefix)
            if not path and mount.slash == "serve":
                path = "/"
            elif not path and mount.slash != "pass" and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
                if record is not None and record.mount is None:
                    record.mount = mount.key
                return _finish(_slash_redirect(environ, script_name), environ, mount.key, start_response)
        elif not path:
            path = "" if script_name else "/"
        elif path[0] != "/":  # only the root mount can own such a path
            return _finish(_response_to_non_path(environ, path), environ, None, start_response)

        inner = environ.copy()
        inner["SCRIPT_NAME"] = script_name
        inner["PATH_INFO"] = path
        inner["mountpoint.mount"] = mount.key
        if record is None:
            record = inner[RECORD_KEY] = RequestRecord(environ.get("REMOTE_ADDR"))
        if record.mount is None:  # else an outer dispatcher has set it
            record.mount = mount.key
        if start_response is None:
            return Route(mount.app, inner, mount.key)
        return mount.app(inner, start_response)


_BAD_HOST = OwnResponse("400 Bad Request", "the Host header is not a host")
_DOT_SEGMENT = OwnResponse("400 Bad Request", "the path has a dot segment")
_NOT_FOUND = OwnResponse("404 Not Found", "no mount owns the path")
_BAD_PATH = OwnResponse("400 Bad Request", "the path does not start with a slash")
_SERVER_OPTIONS = OwnResponse("204 No Content", "the server itself answers OPTIONS *")  # RFC 9110 section 9.3.7


def _finish(
    own: OwnResponse, environ: WSGIEnvironment, mount: str | None, start_response: StartResponse | None
) -> Iterable[bytes] | Route:
    """Respond with *own*, or return its route without *start_response*."""
    return Route(own, environ, mount) if start_response is None else own(environ, start_response)


def _response_to_non_path(environ: WSGIEnvironment, path: str) -> OwnResponse:
    """Return the response to a *path* that does not start with a slash."""
    return _SERVER_OPTIONS if path == "*" and environ["REQUEST_METHOD"] == "OPTIONS" else _BAD_PATH


def _slash_redirect(environ: WSGIEnvironment, script_name: str) -> OwnResponse:
    """Return the redirect from ``/tv_ws`` to ``/tv_ws/``. Without it, relative links of the page would leave the mount.

    The location is a path, because a proxy may hide the scheme and the host. It starts with a single slash, because
    two slashes would name another host.
    """
    location = encode_path("/" + script_name.lstrip("/") + "/")
    query = environ.get("QUERY_STRING")
    if query:
        location += "?" + encode_query(query)
    return OwnResponse("308 Permanent Redirect", "the mount's prefix without its slash", [("Location", location)])
