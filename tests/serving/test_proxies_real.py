"""The printed configurations in real proxies in front of mountpoint: the same acceptance tests for each proxy."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.client import app_file
from support.proxies import PROXIES, Front, deny_admin, digest, reserved_ports, start, version_of
from support.response import Response
from support.running import MountpointServe, children

from mountpoint.config.address import listen_address
from mountpoint.config.reader import load_config
from mountpoint.proxyconf import RenderOptions, proxy_config
from mountpoint.proxyconf.plan import make_plan
from mountpoint.proxyconf.section import proxy_section

if sys.platform == "win32":
    pytest.skip("the proxies are those of Linux and macOS", allow_module_level=True)

APP = app_file("proxied_app") + ":make_app()"
HOSTILE = "/a$b;{x}(y)[z]|^+.,=&!~@:${HOME}{{env}}"
MOUNTS = ["/tv_ws", "/tv_ws/deep", "/admin", "/café", HOSTILE, "/"]
TABLE = "[server]\nrequest_id = true\n[mounts]\n" + "".join(f'"{key}" = "{APP}"\n' for key in MOUNTS)
COUNTS = '[proxy]\ntrusted = ["127.0.0.1"]\nx_for = 1\nx_proto = 1\nx_host = 1\nx_port = 1\n'
STRIPS = "/apps"

SPOOFED = [
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Proto", "ftp"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Port", "666"),
    ("X-Forwarded-Prefix", "//evil.example"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Server", "evil.example"),
    ("X-Forwarded-By", "evil.example"),
    ("X-Real-IP", "203.0.113.9"),
    ("X-Script-Name", "/evil"),
    ("Forwarded", "for=203.0.113.9;host=evil.example;proto=https"),
    ("X_Forwarded_Prefix", "/evil"),
    ("X_Forwarded_For", "203.0.113.9"),
]
COUNTED = ("For", "Proto", "Host", "Port", "Prefix")


@dataclass
class Stack:
    """A proxy in front of mountpoint. ``prefix`` precedes every mount."""

    proxy: str
    shape: str
    front: Front
    folder: Path
    prefix: str

    def get(self, target: str, **options: Any) -> Response:
        return self.front.fetch(self.prefix + target, **options)

    def echo(self, target: str, **options: Any) -> dict[str, str]:
        answer = self.get(target, **options)
        assert answer.status == 200, answer
        return json.loads(answer.body)


EACH = [
    pytest.param((proxy, shape, scheme), marks=getattr(pytest.mark, proxy), id=f"{proxy}-{shape}-{scheme}")
    for proxy in PROXIES
    for shape in ("keep", "strip", "strips")  # "strips" removes the one prefix that the file names
    for scheme in ("http", "https")
]


@pytest.fixture(scope="module", params=EACH)
def stack(request, tmp_path_factory) -> Iterator[Stack]:
    proxy, shape, scheme = request.param
    folder = tmp_path_factory.mktemp("stack")
    tls = tuple(map(str, request.getfixturevalue("certificate"))) if scheme == "https" else None
    file = folder / "mounts.toml"
    file.write_text(TABLE + COUNTS + (f'strips = "{STRIPS}"\n' if shape == "strips" else ""), encoding="utf-8")
    shape = "strip" if shape == "strips" else shape

    def options_for(port: int) -> RenderOptions:
        upstreams = [listen_address(f"127.0.0.1:{port}")]
        return RenderOptions(server_name="localhost", shape=shape, tls=tls, upstreams=upstreams, standalone=True)

    # mountpoint advises a [proxy] section. With this section in the file, it has no further advice.
    advised = proxy_section(make_plan(load_config(file), options_for(1)).settings)
    file.write_text(f"{TABLE}{advised}\n", encoding="utf-8")
    with children(MountpointServe) as launch, children(Front) as launch_proxy, reserved_ports() as ports:
        command = [sys.executable, "-m", "mountpoint", "serve", file, "--listen", "127.0.0.1:0"]
        backend = launch(command, cwd=folder)
        backend.wait_for("serving on http")
        configuration = proxy_config(
            load_config(file), proxy, replace(options_for(backend.port), proxy_version=version_of(proxy))
        )
        assert configuration.advice == ""
        text = deny_admin(proxy, configuration.text)
        front = start(launch_proxy, proxy, text, folder / proxy, ports, Path(tls[0]) if tls else None)
        yield Stack(proxy, request.param[1], front, folder, STRIPS if request.param[1] == "strips" else "")


def test_a_page_links_to_static_files_that_exist(stack):
    page = stack.get("/tv_ws/?stn=Lund")
    assert (page.status, page.text) == (200, f'<script src="{stack.prefix}/tv_ws/static/ws.js"></script> Lund')
    script = stack.get("/tv_ws/static/ws.js")
    assert script.status == 200
    assert script.headers.get_content_type() in ("text/javascript", "application/javascript")


def test_a_redirect_stays_under_its_mount_as_the_app_wrote_it(stack):
    answer = stack.get("/tv_ws/go")
    assert (answer.status, answer.headers["Location"]) == (302, f"{stack.prefix}/tv_ws/")


def test_the_redirect_and_the_cookie_of_a_form_are_as_the_app_wrote_them(stack):
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    answer = stack.get("/tv_ws/form", method="POST", headers=headers, body=b"stn=Kiruna")
    assert (answer.status, answer.headers["Location"]) == (303, f"{stack.prefix}/tv_ws/")
    assert answer.headers.get_all("Set-Cookie") == [f"station=Kiruna; Path={stack.prefix}/tv_ws/"]
    assert stack.echo("/tv_ws/echo", headers=[("Cookie", "station=Kiruna")])["HTTP_COOKIE"] == "station=Kiruna"


@pytest.mark.parametrize("query", ["", "?stn=Lund&x=%2F%C3%A5+y"])
def test_the_exact_prefix_is_redirected_with_its_query(stack, query):
    for mount in ("/tv_ws", "/tv_ws/deep", "/caf%C3%A9"):
        answer = stack.get(mount + query)
        assert (answer.status, answer.headers["Location"]) == (308, f"{stack.prefix}{mount}/{query}")


def test_a_post_to_the_exact_prefix_reaches_the_app(stack):
    answer = stack.get("/tv_ws", method="POST", body=b"x")
    # Flask rejects an empty PATH_INFO itself, so the request has reached it.
    assert answer.status in (404, 405)


def test_the_exact_prefix_of_the_root_mount_is_redirected(stack):
    if stack.prefix:
        answer = stack.front.fetch(f"{stack.prefix}?x=1")
        assert answer.status in (301, 308)
        assert answer.headers["Location"] in (f"{stack.prefix}/?x=1", f"{stack.front.url}{stack.prefix}/?x=1")
        assert stack.front.fetch(stack.prefix).headers["Location"].endswith(f"{stack.prefix}/")
    assert stack.get("/").status == 200


@pytest.mark.parametrize("mount", MOUNTS[:2] + MOUNTS[3:])
def test_each_mount_gets_the_paths_below_it_and_no_longer_word(stack, mount):
    path = mount.rstrip("/")
    seen = stack.echo(f"{quote(path, safe='/')}/some/page?q=1")
    expected = (stack.prefix + path).encode().decode("latin-1")
    assert (seen["mountpoint.mount"], seen["SCRIPT_NAME"]) == (mount, expected)
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/some/page", "q=1")
    if path:
        assert stack.echo(f"{quote(path, safe='/')}x/page")["mountpoint.mount"] != mount


def test_a_path_in_utf_8_arrives_whole(stack):
    seen = stack.echo("/caf%C3%A9/%E6%97%A5%20%3F%25%23;a=1&%2B+")
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/日 ?%#;a=1&++"
    assert seen["mountpoint.mount"] == "/café"


def test_links_have_the_scheme_the_host_and_the_port_of_the_client(stack):
    assert stack.get("/tv_ws/absolute").text == f"{stack.front.url}{stack.prefix}/tv_ws/"


def test_the_app_sees_the_client(stack):
    seen = stack.echo("/tv_ws/echo")
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["wsgi.url_scheme"] == stack.front.url.partition(":")[0]
    assert seen["HTTP_HOST"] == f"localhost:{stack.front.port}"


def test_a_client_cannot_choose_its_id_and_its_trace_is_passed_on(stack):
    trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    sent = [trace, ("tracestate", "congo=t61rcWkgMzE"), ("X-Request-ID", "chosen")]
    answer = stack.get("/tv_ws/echo", headers=sent)
    seen = json.loads(answer.body)
    assert re.fullmatch(r"[0-9a-f-]{32,36}", seen["HTTP_X_REQUEST_ID"])
    assert answer.headers["X-Request-ID"] == seen["mountpoint.request_id"] == seen["HTTP_X_REQUEST_ID"]
    assert (seen["HTTP_TRACEPARENT"], seen["HTTP_TRACESTATE"]) == (trace[1], "congo=t61rcWkgMzE")


def test_a_body_of_10_mb_arrives_whole(stack):
    body = b"0123456789" * 1_000_000
    assert stack.get("/tv_ws/upload", method="POST", body=body).text == digest(body)


def test_a_streamed_body_is_sent_at_once(stack):
    name = f"go-{stack.front.port}"
    connection = stack.front.connect()
    try:
        connection.request("GET", f"{stack.prefix}/tv_ws/stream/{name}")
        response = connection.getresponse()
        assert response.read1(6) == b"first "
        (stack.folder / name).touch()
        assert response.read() == b"second"
    finally:
        connection.close()


def test_head_has_the_headers_and_no_body(stack):
    answer = stack.get("/tv_ws/", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == stack.get("/tv_ws/").headers["Content-Length"]


def test_a_client_connection_is_reused(stack):
    connection = stack.front.connect()
    try:
        sockets = set()
        for _ in range(3):
            connection.request("GET", f"{stack.prefix}/tv_ws/")
            assert connection.getresponse().read().startswith(b"<script")
            sockets.add(connection.sock.getsockname())
        assert len(sockets) == 1
    finally:
        connection.close()


# ------------------------------------------------------------------------------------------------------ hostile clients


@pytest.mark.parametrize("also", [[], *([("Connection", f"X-Forwarded-{name}")] for name in COUNTED)], ids=str)
def test_spoofed_headers_do_not_change_what_the_app_sees(stack, also):
    before = stack.echo("/tv_ws/echo")
    after = stack.echo("/tv_ws/echo", headers=[*SPOOFED, *also])
    for seen in (before, after):
        for name in ("REMOTE_PORT", "HTTP_CONNECTION", "HTTP_X_REQUEST_ID", "mountpoint.request_id"):
            seen.pop(name, None)
    assert after == before


def test_a_connection_header_cannot_remove_forwarding_headers(stack):
    before = stack.echo("/tv_ws/echo")
    names = ", ".join(f"x-forwarded-{name.lower()}" for name in COUNTED)
    after = stack.echo("/tv_ws/echo", headers=[("Connection", f"close, {names}, Host"), *SPOOFED])
    for name in ("wsgi.url_scheme", "REMOTE_ADDR", "HTTP_HOST", "SCRIPT_NAME", "PATH_INFO"):
        assert after[name] == before[name]


@pytest.mark.parametrize(
    "target",
    [
        "/admin",
        "/admin/x",
        "/admin/../admin/x",
        "/tv_ws/../admin/x",
        "/tv_ws/%2e%2e/admin/x",
        "/tv_ws/..%2fadmin/x",
        "/tv_ws/..%2f..%2fadmin/x",
        "/tv_ws/%2e%2e%2fadmin/x",
        "/admin/../tv_ws/x",
        "/admin/x/..%2f..%2ftv_ws/y",
        "/./admin/x",
        "/%61dmin/x",
        "/%61dmin",
        "/admin%2Fx",
        "/%2Fadmin/x",
        "//admin/x",
        "///admin//x",
        "/tv_ws//../admin/x",
        "/admin;/x",
        "/admin/x?y=/../",
        "/admin/%zz",
        "/%61dmin/%zz",
        "/admin/%00",
        "/ADMIN/x",
        "/tv_ws\\..\\admin\\x",
    ],
)
@pytest.mark.parametrize("absolute", [False, True], ids=["origin-form", "absolute-form"])
def test_nothing_gets_past_the_denial_of_a_sibling(stack, target, absolute):
    target = stack.prefix + target
    answer = stack.front.fetch(stack.front.url + target if absolute else target)
    assert answer.status in (200, 308, 400, 403, 404), answer
    if answer.status == 308:
        assert not answer.headers["Location"].startswith(f"{stack.prefix}/admin")
    if answer.status == 200:
        assert json.loads(answer.body)["mountpoint.mount"] != "/admin"


def test_no_spelling_of_the_prefix_gets_past_the_denial(stack):
    for target in ("/%61pps/admin/x", "//apps/admin/x", "/apps%2Fadmin/x", "/./apps/admin/x", "/%2fapps/admin/x"):
        answer = stack.front.fetch(target)
        assert b'"mountpoint.mount":"/admin"' not in answer.body, target


def test_another_host_is_not_served(stack):
    try:
        answer = stack.get("/tv_ws/", headers=[("Host", "elsewhere.example")])
    except ConnectionError:
        return
    assert answer.status in (403, 404, 421)


def test_an_absolute_target_with_another_host_is_harmless(stack):
    answer = stack.front.fetch(
        f"{stack.front.url}{stack.prefix}/tv_ws/echo", headers=[("Host", f"evil.example:{stack.front.port}")]
    )
    if answer.status == 200:
        assert json.loads(answer.body)["HTTP_HOST"] == f"localhost:{stack.front.port}"
    else:
        assert answer.status in (400, 403, 404, 421)


#: The mount and PATH_INFO that doubled and encoded slashes reach, behind a proxy that keeps slashes.
AS_THEY_ARE = {
    "/tv_ws/a%2Fb": ("/tv_ws", "/a/b"),
    "/tv_ws%2Fa": ("/tv_ws", "/a"),
    "/tv_ws//a": ("/tv_ws", "//a"),
    "/tv_ws/%2Fa": ("/tv_ws", "//a"),
    "/tv_ws/deep%2Fa": ("/tv_ws/deep", "/a"),
    "/tv_ws//deep/a": ("/tv_ws", "//deep/a"),
    "//tv_ws/a": ("/", "//tv_ws/a"),
}
#: The same behind a proxy that merges slashes.
MERGED = AS_THEY_ARE | {
    "/tv_ws//a": ("/tv_ws", "/a"),
    "/tv_ws//deep/a": ("/tv_ws/deep", "/a"),
    "//tv_ws/a": ("/tv_ws", "/a"),
}
ARRIVALS = {
    "nginx": AS_THEY_ARE,
    "caddy": AS_THEY_ARE,
    "haproxy": AS_THEY_ARE,
    "apache": MERGED | {"/tv_ws/%2Fa": ("/tv_ws", "/a")},
    "traefik": MERGED,
}


@pytest.mark.parametrize("target", AS_THEY_ARE)
def test_doubled_and_encoded_slashes_reach_the_mount_the_proxy_meant(stack, target):
    seen = stack.echo(target)
    assert (seen["mountpoint.mount"], seen["PATH_INFO"]) == ARRIVALS[stack.proxy][target]
