"""The snapshot of a server as lines of text, for the commands ``status`` and ``top``.

A line has one style. No fact depends on a style alone: a mount in trouble has a mark too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ..errors import printable
from .figures import cells, count, duration, fit, long_duration, pad, size

Style = Literal["plain", "heading", "good", "bad", "dim", "selected"]
#: The snapshot is a document of JSON, described in the manual.
Snapshot = Mapping[str, Any]

_MARK = "! "
_LISTED = 5  # requests, exceptions and reasons in each list
_MIN_KEY = 10  # columns for the key of a mount, at least
NO_MOUNT = "(no mount)"


class Line(NamedTuple):
    """One line for a terminal, without its end."""

    text: str
    style: Style = "plain"


class Column(NamedTuple):
    """A column of the table: its *title*, the *name* by which it is sorted, its width and its text for a mount."""

    title: str
    name: str
    width: int

    def value(self, mount: Snapshot) -> Any:
        """Return the value by which the table is sorted."""
        minute = mount["last_minute"]
        if self.name in ("requests", "errors"):
            return minute[self.name]
        if self.name.startswith("p"):
            return minute[self.name] or 0.0
        if self.name == "total":
            return sum(mount["requests"].values())
        return mount[self.name]

    def text(self, mount: Snapshot) -> str:
        """Return the text of the cell."""
        if self.name == "state":
            return printable(str(mount["state"])) if mount["mount"] is not None else "-"
        if self.name.startswith("p"):
            return duration(mount["last_minute"][self.name])
        return count(self.value(mount))


COLUMNS = (
    Column("STATE", "state", 8),
    Column("REQ/MIN", "requests", 7),
    Column("5XX", "errors", 4),
    Column("RUN", "in_flight", 4),
    Column("WAIT", "waiting", 4),
    Column("P50", "p50", 5),
    Column("P95", "p95", 5),
    Column("P99", "p99", 5),
)
#: Shown if there is room.
WIDE_COLUMNS = (*COLUMNS, Column("TOTAL", "total", 5))


def key_of(mount: Snapshot) -> str:
    """Return the key of *mount* for people."""
    return NO_MOUNT if mount["mount"] is None else printable(str(mount["mount"]))


def verdict_line(snapshot: Snapshot) -> Line:
    """Return the line that says whether all is well, and otherwise names the mount with the worst trouble."""
    verdict = snapshot["verdict"]
    if verdict["ok"]:
        return Line(f"OK: {printable(verdict['text'])}", "good")
    return Line(f"TROUBLE: {printable(verdict['text'])}", "bad")


def server_lines(snapshot: Snapshot) -> list[Line]:
    """Return the lines about the process."""
    server = snapshot["server"]
    listen = ", ".join(server["listen"]) or "no address yet"
    process = f"mountpoint {server['mountpoint']}, process {server['pid']}, {server['state']}"
    lines = [
        Line(f"{process}: {server['file']}, {listen}"),
        Line(
            f"up {long_duration(server['now'] - server['started_at'])}; "
            f"{server['busy_threads']} of {server['threads']} threads busy; "
            f"{server['connections']} of {server['connection_limit']} connections; "
            f"memory {size(server['memory'])}; loop delay {duration(server['loop_delay'])}"
        ),
    ]
    reload = server["last_reload"]
    if reload:
        outcome = "" if reload["ok"] else "FAILED: "
        text = f"last reload at {_clock(reload['at'])}: {outcome}{reload['message']} ({duration(reload['seconds'])})"
        lines.append(Line(text, "plain" if reload["ok"] else "bad"))
    return [Line(printable(line.text), line.style) for line in lines]


def mount_table(snapshot: Snapshot, mounts: Sequence[Snapshot], width: int | None) -> list[Line]:
    """Return a heading and a line for each of *mounts*. With a *width* in columns, long keys are cut off."""
    keys = [key_of(mount) for mount in mounts]
    widest = max([_MIN_KEY, *map(cells, keys)])
    columns: Sequence[Column] = (
        WIDE_COLUMNS if width is None or width >= _table_width(WIDE_COLUMNS, widest) else COLUMNS
    )
    if width is not None:
        while len(columns) > 1 and width < _table_width(columns, _MIN_KEY):
            columns = columns[:-1]
        widest = min(widest, max(_MIN_KEY, width - _table_width(columns, 0)))
    heading = (
        "  "
        + pad("MOUNT", widest)
        + "".join("  " + pad(column.title, column.width, right=column.name != "state") for column in columns)
    )
    troubled = {*snapshot["verdict"]["mounts"]}
    lines = [Line(heading, "heading")]
    for key, mount in zip(keys, mounts, strict=True):
        is_bad = mount["mount"] in troubled
        row = (_MARK if is_bad else "  ") + pad(fit(key, widest), widest)
        for column in columns:
            row += "  " + pad(column.text(mount), column.width, right=column.name != "state")
        lines.append(Line(row.rstrip(), "bad" if is_bad else "plain"))
    return lines


def reason_lines(snapshot: Snapshot, mounts: Sequence[Snapshot]) -> Iterator[Line]:
    """Yield a line for each of *mounts* in trouble, broken ones first, except for one that the verdict explains."""
    told = snapshot["verdict"]["mounts"][:1]
    troubled = [one for one in mounts if one["reason"] or (one["trouble"] and one["mount"] not in told)]
    troubled.sort(key=lambda mount: not mount["reason"])
    for mount in troubled[:_LISTED]:
        text = f": {str(mount['reason']).splitlines()[0]}" if mount["reason"] else f" {mount['trouble']['text']}"
        yield Line(printable(f"{key_of(mount)}{text}"), "bad")
    if len(troubled) > _LISTED:
        yield Line(f"and {len(troubled) - _LISTED} more mounts are in trouble", "bad")


def exception_lines(snapshot: Snapshot, mounts: Sequence[Snapshot]) -> Iterator[Line]:
    """Yield the last exceptions of the apps of *mounts*, the latest first."""
    found = [(one["last_at"], mount, one) for mount in mounts for one in mount["last_exceptions"]]
    found.sort(key=lambda item: item[0], reverse=True)
    if found:
        yield Line("last exceptions", "heading")
    for at, mount, one in found[:_LISTED]:
        times = f", {one['count']} times" if one["count"] > 1 else ""
        place = f" at {one['place']}" if one["place"] else ""
        ago = long_duration(snapshot["server"]["now"] - at)
        yield Line(printable(f"  {key_of(mount)}: {one['type']}{place}{times}, {ago} ago"))


def request_lines(snapshot: Snapshot, key: str | None = None) -> Iterator[Line]:
    """Yield the oldest requests in flight, and the slowest of the last hour: of all mounts, or of the mount *key*."""
    running = [one for one in snapshot["in_flight"] if key is None or one["mount"] == key]
    slowest = [one for one in snapshot["slowest"] if key is None or one["mount"] == key]
    if running:
        yield Line("requests in flight, the oldest first", "heading")
    for one in running[:_LISTED]:
        yield Line(printable(f"  {duration(one['age']):>6}  {one['method']} {one['path']}{_id(one)}"))
    if len(running) > _LISTED:
        yield Line(f"  and {len(running) - _LISTED} more")
    if running and slowest:
        yield Line("")
    if slowest:
        yield Line("slowest requests of the last hour", "heading")
    for one in slowest[:_LISTED]:
        at = _clock(one["at"])
        text = f"  {duration(one['seconds']):>6}  {one['method']} {one['path']}: {one['status']}, at {at}{_id(one)}"
        yield Line(printable(text))


def worker_lines(snapshot: Snapshot, mounts: Sequence[Snapshot]) -> Iterator[Line]:
    """Yield the processes of *mounts* that have their own."""
    if any(mount["workers"] for mount in mounts):
        yield Line("processes of mounts", "heading")
    for mount in mounts:
        for worker in mount["workers"]:
            age = long_duration(snapshot["server"]["now"] - worker["started_at"])
            text = f"{worker['pid']} {worker['state']}, {worker['requests']} requests"
            yield Line(printable(f"  {key_of(mount)}: {text}, memory {size(worker['memory'])}, for {age}"))


def status_lines(snapshot: Snapshot, width: int | None) -> list[Line]:
    """Return all that ``mountpoint status`` prints. *width* is that of the terminal, None without one."""
    mounts = snapshot["mounts"]
    sections: list[list[Line]] = [
        [verdict_line(snapshot), *server_lines(snapshot)],
        [*mount_table(snapshot, mounts, width), *reason_lines(snapshot, mounts)],
        [*exception_lines(snapshot, mounts)],
        [*request_lines(snapshot)],
        [*worker_lines(snapshot, mounts)],
    ]
    lines: list[Line] = []
    for section in filter(None, sections):
        lines += [Line(""), *section] if lines else section
    return lines


def _table_width(columns: Sequence[Column], key_width: int) -> int:
    return len(_MARK) + key_width + sum(2 + column.width for column in columns)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _id(request: Mapping[str, Any]) -> str:
    return f" [{request['request_id']}]" if request.get("request_id") else ""
