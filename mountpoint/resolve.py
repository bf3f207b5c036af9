"""``mountpoint resolve``: show which mount gets a URL, without importing an app.

The route comes from the `Router` that ``serve`` uses, so the two cannot differ. A placeholder stands for each app.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .config.reader import Config
from .errors import Problem, UsageError
from .wsgi.keys import host_name, is_below
from .wsgi.percent import encode_url
from .wsgi.responses import OwnResponse
from .wsgi.router import Router
from .wsgi.table import Mount, MountTable
from .wsgi.target import split_target

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a request goes.

    A request for an app has ``script_name`` and ``path_info``, as text for people. A request that mountpoint answers
    itself has ``status`` and ``reason``, and for a redirect ``location``. A request that the proxy never forwards has
    only ``reason``. All other fields are None.
    """

    mount: str | None = None
    app: str | None = None
    script_name: str | None = None
    path_info: str | None = None
    status: int | None = None
    location: str | None = None
    reason: str | None = None

    @property
    def is_app(self) -> bool:
        """Whether an app gets the request."""
        return self.script_name is not None

    def as_json(self) -> str:
        """Return one JSON object with all fields; those that do not apply are null."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Return one line for each field that applies: its name and its value."""
        values = {name.upper() if "_" in name else name: value for name, value in dataclasses.asdict(self).items()}
        # Not "if value": PATH_INFO is the empty string for the exact prefix of a mount, and its line is shown.
        return "\n".join(f"{name:<12} {value}".rstrip() for name, value in values.items() if value is not None)


def resolve(config: Config, url: str, *, host: str | None = None, method: str = "GET") -> Resolution:
    """Return where a request with *method* for *url*, a public path or URL, would go.

    *host* is the value of the ``Host`` header, by default the host of *url*. The prefix that the proxy strips, as
    ``[proxy] strips`` says, is removed from the path first. Raises `UsageError` if *url* is neither a path nor a URL.
    """
    if not re.match(r"/|[A-Za-z][A-Za-z0-9+.-]*://", url):
        right = f"http://{url}" if re.match(r"[\w.-]+:[0-9]+(/|$)", url) else f"/{url}"
        hint = "add a URL after the file" if url.endswith(".toml") else f'write "{right}"'
        raise UsageError([Problem("URL", f'expected a path or a URL, found "{url}"; {hint}')])
    try:
        target = split_target(encode_url(url))
    except UnicodeEncodeError:
        raise UsageError([Problem("URL", "expected UTF-8, found other bytes; write each byte as %XX")]) from None
    except ValueError as error:
        return Resolution(status=400, reason=str(error))
    path = target.path_info
    host = host if host is not None else target.authority
    if host is not None and host_name(host) is None:
        return Resolution(status=400, reason=f"the Host header is not a host: {host!r}")
    if strips := config.proxy.strips_prefix():
        if not is_below(path, strips):
            return Resolution(
                reason=f'the path is not below "{config.proxy.strips}", the prefix that the proxy strips, '
                "so the proxy never forwards it"
            )
        path = path.removeprefix(strips) or "/"
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method.upper(),
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": target.query,
    }
    if host is not None:
        environ["HTTP_HOST"] = host
    return _resolve_environ(config, environ)


def _resolve_environ(config: Config, environ: WSGIEnvironment) -> Resolution:
    mounts = [
        Mount(mount.key, _placeholder, slash=mount.slash, dot_segments=mount.dot_segments) for mount in config.mounts
    ]
    route = Router(MountTable(mounts), config.proxy).route(environ)
    apps = {mount.key: mount.app.text for mount in config.mounts}
    if route.app is _placeholder:
        script_name, path_info = (_readable(route.environ[name]) for name in ("SCRIPT_NAME", "PATH_INFO"))
        return Resolution(route.mount, apps[route.mount or ""], script_name, path_info)
    assert isinstance(route.app, OwnResponse)
    return Resolution(
        route.mount,
        apps.get(route.mount or ""),
        status=int(route.app.status[:3]),
        location=dict(route.app.headers).get("Location"),
        reason=route.app.reason,
    )


def _placeholder(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise NotImplementedError  # the router only returns it


def _readable(wsgi: str) -> str:
    """Return a WSGI string (PEP 3333) as text, in which bytes that are not UTF-8 are escaped."""
    return wsgi.encode("latin-1").decode(errors="backslashreplace")
