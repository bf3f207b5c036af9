"""The status page as HTML: one document without scripts, which loads nothing.

The first heading says whether all is well. The mounts in trouble follow, then charts and the table of mounts, then
the requests. Every text of a client or an app is escaped by `mountpoint.status.markup`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from .charts import large_chart, sparkline
from .markup import Html, element, join
from .style import STYLE
from .words import count, duration, moment, size

REFRESH_SECONDS = (10, 0, 60)  # the first is the default; 0 is never
MAX_TROUBLES = 8  # in the list at the top
MAX_TEXT = 200  # characters of a path or a reason

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_Row = Mapping[str, Any]
#: The requests, the errors and the seconds in the app of a mount, each minute of the last hour.
_Series = Sequence[Sequence[float]]


def render_page(snapshot: Mapping[str, Any], refresh: int = REFRESH_SECONDS[0]) -> str:
    """Return the page for *snapshot*. It reloads itself after *refresh* seconds, unless that is 0."""
    server, rows = snapshot["server"], snapshot["mounts"]
    series = [tuple(zip(*row["minutes"], strict=True)) for row in rows]
    verdict = snapshot["verdict"]
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", ("OK" if verdict["ok"] else "Trouble") + f": {verdict['text']}"),
        element("style", Html(STYLE)),
    ]
    if refresh:
        head.append(element("meta", http_equiv="refresh", content=str(refresh)))
    body = [
        element("header", _heading(server, verdict), *_trouble_list(rows, verdict["mounts"])),
        element(
            "main",
            _facts(server, rows),
            _large_charts(series),
            _mount_table(rows, series),
            _in_flight(snapshot["in_flight"]),
            _slowest(snapshot["slowest"], server["now"]),
            _exceptions(rows, server["now"]),
            _reload(server),
            _workers(rows, server["now"]),
        ),
        _footer(server, refresh),
    ]
    page = element("html", element("head", *head), element("body", *body), lang="en")
    return f"<!doctype html>\n{page}\n"


# ------------------------------------------------------------------------------------------------------ the first sight


def _heading(server: _Row, verdict: _Row) -> Html:
    facts = f"mountpoint, {server['state']} for {duration(server['now'] - server['started_at'])}: "
    sign = element("span", "\u2713" if verdict["ok"] else "\u2717", class_="sign", aria_hidden="true")
    return join(
        [
            element("p", facts, element("span", server["file"], class_="mono"), class_="quiet"),
            element("h1", sign, _isolated(verdict["text"]), class_="well" if verdict["ok"] else "trouble"),
        ]
    )


def _trouble_list(rows: Sequence[_Row], troubles: Sequence[str]) -> list[Html]:
    """Return the list of the mounts in *troubles*, the worst first, with a link to the row of each."""
    if not troubles:
        return []
    places = {row["mount"]: place for place, row in enumerate(rows)}
    items = []
    for mount in troubles[:MAX_TROUBLES]:
        place = places[mount]
        link = element("a", _isolated(mount), href=f"#mount-{place}")
        reason = element("span", _isolated(rows[place]["trouble"]["text"]), class_="reason")
        items.append(element("li", _word(rows[place]["trouble"]["kind"]), " ", link, " ", reason))
    if len(troubles) > MAX_TROUBLES:
        items.append(element("li", f"and {count(len(troubles) - MAX_TROUBLES)} more, marked in the table of mounts"))
    title = "1 mount is in trouble" if len(troubles) == 1 else f"{count(len(troubles))} mounts are in trouble"
    return [element("section", element("h2", title), element("ul", *items), class_="troubles")]


def _facts(server: _Row, rows: Sequence[_Row]) -> Html:
    minute = [sum(row["last_minute"][key] for row in rows) for key in ("requests", "errors")]
    facts = [
        ("Requests/min", count(minute[0])),
        ("Errors/min", count(minute[1])),
        ("In flight", count(sum(row["in_flight"] for row in rows))),
        ("Waiting", count(sum(row["waiting"] for row in rows))),
        ("Threads busy", f"{server['busy_threads']} of {server['threads']}"),
        ("Connections", f"{server['connections']} of {server['connection_limit']}"),
        ("Memory", size(server["memory"])),
        ("Loop delay", duration(server["loop_delay"])),
    ]
    items = [element("div", element("dt", name), element("dd", value)) for name, value in facts]
    return element("section", element("h2", "Server", class_="hidden"), element("dl", *items), class_="facts")


def _large_charts(series: Sequence[_Series]) -> Html:
    requests, errors, seconds = ([*map(sum, zip(*columns, strict=True))] for columns in zip(*series, strict=True))
    means = [time / number if number else 0.0 for time, number in zip(seconds, requests, strict=True)]
    total = f"{count(sum(requests))} requests, {count(sum(errors))} errors; at most {count(max(requests, default=0))}"
    times = f"At most {duration(max(means, default=0))} in the mean of a minute"
    legend = [element("span", name, class_=f"key-{name.split()[0]}") for name in ("requests", "errors (5xx)")]
    charts = (
        element(
            "figure",
            element("figcaption", "Requests a minute, last hour: ", legend[0], " ", legend[1]),
            large_chart(
                "Requests a minute in the last hour",
                f"{total} requests a minute.",
                [("requests", requests), ("errors", errors)],
                _compact,
            ),
        ),
        element(
            "figure",
            element("figcaption", "Mean time in the app, last hour"),
            large_chart("Mean time in the app in the last hour", f"{times}.", [("seconds", means)], duration),
        ),
    )
    return element("section", element("h2", "Last hour"), element("div", *charts, class_="charts"))


def _compact(number: float) -> str:
    return f"{number:g}" if number < 10_000 else f"{number / 1000:g} k"


# ----------------------------------------------------------------------------------------------------------- the tables

#: The columns that are aligned to the right.
_NUMBERS = {"Requests", "Errors", "Rejected", "In flight", "Waiting", "p50", "p95", "p99"}
_NUMBERS |= {"Age", "Time", "Status", "Count", "Process id", "Memory"}
_MOUNT_COLUMNS = ("Mount", "State", "Requests", "Errors", "Rejected", "In flight", "Waiting", "p50", "p95", "p99")


def _mount_table(rows: Sequence[_Row], series: Sequence[_Series]) -> Html:
    body = []
    for place, (row, (requests, errors, _)) in enumerate(zip(rows, series, strict=True)):
        hour = row["last_hour"]
        state = row["trouble"]["kind"] if row["trouble"] else "ok" if row["state"] == "serving" else row["state"]
        cells = [
            element("th", *_mount_cell(row), scope="row"),
            element("td", "\u2013" if row["mount"] is None else _word(state)),
            _numbers(
                count(hour["requests"]),
                count(hour["errors"]),
                count(hour["rejected"]),
                count(row["in_flight"]),
                count(row["waiting"]),
                duration(hour["p50"]),
                duration(hour["p95"]),
                duration(hour["p99"]),
            ),
            element("td", sparkline(requests, errors), class_="chart"),
        ]
        body.append(element("tr", *cells, id=f"mount-{place}"))
    caption = "Requests, errors (5xx), rejected requests and times are those of the last hour."
    return _table("Mounts", caption, (*_MOUNT_COLUMNS, "Last hour"), body)


def _mount_cell(row: _Row) -> list[str]:
    if row["mount"] is None:
        return ["no mount", element("span", "paths that no mount owns", class_="app")]
    return [_isolated(row["mount"]), element("span", _isolated(row["app"]), class_="app")]


def _in_flight(requests: Sequence[_Row]) -> Html:
    body = [
        element(
            "tr",
            element("td", duration(one["age"]), class_="number"),
            *_request_cells(one),
        )
        for one in requests
    ]
    caption = "The oldest first, at most 100."
    return _table("Requests in flight", caption, ("Age", "Mount", "Request", "Id"), body, "No request runs.")


def _slowest(requests: Sequence[_Row], now: float) -> Html:
    body = [
        element(
            "tr",
            element("td", duration(one["seconds"]), class_="number"),
            *_request_cells(one),
            element("td", str(one["status"]), class_="number"),
            element("td", _ago(one["at"], now)),
        )
        for one in requests
    ]
    columns = ("Time", "Mount", "Request", "Id", "Status", "When")
    return _table("Slowest requests", "Those of the last hour, at most 20.", columns, body, "No request has ended.")


def _request_cells(one: _Row) -> list[Html]:
    return [
        element("td", _mount_name(one["mount"])),
        element("td", f"{one['method']} ", _isolated(one["path"]), class_="mono"),
        element("td", _isolated(one["request_id"] or "\u2013"), class_="mono"),
    ]


def _exceptions(rows: Sequence[_Row], now: float) -> Html:
    found = [(one, row["mount"]) for row in rows for one in row["last_exceptions"]]
    found.sort(key=lambda pair: -pair[0]["last_at"])
    body = [
        element(
            "tr",
            element("td", _mount_name(mount)),
            element("td", _isolated(one["type"]), class_="mono"),
            element("td", _isolated(one["place"] or "\u2013"), class_="mono"),
            element("td", count(one["count"]), class_="number"),
            element("td", _ago(one["last_at"], now)),
        )
        for one, mount in found[:50]
    ]
    columns = ("Mount", "Exception", "Place", "Count", "Last")
    return _table("Last exceptions", "Exceptions that apps have raised.", columns, body, "No app has raised one.")


def _reload(server: _Row) -> Html:
    last = server["last_reload"]
    if last is None:
        text: list[str] = ["No reload since the start."]
    else:
        word = element(
            "span", "taken" if last["ok"] else "rejected", class_="word " + ("ok" if last["ok"] else "broken")
        )
        text = [word, " ", _isolated(last["message"]), "; ", _ago(last["at"], server["now"])]
        text.append(f", in {duration(last['seconds'])}")
    return element("section", element("h2", "Last reload"), element("p", *text))


def _workers(rows: Sequence[_Row], now: float) -> Html:
    body = [
        element(
            "tr",
            element("td", _mount_name(row["mount"])),
            _numbers(str(one["pid"])),
            element("td", one["state"]),
            _numbers(duration(now - one["started_at"]), size(one["memory"]), count(one["requests"])),
        )
        for row in rows
        for one in row["workers"]
    ]
    columns = ("Mount", "Process id", "State", "Age", "Memory", "Requests")
    return _table("Workers", "Processes of the mounts that have their own.", columns, body, "No mount has its own.")


def _table(title: str, caption: str, columns: Iterable[str], body: Sequence[Html], empty: str = "") -> Html:
    heading = element("h2", title)
    if not body:
        return element("section", heading, element("p", empty, class_="quiet"))
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *map(_column, columns))),
        element("tbody", *body),
    )
    # A wide table scrolls by itself on a narrow screen, also with the keyboard.
    return element(
        "section", heading, element("div", table, class_="wide", role="region", aria_label=title, tabindex="0")
    )


def _column(name: str) -> Html:
    return element("th", name, scope="col", class_="number" if name in _NUMBERS else "text")


# ---------------------------------------------------------------------------------------------------------- small parts


def _numbers(*texts: str) -> Html:
    """Return a cell for each of *texts*, which are numbers and units of ours: they need no escape."""
    return Html("".join(f'<td class="number">{text}</td>' for text in texts))


@cache
def _word(word: str) -> Html:
    return element("span", word, class_=f"word {word}")


def _mount_name(mount: str | None) -> Html:
    return element("span", "no mount", class_="quiet") if mount is None else _isolated(mount)


def _isolated(text: str) -> Html:
    """Return foreign *text*, cut, so that its characters cannot change the direction of the text around it."""
    return element("bdi", text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\u2026")


def _ago(at: float, now: float) -> Html:
    """Return how long ago *at* is, with the time in the tool tip. The clock may have been set back."""
    seconds = max(now - at, 0)
    text = moment(at)
    machine = text.removesuffix(" UTC").replace(" ", "T") + "Z"
    return element("time", f"{duration(seconds)} ago" if seconds >= 1 else "just now", datetime=machine, title=text)


def _footer(server: _Row, refresh: int) -> Html:
    links = [
        element("a", f"refresh every {seconds} s" if seconds else "stop the refresh", href=f"?refresh={seconds}")
        for seconds in REFRESH_SECONDS
        if seconds != refresh
    ]
    links.append(element("a", "as JSON", href="/status.json"))
    links.append(element("a", "metrics", href="/metrics"))
    state = f"The page reloads itself every {refresh} s." if refresh else "The page does not reload itself."
    versions = ", ".join(f"{name} {server[key] or 'of unknown version'}" for name, key in _VERSIONS)
    return element(
        "footer",
        element("p", f"{moment(server['now'])}. {state}"),
        element("nav", *links, aria_label="Page"),
        element("p", f"Process {server['pid']}; {versions}; serves {', '.join(server['listen'])}"),
    )


_VERSIONS = (("mountpoint", "mountpoint"), ("Python", "python"), ("waitress", "waitress"), ("werkzeug", "werkzeug"))
