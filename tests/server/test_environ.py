"""The environ of a request, compared with the one that waitress builds itself."""

from types import SimpleNamespace

import pytest
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.task import WSGITask

from mountpoint.server.environ import make_environ
from mountpoint.server.file_wrapper import FileWrapper
from mountpoint.server.parser import Parser

ADJUSTMENTS = Adjustments(ident="a server", url_scheme="https")
CHANNEL = SimpleNamespace(
    addr=("192.0.2.7", 5000),
    server=SimpleNamespace(adj=ADJUSTMENTS, effective_port=8080, server_name="example.com"),
    check_client_disconnected=lambda: False,
)
OURS = {"mountpoint.request", "wsgi.file_wrapper"}


def parsed(parser_class, sent):
    request = parser_class(ADJUSTMENTS)
    while sent:
        sent = sent[request.received(sent) :]
    assert request.completed
    assert not request.error
    return request


def comparable(environ):
    """Return *environ* with the body instead of its stream, and without the keys that differ on purpose."""
    return {name: value for name, value in environ.items() if name not in OURS} | {
        "wsgi.input": environ["wsgi.input"].read()
    }


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /tv_ws/?stn=Lund HTTP/1.1\r\nHost: example.com\r\nX-Two: a\r\nX-Two: b\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST /form HTTP/1.1\r\nHost: example.com\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"PUT /caf%C3%A9 HTTP/1.1\r\nHost: a\r\nReferer: x\r\nUser_Agent: dropped\r\n\r\n",
    ],
    ids=["GET", "HTTP/1.0", "a body", "chunked", "encoded"],
)
def test_the_environ_is_that_of_waitress(sent):
    ours = make_environ(CHANNEL, parsed(Parser, sent))
    theirs = WSGITask(CHANNEL, parsed(HTTPRequestParser, sent)).get_environment()
    assert comparable(ours) == comparable(theirs)
    assert ours["wsgi.file_wrapper"] is FileWrapper
    assert ours["mountpoint.request"].remote_addr == "192.0.2.7"


def test_the_environ_keeps_the_leading_slashes_of_the_path():
    environ = make_environ(CHANNEL, parsed(Parser, b"GET //twice HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert environ["PATH_INFO"] == "//twice"
