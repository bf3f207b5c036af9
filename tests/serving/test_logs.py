"""The destination and the level of logs: --log-level, --no-access-log and [logging]."""

import sys
import time

import pytest
from support.client import TABLE, Client, table
from support.sources import LINTED
from support.waiting import TIMEOUT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process before it has logged all")

ACCESS = '"GET /app/ HTTP/1.1" 200'


@pytest.fixture
def ask(serve, socket_path):
    """Return ``ask(table, *arguments)``, which serves two requests, of which one fails, and returns the ended server.

    It listens on a unix socket, whose address is known even without a log.
    """

    def ask(text, *arguments, **options):
        server = serve(text, "--listen", f"unix:{socket_path}", *arguments, wait=False, **options)
        with connect(server, socket_path) as client:
            assert client.get("/app/").status == 200
            assert client.get("/app/boom").status == 500
        assert server.stop() == 0
        return server

    return ask


def connect(server, socket_path):
    deadline = time.monotonic() + TIMEOUT
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            return Client(f"unix:{socket_path}")
        except (ConnectionRefusedError, FileNotFoundError):
            time.sleep(0.01)
    pytest.fail(f"the server does not serve:\n{server.log()}")


def test_all_logs_go_to_stderr(ask):
    server = ask(TABLE)
    assert server.out() == ""
    assert ACCESS in server.log()
    assert "serving on" in server.log()
    assert "RuntimeError: boom" in server.log()
    assert "stopped; no request was cut off" in server.log()


def test_access_lines_start_with_the_client(ask):
    (line,) = (line for line in ask(TABLE).log().splitlines() if ACCESS in line)
    assert line.startswith("localhost - - [")


@pytest.mark.parametrize(("setting", "arguments"), [({}, ["--no-access-log"]), ({"access_log": False}, [])])
def test_the_access_log_can_be_switched_off(ask, setting, arguments):
    log = ask(table(**setting), *arguments).log()
    assert "HTTP/1.1" not in log
    assert "serving on" in log


BOOM = "RuntimeError: boom"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", {"serving on", BOOM, ACCESS}),
        ("info", {"serving on", BOOM, ACCESS}),
        ("warning", {BOOM, ACCESS}),
        ("error", {BOOM, ACCESS}),
        ("critical", {ACCESS}),
    ],
)
@pytest.mark.parametrize("by", ["file", "option"])
def test_the_log_level_does_not_apply_to_the_access_log(ask, by, level, expected):
    text, arguments = (table(log_level=level), []) if by == "file" else (TABLE, ["--log-level", level])
    log = ask(text, *arguments).log()
    assert {text for text in ("serving on", BOOM, ACCESS) if text in log} == expected


def test_the_log_level_option_overrides_the_file(ask):
    assert "serving on" not in ask(table(log_level="debug"), "--log-level", "error").log()


def test_requests_that_wait_for_a_thread_log_no_queue_depth(serve, tmp_path):
    server = serve(table(threads=1))
    clients = [Client(server.url) for _ in range(5)]
    try:
        clients[0].request("/app/hold/it")
        server.wait_for("holding it")
        for client in clients[1:]:
            client.request("/app/")
        (tmp_path / "it").touch()
        for client in clients:
            assert client.answer().status == 200
    finally:
        for client in clients:
            client.close()
    assert "queue depth" not in server.log()


def test_records_of_apps_keep_our_format_after_basic_config(serve, tmp_path):
    (tmp_path / "logs.py").write_text(
        "import logging\nlogging.basicConfig(format='MINE %(message)s', level='INFO', force=True)\n"
        "def app(environ, start_response):\n    logging.info('asked')\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return []\n" + LINTED
    )
    server = serve('[mounts]\n"/" = "logs:app"\n')
    with Client(server.url) as client:
        assert client.get("/").status == 200
    assert server.stop() == 0
    assert server.log().count("INFO root: asked\n") == 1
    assert "MINE" not in server.log()
    assert server.log().count("stopped; no request") == 1  # our own records are not logged twice


# ------------------------------------------------------------------------------------------------------------ [logging]


def test_the_logging_section_replaces_the_default(ask, tmp_path):
    server = ask(
        TABLE
        + """
[logging.formatters.short]
format = "%(name)s|%(message)s"
[logging.handlers.file]
class = "logging.FileHandler"
filename = "all.log"
formatter = "short"
[logging.root]
level = "INFO"
handlers = ["file"]
"""
    )
    assert server.log() == ""
    written = (tmp_path / "all.log").read_text()
    assert "mountpoint.access|localhost - - [" in written
    assert "mountpoint|draining" in written
    assert "waitress|Exception while serving" in written


def test_the_log_level_option_overrides_the_logging_section(ask):
    text = """
[logging.handlers.stderr]
class = "logging.StreamHandler"
[logging.loggers.mountpoint]
level = "INFO"
handlers = ["stderr"]
"""
    assert "serving on" in ask(TABLE + text).log()
    assert "serving on" not in ask(TABLE + text, "--log-level", "error").log()


def test_no_access_log_overrides_the_logging_section(ask):
    text = """
[logging.handlers.stderr]
class = "logging.StreamHandler"
[logging.loggers."mountpoint.access"]
level = "INFO"
handlers = ["stderr"]
"""
    assert ACCESS in ask(TABLE + text).log()
    assert "HTTP/1.1" not in ask(TABLE + text, "--no-access-log").log()


@pytest.mark.parametrize(
    "text",
    [
        "[logging]\nversion = 2\n",
        '[logging.handlers.x]\nclass = "no.such.Handler"\n',
        '[logging.handlers.x]\nclass = "logging.FileHandler"\nfilename = "no/such/folder"\n',
        '[logging.root]\nhandlers = ["missing"]\n',
        '[logging.root]\nlevel = "LOUD"\n',
        "[logging.handlers]\nx = 1\n",
        "[logging.formatters.x]\nformat = 1\n",
    ],
)
def test_an_invalid_logging_section_is_reported_in_one_line(serve, text):
    server = serve(TABLE + text, wait=False)
    assert server.wait() == 1
    assert "logging: expected a dictionary for logging.config, but logging rejected it: " in server.log()
    assert len(server.log().splitlines()) == 1
