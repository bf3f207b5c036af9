"""The layers around the table, as one WSGI application.

    server  ->  [Echo]  ->  TrustedProxies  ->  Dispatcher  ->  app

Our server asks it before it calls: a request waits in the queue of its mount, which the layers have to name first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .dispatch import Dispatcher
from .proxies import TrustedProxies
from .table import MountTable
from .proxy_settings import Trust

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Stack:
    """A WSGI application that serves *table* behind the proxies of *trust*, with an echo for who has *echo_key*."""

    def __init__(self, table: MountTable, trust: Trust, echo_key: str = "") -> None:
        self._dispatcher = Dispatcher(table)
        self._proxies = TrustedProxies(self._dispatcher, **dataclasses.asdict(trust))
        self._echo = None
        if echo_key:
            from .echo import Echo  # of a later layer, and only where it is asked for

            self._echo = Echo(self._proxies, echo_key)
        self._outermost: WSGIApplication = self._echo or self._proxies

    @property
    def table(self) -> MountTable:
        """The table that it serves."""
        return self._dispatcher.table

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._outermost(environ, start_response)

    def arrive(self, environ: WSGIEnvironment) -> tuple[WSGIApplication, WSGIEnvironment, str | None]:
        """Go through the layers, but call no app: return what is to be called, with which environ, and for which mount.

        The mount is the key of the one that owns the request; None if none does, or if a layer answers it before.
        """
        if self._echo:
            if self._echo.is_asked(environ):
                return self._echo, environ, None
            environ = self._echo.without_key(environ)
        try:
            inner = self._proxies.believed(environ)
        except ValueError:
            return self._proxies, environ, None  # which refuses it
        host = inner.get("HTTP_HOST") or inner.get("SERVER_NAME", "")
        match = self.table.resolve(inner.get("PATH_INFO", ""), host)
        return self._dispatcher, inner, match and match.mount.key
