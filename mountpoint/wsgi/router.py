"""The layers around the mount table, as one WSGI application.

    server  ->  Echo, if it has a key  ->  TrustedProxies  ->  Dispatcher  ->  app

``mountpoint serve`` routes a request before it calls the app, because the request waits in the queue of its mount. The
WSGI call uses the same method, so both always agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .dispatch import Dispatcher, Route
from .proxies import TrustedProxies, bad_header_response
from .proxy_settings import ProxySettings
from .request_id import RequestIds
from .table import MountTable

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


class Router:
    """A WSGI application that serves *table* behind the proxies of *settings*.

    A request with *echo_key* in ``X-Mountpoint-Echo`` gets a report of how it arrived. An empty key turns this off.

    ``request_ids`` chooses the ids of requests, and is None unless the router is made with *has_request_ids*. The
    server calls it, since a request that cannot be read has an id as well.
    """

    def __init__(
        self, table: MountTable, settings: ProxySettings, echo_key: str = "", *, has_request_ids: bool = False
    ) -> None:
        self._dispatcher = Dispatcher(table)
        self._proxies = TrustedProxies(self._dispatcher, **dataclasses.asdict(settings))
        self._echo = None
        if echo_key:
            from .echo import Echo  # here, because it imports hmac and with it OpenSSL

            self._echo = Echo(self._proxies, echo_key)
        self.request_ids = RequestIds(self._proxies.is_trusted) if has_request_ids else None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app, inner, _ = self.route(environ)
        return app(inner, start_response)

    def route(self, environ: WSGIEnvironment) -> Route:
        """Return the app that responds to *environ*, without calling it: the app of a mount, or an `OwnResponse`."""
        if self._echo:
            if self._echo.has_key(environ):
                return Route(self._echo, environ, None)
            environ = self._echo.without_key(environ)
        try:
            inner = self._proxies.rewrite(environ)
        except ValueError as error:
            return Route(bad_header_response(error), environ, None)
        return self._dispatcher.route(inner)
