"""--reload: a child serves, and restarts when the code or the table changes."""

import os
import re
import signal
import sys
import time

import pytest
from support.client import TABLE, Client
from support.sources import LINTED
from support.waiting import TIMEOUT, wait_until

pytest.importorskip("hupper")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests end its processes by signals")

TABLE_OF_ONE = '[mounts]\n"/app" = "web:app"\n'
OWN = TABLE_OF_ONE.replace('[mounts]\n"/app" = ', '[mounts."/app"]\nprocess = "own"\napp = ')
SERVING = re.compile(r"^serving on \S+\n", re.MULTILINE)


def app(text):
    return f"""
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [{text.encode()!r}]
{LINTED}"""


OLD = app("old")


@pytest.fixture
def reloading(serve, tmp_path):
    """Return ``reloading(source, table)``, which serves an app in ``web.py`` with --reload."""

    def reloading(source=OLD, text=TABLE_OF_ONE, **options):
        if source is not None:
            (tmp_path / "web.py").write_text(source)
        return serve(text, "--reload", **options)

    return reloading


def is_served(server, expected, path="/app/"):
    """Return whether the server that started last responds with *expected*, a body or a status."""
    try:
        with Client(server.urls[-1]) as client:
            answer = client.get(path)
    except (ConnectionError, IndexError):  # it is about to end, or has not started yet
        return False
    return expected in (answer.status, answer.body.decode())


def change(file, text, happens):
    """Write *text* to *file* and wait until *happens()* is true.

    hupper compares the times of files. It learns them some time after the start, and forgets a change that it sees
    while a child ends. So this sets a newer time again and again.
    """
    file.write_text(text)
    begin = time.time()
    newer = 0
    while not happens():
        passed = time.time() - begin
        assert passed < 3 * TIMEOUT
        if passed > newer:
            newer += 2
            os.utime(file, (begin + newer, begin + newer))
        time.sleep(0.05)


def test_a_change_of_the_code_is_served(reloading, tmp_path):
    server = reloading()
    assert is_served(server, "old")
    change(tmp_path / "web.py", app("new"), lambda: is_served(server, "new"))


def test_a_change_of_code_that_a_worker_has_imported_is_served(reloading, tmp_path):
    (tmp_path / "text.py").write_text('TEXT = b"old"\n')
    server = reloading("from text import TEXT\n" + app("").replace("[b'']", "[TEXT]"), OWN)
    wait_until(lambda: is_served(server, "old"))
    change(tmp_path / "text.py", 'TEXT = b"new"\n', lambda: is_served(server, "new"))


def test_a_change_of_the_table_is_served(reloading, tmp_path):
    server = reloading()
    table = TABLE_OF_ONE + '"/more" = "web:app"\n'
    change(tmp_path / "mounts.toml", table, lambda: is_served(server, "old", "/more/"))


def test_a_mistake_in_the_table_is_logged_and_its_fix_served(reloading, tmp_path):
    server = reloading()
    change(tmp_path / "mounts.toml", "[mounts\n", lambda: "mounts.toml:1:8: not TOML: " in server.log())
    assert not is_served(server, "old")
    change(tmp_path / "mounts.toml", TABLE_OF_ONE, lambda: is_served(server, "old"))
    assert "Traceback" not in server.log()


def test_a_mistake_in_the_table_at_the_start_can_be_fixed(reloading, tmp_path):
    server = reloading(text="[mounts\n", wait=False)
    server.wait_for("mounts.toml:1:8: not TOML: ")
    change(tmp_path / "mounts.toml", TABLE_OF_ONE, lambda: is_served(server, "old"))


@pytest.mark.parametrize(
    "source",
    ["def app(:\n", "1 / 0\n", "import no_such_module\n", "app = None\n", None],
    ids=["no Python", "raises", "imports nothing", "no app", "missing"],
)
def test_a_broken_mount_is_served_once_its_file_is_fixed(reloading, tmp_path, source):
    server = reloading(source)
    assert is_served(server, 503)
    change(tmp_path / "web.py", app("fixed"), lambda: is_served(server, "fixed"))


def test_a_request_in_flight_is_finished_before_the_restart(serve, tmp_path):
    server = serve(TABLE, "--reload")
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        change(tmp_path / "mounts.toml", TABLE + "\n", lambda: "draining" in server.log())
        (tmp_path / "it").touch()
        assert client.answer().body == b"held it"
    server.wait_for(SERVING, count=2)


def test_a_sigterm_to_the_parent_drains_and_ends_both(serve, tmp_path):
    server = serve(TABLE, "--reload")
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        server.send(signal.SIGTERM)
        server.wait_for("draining")
        (tmp_path / "it").touch()
        assert client.answer().body == b"held it"
    assert server.wait() == 0  # also waits for the child
    assert "stopped; no request was cut off" in server.log()


def test_an_interrupt_from_the_terminal_drains_and_ends_both(serve, tmp_path):
    """A terminal sends it to the parent and to the child."""
    server = serve(TABLE, "--reload", start_new_session=True)
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        os.killpg(server.pid, signal.SIGINT)
        server.wait_for("draining")
        (tmp_path / "it").touch()
        assert client.answer().body == b"held it"
    assert server.wait() == 0
    assert "stopped; no request was cut off" in server.log()
    assert "Traceback" not in server.log()


def test_an_interrupt_to_the_parent_alone_ends_both(serve):
    server = serve(TABLE, "--reload")
    server.stop(signal.SIGINT)
    assert "Traceback" not in server.log()


def test_a_sigterm_while_it_waits_for_a_fix_ends_it(reloading):
    server = reloading(text="[mounts\n", wait=False)
    server.wait_for("not TOML")
    server.stop(signal.SIGTERM)


def test_the_child_serves_on_its_main_thread(reloading):
    server = reloading(
        "import threading\nthread = threading.current_thread() is threading.main_thread()\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [str(thread).encode()]\n" + LINTED
    )
    assert is_served(server, "True")


def test_without_hupper_the_message_names_the_extra_to_install(serve, tmp_path):
    (tmp_path / "hupper.py").write_text("raise ImportError('hidden')\n")
    server = serve(TABLE, "--reload", wait=False)
    assert server.wait() == 1
    assert server.log() == "--reload needs hupper; install it: pip install 'mountpoint[reload]'\n"
