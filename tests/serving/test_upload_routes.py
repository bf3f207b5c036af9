"""An upload is routed once, when its head is complete; and again only if the table has changed since."""

import pytest
from support.site_in_thread import connect, router_to, running_site
from support.waiting import wait_until

from mountpoint.server import channel

BODIES = {
    "sized": ("Content-Length: 6\r\n\r\n", "abc", "def"),
    "chunked": ("Transfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n", "3\r\ndef\r\n0\r\n\r\n"),
}


@pytest.fixture
def site(tmp_path):
    with running_site(tmp_path) as site:
        yield site


@pytest.fixture
def calls(monkeypatch):
    """Return a list that grows by the request line of each environ that the server makes."""
    calls = []

    def counting(channel, request):
        calls.append(request.request_line)
        return make_environ(channel, request)

    make_environ = channel.make_environ
    monkeypatch.setattr(channel, "make_environ", counting)
    return calls


@pytest.mark.parametrize("pieces", BODIES.values(), ids=BODIES)
def test_an_upload_gets_one_environ_with_its_whole_body(site, calls, pieces):
    with connect(site) as client:
        client.send("POST /app/x HTTP/1.1\r\nHost: a\r\n" + pieces[0])
        wait_until(lambda: calls)  # the head is complete, and the body is not
        client.send(pieces[1])
        client.send(pieces[2])
        assert client.answer().body == b"abcdef"
    assert calls == ["POST /app/x HTTP/1.1"]


@pytest.mark.parametrize("pieces", BODIES.values(), ids=BODIES)
def test_a_reload_during_an_upload_gives_it_to_the_new_app(site, calls, pieces):
    def new_app(environ, start_response):
        body = b"new " + environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with connect(site) as client:
        client.send("POST /app/x HTTP/1.1\r\nHost: a\r\n" + "".join(pieces[:2]))
        wait_until(lambda: calls)
        server = site.server
        server.call_soon_threadsafe(lambda: server.replace(router_to(new_app), {}, server.settings))
        wait_until(lambda: not server._callbacks)
        client.send(pieces[2])
        assert client.answer().body == b"new abcdef"
    assert len(calls) == 1
