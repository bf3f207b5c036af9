"""The screen of ``mountpoint top``, without a terminal: its lines in every size, and its keys."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snapshots import SNAPSHOT

from mountpoint.console.figures import cells
from mountpoint.console.screen import SORT_KEYS, View, press, screen, sorted_mounts

KEYS = ["up", "down", "enter", "escape", "b", "h", "?", "k", "j", "t", "x", *SORT_KEYS]


def shown(view, snapshot, width=80, height=24, problem=""):
    return [line.text for line in screen(view, snapshot, problem, width, height)]


def pressed(keys, snapshot, view=None):
    view = view or View()
    for key in keys:
        view = press(view, key, snapshot)
    return view


def test_the_screen_begins_with_the_verdict_and_ends_with_the_keys(snapshot):
    lines = shown(View(), snapshot)
    assert lines[0].startswith("TROUBLE: /shop fails")
    assert lines[-1].startswith("h help  q quit")
    assert any(line.startswith("! /shop") for line in lines)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(KEYS), max_size=8), st.integers(1, 120), st.integers(1, 40), st.booleans())
def test_the_screen_fits_every_size_after_any_keys(keys, width, height, is_gone):
    view = pressed(keys, SNAPSHOT)
    lines = screen(view, SNAPSHOT, "no server runs" if is_gone else "", width, height)
    assert len(lines) == height
    assert max(cells(line.text) for line in lines) <= width
    assert all(line.text.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("key", "first"),
    [("r", "/tv_ws"), ("e", "/shop"), ("f", "/tv_ws"), ("w", "/shop"), ("5", "/shop"), ("9", "/shop")],
)
def test_a_key_sorts_by_its_column_and_t_restores_the_table(snapshot, key, first):
    view = press(View(), key, snapshot)
    assert sorted_mounts(snapshot, view.sort)[0]["mount"] == first
    heading = next(line for line in shown(view, snapshot) if "MOUNT" in line)
    assert heading.count("*") == 1
    view = press(view, "t", snapshot)
    assert [one["mount"] for one in sorted_mounts(snapshot, view.sort)] == ["/tv_ws", "/shop", "/cms", "/old", None]


def test_enter_shows_one_mount_and_b_goes_back(snapshot):
    view = pressed(["down", "enter"], snapshot)
    lines = shown(view, snapshot)
    assert any(line.startswith("! /shop") for line in lines)
    assert not any("/tv_ws" in line for line in lines)
    assert "requests since the start: 28 2xx, 12 5xx; slow 0, exceptions 12" in lines
    assert "  /shop: ValueError at shop.py:12 in buy, 12 times, 1 min 1 s ago" in lines
    assert any("/tv_ws" in line for line in shown(press(view, "b", snapshot), snapshot))


def test_the_requests_without_a_mount_are_shown_like_a_mount(snapshot):
    assert any(line.startswith("  (no mount)") for line in shown(pressed(["down"] * 9 + ["enter"], snapshot), snapshot))


def test_a_mount_that_has_left_the_table_is_named(snapshot):
    view = pressed(["enter"], snapshot)
    del snapshot["mounts"][0]
    assert shown(view, snapshot)[0] == "/tv_ws is no longer in the table"


def test_the_chosen_mount_stays_visible_among_300(many):
    for steps in (0, 5, 150, 299, 400):
        view = pressed(["down"] * steps, many)
        [chosen] = [line for line in screen(view, many, "", 80, 24) if line.style == "selected"]
        assert chosen.text.split()[0] == f"/app{min(steps, 299):03}"


def test_a_selection_survives_a_table_that_became_shorter(many):
    view = pressed(["down"] * 200, many)
    many["mounts"] = many["mounts"][:3]
    assert any(line.style == "selected" for line in screen(view, many, "", 80, 24))
    assert press(view, "enter", many).detail == ("/app002",)


def test_a_small_terminal_shows_the_verdict_and_the_mounts(snapshot):
    lines = shown(View(), snapshot, 40, 6)
    assert lines[0].startswith("TROUBLE: ")
    assert sum(line.startswith(("  /", "! /")) for line in lines) == 3


def test_a_server_that_has_ended_is_named_above_its_last_state(snapshot):
    lines = shown(View(), snapshot, problem=f"/srv/mounts.toml: no server runs{' at this path' * 5}; start one")
    assert lines[0].startswith("NO ANSWER: /srv/mounts.toml: no server runs at this path")
    assert lines[1].endswith("; start one")
    assert any(line.startswith("! /shop") for line in lines)


def test_help_lists_every_key_and_any_key_leaves_it(snapshot):
    view = press(View(), "?", snapshot)
    words = " ".join(shown(view, snapshot)).replace(")", " ").replace(",", " ").replace(";", " ").split()
    assert {*SORT_KEYS, "t", "h", "?", "q", "k", "j", "b", "up", "down", "Enter", "Esc"} <= {*words}
    assert not press(view, "r", snapshot).shows_help
    assert press(view, "r", snapshot).sort == ""


def test_q_quits_from_every_screen(snapshot):
    for keys in ([], ["enter"], ["h"]):
        assert press(pressed(keys, snapshot), "q", snapshot).quits


def test_a_long_detail_scrolls(snapshot):
    snapshot["in_flight"] *= 50
    snapshot["slowest"] = [one | {"mount": "/tv_ws"} for one in snapshot["slowest"] * 20]
    view = pressed(["enter"], snapshot)
    assert shown(view, snapshot, 80, 10)[0].startswith("TROUBLE")
    view = pressed(["down"] * 40, snapshot, view)
    assert "slowest" in "\n".join(shown(view, snapshot, 80, 10)) or "POST" in "\n".join(shown(view, snapshot, 80, 10))
    assert not shown(view, snapshot, 80, 10)[0].startswith("TROUBLE")
