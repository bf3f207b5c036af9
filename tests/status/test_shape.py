"""The snapshots that the other tests use have the keys of a real one."""

from __future__ import annotations

import json

from support.finishing import finished
from support.status_reference import keys_of
from support.status_snapshot import troubled
from support.tables import config_of, write

from mountpoint.loading.loaded_mount import LoadedMount
from mountpoint.status.counters import Counters
from mountpoint.status.snapshot import RunningRequest, ServerFacts, make_snapshot


def test_a_snapshot_made_by_hand_has_the_keys_of_a_real_one(tmp_path):
    config = config_of(write(tmp_path, {"shop.py": ""}), '[mounts]\n"/shop" = "shop:app"\n')
    counters = Counters(lambda: 1000.0)
    counters.configure(config.mounts)
    counters.app_raised("/shop", ValueError("no"))
    counters.request_finished(*finished("/shop", at=1000.0, app=0.5))
    facts = ServerFacts(
        file="mounts.toml",
        listen=["http://127.0.0.1:8080/"],
        state="serving",
        connections=1,
        connection_limit=10,
        threads=1,
        loop_delay=0.0,
        running=[RunningRequest("/shop", "GET", "/shop/", 20.0, None)],
        waiting={},
        last_reload={"ok": True, "message": "1 mount", "seconds": 0.5, "ago": 1.0},
    )
    real = json.loads(json.dumps(make_snapshot(counters, facts, [LoadedMount(config.mounts[0], app=print)])))
    assert real["mounts"][0]["trouble"]["kind"] == "slow"
    assert set(keys_of(real)) == {key for key in keys_of(troubled()) if ".workers[]." not in key}
