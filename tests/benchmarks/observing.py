"""Measure the CPU time that counters, request ids and logs add to a request, in pairs with and without them.

    python tests/benchmarks/observing.py            # some minutes

A request goes through the server's own code, from the bytes of the socket to the bytes of the response, in one thread
and over a pair of sockets. Lines of the log go to /dev/null, through the handler that `mountpoint serve` installs.

The two sides of a pair take turns. The least time of each side's turns counts, because other programs disturbed it
least. The figure is the mean of the differences over the pairs.
"""

from __future__ import annotations

import argparse
import math
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from measure import fastest, no_garbage_collection, progress, verdict
from tables import Table
from waitress.adjustments import Adjustments

from mountpoint.config.app_spec import AppSpec
from mountpoint.config.reader import MountConfig
from mountpoint.loading.logs import configure_logging
from mountpoint.server.access_log import AccessLog, access_logger
from mountpoint.server.body_limits import BodyBudget
from mountpoint.server.channel import Channel
from mountpoint.status.counters import Counters
from mountpoint.wsgi.proxy_settings import ProxySettings
from mountpoint.wsgi.router import Router
from mountpoint.wsgi.table import Mount, MountTable

REQUESTS = 4  # in one turn: so few that the system rarely interrupts it
TURNS = 400  # of each side in a pair
PAIRS = 20
GOAL = 3.0  # microseconds, for counters and ids together
SENT = (
    b"GET /app/page?stn=Lund HTTP/1.1\r\nHost: www.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html\r\nAccept-Language: sv\r\nReferer: https://www.example.com/app/\r\n"
    b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n%bConnection: keep-alive\r\n\r\n"
)


@dataclass(frozen=True)
class Side:
    """One side of a pair: whether requests are counted and have ids, of the proxy if *sends_id*, and the log."""

    counts: bool = False
    has_ids: bool = False
    sends_id: bool = False
    log: Literal["combined", "json", False] = False


PLAIN = Side()
ROWS: Sequence[tuple[str, Side, Side]] = (
    ("counters", Side(counts=True), PLAIN),
    ("request ids", Side(has_ids=True), PLAIN),
    ("request ids that a trusted proxy sends", Side(has_ids=True, sends_id=True), Side(sends_id=True)),
    ("counters and request ids", Side(counts=True, has_ids=True), PLAIN),
    ("access log, combined", Side(log="combined"), PLAIN),
    ("access log, JSON", Side(log="json"), PLAIN),
    ("counters, request ids and the access log in JSON", Side(counts=True, has_ids=True, log="json"), PLAIN),
)
GOAL_ROW = "counters and request ids"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, world!\n"]


class Served:
    """A connection to the server's code, and the client at its other end."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._client, ours = socket.socketpair()
        settings = ProxySettings(trusted=["127.0.0.1"], x_for=1, x_proto=1)
        self._router = Router(MountTable([Mount("/app", app)]), settings, has_request_ids=side.has_ids)
        counters = Counters()
        counters.configure([MountConfig(key="/app", app=AppSpec("app", "app"), root=Path())])
        adjustments = Adjustments()
        server: Any = SimpleNamespace(
            adj=adjustments,
            effective_port=8080,
            server_name="www.example.com",
            router=lambda: self._router,
            body_budget=BodyBudget(2**20),
            access_log=AccessLog(side.log),
            observer=counters if side.counts else None,
            draining=False,
            add_task=lambda channel: None,
            may_pause=lambda: False,
            active_channels={},
            loop=SimpleNamespace(update=lambda channel: None, update_soon=lambda channel: None),
            pull_trigger=lambda: None,
        )
        self._channel = Channel(server, ours, ("127.0.0.1", 5000), adjustments, {})
        sent_id = b"X-Request-ID: 4bf92f3577b34da6a3ce929d0e0e4736\r\n" if side.sends_id else b""
        self._sent = SENT % sent_id

    def turn(self) -> float:
        """Serve `REQUESTS` requests, and return the seconds of CPU of each."""
        access_logger.disabled = not self._side.log
        client, channel, sent, router = self._client, self._channel, self._sent, self._router
        start = time.process_time()
        for _ in range(REQUESTS):
            client.send(sent)
            channel.handle_read_event()
            channel.route(router)
            channel.service()
            received = client.recv(4096)
        spent = time.process_time() - start
        assert received.startswith(b"HTTP/1.1 200 OK\r\n"), received
        assert (b"X-Request-ID: " in received) == self._side.has_ids
        return spent / REQUESTS


def difference(more: Callable[[], float], less: Callable[[], float], pairs: int) -> tuple[float, float]:
    """Return the mean difference of the two sides over *pairs* pairs, and half of its 95 % confidence interval."""
    differences = []
    for _ in range(pairs):
        best = fastest({"more": more, "less": less}, TURNS, math.inf)
        differences.append(best["more"] - best["less"])
    half = 2.09 * statistics.stdev(differences) / len(differences) ** 0.5  # Student's t for 20
    return statistics.fmean(differences), half


def measure(pairs: int = PAIRS) -> dict[str, tuple[float, float]]:
    """Return the seconds of CPU that each row adds to a request, and half of their confidence interval."""
    found = {}
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        with redirect_stderr(nowhere):
            configure_logging("info")
        for name, more, less in ROWS:
            progress(name)
            with no_garbage_collection():
                found[name] = difference(Served(more).turn, Served(less).turn, pairs)
    return found


def table(found: dict[str, tuple[float, float]]) -> Table:
    """Return the table for the manual."""
    rows = [[name, f"{mean * 1e6:.1f} µs", f"± {half * 1e6:.1f} µs"] for name, (mean, half) in found.items()]
    return Table(["Added to a request", "CPU", "95 % interval"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"number of pairs of turns ({PAIRS})")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {options.pairs} pairs of {TURNS} times {REQUESTS} requests")
    found = measure(options.pairs)
    print(table(found).text())
    mean, _ = found[GOAL_ROW]
    print(f"\nmicroseconds of counters and ids: {mean * 1e6:.2f}   {verdict(mean * 1e6, GOAL)}")


if __name__ == "__main__":
    main()
