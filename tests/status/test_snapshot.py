"""The snapshot: states of mounts, times after the clock was set, and bounds on the text of clients."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.finishing import CountedSite, mounts

from mountpoint.errors import LoadError
from mountpoint.loading.loaded_mount import LoadedMount
from mountpoint.status import process, snapshot
from mountpoint.status.snapshot import RunningRequest, ServerFacts, make_snapshot
from mountpoint.workers.report import WorkerReport, WorkersReport, resident_bytes


def facts(**changes):
    known = {
        "file": "mounts.toml",
        "listen": [],
        "state": "serving",
        "connections": 0,
        "connection_limit": 100,
        "threads": 8,
        "loop_delay": 0.0,
        "running": [],
        "waiting": {},
        "last_reload": None,
    }
    return ServerFacts(**known | changes)


@pytest.mark.parametrize(
    ("app", "error", "report", "state", "reason"),
    [
        (None, None, None, "loading", None),
        (None, LoadError("no"), None, "broken", "no"),
        (print, None, None, "serving", None),
        (print, None, WorkersReport(True, None, 0, 0.5, []), "serving", None),
        (print, None, WorkersReport(False, None, 0, None, []), "starting", None),
        (print, None, WorkersReport(False, LoadError("it ended"), 3, None, []), "broken", "it ended"),
    ],
)
def test_the_state_of_a_mount_is_that_of_its_load_and_its_workers(monkeypatch, app, error, report, state, reason):
    monkeypatch.setattr(snapshot, "report_on_workers", lambda app: report)
    site = CountedSite("/app")
    loaded = LoadedMount(mounts("/app")[0], app=app, error=error, load_seconds=0.25)
    [found, _] = make_snapshot(site.counters, facts(), [loaded])["mounts"]
    assert (found["state"], found["reason"]) == (state, reason)
    assert found["load_seconds"] == (report.load_seconds if report else 0.25)
    assert found["restarts"] == (report.restarts if report else 0)


def test_times_stay_consistent_when_the_clock_of_the_system_is_set(monkeypatch):
    site = CountedSite("/app")
    site.counters.app_raised("/app", ValueError())
    site.finish(app=0.5)
    site.clock.now += 100
    report = WorkersReport(True, None, 0, 0.5, [WorkerReport(7, "ready", 30.0, 0, 5)])
    monkeypatch.setattr(snapshot, "report_on_workers", lambda app: report)
    last_reload = {"ok": True, "message": "", "seconds": 1.0, "ago": 20.0}
    for now in (2e9, 1e9):
        monkeypatch.setattr(snapshot, "time", SimpleNamespace(time=lambda now=now: now))
        loaded = [LoadedMount(mounts("/app")[0], app=print)]
        found = make_snapshot(site.counters, facts(last_reload=last_reload), loaded)
        assert found["server"]["now"] == now
        assert found["server"]["started_at"] == now - 100
        assert found["server"]["last_reload"]["at"] == now - 20
        assert found["slowest"][0]["at"] == found["mounts"][0]["last_exceptions"][0]["last_at"] == now - 100
        assert found["mounts"][0]["workers"][0]["started_at"] == now - 30
        assert found["mounts"][0]["workers"][0]["memory"] is None


def test_requests_in_flight_are_counted_by_mount_and_listed_up_to_a_bound():
    site = CountedSite("/app", "/other")
    running = [
        RunningRequest("/app", "M" * 100, "/app/\xe9\xc3\xa9" + "x" * 5000, 9.0 - n / 100, None) for n in range(150)
    ]
    running.append(RunningRequest(None, "GET", "/nothing", 0.1, "an-id"))
    loaded = [LoadedMount(config, app=print) for config in mounts("/app", "/other")]
    found = make_snapshot(site.counters, facts(running=running, waiting={"/other": 3}), loaded)
    assert [mount["in_flight"] for mount in found["mounts"]] == [150, 0, 1]
    assert [mount["waiting"] for mount in found["mounts"]] == [0, 3, 0]
    assert len(found["in_flight"]) == 100
    assert len(found["in_flight"][0]["path"]) <= 200
    assert found["in_flight"][0]["path"].startswith("/app/\ufffdéxxx")
    assert found["in_flight"][0]["method"] == "M" * 20
    assert found["server"]["busy_threads"] == 151
    json.dumps(found)


def test_the_path_of_a_slow_request_is_readable():
    site = CountedSite("/app")
    site.finish(app=0.5, path="/app/\xe9\xc3\xa9")
    found = make_snapshot(site.counters, facts(), [LoadedMount(mounts("/app")[0], app=print)])
    assert found["slowest"][0]["path"] == "/app/\ufffdé"


def test_a_mount_that_is_not_counted_yet_is_left_out():
    site = CountedSite("/app")
    loaded = [LoadedMount(config, app=print) for config in mounts("/app", "/new")]
    assert [mount["mount"] for mount in make_snapshot(site.counters, facts(), loaded)["mounts"]] == ["/app", None]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_null_where_the_system_does_not_tell_it(monkeypatch):
    assert resident_bytes() > 1_000_000

    def fail(*_):
        raise OSError

    monkeypatch.setattr(Path, "read_text", fail)
    assert resident_bytes() is None


def test_a_package_without_metadata_has_no_version():
    assert process._version("no-such-package-anywhere") is None
    assert all(process.versions().values())
