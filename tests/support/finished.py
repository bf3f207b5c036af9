"""A finished request without a server, for the tests of the logs."""

import time

from waitress.adjustments import Adjustments

from mountpoint.server.finished import FinishedRequest, measure
from mountpoint.server.parser import Parser
from mountpoint.wsgi.dispatch import Route
from mountpoint.wsgi.record import RequestRecord

SENT = b"GET /tv_ws/?stn=Lund HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8.5\r\n\r\n"

#: The fields of a record about `finished()`, except for its id and those that are not known.
FACTS = {
    "mount": "/tv_ws",
    "method": "GET",
    "path": "/tv_ws/",
    "status": 200,
    "bytes": 512,
    "queue_ms": 1.5,
    "app_ms": 2.0,
    "client": "192.0.2.7",
    "scheme": "https",
    "host": "example.com",
    "user_agent": "curl/8.5",
    "request_line": "GET /tv_ws/?stn=Lund HTTP/1.1",
}


def finished(sent=SENT, *, status=200, size=512, mount="/tv_ws", reason=None, request_id=None):
    """Return the `FinishedRequest` of the bytes *sent*, which need not be a request.

    It has waited for 1.5 ms, and its app took 2 ms.
    """
    request = Parser(Adjustments())
    request.received(sent)
    if not request.completed:
        request.refuse(408, "The header did not come in time.")
    request.request_id = request_id
    if request.error is None:
        request.record = RequestRecord("192.0.2.7")
        request.record.mount, request.record.reason = mount, reason
        environ = {"wsgi.url_scheme": "https", "HTTP_HOST": request.headers.get("HOST", "")}
        request.route = Route(lambda environ, start_response: [], environ, mount)
    ended_at = time.monotonic()
    request.started_at = ended_at - 0.002
    request.received_at = request.started_at - 0.0015
    return FinishedRequest(request, "192.0.2.7", measure(request, status, size, ended_at), False)
