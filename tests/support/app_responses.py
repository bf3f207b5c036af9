"""An app's response as the client receives it, without a socket."""

from types import SimpleNamespace

from waitress.adjustments import Adjustments

from mountpoint.server.access_log import AccessLog
from mountpoint.server.parser import Parser
from mountpoint.server.tasks import AppTask
from mountpoint.wsgi.dispatch import Route

TEXT = [("Content-Type", "text/plain")]


class Channel:
    """A channel that keeps the bytes of the response."""

    def __init__(self):
        self.addr = ("192.0.2.7", 5000)
        self.adj = Adjustments()
        self.server = SimpleNamespace(draining=False, adj=self.adj, observer=None, access_log=AccessLog())
        self.requests = []
        self.sent = b""

    def write_soon(self, data):
        self.sent += data
        return len(data)


class Response:
    """The response of *app* to a request, as the client receives it."""

    def __init__(self, app, method="GET", channel=None, mount="/"):
        self.channel = channel or Channel()
        request = Parser(self.channel.adj)
        request.received(f"{method} / HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
        assert request.completed
        assert not request.error
        request.route = Route(app, {}, mount)
        self.channel.requests = [request]
        self.task = AppTask(self.channel, request)
        self.task.service()
        head, _, self.body = self.channel.sent.partition(b"\r\n\r\n")
        self.status, *self.lines = head.decode("latin-1").split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in self.lines)


class Body(list):
    """A body that remembers whether it was closed."""

    is_closed = False

    def close(self):
        self.is_closed = True


def responding(body, headers=TEXT):
    """Return an app that responds with *body*."""

    def app(environ, start_response):
        start_response("200 OK", headers)
        return body

    return app
