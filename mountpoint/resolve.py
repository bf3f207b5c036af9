"""``mountpoint resolve``: which mount gets a URL, with no app imported.

It asks the router that ``serve`` asks, with an app that is never called at each mount, so the two cannot differ.
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
    """Where a request goes: to an app, with ``script_name`` and ``path_info``, or to ``status``, for a ``reason``.

    Paths are text, for people. What does not apply is None.
    """

    mount: str | None = None
    app: str | None = None
    script_name: str | None = None
    path_info: str | None = None
    status: int | None = None
    location: str | None = None
    reason: str | None = None

    def as_json(self) -> str:
        """Return one JSON object, with null for what does not apply."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Return a line for each thing that applies, its name in front."""
        values = {name.upper() if "_" in name else name: value for name, value in dataclasses.asdict(self).items()}
        # PATH_INFO is empty where an app is asked for its exact prefix: that is worth seeing.
        return "\n".join(f"{name:<12} {value}".rstrip() for name, value in values.items() if value is not None)


def resolve(config: Config, url: str, *, host: str | None = None, method: str = "GET") -> Resolution:
    """Return where a *method* request for *url*, a public path or URL, would go.

    *host* is the value of ``Host``, by default that of *url*. The prefix that the proxy strips is removed first. Raises
    `UsageError` if *url* is neither a path nor a URL.
    """
    if not re.match(r"/|[A-Za-z][A-Za-z0-9+.-]*://", url):
        right = f"http://{url}" if re.match(r"[\w.-]+:[0-9]+(/|$)", url) else f"/{url}"
        hint = "name a URL after the file" if url.endswith(".toml") else f'write "{right}"'
        raise UsageError([Problem("URL", f'expected a path or a URL, found "{url}"; {hint}')])
    try:
        target = split_target(encode_url(url))
    except UnicodeEncodeError:
        raise UsageError([Problem("URL", "expected UTF-8, found other bytes; write each as %XX")]) from None
    except ValueError as error:
        return Resolution(status=400, reason=str(error))
    path = target.path_info
    host = host if host is not None else target.authority
    if host is not None and host_name(host) is None:
        return Resolution(status=400, reason=f"the Host header is not a host: {host!r}")
    if strips := config.proxy.strips_prefix():
        if not is_below(path, strips):
            return Resolution(
                reason=f"[proxy] strips {config.proxy.strips}, and the path is not below it: it never gets here"
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
    return _ask(config, environ)


def _ask(config: Config, environ: WSGIEnvironment) -> Resolution:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise NotImplementedError  # stands for the app of a mount, which is not called

    mounts = [Mount(mount.key, app, slash=mount.slash, dot_segments=mount.dot_segments) for mount in config.mounts]
    route = Router(MountTable(mounts), config.proxy).route(environ)
    apps = {mount.key: mount.app.text for mount in config.mounts}
    if route.app is app:
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


def _readable(wsgi: str) -> str:
    return wsgi.encode("latin-1").decode(errors="backslashreplace")
