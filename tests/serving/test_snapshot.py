"""The snapshot of a served process: its counters, its mounts, its workers and its verdict."""

import json
import re
import signal
import sys

import pytest
from support.client import Client, app_file
from support.waiting import wait_until

APP = app_file("snapshot")
PROBE = app_file("probe")
TABLE = f'[mounts]\n"/status" = "{APP}:app"\n"/app" = "{PROBE}:app"\n"/failing" = "{APP}:failing"\n'


def snapshot(server, condition):
    """Return the first snapshot that fulfils *condition*: a request counts a moment after its response."""
    found = {}

    def is_fulfilled():
        with Client(server.url) as client:
            found.update(json.loads(client.get("/status/").body))
        return condition(found)

    wait_until(is_fulfilled)
    return found


def mount_of(found, key):
    [mount] = [one for one in found["mounts"] if one["mount"] == key]
    return mount


def requests(found, key):
    return sum(mount_of(found, key)["requests"].values())


def test_the_mount_in_trouble_is_named_with_its_exceptions(serve):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.get("/app/")
        client.get("/nothing")
    for _ in range(3):
        with Client(server.url) as client:
            assert client.get("/failing/").status == 500
    found = snapshot(server, lambda found: requests(found, "/failing") == 3 and requests(found, None) == 1)
    assert [mount["mount"] for mount in found["mounts"]] == ["/status", "/app", "/failing", None]
    assert found["verdict"] == {
        "ok": False,
        "text": "/failing fails: 3 of 3 requests in the last minute got a 5xx status",
        "mounts": ["/failing"],
    }
    failing = mount_of(found, "/failing")
    assert failing["requests"]["5xx"] == failing["exceptions"] == 3
    [exception] = failing["last_exceptions"]
    assert (exception["type"], exception["count"]) == ("ValueError", 3)
    assert re.fullmatch(r"snapshot\.py:\d+ in failing", exception["place"])
    assert mount_of(found, "/app")["requests"]["2xx"] == mount_of(found, None)["requests"]["4xx"] == 1
    assert found["server"]["state"] == "serving"
    assert found["server"]["busy_threads"] == len(found["in_flight"]) == 1
    assert found["in_flight"][0]["path"] == "/status/"


def test_a_reload_keeps_the_counters_of_mounts_that_stay(serve, tmp_path):
    server = serve(TABLE)
    with Client(server.url) as client:
        client.get("/app/")
    snapshot(server, lambda found: requests(found, "/app") == 1)
    lines = ("[mounts]", f'"/status" = "{APP}:app"', f'"/app" = "{PROBE}:app"', f'"/new" = "{PROBE}:app"')
    (tmp_path / "mounts.toml").write_text("\n".join(lines))
    server.send(signal.SIGHUP)
    found = snapshot(server, lambda found: found["server"]["last_reload"])
    assert [mount["mount"] for mount in found["mounts"]] == ["/status", "/app", "/new", None]
    assert (requests(found, "/app"), requests(found, "/new")) == (1, 0)
    assert found["server"]["last_reload"]["ok"] is True
    assert found["server"]["last_reload"]["message"] == "3 mounts, 0 broken"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no workers")
def test_a_mount_with_its_own_process_is_counted_like_a_shared_one(serve):
    own = f'[mounts."/own"]\napp = "{APP}:failing"\nprocess = "own"\n'
    server = serve(TABLE + own)
    server.wait_for(re.compile(r"worker \d+ is ready"))
    for path in ("/failing/", "/own/"):
        with Client(server.url) as client:
            assert client.get(path).status == 500
    found = snapshot(server, lambda found: requests(found, "/failing") == requests(found, "/own") == 1)
    shared, separate = mount_of(found, "/failing"), mount_of(found, "/own")
    for name in ("state", "requests", "exceptions", "bytes_out", "rejected"):
        assert shared[name] == separate[name]
    [one], [other] = shared["last_exceptions"], separate["last_exceptions"]
    assert (one["type"], one["place"]) == (other["type"], other["place"])
    assert shared["workers"] == []
    [worker] = separate["workers"]
    assert (worker["state"], worker["requests"]) == ("ready", 1)
    assert separate["process"] == "own"
    assert separate["load_seconds"] > 0


def test_requests_in_flight_and_the_slowest_have_their_ids(serve):
    server = serve(TABLE.replace("[mounts]", "[server]\nrequest_id = true\n[mounts]"))
    found = snapshot(server, lambda found: found["slowest"])
    assert re.fullmatch(r"[\w-]{8,}", found["in_flight"][0]["request_id"])
    assert re.fullmatch(r"[\w-]{8,}", found["slowest"][0]["request_id"])


def test_a_broken_mount_is_worse_than_a_failing_one(serve):
    server = serve(TABLE + '"/broken" = "no_such:app"\n')
    with Client(server.url) as client:
        client.get("/failing/")
    found = snapshot(server, lambda found: requests(found, "/failing") == 1)
    assert found["verdict"]["mounts"] == ["/broken", "/failing"]
    assert found["verdict"]["text"].startswith("/broken is broken: ")
    assert found["verdict"]["text"].endswith("; 1 other mount is in trouble too")
    assert mount_of(found, "/broken")["state"] == "broken"
