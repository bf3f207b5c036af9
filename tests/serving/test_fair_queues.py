"""The fair queues of `mountpoint serve`: a slow and busy mount delays no other mount."""

import json
import re
import signal
import sys
from contextlib import ExitStack

import pytest
from support.client import PROBE, Client

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests read queue lengths with SIGUSR1")


def mounts(*, server="threads = 4", more="", **rules):
    """Return a mount table in TOML. *rules* are the mounts: the path without its slash, and the keys of the mount."""
    lines = ["[server]", server]
    for path, keys in rules.items():
        lines += [f'[mounts."/{path.replace("root", "")}"]', f'app = "{PROBE}:app"', keys]
    return "\n".join([*lines, more])


ONE = "limit = 1\nqueue = 0"  # one request runs, and none may wait


def wait_until_waiting(server, **counts):
    """Wait until *counts* requests wait in the queues, by mount."""
    expected = {f"/{path}": count for path, count in counts.items()}
    asked = server.log().count(" requests in flight\n")
    while True:
        asked += 1
        server.send(signal.SIGUSR1)
        log = server.wait_for(" requests in flight\n", count=asked)
        if asked > 1000:
            pytest.fail(f"the requests do not wait:\n{log}")
        if {path: int(count) for path, count in waiting(server, log)} == expected:
            return


def waiting(server, log):
    """Return each mount and its queue length in the latest report for SIGUSR1."""
    # One record holds the whole report, so its last line is there with its first.
    return re.findall(r"^(\S+): (\d+) waiting$", log.rpartition(" requests in flight\n")[2], re.MULTILINE)


def reached(answer):
    """Return the mount that answered, and the PATH_INFO that its app received."""
    environ = json.loads(answer.body)
    return environ["mountpoint.mount"], environ["PATH_INFO"]


def lines(server, status):
    """Return the request line and the mount of each access log line with *status*."""
    return re.findall(rf'^[^\n]*"([A-Z]+ \S+) HTTP/1\.\d" {status} .* (\S+) [\d.]+$', server.log(), re.MULTILINE)


# -------------------------------------------------------------------------------------------------------------- a flood


def test_two_flooded_mounts_cannot_stop_a_third(serve, connect, connect_each, release):
    server = serve(mounts(a="", b="", c=""))
    floods = connect_each(server, ["/a/hold/go"] * 10)
    server.wait_for("holding go", count=2)
    wait_until_waiting(server, a=8)
    floods += connect_each(server, ["/b/hold/go"] * 10)
    server.wait_for("holding go", count=3)
    wait_until_waiting(server, a=8, b=9)
    third = connect(server)
    for _ in range(20):
        assert third.get("/c/").status == 200
    assert "released" not in server.log()
    release("go")
    assert [flood.answer().body for flood in floods] == [b"held go"] * 20
    assert server.stop() == 0


def test_seven_hanging_mounts_cannot_stop_an_eighth(serve, connect, connect_each, release):
    hanging = {f"m{number}": "" for number in range(7)}
    server = serve(mounts(server="threads = 8", **hanging, healthy=""))
    floods = []
    for path in hanging:
        floods += connect_each(server, [f"/{path}/hold/go"] * 9)
    healthy = connect(server)
    for _ in range(20):
        assert healthy.get("/healthy/").status == 200
    assert healthy.get("/nowhere").status == 404
    assert "released" not in server.log()
    release("go")
    assert [flood.answer().body for flood in floods] == [b"held go"] * len(floods)
    assert server.stop() == 0


def test_control_under_waitress_alone_a_flood_delays_its_sibling(stock_waitress, release):
    server = stock_waitress("--threads=8")
    with ExitStack() as stack:
        floods = [stack.enter_context(Client(server.url)) for _ in range(32)]
        for flood in floods:
            flood.request("/hold/go")
        server.wait_for("holding go", count=8)
        server.wait_for("Task queue depth is 24")
        sibling = stack.enter_context(Client(server.url))
        release("sibling")
        sibling.request("/hold/sibling")
        server.wait_for("Task queue depth is 25")
        release("go")
        assert sibling.answer().body == b"held sibling"
    server.stop()
    assert server.log().index("released go") < server.log().index("holding sibling")


def test_a_sibling_does_not_wait_for_a_flood(serve, connect, connect_each, release):
    server = serve(mounts(server="threads = 8", slow="", fast=""))
    floods = connect_each(server, ["/slow/hold/go"] * 32)
    server.wait_for("holding go", count=4)
    wait_until_waiting(server, slow=28)
    release("sibling")
    assert connect(server).get("/fast/hold/sibling").body == b"held sibling"
    release("go")
    assert [flood.answer().status for flood in floods] == [200] * 32
    assert server.stop() == 0
    assert server.log().index("released sibling") < server.log().index("released go")
    assert "Task queue depth" not in server.log()


def test_a_limit_of_one_serves_one_request_at_a_time(serve, connect, release):
    server = serve(mounts(one="limit = 1", fast=""))
    first, second = connect(server, "/one/hold/first"), connect(server)
    server.wait_for("holding first")
    second.request("/one/hold/second")
    wait_until_waiting(server, one=1)
    assert connect(server).get("/fast/").status == 200
    release("second")
    release("first")
    assert (first.answer().body, second.answer().body) == (b"held first", b"held second")
    assert server.stop() == 0
    assert server.log().index("released first") < server.log().index("holding second")


# ------------------------------------------------------------------------------------------------------------ rejection


def test_a_request_beyond_the_queue_gets_503_on_a_connection_that_stays(serve, connect, connect_each, release):
    server = serve(mounts(slow="queue = 2", fast=""))
    floods = connect_each(server, ["/slow/hold/go"] * 4)
    wait_until_waiting(server, slow=2)
    late = connect(server)
    for _ in range(3):
        refused = late.get("/slow/hold/go")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert not refused.closes
        assert late.get("/fast/").status == 200
    late.request("/slow/", method="HEAD")
    head = late.answer(bodiless=True)
    assert (head.status, head.headers["Content-Length"]) == (503, str(len(refused.body)))
    assert late.get("/fast/").status == 200
    release("go")
    assert [flood.answer().status for flood in floods] == [200] * 4
    assert late.get("/slow/").status == 200
    assert server.stop() == 0
    assert lines(server, 503) == [("GET /slow/hold/go", "/slow")] * 3 + [("HEAD /slow/", "/slow")]
    assert server.log().count("/slow: rejecting requests with 503: the queue is full (queue = 2)") == 1


def test_pipelined_requests_of_several_mounts_are_answered_in_order(serve, connect, release):
    server = serve(mounts(slow="limit = 1", fast="", other=""))
    holding = connect(server, "/slow/hold/go")
    server.wait_for("holding go")
    client = connect(server)
    client.pipeline("/fast/1", "/slow/2", "/fast/3", "/other/4", "/nowhere", "/slow/6")
    assert reached(client.answer()) == ("/fast", "/1")
    wait_until_waiting(server, slow=1)
    release("go")
    expected = [("/slow", "/2"), ("/fast", "/3"), ("/other", "/4"), 404, ("/slow", "/6")]
    for one in expected:
        answer = client.answer()
        assert (answer.status if one == 404 else reached(answer)) == one
    assert holding.answer().status == 200


def test_pipelined_requests_are_answered_in_order_with_rejections(serve, connect, release):
    server = serve(mounts(full=ONE, fast=""))
    holding = connect(server, "/full/hold/go")
    server.wait_for("holding go")
    client = connect(server)
    for paths in (["/fast/1", "/full/2", "/full/3", "/fast/4"], ["/full/1", "/fast/2", "/full/3"]):
        client.pipeline(*paths)
        for path in paths:
            answer = client.answer()
            if path.startswith("/full"):
                assert (answer.status, answer.body) == (503, b"503 Service Unavailable\n")
            else:
                assert reached(answer) == ("/fast", path.removeprefix("/fast"))
    release("go")
    assert holding.answer().status == 200


def test_a_body_over_the_max_body_of_a_mount_is_rejected(serve, connect):
    server = serve(mounts(small="max_body = 10", fast=""))
    client = connect(server)
    client.request("/small/upload", method="POST", body=b"x" * 11)
    assert client.answer().status == 413
    client.request("/small/upload", method="POST", body=b"x" * 10)
    assert client.answer().status == 200
    assert server.stop() == 0
    assert lines(server, 413) == [("POST /small/upload", "/small")]


def test_requests_for_no_flooded_mount_are_answered_at_once(serve, connect, connect_each, release):
    server = serve(mounts(a="queue = 3", b="queue = 3", third=""))
    floods = connect_each(server, ["/a/hold/go"] * 5)
    wait_until_waiting(server, a=3)
    floods += connect_each(server, ["/b/hold/go"] * 4)
    wait_until_waiting(server, a=3, b=3)
    for request_line, host, status in [
        ("GET /nowhere", "localhost", 404),
        ("HEAD /nowhere", "localhost", 404),
        ("GET /third", "localhost", 308),
        ("HEAD /third/", "localhost", 200),
        ("GET /third/../x", "localhost", 400),
        ("GET /a/", "no host", 400),
        ("OPTIONS *", "localhost", 204),
    ]:
        client = connect(server)
        client.send(f"{request_line} HTTP/1.1\r\nHost: {host}\r\n\r\n")
        assert client.answer(bodiless=request_line.startswith("HEAD")).status == status, request_line
    release("go")
    assert [flood.answer().status for flood in floods] == [200] * 9


# ----------------------------------------------------------------------------------------------- the queue of a request


@pytest.mark.parametrize(("full", "status"), [("slow", {"//slow": 200, "/slow/": 503}), ("root", {"//slow": 503})])
def test_a_request_waits_in_the_queue_of_the_mount_that_owns_it(serve, connect, release, full, status):
    server = serve(mounts(**{"root": "", "slow": "", full: ONE}))
    holding = connect(server, f"/{full.replace('root', '')}/hold/go".replace("//", "/"))
    server.wait_for("holding go")
    client = connect(server)
    for path, expected in {**status, "/slow/x": 503 if full == "slow" else 200}.items():
        answer = client.get(path)
        assert answer.status == expected
        if expected == 200:
            assert reached(answer)[0] == ("/slow" if path == "/slow/x" else "/")
    release("go")
    assert holding.answer().status == 200
    assert server.stop() == 0
    assert ("GET //slow", "/") in lines(server, status["//slow"])


BEHIND_A_PROXY = f'[mounts."app.example.com/"]\napp = "{PROBE}:app"\n{ONE}\n[proxy]\ntrusted = ["{{}}"]\n'
TRUSTED = "x_prefix = 1\nx_host = 1\nrestore_prefix = true"


def test_a_trusted_proxy_selects_the_queue_by_path_and_host(serve, connect, release):
    server = serve(mounts(slow=ONE, fast="", more=BEHIND_A_PROXY.format("127.0.0.1") + TRUSTED))
    client, holding = connect(server), [connect(server), connect(server)]
    holding[0].request("/hold/go", "X-Forwarded-Prefix: /slow")
    holding[1].request("/hold/go", "X-Forwarded-Host: app.example.com")
    server.wait_for("holding go", count=2)
    assert client.get("/x", "X-Forwarded-Prefix: /slow").status == 503
    assert client.get("/slow/x").status == 503
    assert client.get("/slow/x", "X-Forwarded-Host: app.example.com").status == 503
    assert reached(client.get("/x", "X-Forwarded-Prefix: /fast")) == ("/fast", "/x")
    assert client.get("/x", "X-Forwarded-Prefix: no/path").status == 400
    assert client.get("/slow/x", "X-Forwarded-Host: no host").status == 400
    release("go")
    assert [one.answer().status for one in holding] == [200, 200]


def test_headers_of_an_untrusted_client_select_no_queue(serve, connect, release):
    server = serve(mounts(slow=ONE, fast="", more=BEHIND_A_PROXY.format("192.0.2.1") + TRUSTED))
    holding = connect(server, "/slow/hold/go")
    server.wait_for("holding go")
    client = connect(server)
    assert client.get("/slow/x", "X-Forwarded-Prefix: /fast", "X-Forwarded-Host: app.example.com").status == 503
    assert reached(client.get("/fast/x", "X-Forwarded-Prefix: /slow")) == ("/fast", "/x")
    release("go")
    assert holding.answer().status == 200


def test_a_reload_routes_waiting_requests_again(serve, connect, release, tmp_path):
    server = serve(mounts(slow="limit = 1"))
    holding = connect(server, "/slow/hold/go")
    server.wait_for("holding go")
    waiting = connect(server, "/slow/deep/x")
    wait_until_waiting(server, slow=1)
    (tmp_path / "mounts.toml").write_text(mounts(**{"slow": "limit = 1", "slow/deep": ""}))
    server.send(signal.SIGHUP)
    assert reached(waiting.answer()) == ("/slow/deep", "/x")
    assert "released go" not in server.log()
    release("go")
    assert holding.answer().status == 200


# ----------------------------------------------------------------------------------------------------- waiting requests


def test_a_waiting_request_whose_client_left_does_not_run(serve, connect, release):
    server = serve(mounts(one="limit = 1", fast=""))
    holding = connect(server, "/one/hold/go")
    server.wait_for("holding go")
    gone = connect(server, "/one/hold/never")
    wait_until_waiting(server, one=1)
    gone.reset()
    for _ in range(3):  # turns of the loop, in which it notices the end of the connection
        assert connect(server).get("/fast/").status == 200
    release("go")
    assert holding.answer().status == 200
    assert connect(server).get("/one/").status == 200
    assert server.stop() == 0
    assert "holding never" not in server.log()


def test_clients_that_left_free_their_places_in_the_queue(serve, connect, connect_each, release):
    server = serve(mounts(one="limit = 1\nqueue = 2", fast=""))
    holding = connect(server, "/one/hold/go")
    server.wait_for("holding go")
    gone = connect_each(server, ["/one/hold/never", "/one/hold/never"])
    wait_until_waiting(server, one=2)
    assert connect(server).get("/one/").status == 503
    for client in gone:
        client.reset()
    for _ in range(3):
        assert connect(server).get("/fast/").status == 200
    waits = connect(server, "/one/")
    wait_until_waiting(server, one=1)
    release("go")
    assert (holding.answer().status, waits.answer().status) == (200, 200)


def test_a_request_with_expect_100_is_queued_after_its_body(serve, connect, connect_each, release):
    server = serve(mounts(one="limit = 1", full=ONE))
    holding = connect_each(server, ["/one/hold/go", "/full/hold/go"])
    server.wait_for("holding go", count=2)
    client, refused = connect(server), connect(server)
    for one, path in ((client, "/one/upload"), (refused, "/full/upload")):
        one.request(path, "Expect: 100-continue", "Content-Length: 5", method="POST")
        assert one.head()[0] == 100
        one.send(b"hello")
    assert refused.answer().status == 503
    assert refused.get("/nowhere").status == 404  # on the same connection
    wait_until_waiting(server, one=1)
    release("go")
    assert client.answer().status == 200
    assert [one.answer().status for one in holding] == [200, 200]


def test_the_100_continue_comes_after_the_response_before_it(serve, connect, release):
    server = serve(mounts(one="limit = 1", fast=""))
    holding = connect(server, "/one/hold/go")
    server.wait_for("holding go")
    client = connect(server, "/one/first")
    wait_until_waiting(server, one=1)
    client.request("/one/upload", "Expect: 100-continue", "Content-Length: 5", method="POST")
    release("go")
    assert holding.answer().status == 200
    assert reached(client.answer()) == ("/one", "/first")
    assert client.head()[0] == 100
    client.send(b"hello")
    assert client.answer().status == 200
