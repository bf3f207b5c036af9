"""Where the logs go, and how much of them: --log-level, --no-access-log and [logging]."""

import sys
import time

import pytest
from support.client import PATIENCE, TABLE, Client, table

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process before it has said all")

ACCESS = '"GET /app/ HTTP/1.1" 200'


@pytest.fixture
def ask(serve, socket_path):
    """Return ``ask(table, *arguments)``, which serves one good and one failing request, and returns the server, ended.

    It listens on a unix socket, since its address must be known although the log may not tell it.
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
    deadline = time.monotonic() + PATIENCE
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            return Client(f"unix:{socket_path}")
        except (ConnectionRefusedError, FileNotFoundError):
            time.sleep(0.01)
    pytest.fail(f"it does not serve:\n{server.log()}")


def test_everything_goes_to_stderr(ask):
    server = ask(TABLE)
    assert server.out() == ""
    assert ACCESS in server.log()
    assert "serving on" in server.log()
    assert "RuntimeError: boom" in server.log()
    assert "stopped, nothing was cut off" in server.log()


def test_the_access_log_has_lines_of_its_own_form(ask):
    (line,) = (line for line in ask(TABLE).log().splitlines() if ACCESS in line)
    assert line.startswith("localhost - - [")


@pytest.mark.parametrize(("setting", "arguments"), [({}, ["--no-access-log"]), ({"access_log": False}, [])])
def test_no_access_log(ask, setting, arguments):
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
def test_the_level_is_of_what_we_say_and_not_of_the_access_log(ask, by, level, expected):
    text, arguments = (table(log_level=level), []) if by == "file" else (TABLE, ["--log-level", level])
    log = ask(text, *arguments).log()
    assert {text for text in ("serving on", BOOM, ACCESS) if text in log} == expected


def test_the_option_goes_before_the_file(ask):
    assert "serving on" not in ask(table(log_level="debug"), "--log-level", "error").log()


def test_nothing_is_said_of_requests_that_wait_for_a_thread(serve, tmp_path):
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


def test_what_an_app_logs_is_written_with_its_logger_s_name_whatever_it_does_to_the_root(serve, tmp_path):
    (tmp_path / "logs.py").write_text(
        "import logging\nlogging.basicConfig(format='MINE %(message)s', level='INFO', force=True)\n"
        "def app(environ, start_response):\n    logging.info('asked')\n"
        "    start_response('200 OK', [])\n    return []\n"
    )
    server = serve('[mounts]\n"/" = "logs:app"\n')
    with Client(server.url) as client:
        assert client.get("/").status == 200
    assert server.stop() == 0
    assert server.log().count("INFO root: asked\n") == 1
    assert "MINE" not in server.log()
    assert server.log().count("stopped, nothing") == 1  # what is ours is not said twice


# ------------------------------------------------------------------------------------------------------------ [logging]


def test_logging_of_the_file_replaces_ours(ask, tmp_path):
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


def test_the_level_of_the_command_line_goes_before_logging_of_the_file(ask):
    text = """
[logging.handlers.stderr]
class = "logging.StreamHandler"
[logging.loggers.mountpoint]
level = "INFO"
handlers = ["stderr"]
"""
    assert "serving on" in ask(TABLE + text).log()
    assert "serving on" not in ask(TABLE + text, "--log-level", "error").log()


def test_no_access_log_goes_before_logging_of_the_file(ask):
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
def test_logging_that_is_refused_is_said_in_a_line(serve, text):
    server = serve(TABLE + text, wait=False)
    assert server.wait() == 1
    assert "logging: expected a dictionary for logging.config, but logging rejected it: " in server.log()
    assert len(server.log().splitlines()) == 1
