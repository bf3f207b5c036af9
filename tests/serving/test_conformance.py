"""The suites of gunicorn, h11 and waitress against `mountpoint serve`, over real sockets.

conformance.toml has the archives and each accepted difference with its reason. A difference that is not listed fails,
and so does a listed one that is gone. The tests download the archives once; see support.sdists.
"""

import sys
import tomllib
from pathlib import Path

import pytest
from support.client import app_file
from support.conversations import Conversation
from support.fuzzing import judge, replies
from support.peer_suites import (
    difference,
    exchange,
    got_requests,
    gunicorn_cases,
    h11_cases,
    h11_connections,
    statuses,
    waitress_results,
    with_host,
)
from support.running import serving
from support.sdists import Unavailable, fetch, unpack
from support.waiting import wait_until

if sys.platform == "win32":
    pytest.skip("gunicorn's files need gunicorn, which needs fork", allow_module_level=True)

SUITES = tomllib.loads(Path(__file__).with_name("conformance.toml").read_text(encoding="utf-8"))
APP = app_file("conformance_app")
FUNCTIONAL = [
    f"Tcp{name}Tests"
    for name in ("Echo", "Pipelining", "ExpectContinue", "BadContentLength", "NoContentLength", "WriteCallback")
]
FUNCTIONAL += ["TcpInternalServerErrorTests", "TcpInternalServerErrorTestsWithTraceback", "TcpFileWrapperTests"]


MOUNTS = """
"/" = "{APP}:{app}"
"/recorded" = {{ app = "{APP}:recorded", slash = "pass" }}
"/choose" = {{ app = "{APP}:choose", slash = "pass" }}
"""
OWN = """
"/" = {{ app = "{APP}:{app}", process = "own" }}
"""


def table(app, root, settings="", mounts=MOUNTS):
    return f"""
[server]
threads = 4
{settings}
[defaults]
root = "{root}"
dot_segments = "pass"
[mounts]
{mounts.format(APP=APP, app=app)}
[proxy]
trusted = "127.0.0.1"
x_for = 1
x_proto = 1
"""


@pytest.fixture
def peer(request, tmp_path, lacking):
    """Return ``peer(name)``, which returns the folder of the archive of *name*."""

    def peer(name):
        cache = request.config.cache.mkdir("sdists")
        try:
            archive = fetch(name, SUITES[name]["version"], SUITES[name]["sha256"], cache)
        except Unavailable as error:
            lacking(str(error))
        return unpack(archive, tmp_path)

    return peer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance")
    with serving(table("app", folder.as_posix()), folder, "--no-access-log") as server:
        yield server


def assert_only_accepted(name, found):
    """Assert that the differences *found*, by the name of their case, are those of conformance.toml."""
    accepted = {case: entry["reason"] for entry in SUITES[name]["accepted"] for case in entry["cases"]}
    found = {case: text for case, text in found.items() if text}
    lines = [f"{case}: {text[-700:]}" for case, text in sorted(found.items()) if case not in accepted]
    lines += [f"{case}: no longer differs; accepted because: {accepted[case]}" for case in accepted.keys() - found]
    assert not lines, "\n".join(lines)


def run(server, case):
    got_requests(server.url)
    received, _ = exchange(server.url, with_host(case.data))
    return difference(case, got_requests(server.url), statuses(received))


def test_gunicorns_request_files_have_their_meaning(peer, server):
    cases = list(gunicorn_cases(peer("gunicorn")))
    assert len(cases) > 100
    assert_only_accepted("gunicorn", {case.name: run(server, case) for case in cases})


def test_h11s_requests_have_their_meaning(peer, server):
    folder = peer("h11")
    cases = list(h11_cases(folder))
    assert len(cases) > 20
    found = {case.name: run(server, case) for case in cases}
    for name, data, _ in (connections := list(h11_connections(folder))):
        received, is_whole = exchange(server.url, data)
        received = received.removesuffix(b"HTTP/1.1 100 Continue\r\n\r\n")  # the body that it asks for never comes
        found[name] = judge(Conversation("h11", data), replies(received, is_whole=is_whole), ended=True)
    assert len(connections) > 20
    assert_only_accepted("h11", found)


@pytest.mark.parametrize(("app", "mounts"), [("fixture", MOUNTS), ("fixture_or_choose", OWN)], ids=["shared", "own"])
def test_waitresss_functional_tests_pass(peer, serve, app, mounts):
    folder = peer("waitress")
    path = {"PYTHONPATH": str(folder)}  # the chosen app is imported in a request, when root is no longer on the path
    roomy = serve(table(app, folder.as_posix(), "expose_tracebacks = true", mounts), "--no-access-log", env=path)
    wait_until(lambda: roomy.request("/").status != 503)
    found = waitress_results(folder, roomy.port, FUNCTIONAL)
    narrow = "max_request_header_size = 1000\nmax_request_body_size = 1000"
    strict = serve(table(app, folder.as_posix(), narrow, mounts), "--no-access-log", env=path)
    wait_until(lambda: strict.request("/").status != 503)
    found |= waitress_results(folder, strict.port, ["TcpTooLargeTests"])
    assert len(found) > 60
    assert_only_accepted("waitress", found)
