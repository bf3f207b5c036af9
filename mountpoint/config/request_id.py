"""The settings of ``[proxy]`` that exclude ``request_id`` of ``[server]``."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Problem
from ..wsgi.proxy_settings import ProxySettings
from ..wsgi.request_id import REQUEST_ID_HEADER


def conflicts_with_request_id(proxy: ProxySettings) -> Iterator[Problem]:
    """Yield a problem for each setting of *proxy* that would remove the id which the server gives to each request."""
    for key, names in (("pass", proxy.pass_headers), ("user", [proxy.user_header])):
        for name in names:
            if name.lower() == REQUEST_ID_HEADER.lower():
                yield Problem(
                    f"proxy.{key}",
                    f"cannot name {name} beside server.request_id, which takes it from trusted proxies; remove it here",
                )
