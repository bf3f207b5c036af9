"""The facts about a finished request that the access log and the observer of the server get."""

import logging

import pytest
from support.site_in_thread import connect, running_site
from support.waiting import wait_until

from mountpoint.server.fair_queue import QueueLimits

FIELDS = (
    *("mount", "method", "path", "status", "bytes_in", "bytes_out", "client", "scheme", "host", "request_id"),
    *("user_agent", "referer", "request_line", "is_cut_off", "rejection"),
)


class Observer:
    """Remembers every field of each finished request, and each exception of the app, in their order."""

    def __init__(self):
        self.heard = []

    def request_finished(self, measures, describe):
        request = describe()
        names = ("mount", "status", "ended_at", "queue_seconds", "app_seconds", "bytes_in", "bytes_out")
        assert measures == tuple(getattr(request, name) for name in names)
        facts = {name: getattr(request, name) for name in FIELDS}
        assert request.queue_seconds >= 0
        assert request.app_seconds >= 0
        assert request.total_seconds == pytest.approx(request.queue_seconds + request.app_seconds)
        self.heard.append(facts)

    def app_raised(self, mount, error):
        self.heard.append((mount, repr(error)))

    def wait(self, count=1):
        wait_until(lambda: len(self.heard) >= count)
        assert len(self.heard) == count
        return self.heard


@pytest.fixture
def observer():
    return Observer()


def responding(status, *pieces):
    def app(environ, start_response):
        start_response(status, [("Content-Type", "text/plain")])
        for piece in pieces:
            if piece is None:
                raise ValueError("on purpose")
            yield piece

    return app


def test_each_fact_of_a_request_is_known_at_its_end(tmp_path, observer):
    with running_site(tmp_path, observer=observer) as site, connect(site) as client:
        client.request("/app/a%20b?q=1", "User-Agent: tester", "Referer: http://a/", method="POST", body=b"12345")
        client.answer()
        [found] = observer.wait()
        assert found == {
            "mount": "/app",
            "method": "POST",
            "path": "/app/a b",
            "status": 200,
            "bytes_in": 5,
            "bytes_out": 5,
            "client": "127.0.0.1",
            "scheme": "http",
            "host": client.host,
            "request_id": None,
            "user_agent": "tester",
            "referer": "http://a/",
            "request_line": "POST /app/a%20b?q=1 HTTP/1.1",
            "is_cut_off": False,
            "rejection": None,
        }


@pytest.mark.parametrize(
    ("sent", "status", "mount", "rejection"),
    [
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404, None, None),
        ("GET /app HTTP/1.1\r\nHost: a\r\n\r\n", 308, "/app", None),
        ("NOT HTTP\r\n\r\n", 400, None, None),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", 413, None, "body"),
        (f"GET /app/ HTTP/1.1\r\nHost: {'a' * 300}", 431, None, None),
    ],
)
def test_responses_of_mountpoint_itself_are_reported_too(tmp_path, observer, sent, status, mount, rejection):
    with (
        running_site(tmp_path, observer=observer, max_request_body_size=100, max_request_header_size=256) as site,
        connect(site) as client,
    ):
        client.send(sent)
        assert client.answer().status == status
        [found] = observer.wait()
        assert (found["status"], found["mount"], found["rejection"]) == (status, mount, rejection)
        assert not found["is_cut_off"]


@pytest.mark.parametrize(("limit", "rejection"), [(1, "limit"), (None, "queue")])
def test_a_rejection_names_the_queue_or_the_limit_of_the_mount(tmp_path, observer, limit, rejection):
    limits = QueueLimits(limit, queue=0)
    with (
        running_site(tmp_path, observer=observer, limits=limits, threads=1) as site,
        connect(site) as first,
        connect(site) as second,
    ):
        first.request("/app/hold")
        wait_until(lambda: site.held)
        assert second.get("/app/").status == 503
        [found] = observer.wait()
        assert (found["status"], found["mount"], found["rejection"]) == (503, "/app", rejection)
        site.release.set()
        first.answer()
        assert observer.wait(2)[1]["rejection"] is None


def test_a_503_or_413_of_the_app_is_not_a_rejection(tmp_path, observer):
    with running_site(tmp_path, observer=observer) as site, connect(site) as client:
        for count, status in enumerate(("503 Service Unavailable", "413 Content Too Large"), 1):
            site.app = responding(status, b"busy")
            client.get("/app/")
            assert observer.wait(count)[-1]["rejection"] is None


def test_an_exception_is_reported_before_its_500(tmp_path, observer):
    with running_site(tmp_path, observer=observer) as site, connect(site) as client:
        site.app = responding("200 OK", None)
        assert client.get("/app/").status == 500
        raised, found = observer.wait(2)
        assert raised == ("/app", "ValueError('on purpose')")
        assert (found["status"], found["mount"], found["path"]) == (500, "/app", "/app/")
        assert not found["is_cut_off"]


def test_an_app_that_raises_halfway_has_one_response_that_is_cut_off(tmp_path, observer):
    with running_site(tmp_path, observer=observer) as site, connect(site) as client:
        site.app = responding("200 OK", b"half", None)
        client.request("/app/")
        client.head()
        found, raised = observer.wait(2)
        assert (found["status"], found["bytes_out"], found["is_cut_off"]) == (200, 4, True)
        assert raised == ("/app", "ValueError('on purpose')")


def test_a_client_that_disconnects_before_the_response_has_status_0(tmp_path, observer):
    with running_site(tmp_path, observer=observer) as site:
        client = connect(site)
        client.request("/app/until-reset")
        wait_until(lambda: site.held)
        client.reset()
        [found] = observer.wait()
        assert (found["status"], found["is_cut_off"]) == (0, True)


def test_neither_object_nor_line_is_made_if_nothing_asks_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr("mountpoint.server.tasks.FinishedRequest", None)
    assert not logging.getLogger("mountpoint.access").isEnabledFor(logging.INFO)
    with running_site(tmp_path) as site, connect(site) as client:
        assert client.get("/app/").status == 200
        assert client.get("/app/").status == 200
