"""The WSGI environ of a request (PEP 3333), built once, when the request enters a queue.

waitress builds one too, in its task. Ours is built from the target as it was sent: waitress collapses leading slashes,
and its task does not exist yet while the request waits.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..wsgi.record import KEY, RequestRecord
from .file_wrapper import FileWrapper
from .parser import Parser

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_WITHOUT_HTTP = {"CONTENT_LENGTH", "CONTENT_TYPE"}  # the headers whose variables have no HTTP_ in front


def make_environ(channel: Any, request: Parser) -> WSGIEnvironment:
    """Return the environ of *request*, whole and without errors, that came over the `HTTPChannel` *channel*."""
    server = channel.server
    peer = channel.addr[0]
    environ: WSGIEnvironment = {
        "REMOTE_ADDR": peer,
        "REMOTE_HOST": peer,
        "REMOTE_PORT": str(channel.addr[1]),
        "REQUEST_METHOD": request.command,
        "SERVER_PORT": str(server.effective_port),
        "SERVER_NAME": server.server_name,
        "SERVER_SOFTWARE": server.adj.ident,
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path_info,
        "REQUEST_URI": request.request_uri,
        "QUERY_STRING": request.query,
        "wsgi.url_scheme": request.url_scheme,
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input": request.get_body_stream(),
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
        "waitress.client_disconnected": channel.check_client_disconnected,
    }
    for name, value in request.headers.items():
        environ.setdefault(name if name in _WITHOUT_HTTP else f"HTTP_{name}", value)
    request.record = environ[KEY] = RequestRecord(peer)
    return environ
