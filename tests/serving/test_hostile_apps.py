"""Apps that misbehave, each beside healthy siblings in one process."""

import re
import signal
import sys
from contextlib import ExitStack

import pytest
from support.client import Client
from support.sources import LINTED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, descriptors and fork are Unix's")

SIBLING = """
import logging, os, sys, warnings

logger = logging.getLogger(__name__)

def app(environ, start_response):
    what = environ["PATH_INFO"].strip("/")
    body = WHAT[what]() if what in WHAT else "well"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(str(body).encode())))])
    return [str(body).encode()]

def log():
    logger.warning("the sibling speaks")
    logging.info("the sibling speaks to the root")

def environ_of():
    return os.environ.get("HOSTILE", "unset")

def warn():
    try:
        warnings.warn("of the sibling", stacklevel=2)
    except UserWarning as error:
        return repr(error)

WHAT = {"log": log, "warn": warn, "cwd": os.getcwd, "env": environ_of, "path": lambda: sys.path, "pid": os.getpid}
"""
HOSTILE = """
import builtins, itertools, logging, logging.config, os, signal, sys, threading, time, warnings

def app(environ, start_response):
    what = environ["PATH_INFO"].strip("/").replace("-", "_")
    return globals()[what](environ, start_response)

def plain(start_response, body=b"done"):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""
EXCEPTIONS = ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "MemoryError", "RecursionError", "BaseException"]


@pytest.fixture
def beside(serve, tmp_path):
    """Return ``beside(code, keys, server)``, which serves ``/hostile``, whose module ends in *code*, and its siblings.

    ``/sibling`` is loaded before it and ``/zibling`` after it. *keys* of the mount and of ``[server]`` are TOML.
    """

    def beside(code, keys="", server="", sibling=SIBLING + LINTED):
        (tmp_path / "hostile.py").write_text(HOSTILE + code)
        for name in ("sibling", "zibling"):
            (tmp_path / f"{name}.py").write_text(sibling)
        return serve(
            f'[server]\n{server}\n[mounts."/sibling"]\napp = "sibling:app"\n[mounts."/hostile"]\napp = "hostile:app"\n'
            f'{keys}\n[mounts."/zibling"]\napp = "zibling:app"\n'
        )

    return beside


def ask(server, what, mount="hostile"):
    """Return the status and the text of a response. The status is 0 if the connection was cut."""
    with Client(server.url) as client:
        try:
            answer = client.get(f"/{mount}/{what}")
        except ConnectionError:
            return 0, ""
        return answer.status, answer.body.decode()


def sibling(server, what=""):
    """Return the text that both siblings respond with."""
    one, other = (ask(server, what, name) for name in ("sibling", "zibling"))
    assert one == other
    assert one[0] == 200
    return one[1]


# ----------------------------------------------------------------------------------------------------------- exceptions

RAISES = """
def boom(environ):
    raise getattr(builtins, environ["QUERY_STRING"])("on purpose")

def in_call(environ, start_response):
    boom(environ)

def after_start(environ, start_response):
    plain(start_response)
    boom(environ)

def before_bytes(environ, start_response):
    plain(start_response)
    boom(environ)
    yield b""

def after_bytes(environ, start_response):
    plain(start_response, b"ten bytes, and ten more")
    yield b"ten bytes,"
    boom(environ)

class InClose(list):
    def close(self):
        boom(self.environ)

def in_close(environ, start_response):
    response = InClose(plain(start_response))
    response.environ = environ
    return response

def deep(environ, start_response):
    return deep(environ, start_response)
"""


def test_any_exception_is_a_500_or_a_cut_connection(beside):
    server = beside(RAISES, server="threads = 1")  # losing one would leave none
    for name in EXCEPTIONS:
        for where in ("in-call", "after-start", "before-bytes"):
            assert ask(server, f"{where}?{name}")[0] == 500, (name, where)
        assert ask(server, f"after-bytes?{name}") == (0, ""), name
        assert ask(server, f"in-close?{name}") == (200, "done"), name
    assert ask(server, "deep")[0] == 500
    assert sibling(server) == "well"
    assert server.stop() == 0
    for name in EXCEPTIONS:
        assert server.log().count(f"{name}: on purpose") + server.log().count(f"{name}('on purpose')") >= 5
    assert "outside its app" not in server.log()


# ----------------------------------------------------------------------------------------------- changes while it loads


def test_process_state_that_it_changes_while_loading_is_restored(beside, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    server = beside(
        """
os.chdir("elsewhere")
sys.path.insert(0, "/nowhere")
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
seen = os.environ["HOSTILE"], os.getcwd()

def tell(environ, start_response):
    return plain(start_response, repr((seen, os.environ.get("HOSTILE"))).encode())
""",
        keys='env = { HOSTILE = "held" }',
    )
    assert ask(server, "tell") == (200, repr((("held", str(tmp_path / "elsewhere")), None)))
    assert sibling(server, "cwd") == str(tmp_path)
    assert sibling(server, "env") == "unset"
    path = sibling(server, "path")
    assert path.startswith(f"['{tmp_path}'")
    assert "'/nowhere'" in path
    server.send(signal.SIGUSR1)
    server.wait_for("requests in flight")
    server.send(signal.SIGHUP)
    server.wait_for("reload ended")
    assert server.stop() == 0
    assert "no request was cut off" in server.log()


LOGGING = """
logging.config.dictConfig({"version": 1})
logging.config.dictConfig({"version": 1, "root": {"level": "CRITICAL", "handlers": []}})
logging.basicConfig(level="CRITICAL", force=True, filename="stolen.log")
logging.disable(logging.CRITICAL)
logging.shutdown()
for one in [logging.root, *map(logging.getLogger, logging.root.manager.loggerDict)]:
    one.handlers.clear()
    one.filters.clear()
    one.disabled = True
"""


def test_logging_calls_while_it_loads_silence_no_sibling(beside):
    server = beside(LOGGING)
    assert sibling(server, "log") == "None"
    assert server.stop() == 0
    log = server.log()
    assert log.count("the sibling speaks\n") == 2
    assert log.count("INFO root: the sibling speaks to the root\n") == 2
    assert len(re.findall(r'"GET /[sz]ibling/log HTTP/1.1" 200', log)) == 2
    assert "stopped; no request was cut off" in log


def test_threads_that_it_starts_while_loading_keep_running(beside):
    server = beside(
        """
count = itertools.count()
def tick():
    for number in count:
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()

def ticks(environ, start_response):
    before = next(count)
    while next(count) < before + 5:
        time.sleep(0.001)
    return plain(start_response)
"""
    )
    assert ask(server, "ticks") == (200, "done")
    assert sibling(server) == "well"
    assert server.stop() == 0


def test_warning_filters_that_it_sets_while_loading_apply_to_siblings(beside):
    """Python has one list of filters for the process, and an app may set it."""
    server = beside("warnings.simplefilter('error')")
    assert sibling(server, "warn") == "UserWarning('of the sibling')"


def test_an_exit_while_loading_breaks_only_its_own_mount(beside):
    server = beside("sys.exit('no database')")
    assert ask(server, "")[0] == 503
    assert sibling(server) == "well"
    assert "SystemExit" in server.log()


# ------------------------------------------------------------------------------------------------- changes in a request


def test_it_cannot_change_signals_in_a_request(beside):
    server = beside(
        """
def signals(environ, start_response):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
    )
    assert ask(server, "signals")[0] == 500  # "signal only works in main thread"
    assert server.stop() == 0


def test_a_chdir_in_a_request_moves_the_whole_process(beside, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    server = beside(
        """
def move(environ, start_response):
    os.chdir("elsewhere")
    return plain(start_response)
"""
    )
    assert ask(server, "move") == (200, "done")
    assert sibling(server, "cwd") == str(tmp_path / "elsewhere")
    server.send(signal.SIGHUP)  # the table is found by its whole path
    server.wait_for("reload ended: 3 mounts, 0 broken")
    assert server.stop() == 0


def test_os_exit_ends_the_server_at_once(beside):
    server = beside(
        """
def end(environ, start_response):
    os._exit(7)
"""
    )
    with Client(server.url) as idle:
        assert idle.get("/sibling/").status == 200
        assert ask(server, "end") == (0, "")
        assert idle.is_closed()
    assert server.wait() == 7
    assert "draining" not in server.log()


def test_a_sigterm_that_it_sends_itself_begins_a_drain(beside):
    server = beside(
        """
def kill(environ, start_response):
    os.kill(os.getpid(), signal.SIGTERM)
    return plain(start_response)
"""
    )
    assert ask(server, "kill") == (200, "done")
    assert server.wait() == 0


def test_a_deadlock_takes_the_threads_of_its_mount_and_is_logged(beside):
    server = beside(
        """
def deadlock(environ, start_response):
    lock = threading.Lock()
    with lock:
        lock.acquire()  # the line that is stuck
""",
        keys="slow_after = 0.1",
        server="threads = 4\ndrain_timeout = 0.5",
    )
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(Client(server.url)).request("/hostile/deadlock")
        log = server.wait_for("lock.acquire()  # the line that is stuck", count=2)
        assert re.search(r"WARNING /hostile: GET '/hostile/deadlock' has run for \d", log)
        for _ in range(5):
            assert sibling(server) == "well"
        assert server.stop() == 1
    log = server.log()
    assert log.count("""cut off: 'GET /hostile/deadlock HTTP/1.1' of 127.0.0.1, mount /hostile""") == 5
    assert "2 running threads" in log


def test_a_child_that_it_forks_in_a_request_does_not_serve(beside):
    server = beside(
        """
warnings.simplefilter("ignore")  # Python warns of a fork beside threads

def fork(environ, start_response):
    pid = os.fork()
    if not pid:
        os._exit(3)
    return plain(start_response, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
"""
    )
    assert ask(server, "fork") == (200, "3")
    assert sibling(server, "pid") == str(server.pid)
    assert server.stop() == 0


@pytest.mark.parametrize("ending", ["sys.exit(3)", "1 / 0", "return plain(start_response, b'child')"])
def test_a_forked_child_that_leaves_the_app_sends_no_response(beside, ending):
    server = beside(
        f"""
warnings.simplefilter("ignore")  # Python warns of a fork beside threads

def fork(environ, start_response):
    pid = os.fork()
    if not pid:
        {ending}
    return plain(start_response, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
"""
    )
    with Client(server.url) as client:
        for _ in range(2):  # a second response of the child would be taken for that of the next request
            assert client.get("/hostile/fork").body == b"1"
    assert server.stop() == 0


def test_a_command_that_it_runs_inherits_no_socket(beside):
    server = beside(
        """
import subprocess

def run(environ, start_response):
    return plain(start_response, subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True).stdout)
"""
    )
    with Client(server.url) as idle:
        assert idle.get("/sibling/").status == 200
        status, text = ask(server, "run")
    assert status == 200
    assert "socket:" not in text


# -------------------------------------------------------------------------------------------------- descriptors and log


def test_logging_goes_on_without_sys_stderr(beside):
    server = beside(
        """
sys.stderr = None

def close(environ, start_response):
    sys.stdin.close()
    return plain(start_response)
""",
        sibling=SIBLING,  # without the validator, which rejects a wsgi.errors of None
    )
    assert ask(server, "close") == (200, "done")
    assert sibling(server) == "well"
    assert server.stop() == 0
    assert '"GET /zibling/ HTTP/1.1" 200' in server.log()
    assert "stopped; no request was cut off" in server.log()


def test_closed_standard_descriptors_do_not_reach_clients(beside):
    """The log has a descriptor of its own, so it does not write to a client that gets descriptor 2."""
    server = beside(
        """
def close(environ, start_response):
    for number in (0, 1, 2):
        os.close(number)
    return plain(start_response)
"""
    )
    assert ask(server, "close") == (200, "done")
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.url)) for _ in range(5)]
        clients[0].socket.settimeout(30)
        for client in clients[3:]:
            for _ in range(20):
                assert client.get("/sibling/").body == b"well"
        assert server.process.poll() is None
    assert server.stop() in (0, 1, 120)  # 120 from Python, which cannot flush stdout
    assert server.log().count('"GET /sibling/ ') == 40


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("", []),
        ("2000 OK", []),
        ("100 Continue", []),
        ("200 OK", [("X Y", "1")]),
        ("200 OK", [("X", "a\0b")]),
        ("200 OK", [("Content-Length", "+5")]),
    ],
)
def test_a_response_that_cannot_be_sent_is_500_and_logged_with_its_mount(beside, status, headers):
    code = f"""
def wrong(environ, start_response):
    start_response({status!r}, {headers!r})
    return [b"hello"]
"""
    server = beside(code)
    assert ask(server, "wrong")[0] == 500
    assert ask(server, "x", "sibling") == (200, "well")
    server.wait_for("AppHeaderError: mount /hostile: ")
