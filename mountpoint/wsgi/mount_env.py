"""The ``env`` of a mount in the environ of its requests.

The variables are in ``os.environ`` only while the app is loaded, because that is one for all apps. Some apps look into
environ first, as they would under ``SetEnv`` of Apache, so the variables are there in each request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# The meta-variables of CGI (RFC 3875 section 4.1), and those that servers add to them.
_RESERVED = frozenset(
    {
        "AUTH_TYPE",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "DOCUMENT_ROOT",
        "GATEWAY_INTERFACE",
        "HTTPS",
        "PATH_INFO",
        "PATH_TRANSLATED",
        "QUERY_STRING",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_IDENT",
        "REMOTE_PORT",
        "REMOTE_USER",
        "REQUEST_METHOD",
        "REQUEST_SCHEME",
        "REQUEST_URI",
        "SCRIPT_FILENAME",
        "SCRIPT_NAME",
        "SCRIPT_URI",
        "SCRIPT_URL",
        "SERVER_ADDR",
        "SERVER_ADMIN",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SIGNATURE",
        "SERVER_SOFTWARE",
    }
)


def is_request_variable(name: str) -> bool:
    """Whether *name* says something about a request, so that the ``env`` of a mount never sets it in environ.

    These are the variables of CGI and of servers, the headers (``HTTP_``), and names with a dot (``wsgi.input``).

    >>> is_request_variable("HTTP_PROXY"), is_request_variable("SERVER_URL")
    (True, False)
    """
    return name in _RESERVED or name.startswith("HTTP_") or "." in name


class MountEnv:
    """WSGI middleware that adds the variables of *env* to a copy of environ.

    A variable replaces one of the same name, since a server may have copied the variables of the process to environ.
    """

    def __init__(self, app: WSGIApplication, env: Mapping[str, str]) -> None:
        self.app = app
        self._variables = {name: value for name, value in env.items() if not is_request_variable(name)}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ | self._variables, start_response)
