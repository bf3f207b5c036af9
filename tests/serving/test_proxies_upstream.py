"""The requests that real proxies with the printed configurations send, recorded by an upstream."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.proxies import PROXIES, Front, Recorder, Sent, prepare, recorder, reserved_ports, start, version_of
from support.running import children
from support.waiting import TIMEOUT, wait_until

from mountpoint.config.address import listen_address
from mountpoint.config.reader import load_config
from mountpoint.proxyconf import RenderOptions, proxy_config
from mountpoint.proxyconf.plan import link_encoded, percent_encoded

if sys.platform == "win32":
    pytest.skip("the proxies are those of Linux and macOS", allow_module_level=True)

TABLE = """
[server]
max_request_body_size = 1000

[mounts]
"/tv_ws" = "a:app"
"/tv_ws/deep" = "a:app"
"/café" = "a:app"
"/a$b,c;d=e" = "a:app"
"one.example.com/only" = "a:app"
"*.example.com/wild" = "a:app"
"""
HOSTILE = """
[mounts]
"/" = "a:app"
"/a$b;{x}(y)[z]|^+.,=&!~@:${HOME}{{env}}" = "a:app"
"/}" = "a:app"
"/;" = "a:app"
"/$host/${HOME}/$1" = "a:app"
"/-x/--/!/(/[/{/|" = "a:app"
"/日本/😀" = "a:app"
"one.example.com/" = "a:app"
"*.example.com/wild" = "a:app"
"[::1]/v6" = "a:app"
"""
EVIL = "203.0.113.9"


@dataclass
class Stack:
    proxy: str
    front: Front
    upstream: Recorder

    def sent(self, target: str, **options: Any) -> Sent:
        """Return the request that the proxy sends to the upstream."""
        answer = self.front.fetch(target, **options)
        assert answer.status == 200, answer
        return self.upstream.sent[-1]


def marked(*names: str) -> list[Any]:
    return [pytest.param(name, marks=getattr(pytest.mark, name)) for name in names]


@contextmanager
def started(proxy: str, table: str, folder: Path, **options: Any) -> Iterator[Stack]:
    with ExitStack() as stack:
        upstream = stack.enter_context(recorder())
        launch, ports = stack.enter_context(children(Front)), stack.enter_context(reserved_ports())
        file = folder / "mounts.toml"
        file.write_text(table, encoding="utf-8")
        wanted = RenderOptions(
            "localhost",
            upstreams=[listen_address(f"127.0.0.1:{upstream.port}")],
            standalone=True,
            proxy_version=version_of(proxy),
            **options,
        )
        text = proxy_config(load_config(file), proxy, wanted).text
        yield Stack(proxy, start(launch, proxy, text, folder, ports, None), upstream)


@pytest.fixture(scope="module", params=marked(*PROXIES))
def strip(request, tmp_path_factory) -> Iterator[Stack]:
    with started(request.param, TABLE, tmp_path_factory.mktemp("strip"), shape="strip") as stack:
        yield stack


@pytest.mark.parametrize("key", ["/tv_ws", "/tv_ws/deep", "/café", "/a$b,c;d=e"])
def test_the_stripped_prefix_is_sent_in_a_header(strip, key):
    sent = strip.sent(f"{link_encoded(key)}/some/page?q=1")
    assert sent.line == "GET /some/page?q=1 HTTP/1.1"
    assert sent.headers.get_all("X-Forwarded-Prefix") == [percent_encoded(key)]
    slashless = strip.sent(f"{link_encoded(key)}?q=1")
    assert slashless.line == f"GET {link_encoded(key)}?q=1 HTTP/1.1"
    assert not slashless.headers["X-Forwarded-Prefix"]


def test_no_forwarding_header_of_a_client_arrives(strip):
    names = ["For", "Proto", "Host", "Port", "Prefix", "Server", "By"]
    spoofed = [(f"X-Forwarded-{name}", EVIL) for name in names]
    spoofed += [("X-Real-IP", EVIL), ("X-Script-Name", EVIL), ("Forwarded", f"for={EVIL}")]
    spoofed += [(name, EVIL) for name in ("X-Forwarded-Ssl", "X-Original-URL", "X-Rewrite-URL", "Remote-User")]
    sent = strip.sent("/tv_ws/", headers=spoofed)
    assert EVIL not in str(sent.headers)
    assert sent.headers.get_all("X-Forwarded-For") == ["127.0.0.1"]
    assert sent.headers.get_all("X-Forwarded-Proto") == ["http"]
    assert sent.headers.get_all("Host") == [f"localhost:{strip.front.port}"]
    for name in (*(f"X-Forwarded-{name}" for name in names[2:] if name != "Prefix"), "X-Real-IP", "Forwarded"):
        assert sent.headers[name] is None


@pytest.mark.parametrize("proxy", marked(*PROXIES))
def test_no_header_that_is_passed_on_comes_from_a_client(proxy, tmp_path):
    table = (
        '[mounts]\n"/tv_ws" = "a:app"\n[proxy]\ntrusted = ["127.0.0.1"]\npass = ["X-Shop-Role"]\nuser = "X-Shop-User"\n'
    )
    with started(proxy, table, tmp_path) as stack:
        sent = stack.sent("/tv_ws/", headers=[("X-Shop-Role", EVIL), ("X-Shop-User", EVIL), ("X-Other", "1")])
        assert EVIL not in str(sent.headers)
        assert sent.headers["X-Other"] == "1"


def test_a_connection_to_the_upstream_is_reused(strip):
    before = strip.upstream.connections
    with closing(strip.front.connect()) as connection:
        for _ in range(10):
            connection.request("GET", "/tv_ws/")
            assert connection.getresponse().read() == b"ok"
    assert strip.upstream.connections - before < 5


def test_a_table_without_a_root_serves_no_other_path(strip):
    before = len(strip.upstream.sent)
    for target in ("/", "/tv_wsx", "/tv_ws%61/", "/TV_WS/", "/tv_ws;/", "/other", "/only/", "/wild/"):
        assert strip.front.fetch(target).status == 404
    assert len(strip.upstream.sent) == before


def test_doubled_slashes_get_404_or_are_merged(strip):
    answer = strip.front.fetch("//tv_ws/page")
    if strip.proxy in ("apache", "traefik"):
        sent = strip.upstream.sent[-1]
        assert (sent.line, sent.headers["X-Forwarded-Prefix"]) == ("GET /page HTTP/1.1", "/tv_ws")
    else:
        assert answer.status == 404


def test_each_host_has_its_own_mounts_and_the_shared_ones(strip):
    for host, own in (("one.example.com", "/only"), ("two.example.com", "/wild"), ("one.example.com", "/wild")):
        headers = [("Host", host)]
        sent = strip.sent(f"{own}/page", headers=headers)
        assert (sent.line, sent.headers["X-Forwarded-Prefix"]) == ("GET /page HTTP/1.1", own)
        assert strip.sent("/tv_ws/page", headers=headers).headers["X-Forwarded-Prefix"] == "/tv_ws"
        assert strip.sent("/tv_ws/page", headers=headers).headers["Host"] == host
    assert strip.front.fetch("/only/page", headers=[("Host", "two.example.com")]).status == 404


def test_a_body_over_the_limit_is_rejected(strip):
    # Caddy 2.6 notices while it forwards the body, and Traefik leaves the check to mountpoint.
    answers = {"caddy": (413, 502), "traefik": (200,)}
    assert strip.front.fetch("/tv_ws/", "POST", body=b"x" * 1001).status in answers.get(strip.proxy, (413,))
    assert strip.sent("/tv_ws/", method="POST", body=b"x" * 1000).line.startswith("POST")


def test_a_slow_upload_is_held_back_until_its_last_byte(strip):
    before = len(strip.upstream.heads)
    with socket.create_connection(("127.0.0.1", strip.front.port), TIMEOUT) as slow:
        slow.sendall(b"POST /tv_ws/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab")
        if strip.proxy == "traefik":  # it passes on each piece as it comes
            wait_until(lambda: "/slow" in str(strip.upstream.heads[before:]))
        else:
            for _ in range(10):  # the proxy serves other clients, and has time to connect to the upstream
                assert strip.front.fetch("/tv_ws/other").status == 200
            assert "/slow" not in str(strip.upstream.heads[before:])
        slow.sendall(b"c")
        assert slow.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert "/slow" in str(strip.upstream.heads[before:])


@pytest.mark.parametrize("proxy", marked(*PROXIES))
def test_a_large_slow_upload_is_held_back_by_nginx_and_caddy(proxy, tmp_path):
    size = 200_000  # more than the buffers of HAProxy and httpd
    with started(proxy, '[mounts]\n"/tv_ws" = "a:app"\n', tmp_path) as stack:
        with socket.create_connection(("127.0.0.1", stack.front.port), TIMEOUT) as slow:
            head = f"POST /tv_ws/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
            slow.sendall(head.encode() + b"x" * (size - 1))
            if proxy in ("nginx", "caddy"):
                for _ in range(10):
                    assert stack.front.fetch("/tv_ws/other").status == 200
                assert "/slow" not in str(stack.upstream.heads)
            else:
                wait_until(lambda: "/slow" in str(stack.upstream.heads))
            slow.sendall(b"x")
            assert slow.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert "/slow" in str(stack.upstream.heads)


@pytest.mark.parametrize("proxy", marked("nginx", "caddy", "haproxy", "apache"))
def test_the_forwarded_header_is_written_where_it_is_counted(proxy, tmp_path):
    table = '[mounts]\n"/tv_ws" = "a:app"\n[proxy]\ntrusted = ["127.0.0.1"]\nforwarded = 1\n'
    with started(proxy, table, tmp_path) as stack:
        sent = stack.sent("/tv_ws/", headers=[("Forwarded", f"for={EVIL}"), ("X-Forwarded-For", EVIL)])
        host = f"localhost:{stack.front.port}"
        assert sent.headers.get_all("Forwarded") == [f'for="127.0.0.1";host="{host}";proto=http']
        assert EVIL not in str(sent.headers)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs unix sockets")
@pytest.mark.parametrize("shape", ["keep", "strip", "strips"])
@pytest.mark.parametrize("proxy", marked(*PROXIES))
def test_the_proxy_accepts_its_configuration_for_any_key_and_host(proxy, shape, certificate, tmp_path):
    listen = '["127.0.0.1:81"]' if proxy == "traefik" else '"unix:/run/mountpoint.sock"'
    strips = '[proxy]\nstrips = "/café$x"\n' if shape == "strips" else ""
    (tmp_path / "mounts.toml").write_text(HOSTILE + f"[server]\nlisten = {listen}\n" + strips, encoding="utf-8")
    options = RenderOptions(
        shape="keep" if shape == "keep" else "strip",
        tls=tuple(map(str, certificate)),
        standalone=True,
        proxy_version=version_of(proxy),
    )
    text = proxy_config(load_config(tmp_path / "mounts.toml"), proxy, options).text
    with children(Front) as launch, reserved_ports() as ports:
        if proxy == "traefik":  # Traefik has no check command, so the test starts it and reads its API
            start(launch, proxy, text, tmp_path, ports, certificate[0], serves=False)
        else:
            prepare(proxy, text, tmp_path, ports)
