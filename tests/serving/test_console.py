"""The commands ``status`` and ``top`` with a real server, the second one in a real terminal."""

import json
import os
import re
import signal
import sys

import pytest
from support.client import Client, app_file
from support.tables import command, write
from support.waiting import wait_until

if sys.platform == "win32":
    pytest.skip("Windows has neither control sockets nor curses", allow_module_level=True)

from support.terminal import terminal

APP = app_file("snapshot")
PROBE = app_file("probe")
TABLE = f'[mounts]\n"/app" = "{PROBE}:app"\n"/failing" = "{APP}:failing"\n'


def fail(server):
    with Client(server.url) as client:
        assert client.get("/failing/").status == 500


def test_status_says_in_text_json_and_exit_code_whether_all_is_well(serve, tmp_path):
    server = serve(TABLE)
    done = command("status", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, third, *_ = done.stdout.splitlines()
    assert first.startswith("OK: ")
    assert f"process {server.pid}, serving: " in second
    assert server.url in second
    assert third.startswith("up ")
    fail(server)
    wait_until(lambda: command("status", cwd=tmp_path).returncode == 1)
    done = command("status", cwd=tmp_path)
    assert done.stdout.startswith("TROUBLE: /failing fails: 1 of 1 request in the last minute got a 5xx status\n")
    assert re.search(r"^! /failing +serving +1 +1 ", done.stdout, re.MULTILINE)
    done = command("status", "--json", "mounts.toml", cwd=tmp_path)
    snapshot = json.loads(done.stdout)
    assert (done.returncode, snapshot["version"], snapshot["server"]["pid"]) == (1, 1, server.pid)
    assert snapshot["verdict"]["mounts"] == ["/failing"]


def test_the_json_of_status_has_no_character_that_a_terminal_obeys(serve, tmp_path):
    server = serve(TABLE)
    with Client(server.url) as client:
        assert client.get("/app/%C2%9B31m").status == 200
    done = command("status", "--json", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert done.stdout.isascii()
    assert "/app/\x9b31m" in [one["path"] for one in json.loads(done.stdout)["slowest"]]


def test_without_a_server_both_commands_say_how_to_start_one_and_exit_3(tmp_path):
    write(tmp_path, {"mounts.toml": TABLE})
    done = command("status", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no server runs for this table" in done.stderr
    assert 'start one with "mountpoint serve mounts.toml"' in done.stderr
    with terminal("top", cwd=tmp_path, columns=250) as top:
        assert top.wait_end() == 3
        assert 'start one with "mountpoint serve mounts.toml"' in top.text


def test_a_server_whose_apps_still_load_is_shown(serve, tmp_path):
    (tmp_path / "slow.py").write_text("import threading\nopen('began', 'w')\nthreading.Event().wait()\n")
    serve('[mounts]\n"/slow" = "slow:app"\n', wait=False, cwd=tmp_path)
    wait_until((tmp_path / "began").exists)
    done = command("status", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("TROUBLE: /slow is still loading\n")


def test_status_has_colours_in_a_terminal_only_and_fits_it(serve, tmp_path):
    long = "/" + "app" * 30
    serve(TABLE.replace('"/app"', f'"{long}"'))
    for variables, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with terminal("status", cwd=tmp_path, env=variables, rows=40) as status:
            assert status.wait_end() == 0
        colours = {cell.fg for row in status.screen.buffer.values() for cell in row.values()}
        assert (colours != {"default"}) is is_coloured
        assert any(re.match(r"  /(app)+[ap]{0,2}\.\.\.  serving ", line) for line in status.lines), status.text
    assert long in command("status", cwd=tmp_path).stdout


def test_top_shows_the_mounts_and_follows_keys_sizes_and_requests(serve, tmp_path):
    server = serve(TABLE)
    with terminal("top", cwd=tmp_path, env={"COLUMNS": "70", "LINES": "20"}) as top:  # as some shells export them
        top.wait_for("h help")
        assert top.lines[0].startswith("OK: ")
        fail(server)
        top.wait_for("TROUBLE: /failing fails")
        top.press("e")
        top.wait_for(lambda: "*5XX" in top.text and top.lines[5].startswith("! /failing"))  # the first row
        top.press("\r")
        top.wait_for(lambda: "requests since the start: 1 5xx" in top.text and "  /app" not in top.text)
        top.press("\x1b")
        top.wait_for(lambda: any(line.startswith("  /app") for line in top.lines))
        top.press("?")
        top.wait_for("any key goes back")
        top.press("x")
        top.wait_for("h help")
        top.resize(40, 6)
        top.wait_for(lambda: top.lines[0].startswith("TROUBLE") and top.lines[-1].startswith("h help"))
        assert len(top.lines) == 6
        top.resize(100, 30)
        top.wait_for("TOTAL")
        top.press("q")
        assert top.wait_end() == 0


def test_top_says_when_the_server_ends_and_shows_the_next_one(serve, tmp_path):
    server = serve(TABLE)
    with terminal("top", cwd=tmp_path, columns=400) as top:
        top.wait_for(f"process {server.pid}")
        (tmp_path / "mounts.toml").rename(tmp_path / "moved.toml")
        top.wait_for("NO ANSWER: ")
        (tmp_path / "moved.toml").rename(tmp_path / "mounts.toml")
        top.wait_for(lambda: "NO ANSWER" not in top.text)
        server.stop()
        top.wait_for("NO ANSWER: mounts.toml: no server runs for this table")
        top.wait_for('start one with "mountpoint serve mounts.toml"')
        assert f"process {server.pid}" in top.text  # the last state stays
        after = serve(tmp_path / "mounts.toml")
        top.wait_for(f"process {after.pid}")
        top.wait_for(lambda: "NO ANSWER" not in top.text)
        os.kill(top.process.pid, signal.SIGTERM)
        assert top.wait_end() == 128 + signal.SIGTERM


def test_top_needs_a_terminal_that_it_knows(serve, tmp_path):
    serve(TABLE)
    done = command("top", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == 'expected a terminal, found a file or a pipe; write "mountpoint status", which needs none\n'
    with terminal("top", cwd=tmp_path, env={"TERM": "no-such-terminal"}, columns=150) as top:
        assert top.wait_end() == 2
    assert "expected a terminal that curses knows, found setupterm: could not find terminal" in top.text
