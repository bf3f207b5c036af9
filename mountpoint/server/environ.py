"""The WSGI environ of a request (PEP 3333). It is built once, before the request enters a queue.

waitress builds it later, in the task, and collapses the leading slashes of the path. Here the path stays as the client
sent it, and the queue of a request depends on its environ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..loading.standard_streams import errors_stream
from ..wsgi.record import RECORD_KEY, RequestRecord
from ..wsgi.request_id import set_request_id
from .file_wrapper import FileWrapper
from .parser import Parser

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_UNPREFIXED = {"CONTENT_LENGTH", "CONTENT_TYPE"}  # header variables without HTTP_ (RFC 3875 section 4.1)


def make_environ(channel: Any, request: Parser) -> WSGIEnvironment:
    """Return the environ of *request*, which came over *channel*, a waitress ``HTTPChannel``.

    The request is without error. If its body is still to come, `set_body` adds that.
    """
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
        "wsgi.errors": errors_stream(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input": request.get_body_stream(),
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
        "waitress.client_disconnected": channel.check_client_disconnected,
    }
    for name, value in request.headers.items():
        environ.setdefault(name if name in _UNPREFIXED else f"HTTP_{name}", value)
    if request.request_id:
        set_request_id(environ, request.request_id)
    request.record = environ[RECORD_KEY] = RequestRecord(peer)
    return environ


def set_body(environ: WSGIEnvironment, request: Parser) -> None:
    """Give *environ* the body of *request*, which is complete now."""
    environ["wsgi.input"] = request.get_body_stream()
    if "CONTENT_LENGTH" in request.headers:  # a chunked body came without one
        environ["CONTENT_LENGTH"] = request.headers["CONTENT_LENGTH"]
