"""SIGTERM and SIGINT: the server accepts no new connection, finishes the requests in flight and ends."""

import signal
import sys
import threading

import pytest
from support.client import TABLE, Client, table, wait_until_refused
from support.draining import BIG, assert_nothing_lost, drain

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")


def drain_beyond_idle(server):
    """Begin a drain and wait until *server* has closed an idle connection, which is newer than that of the test."""
    with Client(server.url) as idle:
        assert idle.get("/app/").status == 200
        drain(server)
        assert idle.is_closed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_drain_finishes_a_request_and_accepts_no_other(serve, release, number):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        drain(server, number)
        wait_until_refused(server.url)
        release("it")
        answer = client.answer()
        assert (answer.status, answer.body) == (200, b"held it")
        assert answer.closes
        assert client.is_closed()
    assert_nothing_lost(server)


def test_control_waitress_alone_loses_a_request_in_flight(stock_waitress):
    server = stock_waitress()
    with Client(server.url) as client:
        client.request("/hold/it")
        server.wait_for("holding it")
        assert server.stop() == -signal.SIGTERM
        with pytest.raises(ConnectionError):
            client.answer()


def test_control_waitress_alone_cuts_off_a_slow_reader(stock_waitress):
    server = stock_waitress()
    with Client(server.url, buffer=4096) as client:
        client.request(f"/file/{BIG}")
        _, headers = client.head()
        server.stop(signal.SIGINT)
        with pytest.raises(ConnectionError):
            client.body(headers)


def test_a_drain_answers_requests_that_wait_for_a_thread(serve, release):
    server = serve(table(threads=1))
    clients = [Client(server.url) for _ in range(10)]
    try:
        clients[0].request("/app/hold/it")
        server.wait_for("holding it")
        for client in clients[1:]:
            client.request("/app/")
        drain(server)
        release("it")
        answers = [client.answer() for client in clients]
    finally:
        for client in clients:
            client.close()
    assert [answer.status for answer in answers] == [200] * 10
    assert all(answer.closes for answer in answers)
    assert_nothing_lost(server)


@pytest.mark.parametrize("kind", ["sized", "streamed", "file"])
def test_a_slow_reader_gets_the_whole_response(serve, kind):
    server = serve(TABLE)
    with Client(server.url, buffer=4096) as client:
        client.request(f"/app/{kind}/{BIG}")
        _, headers = client.head()
        drain_beyond_idle(server)
        assert len(client.body(headers)) == BIG
    assert_nothing_lost(server)


def test_a_drain_finishes_an_upload(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.request("/app/upload", "Content-Length: 200000", "Expect: 100-continue", method="POST")
        assert client.head()[0] == 100
        client.send(b"x" * 100_000)
        drain_beyond_idle(server)
        client.send(b"x" * 100_000)
        answer = client.answer()
        assert answer.status == 200
        assert answer.closes
    assert_nothing_lost(server)


def test_a_drain_finishes_a_chunked_upload(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.request("/app/upload", "Transfer-Encoding: chunked", "Expect: 100-continue", method="POST")
        assert client.head()[0] == 100
        client.send(b"5\r\nhel")
        drain_beyond_idle(server)
        client.send(b"lo\r\n0\r\n\r\n")
        assert client.answer().status == 200
    assert_nothing_lost(server)


def test_only_the_last_pipelined_response_closes_the_connection(serve, release):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.pipeline("/app/hold/it", "/app/", "/app/")
        server.wait_for("holding it")
        drain(server)
        release("it")
        answers = [client.answer() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert [answer.closes for answer in answers] == [False, False, True]
        assert client.is_closed()
    assert_nothing_lost(server)


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_drain_finishes_a_request_whose_client_has_left(serve, release, leave):
    server = serve(TABLE)
    client = Client(server.url)
    client.request("/app/hold/it")
    server.wait_for("holding it")
    getattr(client, leave)()
    drain(server)
    release("it")
    assert_nothing_lost(server)
    assert "released it" in server.log()


def test_a_client_that_leaves_during_its_response_delays_no_drain(serve):
    server = serve(TABLE)
    client = Client(server.url, buffer=4096)
    client.request(f"/app/sized/{BIG}")
    client.head()
    drain(server)
    client.reset()
    assert_nothing_lost(server)


def test_a_drain_answers_connections_in_the_backlog(serve):
    server = serve(TABLE)
    clients = []
    try:
        server.send(signal.SIGSTOP)
        for _ in range(50):
            clients.append(Client(server.url))
            clients[-1].request("/app/")
        server.send(signal.SIGTERM)
        server.send(signal.SIGCONT)
        answers = [client.answer() for client in clients]
    finally:
        for client in clients:
            client.close()
    assert [answer.status for answer in answers] == [200] * 50
    assert_nothing_lost(server)


def test_a_drain_closes_idle_connections(serve):
    server = serve(TABLE)
    with Client(server.url) as used, Client(server.url) as silent:
        assert used.get("/app/").status == 200
        drain(server)
        assert used.is_closed()
        assert silent.is_closed()
    assert_nothing_lost(server)


def test_an_extra_line_end_is_not_the_start_of_a_request(serve):
    """Old clients send one after a body, which a server ignores (RFC 9112 section 2.2)."""
    server = serve(table(drain_timeout=5))
    with Client(server.url) as client:
        client.request("/app/upload", method="POST", body=b"hello")
        client.send("\r\n")
        assert client.answer().status == 200
        drain(server)
        assert client.is_closed()
    assert_nothing_lost(server)


def test_keep_alive_clients_under_load_lose_no_request(serve):
    server = serve(TABLE)
    begun, failures, last = threading.Barrier(41, timeout=30), [], []

    def load():
        answers = 0
        try:
            with Client(server.url) as client:
                while True:
                    answer = client.get("/app/")
                    assert answer.status == 200
                    answers += 1
                    if answers == 5:
                        begun.wait()
                    if answer.closes:
                        last.append(answer)
                        return
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(40)]
    for thread in threads:
        thread.start()
    begun.wait()
    server.send()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(last) == 40
    assert_nothing_lost(server)


def test_an_http_1_0_client_gets_one_connection_close_header(serve, release):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.request("/app/hold/it", "Connection: keep-alive", version="1.0")
        server.wait_for("holding it")
        drain(server)
        release("it")
        answer = client.answer()
        assert answer.headers.get_all("Connection") == ["close"]
        assert client.is_closed()
    assert_nothing_lost(server)


def test_every_listener_is_drained(serve, release):
    server = serve(TABLE, "--listen", "127.0.0.1:0", "--listen", "localhost:0")
    clients = [Client(url) for url in server.urls]
    assert len(clients) >= 2
    try:
        for number, client in enumerate(clients):
            client.request(f"/app/hold/{number}")
            server.wait_for(f"holding {number}")
        drain(server)
        for url in server.urls:
            wait_until_refused(url)
        for number, client in enumerate(clients):
            release(str(number))
            assert client.answer().body == f"held {number}".encode()
    finally:
        for client in clients:
            client.close()
    assert_nothing_lost(server)


def test_a_drain_removes_the_file_of_a_unix_socket(serve, release, socket_path):
    server = serve(TABLE, "--listen", f"unix:{socket_path}")
    with Client(server.urls[0]) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        drain(server)
        wait_until_refused(server.urls[0])
        assert not socket_path.exists()
        release("it")
        assert client.answer().body == b"held it"
    assert_nothing_lost(server)
