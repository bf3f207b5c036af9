"""/livez and /readyz."""

from __future__ import annotations

import pytest
from support.status_snapshot import mount_row, snapshot_of

from mountpoint.status.health import STUCK_SECONDS


@pytest.mark.parametrize("age", [None, 0.0, 1.0, STUCK_SECONDS])
def test_the_process_lives_while_the_loop_turns_or_has_not_started(client, age):
    assert client(age=age).get("/livez").text.startswith("alive")


def test_the_process_is_stuck_once_the_loop_has_not_turned_for_seconds(client):
    assert client(age=STUCK_SECONDS + 7).get("/livez", status=503).text == "stuck: the loop has not turned for 12 s\n"


@pytest.mark.parametrize("state", ["loading", "draining"])
def test_a_server_that_loads_or_drains_is_not_ready(client, state):
    site = client(snapshot_of(mount_row("/shop"), state=state))
    assert site.get("/readyz", status=503).text == f"not ready: {state}\n"


@pytest.mark.parametrize("state", ["broken", "loading", "starting"])
def test_only_a_required_mount_decides_whether_the_server_is_ready(client, state):
    rows = mount_row("/shop", required=True), mount_row("/wiki", state=state)
    assert client(snapshot_of(*rows)).get("/readyz").text == "ready\n"
    rows[1]["required"] = True
    assert client(snapshot_of(*rows)).get("/readyz", status=503).text == f"not ready: /wiki is {state}\n"
