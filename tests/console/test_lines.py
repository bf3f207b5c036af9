"""The text of ``mountpoint status``: the verdict first, then the table, then the reasons."""

import pytest

from mountpoint.console.figures import cells
from mountpoint.console.lines import Line, mount_table, status_lines

EXPECTED = """\
TROUBLE: /shop fails: 12 of 40 requests in the last minute got a 5xx status
mountpoint 0.1.0, process 4242, serving: /srv/mounts.toml, http://127.0.0.1:8080/
up 2 h 1 min; 1 of 8 threads busy; 3 of 1000 connections; memory 48M; loop delay 2.0ms

  MOUNT       STATE     REQ/MIN   5XX   RUN  WAIT    P50    P95    P99  TOTAL
  /tv_ws      serving       900     0     2     0  3.0ms   10ms   20ms    900
! /shop       serving        40    12     0     7  500ms   1.2s   3.0s     40
  /cms        starting        5     0     0     0      -      -      -      5
  /old        broken          0     0     0     0      -      -      -      0
  (no mount)  -               3     0     0     0      -      -      -      3
/old: ModuleNotFoundError: No module named 'old'

last exceptions
  /shop: ValueError at shop.py:12 in buy, 12 times, 1 min 1 s ago

requests in flight, the oldest first
    1.2s  GET /tv_ws/x [abc]

slowest requests of the last hour
    3.2s  POST /shop/buy: 500, at 00:00:00

processes of mounts
  /cms: 7 ready, 5 requests, memory 30M, for 4 min 21 s"""


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def texts(lines):
    return [line.text for line in lines]


def test_status_prints_the_verdict_the_table_and_the_reasons(snapshot):
    assert "\n".join(texts(status_lines(snapshot, None))) == EXPECTED


def test_a_server_without_trouble_and_traffic_is_short(snapshot):
    snapshot |= {"verdict": {"ok": True, "text": "all is well: 1 mount", "mounts": []}, "in_flight": [], "slowest": []}
    snapshot["mounts"] = snapshot["mounts"][:1]
    lines = status_lines(snapshot, 80)
    assert lines[0] == Line("OK: all is well: 1 mount", "good")
    assert len(lines) == 6


@pytest.mark.parametrize("width", [31, 40, 79, 80, 100, 200])
def test_the_table_fits_the_terminal(snapshot, width):
    snapshot["mounts"][0]["mount"] = "/" + "long" * 60
    snapshot["mounts"][1]["mount"] = "/日本" * 20
    table = mount_table(snapshot, snapshot["mounts"], width)
    assert max(cells(line.text) for line in table) <= width
    assert len({cells(line.text) for line in table}) == 1  # the columns are below each other


def test_without_a_terminal_no_key_is_cut_off(snapshot):
    snapshot["mounts"][0]["mount"] = key = "/" + "long" * 60
    assert any(line.text.startswith(f"  {key}  serving") for line in mount_table(snapshot, snapshot["mounts"], None))


def test_a_mount_in_trouble_has_a_mark_beside_its_colour(snapshot):
    marked = [line for line in mount_table(snapshot, snapshot["mounts"], 80) if line.style == "bad"]
    assert [line.text.split()[:2] for line in marked] == [["!", "/shop"]]


def test_each_mount_in_trouble_has_its_reason_once(snapshot):
    fails = snapshot["verdict"]["text"].removeprefix("/shop ")
    snapshot["mounts"][1]["trouble"] = {"kind": "failing", "text": fails}
    snapshot["mounts"][0]["trouble"] = {"kind": "slow", "text": "is slow: a request has run for 9.0 s"}
    shown = texts(status_lines(snapshot, 80))
    assert sum(fails in line for line in shown) == 1
    assert shown.index("/old: ModuleNotFoundError: No module named 'old'") + 1 == shown.index(
        "/tv_ws is slow: a request has run for 9.0 s"
    )


def test_a_failed_reload_is_shown_with_its_outcome(snapshot):
    reload = {"at": 0.0, "ok": False, "message": "the old table is kept: broken\x1b[2J", "seconds": 0.4}
    snapshot["server"]["last_reload"] = reload
    [line] = [line for line in status_lines(snapshot, 80) if "reload" in line.text]
    assert line == Line("last reload at 00:00:00: FAILED: the old table is kept: broken\\x1b[2J (400ms)", "bad")


def test_text_of_clients_and_apps_does_not_control_the_terminal(snapshot):
    hostile = "\x1b]0;x\x07\r\n"
    snapshot["in_flight"][0]["path"] = snapshot["slowest"][0]["path"] = hostile
    snapshot["mounts"][3]["reason"] = hostile + "x"
    snapshot["mounts"][1]["last_exceptions"][0]["type"] = hostile
    snapshot["verdict"]["text"] = hostile
    assert all(line.text.isprintable() for line in status_lines(snapshot, 80))


def test_long_lists_show_only_their_first_entries(snapshot):
    snapshot["in_flight"] *= 100
    snapshot["slowest"] *= 20
    snapshot["mounts"] += [snapshot["mounts"][3]] * 20
    shown = texts(status_lines(snapshot, 80))
    assert "  and 95 more" in shown
    assert "and 16 more mounts are in trouble" in shown
    assert sum("/shop/buy" in line for line in shown) == 5
