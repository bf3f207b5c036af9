"""Refuse the two calls that most often keep a load from ending: the start of a server, and a question on stdin.

Scripts end with ``app.run()`` or ask for a password. Both make sense when the script is run, and not when a server
imports it.
"""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, TextIO

from ..config.reader import MountConfig
from ..errors import LoadError, causes
from .importing import load_app
from .overlap import Overlap
from .places import is_app_code

# The functions that serve until the process ends, by module and name, and the way in which apps write them.
_SERVERS = {
    ("flask.app", "run"): "app.run()",
    ("bottle", "run"): "run()",
    ("werkzeug.serving", "run_simple"): "run_simple()",
    ("waitress", "serve"): "waitress.serve()",
    ("cheroot.server", "start"): "server.start()",
    ("cherrypy", "quickstart"): "cherrypy.quickstart()",
    ("aiohttp.web", "run_app"): "web.run_app()",
    ("uvicorn.main", "run"): "uvicorn.run()",
    ("hypercorn.run", "run"): "hypercorn.run()",
    ("gunicorn.app.base", "run"): "gunicorn",
    ("eventlet.wsgi", "server"): "wsgi.server()",
    ("gevent.baseserver", "serve_forever"): "serve_forever()",
    ("paste.httpserver", "serve"): "httpserver.serve()",
    ("tornado.web", "listen"): "app.listen()",
    ("tornado.tcpserver", "listen"): "server.listen()",
    ("tornado.tcpserver", "bind"): "server.bind()",
    ("web.application", "run"): "app.run()",
}
_GUARD = 'write it below if __name__ == "__main__":'

# The state that the loads which run now have found.
_stdin = Overlap[TextIO]()
_functions = Overlap[tuple[bool, Callable[..., None], Callable[..., None], Callable[..., None]]]()


class ServerStarted(RuntimeError):
    """An app starts a server of its own while it is loaded. ``call`` is the way in which it is written."""

    def __init__(self, call: str) -> None:
        super().__init__(f"{call} starts a server, but mountpoint serves this app; remove the call, or {_GUARD}")
        self.call = call


@contextmanager
def refuse_to_block() -> Iterator[None]:
    """Let the start of a server in this thread raise `ServerStarted`, and let reads of ``sys.stdin`` find its end.

    Other threads may start servers: a library for metrics does so in a thread of its own.
    """
    with _empty_stdin(), _refused_servers(threading.get_ident()):
        yield


@contextmanager
def _empty_stdin() -> Iterator[None]:
    load = _stdin.begin(sys.stdin)
    with open(os.devnull, encoding="utf-8") as empty:  # noqa: PTH123 - not a path on Windows
        sys.stdin = empty
        try:
            yield
        finally:
            found = _stdin.end(load)[0]
            if sys.stdin is empty:
                sys.stdin = found


@contextmanager
def _refused_servers(thread: int) -> Iterator[None]:
    """Replace the functions of the standard library that every server calls in the end.

    A development server with a reloader does not listen itself: it starts a process that does.
    """

    def listen(self: socket.socket, *arguments: Any) -> None:
        if threading.get_ident() == thread and (call := _server_call(sys._getframe(1))):
            raise ServerStarted(call)
        original_listen(self, *arguments)

    def serve_forever(self: socketserver.BaseServer, *arguments: Any, **options: Any) -> None:
        if threading.get_ident() == thread:
            raise ServerStarted(_server_call(sys._getframe(1)) or "serve_forever()")
        original_serve(self, *arguments, **options)

    def popen(self: subprocess.Popen[Any], *arguments: Any, **options: Any) -> None:
        if threading.get_ident() == thread and (call := _server_call(sys._getframe(1))):
            raise ServerStarted(call)
        original_popen(self, *arguments, **options)

    sockets = socket.socket  # the app may replace it
    original_listen: Callable[..., None] = getattr(sockets, "listen", socket.SocketType.listen)
    is_inherited = "listen" not in vars(sockets)  # from _socket.socket, in a process that is not patched
    original_popen: Callable[..., None] = subprocess.Popen.__init__
    original_serve = socketserver.BaseServer.serve_forever
    load = _functions.begin((is_inherited, original_listen, original_popen, original_serve))
    if hasattr(sockets, "listen"):  # a class of eventlet has none
        sockets.listen = listen  # type: ignore[method-assign,assignment]
    socketserver.BaseServer.serve_forever = serve_forever  # type: ignore[method-assign]
    subprocess.Popen.__init__ = popen  # type: ignore[method-assign]
    try:
        yield
    finally:
        is_inherited, original_listen, original_popen, original_serve = _functions.end(load)[0]
        # Not if another load has replaced them in between: that load restores them.
        if vars(sockets).get("listen") is listen and is_inherited:
            del sockets.listen
        elif vars(sockets).get("listen") is listen:
            sockets.listen = original_listen  # type: ignore[method-assign]
        if socketserver.BaseServer.serve_forever is serve_forever:
            socketserver.BaseServer.serve_forever = original_serve  # type: ignore[method-assign]
        if subprocess.Popen.__init__ is popen:
            subprocess.Popen.__init__ = original_popen  # type: ignore[method-assign]


def _server_call(frame: FrameType | None) -> str | None:
    """Return how apps write the outermost call that starts a server, in *frame* or around it; None without one.

    Only frames inside the load count. Around it may be the server that calls `mountpoint.load`, such as gunicorn.
    """
    found = None
    while frame is not None and frame.f_globals.get("__name__") != load_app.__module__:
        found = _SERVERS.get((frame.f_globals.get("__name__", ""), frame.f_code.co_name), found)
        frame = frame.f_back
    return found


def explain_blocking(error: LoadError, mount: MountConfig) -> LoadError:
    """Return *error*, or a plainer one if the load failed because of `refuse_to_block`."""
    raised = list(causes(error))
    if started := next((cause for cause in raised if isinstance(cause, ServerStarted)), None):
        place = _place(started.__traceback__, mount)
        return LoadError(
            f'"{mount.app.text}" starts a server of its own while it is loaded, with {started.call}{place}; mountpoint '
            f"serves this app, so remove the call, or {_GUARD}",
            files=error.files,
        )
    asked = next((cause for cause in raised if isinstance(cause, EOFError)), None)
    if asked and "reading a line" in str(asked):
        place = _place(asked.__traceback__, mount)
        return LoadError(
            f'"{mount.app.text}" asks for input while it is loaded{place}; a server has no terminal, so read the value '
            f"from a file or an environment variable, or {_GUARD}",
            files=error.files,
        )
    return error


def _place(tb: TracebackType | None, mount: MountConfig) -> str:
    """Return ``, at file:line`` of the innermost line of the app in *tb*, or an empty text."""
    place = ""
    while tb is not None:
        file = tb.tb_frame.f_code.co_filename
        if is_app_code(file, mount.root):
            place = f", at {file}:{tb.tb_lineno}"
        tb = tb.tb_next
    return place
