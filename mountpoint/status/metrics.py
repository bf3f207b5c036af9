"""The snapshot in Prometheus's text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/practices/naming/

Labels are the key of a mount, and words of fixed lists. No client can add a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: The label of requests that no mount owns. A key always has a slash, so it cannot be one.
NO_MOUNT = "none"

_SERVER_STATES = ("loading", "serving", "draining")
_MOUNT_STATES = ("loading", "starting", "serving", "broken")


def render_metrics(snapshot: Mapping[str, Any]) -> str:
    """Return the metrics of *snapshot*."""
    return "".join([*_server_lines(snapshot["server"]), *_mount_lines(snapshot["mounts"])])


def _server_lines(server: Mapping[str, Any]) -> Iterator[str]:
    versions = {
        "version": server["mountpoint"] or "",
        **{key: server[key] or "" for key in ("python", "waitress", "werkzeug")},
    }
    yield _head("mountpoint_build_info", "gauge", "Versions of the server and its libraries; always 1.")
    yield _sample("mountpoint_build_info", versions, 1)
    yield _head("mountpoint_state", "gauge", "1 for the state of the server, 0 for the others.")
    for state in _SERVER_STATES:
        yield _sample("mountpoint_state", {"state": state}, int(server["state"] == state))
    for name, value, text in (
        ("start_time_seconds", server["started_at"], "Start of the process, as a Unix time."),
        ("connections", server["connections"], "Open connections of clients."),
        ("connections_limit", server["connection_limit"], "The setting connection_limit."),
        ("threads", server["threads"], "Request threads of the server."),
        ("threads_busy", server["busy_threads"], "Request threads that run a request."),
        ("resident_memory_bytes", server["memory"], "Resident memory of the server's process."),
        ("loop_delay_seconds", server["loop_delay"], "Longest delay of the loop in the last minute."),
    ):
        if value is not None:
            yield _head(f"mountpoint_{name}", "gauge", text)
            yield _sample(f"mountpoint_{name}", {}, value)
    if (reload := server["last_reload"]) is not None:
        yield _head("mountpoint_last_reload_successful", "gauge", "1 if the last reload serves the new table, else 0.")
        yield _sample("mountpoint_last_reload_successful", {}, int(reload["ok"]))
        yield _head("mountpoint_last_reload_timestamp_seconds", "gauge", "End of the last reload, as a Unix time.")
        yield _sample("mountpoint_last_reload_timestamp_seconds", {}, reload["at"])


def _mount_lines(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    mounts = [({"mount": NO_MOUNT if row["mount"] is None else row["mount"]}, row) for row in rows]
    owned = [(labels, row) for labels, row in mounts if row["mount"] is not None]

    yield _head("mountpoint_requests_total", "counter", "Finished requests by the class of their status.")
    for labels, row in mounts:
        for status, number in row["requests"].items():
            yield _sample("mountpoint_requests_total", {**labels, "status": status}, number)
    yield _head("mountpoint_rejected_requests_total", "counter", "Rejected requests by their cause.")
    for labels, row in mounts:
        for reason, number in row["rejected"].items():
            yield _sample("mountpoint_rejected_requests_total", {**labels, "reason": reason}, number)
    for name, key, kind, text in (
        ("requests_in_flight", "in_flight", "gauge", "Running requests."),
        ("requests_waiting", "waiting", "gauge", "Requests that wait for a thread."),
        ("request_body_bytes_total", "bytes_in", "counter", "Bytes of request bodies."),
        ("response_body_bytes_total", "bytes_out", "counter", "Bytes of response bodies."),
        ("slow_requests_total", "slow", "counter", "Requests that ran for longer than slow_after."),
        ("exceptions_total", "exceptions", "counter", "Exceptions that an app has raised."),
    ):
        yield _head(f"mountpoint_{name}", kind, text)
        for labels, row in mounts:
            yield _sample(f"mountpoint_{name}", labels, row[key])
    yield from _histogram(
        "mountpoint_queue_duration_seconds", "Time of requests in the queue.", "queue_seconds", mounts
    )
    yield from _histogram("mountpoint_app_duration_seconds", "Time of requests in the app.", "app_seconds", mounts)

    yield _head("mountpoint_mount_state", "gauge", "1 for the state of a mount, 0 for the others.")
    for labels, row in owned:
        for state in _MOUNT_STATES:
            yield _sample("mountpoint_mount_state", {**labels, "state": state}, int(row["state"] == state))
    yield _head("mountpoint_mount_required", "gauge", "1 if the server is ready only while this mount serves, else 0.")
    for labels, row in owned:
        yield _sample("mountpoint_mount_required", labels, int(row["required"]))
    yield _head("mountpoint_mount_load_duration_seconds", "gauge", "Time of the last load of the app.")
    for labels, row in owned:
        if row["load_seconds"] is not None:
            yield _sample("mountpoint_mount_load_duration_seconds", labels, row["load_seconds"])
    yield _head("mountpoint_mount_restarts_total", "counter", "Restarts of a mount's processes.")
    for labels, row in owned:
        yield _sample("mountpoint_mount_restarts_total", labels, row["restarts"])
    own = [(labels, row["workers"]) for labels, row in owned if row["process"] == "own"]
    yield _head("mountpoint_workers", "gauge", "Processes of a mount that has its own.")
    for labels, workers in own:
        yield _sample("mountpoint_workers", labels, len(workers))
    yield _head("mountpoint_workers_resident_memory_bytes", "gauge", "Resident memory of the processes of a mount.")
    for labels, workers in own:
        if known := [worker["memory"] for worker in workers if worker["memory"] is not None]:
            yield _sample("mountpoint_workers_resident_memory_bytes", labels, sum(known))


def _histogram(name: str, text: str, key: str, mounts: list[tuple[dict[str, str], Mapping[str, Any]]]) -> Iterator[str]:
    """Yield a histogram whose buckets count everything up to their bound, as Prometheus wants them."""
    yield _head(name, "histogram", text)
    for labels, row in mounts:
        histogram, total = row[key], 0
        written = _labels(labels)[1:-1]
        for bound, number in zip([*histogram["bounds"], "+Inf"], histogram["counts"], strict=True):
            total += number
            yield f'{name}_bucket{{{written},le="{bound}"}} {total}\n'
        yield f"{name}_sum{{{written}}} {histogram['sum']}\n{name}_count{{{written}}} {total}\n"


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    return f"{name}{_labels(labels)} {value}\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
