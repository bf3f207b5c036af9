"""The dispatcher: match, shift, call.

The matched prefix moves from ``PATH_INFO`` to ``SCRIPT_NAME`` (PEP 3333), so that the app knows where it lives and
every link that it builds stays under its mount. The app gets a copy of environ; the caller's is never touched, because
outer middleware and server logs go on reading it, while a generator response runs long after the call has returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from .responses import answer
from ..errors import ConfigError, Problem
from .keys import host_name
from .record import KEY, RequestRecord
from .table import Mount, MountTable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# RFC 3986: what may stand unencoded in a path and in a query. A query comes encoded, so its percent signs stay.
_PATH_SAFE = "/!$&'()*+,;=:@-._~"
_QUERY_SAFE = _PATH_SAFE + "?%"


class Dispatcher:
    """A WSGI application that hands each request to the app mounted at its path.

    *mounts* maps keys to apps, or lists `Mount` objects, or is a `MountTable`. *default* is the app of the root: the
    mount ``/`` without a host. Raises `ConfigError`, which names every bad mount, or if there are two roots.

    What no mount owns is answered 404; a path that is none, or that holds a dot segment, 400; GET and HEAD of the exact
    prefix of a mount are redirected, 308, to its slash form. ``mountpoint.mount`` in the app's environ is the key of
    its mount, and ``mountpoint.request`` the `RequestRecord` that all layers share.

    >>> site = Dispatcher({"/tv_ws": tv_ws, "/other": other}, default=home)

    The table is read once a request, through the attribute ``table``: to replace it is one assignment, and requests
    in flight end on the table that they began with.
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
                problems.append(Problem("/", "is mounted, and a default is given; expected one of them, remove either"))
            else:
                mounts.append(Mount("/", default))
        try:
            self.table = mounts if isinstance(mounts, MountTable) else MountTable(mounts)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        table = self.table
        try:
            path: str = environ["PATH_INFO"]
            script_name: str = environ["SCRIPT_NAME"]
        except KeyError:  # PEP 3333 lets a server leave out an empty one
            path = environ.get("PATH_INFO", "")
            script_name = environ.get("SCRIPT_NAME", "")
        host = ""
        if table.names_hosts:
            value = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
            name = host_name(value)
            if name is None and "HTTP_HOST" in environ:
                return answer(environ, start_response, "400 Bad Request", "the Host header is not a host")
            host = name or ""
        owner = table.owner  # a name first: CPython is slower to call an attribute that is no method
        mount = owner(path, host)
        # A proxy evaluates its rules on the resolved path and forwards the raw one: what holds a dot segment has not
        # been through the rules of the mount that it names. (The plain tests first: one scan is often enough.)
        if (
            "." in path
            and "/." in path
            and (mount is None or mount.dot_segments != "pass")
            and ("/./" in path or "/../" in path or path.endswith(("/.", "/..")))
        ):
            return answer(environ, start_response, "400 Bad Request", "the path holds a dot segment")
        if mount is None:
            if path and path[0] != "/":
                return _refuse_target(environ, start_response, path)
            return answer(environ, start_response, "404 Not Found", "no mount owns the path")

        if script_name:
            script_name = script_name.rstrip("/")  # "/" counts as empty: "//x" must never arise
        prefix = mount.prefix
        if prefix:
            script_name += prefix
            path = path.removeprefix(prefix)
            if not path and mount.slash != "pass" and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
                return _redirect_to_slash(environ, start_response, mount, script_name)
        elif not path:
            path = "" if script_name else "/"
        elif path[0] != "/":  # only the root, or nobody, can own such a path
            return _refuse_target(environ, start_response, path)

        inner = environ.copy()
        inner["SCRIPT_NAME"] = script_name
        inner["PATH_INFO"] = path
        inner["mountpoint.mount"] = mount.key
        record: RequestRecord | None = environ.get(KEY)
        if record is None:
            record = inner[KEY] = RequestRecord(environ.get("REMOTE_ADDR"))
        if record.mount is None:  # else a dispatcher around this one has named its own
            record.mount = mount.key
        app = mount.app
        return app(inner, start_response)


def _refuse_target(environ: WSGIEnvironment, start_response: StartResponse, path: str) -> Iterable[bytes]:
    if path == "*" and environ["REQUEST_METHOD"] == "OPTIONS":  # of the server, not of an app (RFC 9110 section 9.3.7)
        return answer(environ, start_response, "204 No Content", "OPTIONS * is the server's own")
    return answer(environ, start_response, "400 Bad Request", "the path does not start with a slash")


def _redirect_to_slash(
    environ: WSGIEnvironment, start_response: StartResponse, mount: Mount, script_name: str
) -> Iterable[bytes]:
    """Send the client from ``/tv_ws`` to ``/tv_ws/``, or the page's relative links would leave the mount.

    The location is a path only, since scheme and host are what a proxy may have hidden, and starts with one slash,
    since with two it would name another host.
    """
    record: RequestRecord | None = environ.get(KEY)
    if record is not None:
        record.mount = record.mount or mount.key
    location = quote("/" + script_name.lstrip("/") + "/", safe=_PATH_SAFE, encoding="latin-1")
    query = environ.get("QUERY_STRING")
    if query:
        location += "?" + quote(query, safe=_QUERY_SAFE, encoding="latin-1")
    return answer(
        environ,
        start_response,
        "308 Permanent Redirect",
        "the mount's prefix without its slash",
        [("Location", location)],
    )
