"""The reader of stdout and stderr hangs: requests are answered, a signal ends the process, lost lines are counted."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from support.client import PROBE, TABLE, Client
from support.sources import LINTED
from support.waiting import TIMEOUT, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server does not detach streams on Windows")

LONG = "x" * 8_000  # of a query: 8 lines fill a pipe
DROPPED = re.compile(r"WARNING (\d+) lines of the log were dropped, because its reader did not take them")


class Stuck:
    """`mountpoint serve` on a unix socket, with a stdout and stderr that are read up to its start, and after `read`."""

    def __init__(self, folder, socket_path, text, kind):
        (folder / "mounts.toml").write_text(text)
        if kind == "pipe":
            self.reader, writer = os.pipe()
        else:
            ours, theirs = socket.socketpair()
            self.reader, writer = ours.detach(), theirs.detach()
        command = [sys.executable, "-m", "mountpoint", "serve", "--listen", f"unix:{socket_path}"]
        self.process = subprocess.Popen(command, cwd=folder, stderr=writer, stdout=writer)
        os.close(writer)
        self.socket_path = socket_path
        self.received = bytearray()
        self.thread = None
        while b"serving on " not in self.received:  # then its apps are loaded
            data = os.read(self.reader, 65536)
            assert data, self.log
            self.received += data

    def _is_serving(self):
        assert self.process.poll() is None
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self):
        return Client(f"unix:{self.socket_path}")

    def ask(self, count, path="/app/"):
        """Send *count* requests whose log lines are long; all are answered."""
        with self.connect() as client:
            for number in range(count):
                assert client.get(f"{path}?{number}-{LONG}").status == 200

    def read(self):
        def read():
            while data := os.read(self.reader, 65536):
                self.received += data

        self.thread = threading.Thread(target=read, daemon=True)
        self.thread.start()

    @property
    def log(self):
        return self.received.decode()

    def wait(self):
        return self.process.wait(TIMEOUT)

    def close(self):
        self.process.kill()
        self.process.wait()
        if self.thread is None:
            self.read()
        self.thread.join(TIMEOUT)
        os.close(self.reader)


@pytest.fixture
def stuck(tmp_path, socket_path):
    """Return ``stuck(table, kind)``, which starts a `Stuck` server and ends it after the test."""
    servers = []

    def stuck(text=TABLE, kind="pipe"):
        servers.append(Stuck(tmp_path, socket_path, text, kind))
        return servers[-1]

    yield stuck
    for server in servers:
        server.close()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_requests_are_answered_and_the_dropped_lines_are_counted(stuck, kind):
    server = stuck(kind=kind)
    server.ask(300)  # the server keeps 1 MiB of 2.4
    server.read()
    wait_until(lambda: DROPPED.search(server.log))
    server.ask(3)
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    server.thread.join(TIMEOUT)
    numbers = [int(number) for number in re.findall(r'"GET /app/\?(\d+)-x{8000} HTTP/1.1" 200 ', server.log)]
    dropped = [int(count) for count in DROPPED.findall(server.log)]
    assert numbers[:-3] == sorted(set(numbers[:-3]))  # in order, and whole
    assert len(numbers) == 303 - sum(dropped)
    assert numbers[-3:] == [0, 1, 2]
    assert sum(dropped) > 100
    assert server.log.endswith("stopped; no request was cut off\n")


def test_lines_that_were_kept_are_written_although_the_process_ends(stuck):
    server = stuck()
    server.ask(30)
    server.process.send_signal(signal.SIGTERM)
    server.read()
    assert server.wait() == 0
    server.thread.join(TIMEOUT)
    assert server.log.count(" HTTP/1.1") == 30
    assert server.log.endswith("stopped; no request was cut off\n")


def test_sigterm_drains_and_ends_the_process(stuck):
    server = stuck()
    server.ask(30)
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_second_sigterm_ends_the_process_at_once(stuck):
    server = stuck()
    server.ask(30)
    with server.connect() as client:
        client.request("/app/hold/it")
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not server._is_serving())
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 1


#: The statements by which an app writes TEXT, one line, without logging.
PRINTING = {
    "wsgi.errors": "print(TEXT, file=environ['wsgi.errors'], flush=True)",
    "stdout": "print(TEXT)",
    "stderr": "print(TEXT, file=sys.stderr)",
    "bytes": "sys.stdout.buffer.write(TEXT.encode() + b'\\n')",
    "wrapped": "OWN.write(TEXT + '\\n'); OWN.flush()",
    "warning": "warnings.warn(TEXT, stacklevel=1)",
    "closed": "sys.stderr.close(); print(TEXT, file=environ['wsgi.errors'])",
    "none": "sys.stderr = None; print(TEXT, file=environ['wsgi.errors'])",
}


@pytest.mark.parametrize("statement", PRINTING.values(), ids=PRINTING)
def test_an_app_that_prints_does_not_wait(stuck, tmp_path, statement):
    (tmp_path / "prints.py").write_text(
        "import codecs, sys, warnings\n"
        "warnings.simplefilter('always')\n"
        "OWN = codecs.getwriter('utf-8')(sys.stderr.buffer)\n"
        "def app(environ, start_response):\n"
        "    TEXT = 'line-' + environ['QUERY_STRING']\n"
        f"    {statement}\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '0')])\n    return []\n"
        + LINTED
    )
    server = stuck('[mounts]\n"/app" = "prints:app"\n')
    server.ask(30)  # the pipe takes 4, and the server keeps the rest
    server.process.send_signal(signal.SIGTERM)
    server.read()
    assert server.wait() == 0
    server.thread.join(TIMEOUT)
    assert [int(number) for number in re.findall(r"line-(\d+)-x{8000}\n", server.log)] == list(range(30))
    assert server.log.endswith("stopped; no request was cut off\n")


def test_a_second_sigterm_ends_a_process_whose_app_writes_to_descriptor_2(stuck, tmp_path):
    (tmp_path / "writes.py").write_text(
        "import os, pathlib\n"
        "def app(environ, start_response):\n"
        "    pathlib.Path('writing').touch()\n"
        "    os.write(2, b'x' * 1_000_000)\n"  # no stream of Python, so nothing keeps it from waiting
    )
    server = stuck('[mounts]\n"/app" = "writes:app"\n')
    with server.connect() as client:
        client.request("/app/")
        wait_until((tmp_path / "writing").exists)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not server._is_serving())
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_whose_loop_is_blocked(serve, tmp_path, number):
    (tmp_path / "blocking.py").write_text(
        "import logging, pathlib, time\n"
        "class Handler(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        if 'draining' in record.getMessage():\n"
        "            pathlib.Path('blocked').touch()\n"
        "            time.sleep(1000)\n"
    )
    text = TABLE + '[logging.handlers.blocking]\nclass = "blocking.Handler"\n'
    text += '[logging.handlers.stderr]\nclass = "logging.StreamHandler"\n'
    text += '[logging.root]\nlevel = "INFO"\nhandlers = ["stderr", "blocking"]\n'
    server = serve(text, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])})
    server.send(number)
    wait_until((tmp_path / "blocked").exists)
    server.send(number)
    assert server.wait() == 1


def test_a_handler_that_an_app_has_added_does_not_block_either(stuck, tmp_path):
    (tmp_path / "logs.py").write_text(
        "import logging\nown = logging.getLogger('own')\nown.addHandler(logging.StreamHandler())\n"
        "own.propagate = False\n"
        "def app(environ, start_response):\n    own.warning('x' * 8_000)\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '0')])\n    return []\n"
        + LINTED
    )
    server = stuck('[mounts]\n"/app" = "logs:app"\n')
    server.ask(200)


def test_the_logging_section_gets_the_same(stuck):
    text = '[logging.handlers.stderr]\nclass = "logging.StreamHandler"\n'
    text += '[logging.root]\nlevel = "INFO"\nhandlers = ["stderr"]\n'
    server = stuck(f'[mounts]\n"/app" = "{PROBE}:app"\n{text}')
    server.ask(200)


def test_a_child_of_an_app_logs_although_it_has_no_thread(serve, tmp_path):
    (tmp_path / "forks.py").write_text(
        "import logging, os\n"
        "def app(environ, start_response):\n"
        "    if not (child := os.fork()):\n"
        "        logging.warning('from the child')\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return []\n" + LINTED
    )
    server = serve('[mounts]\n"/" = "forks:app"\n')
    assert server.request("/").status == 200
    server.wait_for("from the child")


def test_lines_before_a_crash_are_in_the_log(serve, tmp_path):
    (tmp_path / "crashes.py").write_text(
        "import logging, os\n"
        "def app(environ, start_response):\n"
        "    logging.info('the last words')\n"
        "    os._exit(7)\n" + LINTED
    )
    server = serve('[mounts]\n"/" = "crashes:app"\n')
    with pytest.raises(OSError):  # noqa: PT011
        server.request("/")
    assert server.wait() == 7
    assert "the last words" in server.log()
