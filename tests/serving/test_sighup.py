"""SIGHUP: the server reloads its table and loses no request. The rules of a reload: lifecycle/test_reload_table.py."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from support.changing import SLOW_IMPORT, WHO_ROW, reload, who, write_table, write_who
from support.client import PROBE, TABLE, Client, table
from support.sources import LINTED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")

SLOW = (
    SLOW_IMPORT
    + """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []
"""
    + LINTED
)


@pytest.fixture
def again(tmp_path):
    """Return ``again(server, table)``, which makes a server reload its table and returns the log of that."""
    return lambda server, text=None: reload(server, tmp_path, text)


def status(server, path, *headers):
    with Client(server.url) as client:
        return client.get(path, *headers).status


def test_sighup_applies_a_new_table_and_keeps_a_bad_one_out(serve, again, tmp_path):
    write_who(tmp_path, "1")
    server = serve(TABLE + WHO_ROW)
    assert who(server) == ("1", server.pid, 1)

    said = again(server, TABLE + WHO_ROW + '"/new" = "who:make()"\n')
    assert re.findall(r" INFO (/.*: new, .*)\n", said) == ["/new: new, ready"]
    assert (status(server, "/new/"), who(server)) == (200, ("1", server.pid, 2))

    said = again(server, TABLE + WHO_ROW + "[nonsense")
    assert "not reloaded, the old table is kept:\n" in said
    assert "not TOML" in said
    assert status(server, "/new/") == 200

    again(server, "[mounts]\n" + WHO_ROW)
    assert "/app: removed" in server.log()
    assert (status(server, "/app/"), status(server, "/new/")) == (404, 404)
    assert who(server) == ("1", server.pid, 3)
    assert server.stop() == 0


def test_an_app_that_fails_on_reload_breaks_only_itself(serve, again, tmp_path):
    write_who(tmp_path, "1")
    server = serve("[mounts]\n" + WHO_ROW)
    (tmp_path / "bad.py").write_text("import sys\nsys.exit(3)\n")
    said = again(server, "[mounts]\n" + WHO_ROW + '"/bad" = "bad:app"\n')
    assert "/bad is broken" in said
    assert (status(server, "/bad/"), who(server)) == (503, ("1", server.pid, 1))
    (tmp_path / "bad.py").write_text("import who\napp = who.make('fixed')\n")
    again(server)
    assert (status(server, "/bad/"), who(server)) == (200, ("1", server.pid, 2))
    (tmp_path / "worse.py").write_text("1 / 0\n")
    said = again(server, "[mounts]\n" + WHO_ROW + '"/bad" = "worse:app"\n')
    assert "not reloaded, the old table is kept; worked before, and failed to load: /bad\n" in said
    assert status(server, "/bad/") == 200


def test_with_strict_any_failure_keeps_the_old_table(serve, again):
    server = serve(TABLE, "--strict")
    assert "strict: failed to load: /bad" in again(server, TABLE + '"/bad" = "bad:app"\n"/more" = "bad:app"\n')
    assert status(server, "/bad/") == 404
    assert status(server, "/app/") == 200


def test_a_slow_import_delays_no_request(serve, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    write_who(tmp_path, "1")
    server = serve(TABLE + WHO_ROW)
    write_table(tmp_path, TABLE + WHO_ROW + '"/slow" = "slow:app"\n')
    with Client(server.url) as client:
        server.send(signal.SIGHUP)
        server.wait_for("importing")
        for count in range(1, 4):
            assert client.get("/who/").body == f"1 {server.pid} {count}".encode()
        assert client.get("/slow/").status == 404
        for _ in range(3):  # these cause one more reload afterwards
            server.send(signal.SIGHUP)
            assert client.get("/who/").status == 200
        (tmp_path / "go").touch()
        server.wait_for("reload ended: 3 mounts, 0 broken", count=2)
        assert client.get("/slow/").status == 200
    assert server.stop() == 0
    assert server.log().count(": reloading\n") == 2


def test_a_reload_that_hangs_does_not_delay_the_stop(serve, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    server = serve(TABLE)
    write_table(tmp_path, TABLE + '"/slow" = "slow:app"\n')
    server.send(signal.SIGHUP)
    server.wait_for("importing")
    assert server.stop() == 0


def test_signals_during_the_first_load_are_handled_afterwards(serve, tmp_path):
    """A signal without a handler would end the process."""
    (tmp_path / "slow.py").write_text(SLOW)
    server = serve('[mounts]\n"/slow" = "slow:app"\n', wait=False)
    server.wait_for("importing")
    server.send(signal.SIGHUP)
    server.send(signal.SIGUSR1)
    server.wait_for("slow.py")  # from the stack that SIGUSR1 logs
    write_table(tmp_path, '[mounts]\n"/slow" = "slow:app"\n' + TABLE.replace("[mounts]", ""))
    (tmp_path / "go").touch()
    server.wait_for("reload ended: 2 mounts, 0 broken")
    assert status(server, "/app/") == 200


def test_a_request_in_flight_ends_on_the_table_it_started_with(serve, again, tmp_path):
    server = serve(TABLE)
    with Client(server.url) as streaming, Client(server.url) as uploading:
        streaming.request("/app/hold-half/it")
        _, headers = streaming.head()
        server.wait_for("holding it")
        uploading.request("/app/upload", "Content-Length: 9", "Expect: 100-continue", method="POST")
        assert uploading.head()[0] == 100
        again(server, f'[mounts]\n"/other" = "{PROBE}:app"\n')
        (tmp_path / "it").touch()
        assert streaming.body(headers) == b"12"
        uploading.send(b"123456789")
        assert uploading.answer().status == 404  # a request is routed once its body has arrived
        assert streaming.get("/app/").status == 404
        assert streaming.get("/other/").status == 200


def limited(settings):
    return f'[mounts]\n"/app" = {{ app = "{PROBE}:app", {settings} }}\n'


def wait_until_waiting(server, count):
    """Wait until *count* requests wait in the queue of /app."""
    said = ""
    while f"/app: {count} waiting" not in said:
        before = len(server.log())
        asked = server.log().count("requests in flight") + 1
        server.send(signal.SIGUSR1)
        said = server.wait_for("requests in flight", count=asked)[before:]


def test_waiting_requests_are_routed_again(serve, again, tmp_path):
    server = serve(limited("limit = 1"))
    with Client(server.url) as running, Client(server.url) as gone, Client(server.url) as kept:
        running.request("/app/hold/it")
        server.wait_for("holding it")
        gone.request("/app/gone")
        kept.request("/app/stays/where")
        wait_until_waiting(server, 2)
        again(server, f'[mounts]\n"/app/stays" = "{PROBE}:app"\n')
        assert gone.answer().status == 404
        answer = kept.answer()
        assert (answer.status, b'"SCRIPT_NAME": "/app/stays"' in answer.body) == (200, True)
        (tmp_path / "it").touch()
        assert running.answer().body == b"held it"


# ------------------------------------------------------------------------------------------------------------- settings


def test_the_limits_of_a_mount_change_at_once(serve, again, tmp_path):
    server = serve(limited("limit = 1, queue = 1"))
    with Client(server.url) as one, Client(server.url) as two, Client(server.url) as three:
        one.request("/app/hold/it")
        server.wait_for("holding it")
        two.request("/app/hold/two")
        wait_until_waiting(server, 1)
        assert three.get("/app/").status == 503
        again(server, limited("limit = 2, slow_after = 0.05"))
        server.wait_for("holding two")
        server.wait_for("'/app/hold/two' has run for")
        again(server, limited("limit = 2, max_body = 5"))
        three.request("/app/upload", method="POST", body=b"123456")
        (tmp_path / "it").touch()
        assert three.answer().status == 413
        (tmp_path / "two").touch()
        assert [one.answer().body, two.answer().body] == [b"held it", b"held two"]


def test_drain_timeout_changes_with_a_reload(serve, again):
    server = serve(table(drain_timeout=3600))
    with Client(server.url) as client:
        client.request("/app/hold/it")
        server.wait_for("holding it")
        assert "restart" not in again(server, table(drain_timeout=0.2))
        assert server.stop() == 1
    assert "cut off: 'GET /app/hold/it HTTP/1.1'" in server.log()


def test_header_timeout_changes_with_a_reload(serve, again):
    server = serve(table(header_timeout=0))
    with Client(server.url) as client:
        client.send("GET /app/ HT")
        assert "restart" not in again(server, table(header_timeout=0.1))
        assert client.answer().status == 408


def test_the_limits_of_bodies_change_with_a_reload(serve, again):
    server = serve(table(body_timeout=0))
    head = "POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    with Client(server.url) as slow, Client(server.url) as large:
        slow.send(head)
        assert "restart" not in again(server, table(body_timeout=0.1, max_buffered_bodies=8))
        assert slow.answer().status == 408
        large.send(head)
        assert large.answer().status == 503


def test_the_proxy_and_doctor_sections_change_with_a_reload(serve, again):
    server = serve(TABLE)
    key = "a-key-of-more-than-twenty-letters"
    with Client(server.url) as client:
        ask = ("X-Forwarded-For: 192.0.2.9", f"X-Mountpoint-Echo: {key}")
        assert b'"REMOTE_ADDR": "127.0.0.1"' in client.get("/app/", *ask).body
        again(server, TABLE + f'[proxy]\ntrusted = ["127.0.0.1"]\nx_for = 1\n[doctor]\nkey = "{key}"\n')
        assert b'"peer": "127.0.0.1"' in client.get("/app/", *ask).body
        assert b'"REMOTE_ADDR": "192.0.2.9"' in client.get("/app/", ask[0]).body
        again(server, TABLE)
        assert b'"REMOTE_ADDR": "127.0.0.1"' in client.get("/app/", *ask).body


def test_settings_that_need_a_restart_are_logged_and_keep_their_value(serve, again):
    server = serve(TABLE, "--threads", "2")
    before = server.url
    said = again(server, table(listen="127.0.0.1:1", threads=5, connection_limit=77))
    assert "these changed settings take effect in a new process: server.connection_limit; stop the server and" in said
    assert server.url == before
    assert status(server, "/app/") == 200


# -------------------------------------------------------------------------------------------------- code, and processes


def test_changed_code_is_not_loaded_and_the_log_names_sigusr2(serve, again, tmp_path):
    write_who(tmp_path, "1")
    server = serve(TABLE + WHO_ROW)
    write_who(tmp_path, "2")
    os.utime(tmp_path / "who.py", (2**32, 2**32))
    said = again(server, TABLE + WHO_ROW)
    assert "/who: its code has changed (who.py), but a reload keeps loaded modules; start a new process" in said
    assert "/app: its code" not in said
    assert who(server)[0] == "1"


def test_an_app_that_changes_the_working_folder_does_not_hide_the_table(serve, again, tmp_path):
    (tmp_path / "mover.py").write_text(
        "import os\ndef app(environ, start_response):\n    os.chdir('/')\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '0')])\n    return []\n"
        + LINTED
    )
    write_table(tmp_path, TABLE + '"/mover" = "mover:app"\n')
    server = serve(Path("mounts.toml"))
    assert status(server, "/mover/") == 200
    assert "2 mounts, 0 broken" in again(server)
    assert "changed" not in server.log()
    again(server, TABLE)
    assert (status(server, "/mover/"), status(server, "/app/")) == (404, 200)


def test_a_second_django_project_is_rejected(serve, again, tmp_path):
    pytest.importorskip("django")
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(
            "from django.conf import settings\nfrom django.core.wsgi import get_wsgi_application\n"
            "if not settings.configured:\n"
            "    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=['*'], SECRET_KEY='x')\n"
            "urlpatterns = []\napp = get_wsgi_application()\n"
        )
    server = serve('[mounts]\n"/first" = "first:app"\n')
    said = again(server, '[mounts]\n"/first" = "first:app"\n"/second" = "second:app"\n')
    assert "/second is broken: another Django project is at /first" in said
    assert status(server, "/second/") == 503
    again(server, '[mounts]\n"/second" = "second:app"\n')  # Django keeps the settings of the removed project
    assert status(server, "/second/") == 503


def test_under_autoreload_sighup_works_and_sigusr2_does_nothing(serve, tmp_path):
    pytest.importorskip("hupper")
    (tmp_path / "pid.py").write_text("import os, sys\nprint(f'I am {os.getpid()}.', file=sys.stderr, flush=True)\n")
    server = serve(TABLE + '"/pid" = "pid:app"\n', "--reload")
    [child] = re.findall(r"I am (\d+)\.", server.log())
    os.kill(int(child), signal.SIGHUP)
    server.wait_for("reload ended: 2 mounts, 1 broken")
    os.kill(int(child), signal.SIGUSR2)
    server.wait_for("SIGUSR2 is ignored under --reload")
    assert status(server, "/app/") == 200
    assert "Traceback" not in server.log()
