"""The display of ``mountpoint top`` and the effect of each key, without a terminal.

`View` is the state of the display, `press` the next state after a key, and `screen` the lines of a state.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace

from ..errors import printable
from .figures import fit, pad
from .lines import (
    COLUMNS,
    Line,
    Snapshot,
    exception_lines,
    key_of,
    mount_table,
    reason_lines,
    request_lines,
    server_lines,
    verdict_line,
    worker_lines,
)

#: The keys that sort, each with a column. "t" restores the order of the table.
SORT_KEYS = {"r": "requests", "e": "errors", "f": "in_flight", "w": "waiting", "5": "p50", "9": "p99"}
_HELP = (
    "up, down    choose a mount (also k and j)",
    "Enter       show only this mount; Esc or b goes back",
    "r e f w     sort by requests, 5xx, in flight (RUN) or waiting",
    "5 9         sort by p50 or p99 of the time in the app",
    "t           the order of the table again",
    "h or ?      this help",
    "q           quit",
    "",
    "REQ/MIN, 5XX and the times are those of the last minute. A mount",
    "with the mark ! is in trouble.",
)
_FOOTER = "h help  q quit  Enter one mount  sort: r e f w 5 9 t"
_FOOTER_DETAIL = "b back  h help  q quit"


@dataclass(frozen=True, slots=True)
class View:
    """The state of the display. ``sort`` is a column or empty, ``row`` the chosen row of the table.

    ``detail`` is the key of the only mount that is shown, in a tuple because a key may be None. ``offset`` is the
    number of its lines above the screen.
    """

    sort: str = ""
    row: int = 0
    detail: tuple[str | None] | None = None
    offset: int = 0
    shows_help: bool = False
    quits: bool = False


def press(view: View, key: str, snapshot: Snapshot) -> View:
    """Return the view after *key*: a character, or ``up``, ``down``, ``enter`` or ``escape``. Others do nothing."""
    if key == "q":
        return replace(view, quits=True)
    if view.shows_help:
        return replace(view, shows_help=False)
    if key in ("h", "?"):
        return replace(view, shows_help=True)
    step = {"up": -1, "k": -1, "down": 1, "j": 1}.get(key, 0)
    if view.detail is not None:
        if key in ("b", "escape", "enter"):
            return replace(view, detail=None, offset=0)
        return replace(view, offset=max(0, view.offset + step))
    mounts = sorted_mounts(snapshot, view.sort)
    if step:
        return replace(view, row=min(max(0, view.row + step), len(mounts) - 1))
    if key == "enter":
        return replace(view, detail=(mounts[min(view.row, len(mounts) - 1)]["mount"],), offset=0)
    if key in SORT_KEYS:
        return replace(view, sort=SORT_KEYS[key], row=0)
    return replace(view, sort="", row=0) if key == "t" else view


def sorted_mounts(snapshot: Snapshot, sort: str) -> list[Snapshot]:
    """Return the mounts with the largest value of the column *sort* first. Equal ones keep the order of the table."""
    mounts = list(snapshot["mounts"])
    column = next((column for column in COLUMNS if column.name == sort), None)
    return sorted(mounts, key=column.value, reverse=True) if column else mounts


def screen(view: View, snapshot: Snapshot, problem: str, width: int, height: int) -> list[Line]:
    """Return exactly *height* lines of at most *width* columns.

    *problem* says why the server does not answer. Then *snapshot* is the last one that it has sent.
    """
    problem_lines = textwrap.wrap(f"NO ANSWER: {printable(problem)}", max(width, 1))[: max(height // 3, 1)]
    head = [Line(text, "bad") for text in problem_lines] if problem else []
    footer = Line(_FOOTER_DETAIL if view.detail is not None else _FOOTER, "dim")
    room = max(0, height - 1 - len(head))
    if view.shows_help:
        body = [Line(text) for text in _HELP]
        footer = Line("any key goes back  q quit", "dim")
    elif view.detail is not None:
        body = _detail(view, snapshot, width, room)
    else:
        body = _overview(view, snapshot, width, room)
    lines = [*head, *body[:room]]
    lines += [Line("")] * (height - 1 - len(lines))
    return [Line(fit(line.text, width), line.style) for line in [*lines[: height - 1], footer][-height:]]


def _overview(view: View, snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """Return the head, and the part of the table around the chosen row."""
    head = [verdict_line(snapshot), *server_lines(snapshot), Line("")]
    if room < len(head) + 4:  # the table matters more than the facts about the process
        head = head[:1]
    mounts = sorted_mounts(snapshot, view.sort)
    heading, *rows = mount_table(snapshot, mounts, width)
    visible = max(1, room - len(head) - 1)
    row = min(view.row, len(rows) - 1)
    first = max(0, min(row - visible // 2, len(rows) - visible))
    rows[row] = _selected(rows[row], width)
    lines = [*head, _mark_sort(heading, view.sort), *rows[first : first + visible]]
    rest = [*reason_lines(snapshot, mounts), *exception_lines(snapshot, mounts), *request_lines(snapshot)]
    return [*lines, Line(""), *rest] if len(rows) < visible else lines


def _detail(view: View, snapshot: Snapshot, width: int, room: int) -> list[Line]:
    assert view.detail is not None
    key = view.detail[0]
    mounts = [mount for mount in snapshot["mounts"] if mount["mount"] == key]
    if not mounts:
        return [Line(f"{printable(str(key))} is no longer in the table", "bad")]
    mount = mounts[0]
    lines = [
        verdict_line(snapshot),
        Line(""),
        *mount_table(snapshot, mounts, width),
        *reason_lines(snapshot, mounts),
        Line(""),
    ]
    lines += _facts(mount)
    for section in (exception_lines(snapshot, mounts), request_lines(snapshot, key), worker_lines(snapshot, mounts)):
        found = list(section)
        lines += [Line(""), *found] if found else []
    offset = min(view.offset, max(0, len(lines) - room))
    return lines[offset:]


def _facts(mount: Snapshot) -> list[Line]:
    hour, requests, rejected = mount["last_hour"], mount["requests"], mount["rejected"]
    app = f"app {mount['app']}, process {mount['process']}" if mount["mount"] is not None else key_of(mount)
    load = f", loaded in {mount['load_seconds']:.1f} s" if mount["load_seconds"] is not None else ""
    statuses = ", ".join(f"{number:.0f} {name}" for name, number in requests.items() if number) or "none"
    texts = [
        f"{app}{load}, {mount['restarts']} restarts",
        f"requests since the start: {statuses}; slow {mount['slow']:.0f}, exceptions {mount['exceptions']:.0f}",
        f"rejected: {', '.join(f'{number:.0f} {name}' for name, number in rejected.items())}",
        f"last hour: {hour['requests']:.0f} requests, {hour['errors']:.0f} 5xx",
    ]
    return [Line(printable(text)) for text in texts]


def _selected(line: Line, width: int) -> Line:
    return Line(pad(line.text, width), "selected")


def _mark_sort(heading: Line, sort: str) -> Line:
    """Return *heading* with a mark at the column that the table is sorted by."""
    column = next((column for column in COLUMNS if column.name == sort), None)
    if column is None:
        return heading
    return Line(heading.text.replace(f" {column.title}", f"*{column.title}", 1), heading.style)
