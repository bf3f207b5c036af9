"""The status page of the real server: while it loads, is busy, drains, reloads, hands over and ends."""

import json
import re
import stat
import sys

import pytest
from support.changing import SLOW_IMPORT, WHO_ROW, reload, take_over
from support.client import PROBE, TABLE, Client, table
from support.waiting import wait_until

STATUS = '[status]\nlisten = "127.0.0.1:0"\n'
KEY = "0123456789abcdef0123456789abcdef"

#: An app that makes the loop wait until the file "go" exists.
STOPS_THE_LOOP = """
import gc, sys, time
from pathlib import Path
from mountpoint.server.loop import Server
from mountpoint.status import health
health.STUCK_SECONDS = 0.2
def wait():
    print("the loop waits", file=sys.stderr, flush=True)
    while not Path("go").exists():
        time.sleep(0.01)
def app(environ, start_response):
    [server] = [one for one in gc.get_objects() if isinstance(one, Server)]
    server.call_soon_threadsafe(wait)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@pytest.fixture
def page(serve):
    """Return ``page(table)``, which serves *table* with a status page and returns the server and the page's URL."""

    def page(text, *args, **options):
        server = serve(STATUS + text, "--listen", "127.0.0.1:0", *args, wait=False, **options)
        return server, url_of(server)

    return page


def url_of(server):
    return re.search(r"the status page is on (\S+?)/?\n", server.wait_for(re.compile("the status page is on .*\n")))[1]


def get(url, path, *headers):
    with Client(url) as client:
        return client.get(path, *headers)


def wait_for_answer(url, path, status, text):
    def answers():
        response = get(url, path)
        return (response.status, response.body.decode()) == (status, text)

    wait_until(answers)


def test_it_answers_while_every_request_thread_is_busy(page, connect_each, release):
    server, url = page(table(threads=1))
    server.wait_until_serving()
    [held] = connect_each(server, ["/app/hold/it"])
    server.wait_for("holding it")
    [waiting] = connect_each(server, ["/app/"])
    found = json.loads(get(url, "/status.json").body)
    assert [one["path"] for one in found["in_flight"]] == ["/app/hold/it"]
    assert b"/app/hold/it" in get(url, "/").body
    assert get(url, "/livez").body == b"alive\n"
    assert b'mountpoint_requests_in_flight{mount="/app"} 1' in get(url, "/metrics").body
    release("it")
    assert {held.answer().status, waiting.answer().status} == {200}


def test_it_answers_while_the_server_drains_and_ends_with_it(page, connect_each, release):
    server, url = page(TABLE)
    server.wait_until_serving()
    [held] = connect_each(server, ["/app/hold/it"])
    server.wait_for("holding it")
    wait_for_answer(url, "/readyz", 200, "ready\n")
    server.send()
    server.wait_for("draining")
    assert get(url, "/readyz").body == b"not ready: draining\n"
    assert get(url, "/livez").body == b"alive\n"
    wait_until(lambda: json.loads(get(url, "/status.json").body)["server"]["state"] == "draining")
    release("it")
    assert held.answer().status == 200
    assert server.wait() == 0
    with pytest.raises(ConnectionError):
        get(url, "/livez")


def test_it_answers_while_an_app_loads(page, tmp_path, release):
    (tmp_path / "web.py").write_text(SLOW_IMPORT + "from wsgiref.simple_server import demo_app as app\n")
    server, url = page('[mounts]\n"/web" = "web:app"\n')
    server.wait_for("importing")
    assert get(url, "/readyz").body == b"not ready: loading\n"
    assert get(url, "/livez").status == 200
    release("go")
    wait_for_answer(url, "/readyz", 200, "ready\n")


def test_a_required_mount_that_is_broken_makes_the_server_not_ready(page, tmp_path):
    mounts = f'[mounts]\n"/app" = "{PROBE}:app"\n"/web" = {{ app = "nothing:app", required = true }}\n'
    server, url = page(mounts)
    server.wait_until_serving()
    wait_for_answer(url, "/readyz", 503, "not ready: /web is broken\n")
    found = get(url, "/").body.decode()
    assert re.search(r"<h1[^>]*>.*?/web is broken: no module", found)


def test_a_blocked_loop_fails_livez_and_the_page_still_answers(page, tmp_path, release):
    (tmp_path / "web.py").write_text(STOPS_THE_LOOP)
    server, url = page('[mounts]\n"/web" = "web:app"\n')
    server.wait_until_serving()
    with Client(server.url) as client:
        client.request("/web/")
        server.wait_for("the loop waits")
        wait_until(lambda: get(url, "/livez").status == 503)
        assert get(url, "/livez").body.startswith(b"stuck: the loop has not turned for ")
        assert get(url, "/").status == 200
        release("go")
        wait_until(lambda: get(url, "/livez").status == 200)


def test_every_path_but_the_health_checks_needs_the_key(page):
    _, url = page(f'key = "{KEY}"\n{TABLE}')
    assert [get(url, path).status for path in ("/", "/status.json", "/metrics")] == [401] * 3
    assert get(url, "/metrics", f"Authorization: Bearer {KEY}").status == 200
    assert get(url, "/livez").status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="Python has no unix sockets on Windows")
def test_on_a_unix_socket_only_its_user_and_group_see_the_page(serve, socket_path):
    text = f'[status]\nlisten = "unix:{socket_path}"\n{TABLE}'
    server = serve(text, "--listen", "127.0.0.1:0")
    assert url_of(server) == f"unix:{socket_path}"
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o660
    assert get(f"unix:{socket_path}", "/livez").body == b"alive\n"
    assert server.stop() == 0
    assert not socket_path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_it_stays_where_it_is_at_a_reload(page, tmp_path):
    server, url = page(TABLE)
    server.wait_until_serving()
    moved = TABLE + f'"/more" = "{PROBE}:app"\n[status]\nlisten = "127.0.0.1:1"\n'
    said = reload(server, tmp_path, moved)
    assert "these changed settings take effect in a new process: status.listen; stop the server and" in said
    wait_until(lambda: b"/more" in get(url, "/").body)
    wait_until(lambda: (json.loads(get(url, "/status.json").body)["server"]["last_reload"] or {}).get("ok"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR2")
def test_the_new_process_of_a_takeover_shows_itself_at_the_same_address(serve_who, connect_each, release, tmp_path):
    server = serve_who(STATUS + TABLE + WHO_ROW, "--listen", "127.0.0.1:0")
    url = url_of(server)
    [held] = connect_each(server, ["/app/hold/it"])
    server.wait_for("holding it")
    pid = take_over(server)
    wait_until(lambda: json.loads(get(url, "/status.json").body)["server"]["pid"] == pid)
    for _ in range(5):  # the old process, which drains, accepts no more
        assert json.loads(get(url, "/status.json").body)["server"]["pid"] == pid
    release("it")
    assert held.answer().status == 200
    assert server.process.wait() == 0
    assert get(url, "/livez").body == b"alive\n"


def test_an_address_in_use_is_an_error_that_names_the_section(page, serve):
    _, url = page(TABLE)
    text = f'[status]\nlisten = "{url.removeprefix("http://")}"\n{TABLE}'
    other = serve(text, "--listen", "127.0.0.1:0", wait=False)
    assert other.wait() == 1
    assert "status: cannot listen on 127.0.0.1:" in other.log()


@pytest.mark.parametrize(("text", "answer"), [("", b"False"), (STATUS, b"True")])
def test_werkzeug_is_imported_only_for_the_page(serve, tmp_path, text, answer):
    (tmp_path / "web.py").write_text(
        "import sys\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [str('werkzeug' in sys.modules).encode()]\n"
    )
    server = serve(f'{text}[mounts]\n"/web" = "web:app"\n', "--listen", "127.0.0.1:0")
    assert get(server.url, "/web/").body == answer
