"""Fixtures of the tests of `TrustedProxies`: one site behind a proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.response import Response

from mountpoint import Dispatcher, TrustedProxies
from mountpoint.wsgi.proxy_settings import ProxySettings

PEER = "192.0.2.7"  # the peer of every request of `make_environ`


@pytest.fixture
def ask(call: Callable[..., Response], echo: Callable[[str], Any]) -> Callable[..., Response]:
    """Return ``ask(path, method, **both)``, a request from the proxy. *both* are settings and variables of environ.

    ``ask(x_for=1, HTTP_X_FORWARDED_FOR="203.0.113.9")``. The table has one mount, ``/tv_ws``.
    """

    def ask(path: str = "/tv_ws/x", method: str = "GET", **both: Any) -> Response:
        settings = {name: both.pop(name) for name in ProxySettings.__match_args__ if name in both}
        app = TrustedProxies(Dispatcher({"/tv_ws": echo("tv")}), **{"trusted": [PEER], **settings})
        return call(app, path, method, **both)

    return ask


@pytest.fixture
def seen_environ(ask: Callable[..., Response]) -> Callable[..., dict[str, Any]]:
    """Return the environ that the app gets for a request. The arguments are those of `ask`."""
    return lambda *args, **both: ask(*args, **both).seen["environ"]
