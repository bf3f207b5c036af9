"""The thread that serves the status page, over real sockets, with clients that do not behave."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack, closing

import pytest
from support.status_snapshot import Process, troubled
from support.waiting import TIMEOUT, wait_until

from mountpoint.status import listener as module
from mountpoint.status.app import StatusApp
from mountpoint.status.listener import MAX_CONNECTIONS, MAX_HEAD, StatusListener

REQUEST = b"GET /page?a=b HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\nx-one: 2\r\n\r\n"


def show(environ, start_response):
    """Respond with a few variables of the request."""
    names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_X_ONE", "SCRIPT_NAME")
    body = "\n".join(f"{name}={environ.get(name)!r}" for name in names).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def ask(address, data, *, half_close=False):
    """Send *data*, and return all that comes back."""
    with closing(socket.create_connection(address, TIMEOUT)) as client:
        client.sendall(data)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        return read_all(client)


def read_all(client):
    with client.makefile("rb") as file:
        return file.read()


def test_a_request_reaches_the_app_and_the_connection_ends(listen):
    head, _, body = ask(listen(show), REQUEST).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"\r\nServer: mountpoint\r\n" in head
    assert body.decode().split("\n") == [
        "REQUEST_METHOD='GET'",
        "PATH_INFO='/page'",
        "QUERY_STRING='a=b'",
        "HTTP_HOST='localhost'",
        "HTTP_X_ONE='1,2'",
        "SCRIPT_NAME=''",
    ]


def test_the_environment_of_the_process_is_not_in_environ(listen, monkeypatch):
    monkeypatch.setenv("HTTP_X_ONE", "of the process")
    assert b"HTTP_X_ONE=None" in ask(listen(show), b"GET / HTTP/1.0\r\n\r\n")


def test_a_request_may_arrive_in_pieces(listen):
    with socket.create_connection(listen(show), TIMEOUT) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(REQUEST)):
            client.sendall(REQUEST[position : position + 1])
        assert b"PATH_INFO='/page'" in read_all(client)


@pytest.mark.parametrize("half_close", [False, True])
def test_a_client_that_sends_a_body_gets_its_response(listen, half_close):
    post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    assert b"REQUEST_METHOD='POST'" in ask(listen(show), post, half_close=half_close)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/9.9\r\n\r\n", b" 505 "),
        (b"GET / HTTP/x\r\n\r\n", b" 400 "),
        (b"\x16\x03\x01\x02\x00\x01 \xff\n\n", b" 400 "),  # a TLS client
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 150 + b"\r\n", b" 431 "),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD, b" 431 "),
        (b"GET /" + b"a" * MAX_HEAD, b" 431 "),
        (b"\r\n\r\n", b" 400 "),
        (b"\n\n", b" 400 "),
    ],
)
def test_a_malformed_or_large_head_gets_an_error(listen, data, status):
    assert status in ask(listen(show), data).partition(b"\n")[0] + b" "


def test_an_empty_line_before_the_request_is_ignored(listen):
    assert b"200 OK" in ask(listen(show), b"\r\n" + REQUEST)


def test_a_query_that_is_not_utf_8_gets_the_page(listen, caplog):
    address = listen(StatusApp(Process(troubled())))
    for query in (b"refresh=\xb2", b"\xff", b"refresh=%b2&refresh=60", b"refresh", b"&=&%"):
        assert b"200 OK" in ask(address, b"GET /?" + query + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert caplog.messages == []


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"GET / HT", b"\0" * 100])
def test_a_client_that_closes_early_harms_no_other(listen, data):
    address = listen(show)
    ask(address, data, half_close=True)
    assert b"200 OK" in ask(address, REQUEST)


def test_an_exception_of_the_app_is_500_and_the_next_request_works(listen, caplog):
    def fail(environ, start_response):
        if environ["PATH_INFO"] == "/fail":
            raise KeyboardInterrupt if environ["QUERY_STRING"] else ZeroDivisionError
        return show(environ, start_response)

    address = listen(fail)
    for path in (b"/fail", b"/fail?interrupted"):
        assert b" 500 " in ask(address, b"GET " + path + b" HTTP/1.0\r\n\r\n")
    assert b"200 OK" in ask(address, REQUEST)


def test_a_fault_of_the_listener_itself_is_500_and_logged(listen, caplog, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError

    address = listen(show)
    monkeypatch.setattr(module, "_Request", fail)
    assert ask(address, REQUEST).startswith(b"HTTP/1.0 500 Internal Server Error\r\n")
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert b"200 OK" in ask(address, REQUEST)


def test_an_accept_that_fails_is_logged_unless_only_the_client_has_gone(caplog):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = StatusListener([sock], show)
        listener._accept(sock)
        assert caplog.text == ""
        sock.close()
        listener._accept(sock)
        assert "the status page cannot accept connections for now: " in caplog.text
        listener._accept(sock)
        assert len(caplog.messages) == 1  # a shortage that lasts does not fill the log
        listener.join(0)  # it was never started
        listener.close_in_child()


def test_a_new_connection_closes_the_oldest_that_says_nothing(listen):
    address = listen(show)
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(address, TIMEOUT)) for _ in range(MAX_CONNECTIONS * 3)]
        assert b"200 OK" in ask(address, REQUEST)
        assert silent[0].recv(1) == b""
        silent[-1].sendall(REQUEST)
        assert b"200 OK" in read_all(silent[-1])


def test_a_client_that_sends_too_slowly_is_closed(listen, monkeypatch):
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.05)
    with socket.create_connection(listen(show), TIMEOUT) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert client.recv(100) == b""


def test_a_client_that_takes_nothing_is_closed(listen, monkeypatch):
    monkeypatch.setattr(module, "RESPONSE_SECONDS", 0.05)
    ended = []

    def large(environ, start_response):
        start_response("200 OK", [])
        ended.append(1)
        return [b"x" * 20_000_000]

    address = listen(large)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        client.sendall(REQUEST)
        wait_until(lambda: ended)
        assert b"200 OK" in ask(address, REQUEST)[:15]
        with pytest.raises((ConnectionError, AssertionError)):  # reset, or the end before the last byte
            assert len(read_all(client)) > 20_000_000


def test_stop_closes_no_response_and_no_socket_of_the_caller():
    begun, go_on = threading.Event(), threading.Event()

    def slow(environ, start_response):
        begun.set()
        go_on.wait(TIMEOUT)
        return show(environ, start_response)

    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = StatusListener([sock], slow)
        listener.start()
        with socket.create_connection(sock.getsockname(), TIMEOUT) as client:
            client.sendall(REQUEST)
            assert begun.wait(TIMEOUT)
            listener.stop()
            go_on.set()
            assert b"200 OK" in read_all(client)
        listener.join(TIMEOUT)
        listener.stop()  # a second time
        assert sock.fileno() > 0
        assert "mountpoint-status" not in [thread.name for thread in threading.enumerate()]


def test_stop_does_not_wait_for_a_client_that_says_nothing(monkeypatch):
    monkeypatch.setattr(module, "HEAD_SECONDS", 2 * TIMEOUT)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = StatusListener([sock], show)
        listener.start()
        with socket.create_connection(sock.getsockname(), TIMEOUT) as client:
            client.sendall(b"GET / HT")
            assert b"200 OK" in ask(sock.getsockname(), REQUEST)
            listener.stop()
            assert client.recv(1) == b""
        listener.join(TIMEOUT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_keeps_no_descriptor_of_the_listener(listen):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = StatusListener([sock], show)
        descriptors = [listener._waker.fileno(), listener._woken.fileno()]
        listener.close_in_child()
        for descriptor in descriptors:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)
