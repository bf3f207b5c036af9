"""A large response takes the loop for a moment only, however fast its client reads."""

import sys
import time

import pytest
from support.site_in_thread import connect, running_site
from support.waiting import wait_until

SIZE = 1 << 33  # bytes: more than could be sent within the time-out of the test


class FastReader:
    """A socket whose client reads at once all that the server sends, as soon as the loop sends it."""

    def __init__(self, sock):
        self.sock = sock
        self.received = 0

    def send(self, data):
        if not self.received:
            self.received = 1
            raise BlockingIOError  # so that the worker thread leaves the rest to the loop
        self.received += len(data)
        return len(data)

    def __getattr__(self, name):
        return getattr(self.sock, name)


@pytest.fixture
def site(tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(SIZE)  # takes no room on disk

    with running_site(tmp_path) as site:
        app = site.app

        def with_file(environ, start_response):
            if environ["PATH_INFO"] != "/file":
                return app(environ, start_response)
            start_response("200 OK", [])
            site.held += 1
            return environ["wsgi.file_wrapper"](large.open("rb"))

        site.app = with_file
        yield site


@pytest.mark.skipif(sys.platform != "linux", reason="a sparse file of this size is not quick everywhere")
@pytest.mark.parametrize("is_next_sent", [False, True], ids=["alone", "with the next request"])
def test_a_client_that_reads_fast_does_not_take_the_loop(site, is_next_sent):
    with connect(site) as fast:
        assert fast.get("/app/x").status == 200
        channel = next(one for one in site.server._map.values() if hasattr(one, "lingers_until"))
        reader = channel.socket = FastReader(channel.socket)
        fast.request("/app/file")
        if is_next_sent:
            fast.request("/app/x")
        wait_until(lambda: reader.received > 1)
        started = time.monotonic()
        for _ in range(10):
            with connect(site) as other:  # a new connection needs the loop
                assert other.get("/app/x").body == b"/x"
        assert reader.received < SIZE, f"the other client waited for {time.monotonic() - started:.1f} s"
        fast.reset()
