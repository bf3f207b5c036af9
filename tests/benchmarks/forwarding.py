"""Time TrustedProxies for one request, beside werkzeug's ProxyFix and no middleware, in one run.

    python tests/benchmarks/forwarding.py           # some seconds

The benchmark measures one call, with an environ as waitress builds it for a browser behind nginx, and an app that does
nothing. Contenders take turns, and the least time of each counts. Every call gets a copy of environ, because ProxyFix
writes into it. The first row is that copy and the call of the app; the published figure is the difference to it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from arena import environ_of_a_browser
from measure import duration, fastest, no_garbage_collection, text_table, verdict
from tables import Table
from werkzeug.middleware.proxy_fix import ProxyFix

from mountpoint import TrustedProxies

CALLS = 500  # in one turn
ROUNDS = 300
GOAL = 1.0  # microseconds, for a request without forwarding headers

NO_MIDDLEWARE = "no middleware"
OURS = "TrustedProxies"
REQUESTS: Mapping[str, Mapping[str, str]] = {
    "no forwarding headers": {},
    "for, proto and host": {
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "www.viltstigen.se",
    },
    "and a prefix": {
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "www.viltstigen.se",
        "HTTP_X_FORWARDED_PREFIX": "/apps",
    },
    "forged, from an untrusted client": {
        "REMOTE_ADDR": "198.51.100.1",
        "HTTP_FORWARDED": "for=203.0.113.9;proto=https",
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
        "HTTP_X_FORWARDED_HOST": "evil.example",
        "HTTP_X_FORWARDED_PREFIX": "//evil.example",
    },
}


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


def contenders() -> dict[str, Callable[..., Any]]:
    counts = {"x_for": 1, "x_proto": 1, "x_host": 1, "x_prefix": 1}
    return {
        NO_MIDDLEWARE: app,
        OURS: TrustedProxies(app, trusted=["127.0.0.1", "10.0.0.0/8"], **counts),
        "werkzeug ProxyFix": ProxyFix(app, **counts),
    }


def runner(called: Callable[..., Any], environ: dict[str, Any]) -> Callable[[], float]:
    """Return a function that takes one turn and returns the seconds of a call."""

    def turn() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            called(environ.copy(), None)
        return (time.perf_counter() - start) / CALLS

    return turn


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Return the seconds of a call: by the kind of request, then by contender."""
    best = {}
    for name, headers in REQUESTS.items():
        environ = {**environ_of_a_browser()[0], "REMOTE_ADDR": "127.0.0.1", **headers}
        with no_garbage_collection():
            best[name] = fastest(
                {contender: runner(app, environ) for contender, app in contenders().items()}, rounds, 10.0
            )
    return best


def table(best: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the table for the manual: the time that each middleware adds."""
    added = [name for name in contenders() if name != NO_MIDDLEWARE]
    rows = [
        [name, *(duration(times[contender] - times[NO_MIDDLEWARE]) for contender in added)]
        for name, times in best.items()
    ]
    return Table(["Forwarding headers of the request", *added], rows)


def main() -> None:
    print(f"Python {sys.version.split()[0]}, werkzeug {version('werkzeug')}")
    best = measure()
    rows = [[contender, *(duration(times[contender]) for times in best.values())] for contender in contenders()]
    print(text_table(["", *best], rows))
    unaffected = best["no forwarding headers"]
    cost = unaffected[OURS] - unaffected[NO_MIDDLEWARE]
    print(f"\nmicroseconds added to a request without forwarding headers: {cost * 1e6:.2f}   ", end="")
    print(verdict(cost * 1e6, GOAL, strict=True))


if __name__ == "__main__":
    main()
