"""The server takes nothing that a client sends after its last request for another request.

It may be the body of that request. A proxy in front would not have sent it as a request, nor checked it.
"""

import sys

import pytest
from support.site_in_thread import connect, running_site
from support.waiting import wait_until

from mountpoint.server.channel import Channel

HIDDEN = "GET /app/hidden HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = {
    "a body that is too large": ("POST /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", 413),
    "a bad chunk": ("POST /app/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    "an upload for a path that no mount owns": ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n", 404),
    "not a request": ("nonsense\r\n\r\n", 400),
    "a request that fails": ("GET /app/fail HTTP/1.1\r\nHost: a\r\n\r\n", 500),
    "Connection: close": ("GET /app/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
    "HTTP/1.0": ("GET /app/x HTTP/1.0\r\nHost: a\r\n\r\n", 200),
}


@pytest.fixture
def site(tmp_path):
    with running_site(tmp_path, max_request_body_size=100) as site:
        app, site.paths = site.app, []

        def recorded(environ, start_response):
            site.paths.append(environ["PATH_INFO"])
            assert environ["PATH_INFO"] != "/fail"
            return app(environ, start_response)

        site.app = recorded
        yield site


@pytest.mark.parametrize(("last", "status"), LAST.values(), ids=LAST)
@pytest.mark.skipif(sys.platform != "linux", reason="only with epoll a worker thread reads the next request")
def test_the_worker_thread_does_not_read_past_the_last_request(site, monkeypatch, last, status):
    resume, resumed = Channel.resume, []

    def resume_late(channel, may_wait):
        """Let the loop be first: it has ended the response when the thread looks for the next request."""
        wait_until(lambda: channel.lingers_until or channel.socket is None)
        client.send(HIDDEN)
        resume(channel, True)
        resumed.append(channel)

    monkeypatch.setattr(Channel, "resume", resume_late)
    with connect(site) as client:
        client.send(last)
        assert client.answer().status == status
        wait_until(lambda: resumed)
        assert "/hidden" not in site.paths
        assert not [channel for channel in resumed if channel.requests]


@pytest.mark.parametrize(("last", "status"), LAST.values(), ids=LAST)
def test_no_app_gets_what_follows_the_last_request(site, last, status):
    for _ in range(5):
        with connect(site) as client:
            client.send(last)
            try:
                client.send(HIDDEN)
                assert client.answer().status == status
                client.send(HIDDEN)
                assert client.read_to_end() == b""
            except ConnectionError:  # the server does not wait for more after Connection: close
                assert status == 200
    assert "/hidden" not in site.paths
