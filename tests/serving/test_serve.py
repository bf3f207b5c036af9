"""The command `mountpoint serve`: its start, broken apps, and options that override the file."""

import json
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from support.client import PROBE, TABLE, Client, table
from support.sources import LINTED

BROKEN = TABLE + '"/broken" = "broken:app"\n'
HELLO = (
    """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len({0!r})))])
    return [{0!r}]
"""
    + LINTED
)


@pytest.fixture
def broken_app(tmp_path):
    (tmp_path / "broken.py").write_text("def build():\n    return 1 / 0\n\n\napp = build()\n")


# ------------------------------------------------------------------------------------------------------------- start-up


def test_the_start_logs_the_mounts_and_the_address(serve, tmp_path):
    server = serve(TABLE + '"/" = "missing:app"\n')
    reason = f'no module "missing" in the folder "{tmp_path}", nor installed'
    first, *rest = server.log().splitlines()[-4:]
    assert re.fullmatch(r"[0-9-]{10} [0-9:,]{12} INFO .*mounts\.toml: 2 mounts", first)
    assert rest == [
        f"  /app  {PROBE}:app  ready",
        f"  /     {'missing:app'.ljust(len(PROBE) + 4)}  broken: {reason}",
        f"serving on {server.url}/",
    ]
    assert server.out() == ""


def test_stdout_stays_empty(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.get("/app/")
        client.get("/app/boom")
    if sys.platform != "win32":
        assert server.stop() == 0
    assert server.out() == ""


def test_the_default_table_is_mounts_toml_in_the_working_folder(start, tmp_path):
    (tmp_path / "mounts.toml").write_text(TABLE)
    server = start([sys.executable, "-m", "mountpoint", "serve", "--listen", "127.0.0.1:0"], cwd=tmp_path)
    log = server.wait_for(re.compile(r"^serving on \S+\n", re.MULTILINE))
    assert "mounts.toml: 1 mount\n" in log


@pytest.mark.parametrize("argument", ["--threads=none", "--log-level=loud", "--no-such-option"])
def test_wrong_usage_exits_with_2(serve, argument):
    server = serve(TABLE, argument, wait=False)
    assert server.wait() == 2
    assert "usage: mountpoint" in server.log()


def test_a_missing_table_exits_with_2(serve, tmp_path):
    server = serve(tmp_path / "no.toml", wait=False)
    assert server.wait() == 2
    assert "expected a mount table, found no such file" in server.log()


def test_a_table_with_mistakes_exits_with_1_and_names_them_all(serve):
    server = serve(table(threads=0, drain_timeout="x"), wait=False)
    assert server.wait() == 1
    assert [line.split(": ")[1] for line in server.log().splitlines()] == ["server.threads", "server.drain_timeout"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
def test_an_interrupt_during_loading_logs_no_traceback(serve, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import sys, time\nprint('loading', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    server = serve('[mounts]\n"/" = "slow:app"\n', wait=False)
    server.wait_for("loading")
    assert server.stop(signal.SIGINT) == 130
    assert "Traceback" not in server.log()


# ----------------------------------------------------------------------------------------------------------------- apps


@pytest.mark.usefixtures("broken_app")
def test_a_broken_app_gets_503_while_the_others_serve(serve):
    server = serve(BROKEN)
    with Client(server.url) as client:
        answer = client.get("/broken/x")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
        assert client.get("/app/").status == 200


@pytest.mark.usefixtures("broken_app")
def test_the_traceback_of_a_broken_app_begins_in_its_own_code(serve, tmp_path):
    log = serve(BROKEN).log()
    assert '/broken is broken: "broken:app" could not be imported: ZeroDivisionError: division by zero' in log
    assert f'  File "{tmp_path / "broken.py"}", line 5, in <module>' in log
    assert "importlib" not in log
    assert log.count("Traceback") == 1


@pytest.mark.usefixtures("broken_app")
@pytest.mark.parametrize(("setting", "arguments"), [({}, ["--strict"]), ({"strict": True}, [])])
def test_strict_does_not_start_with_a_broken_app(serve, setting, arguments):
    server = serve(table(**setting) + '"/broken" = "broken:app"\n', *arguments, wait=False)
    assert server.wait() == 1
    assert server.log().splitlines()[-1] == "not started because of strict: 1 of 2 mounts failed to load: /broken"
    assert "ZeroDivisionError" in server.log()
    assert "serving on" not in server.log()


def test_strict_starts_when_nothing_is_broken(serve):
    server = serve(TABLE, "--strict")
    with Client(server.url) as client:
        assert client.get("/app/").status == 200


def test_two_folders_with_the_same_module_name_are_not_mixed_up(serve, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "web.py").write_text(HELLO.format(name.encode()))
    server = serve('[mounts]\n"/one" = "one/web.py:app"\n"/two" = "two/web.py:app"\n')
    with Client(server.url) as client:
        assert client.get("/one/").body == b"one"
        assert client.get("/two/").status == 503
    assert str(tmp_path / "one" / "web.py") in server.log()
    assert str(tmp_path / "two" / "web.py") in server.log()


def test_an_app_that_changes_the_working_folder_breaks_no_other(serve, tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "wanders.py").write_text("import os\nos.chdir('/')\n" + HELLO.format(b"first"))
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "stays.py").write_text(HELLO.format(b"second"))
    (tmp_path / "mounts.toml").write_text(
        '[mounts]\n"/first" = "first/wanders.py:app"\n"/second" = "second/stays.py:app"\n'
    )
    server = serve(Path("mounts.toml"))
    with Client(server.url) as client:
        assert client.get("/first/").body == b"first"
        assert client.get("/second/").body == b"second"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_child_that_an_app_forks_while_loading_does_not_serve(serve, tmp_path):
    (tmp_path / "forks.py").write_text(
        "import os, sys\nchild = os.fork()\nif not child:\n    sys.exit()\nos.waitpid(child, 0)\n" + HELLO.format(b"hi")
    )
    server = serve('[mounts]\n"/" = "forks:app"\n')
    assert server.log().count("serving on") == 1
    with Client(server.url) as client:
        assert client.get("/").status == 200


def test_an_app_may_print_while_it_loads(serve, tmp_path):
    (tmp_path / "chatty.py").write_text("print('hello')\nimport warnings\nwarnings.warn('x')\n" + HELLO.format(b"hi"))
    server = serve('[mounts]\n"/" = "chatty:app"\n')
    with Client(server.url) as client:
        assert client.get("/").body == b"hi"


# ------------------------------------------------------------------------------------------------ file and command line


def test_the_listen_option_replaces_the_file_s(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = serve(table(listen=f"127.0.0.1:{taken.getsockname()[1]}"), "--listen", "127.0.0.1:0")
        assert len(server.urls) == 1
        with Client(server.url) as client:
            assert client.get("/app/").status == 200


def test_the_file_may_name_several_addresses(serve):
    server = serve(table(listen=["127.0.0.1:0", "localhost:0"]))
    for url in server.urls:
        with Client(url) as client:
            assert client.get("/app/").status == 200


@pytest.mark.parametrize(("setting", "arguments"), [({"threads": 1}, []), ({"threads": 8}, ["--threads", "1"])])
def test_one_thread_runs_one_request_at_a_time(serve, tmp_path, setting, arguments):
    server = serve(table(**setting), *arguments)
    with Client(server.url) as first, Client(server.url) as second:
        first.request("/app/hold/first")
        server.wait_for("holding first")
        second.request("/app/hold/second")
        (tmp_path / "first").touch()
        server.wait_for("holding second")
        (tmp_path / "second").touch()
        server.wait_for("released second")
    events = re.findall(r"^(?:holding|released) .*$", server.log(), re.MULTILINE)
    assert events == ["holding first", "released first", "holding second", "released second"]


def test_two_threads_run_two_requests_at_a_time(serve, tmp_path):
    server = serve(table(threads=1), "--threads", "2")
    with Client(server.url) as first, Client(server.url) as second:
        first.request("/app/hold/first")
        second.request("/app/hold/second")
        server.wait_for("holding first")
        server.wait_for("holding second")  # neither has been released
        for name, client in (("first", first), ("second", second)):
            (tmp_path / name).touch()
            assert client.answer().status == 200


def test_settings_of_waitress_have_their_own_names(serve):
    server = serve(table(ident="teapot", url_scheme="https", server_name="example.com"))
    with Client(server.url) as client:
        answer = client.get("/app/")
    assert answer.headers["Server"] == "teapot"
    got = json.loads(answer.body)
    assert (got["wsgi.url_scheme"], got["SERVER_NAME"]) == ("https", "example.com")
