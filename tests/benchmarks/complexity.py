"""Time of every parser and every regular expression as its input grows: no client may make it quadratic.

    python tests/benchmarks/complexity.py [--longest BYTES] [--only TEXT]

Every compiled pattern of the package meets every short string, repeated, behind beginnings that get it going and before
an end that it must refuse. Every function that reads a client's, an app's or a page's text meets its own worst cases.
Each input that takes a measurable time is timed at half its length and whole, in five pairs. Twice the length may take
twice the time; the benchmark reports every input that takes over three times as long, and then ends with exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import itertools
import pkgutil
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import mountpoint
from mountpoint.doctor.examine import cookies_of
from mountpoint.doctor.fetch import ProbeResult
from mountpoint.doctor.pages import links
from mountpoint.server.access_log import escaped
from mountpoint.server.body import ChunkedBody
from mountpoint.server.head import RequestError, body_length, parse_head
from mountpoint.wsgi.app_header import read_headers
from mountpoint.wsgi.cookies import ScopedCookies
from mountpoint.wsgi.keys import host_name
from mountpoint.wsgi.proxies import TrustedProxies
from mountpoint.wsgi.target import split_target

LONGEST = 65_536  # bytes: the limit of a header
WORST_RATIO = 3.0  # of the time of twice the length; linear is 2
MEASURABLE = 0.002  # seconds: a shorter time says nothing about its growth
MEASUREMENTS = 5  # that all have to grow too fast: other programs may disturb a few
PUMPS = [
    *" \t,;:=/\\\"'.%[]<-_a0&!\x80",
    *("\r\n ", "a ", "a,", ";a", "a=b;", "a: b\r\n", "%2f", '"\\', "[:", "a.", "1\r\nx\r\n"),
    *('="', "<a ", "<a b=", "<![<", "</"),
]
STARTS = ["", "a", "a:", 'a="', "[", "/", "http://", "<!", "5;a"]
END = "\x00"


def patterns() -> Iterator[tuple[str, re.Pattern, str]]:
    """Yield each pattern of the package with its name and each of its methods that its own module calls.

    A pattern that its module hands to a function is tested with `fullmatch`, which all such functions here call. No
    pattern of waitress reads a client's bytes: its parser is replaced.
    """
    for _, name, _ in pkgutil.walk_packages(mountpoint.__path__, "mountpoint."):
        if name != "mountpoint.__main__":
            module = importlib.import_module(name)
            source = inspect.getsource(module)
            for attribute, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    for method in sorted(set(re.findall(rf"\b{attribute}\.(\w+)\(", source))) or ["fullmatch"]:
                        yield f"{name}.{attribute}.{method}", value, method


def seconds(call: Callable[[Any], object], text: object) -> float:
    """Return the time of the processor for one call."""
    began = time.thread_time()
    with suppress(ValueError, RequestError):
        call(text)
    return time.thread_time() - began


def grows_too_fast(make: Callable[[int], object], call: Callable[[Any], object], longest: int) -> float | None:
    """Return by which factor the time grows for twice the length, if that is too much; None if it is not.

    A short length comes first, so that a quadratic input does not take minutes.
    """
    for length in (longest // 8, longest):
        whole, half = make(length), make(length // 2)
        if seconds(call, whole) < MEASURABLE:
            continue
        ratios: list[float] = []
        while not ratios or ratios[-1] > WORST_RATIO:
            ratios.append(seconds(call, whole) / seconds(call, half))
            if len(ratios) == MEASUREMENTS:
                return min(ratios)
    return None


def pumped(start: str, pump: str, end: str) -> Callable[[int], str]:
    return lambda length: start + pump * (length // len(pump)) + end


def wrapped(make: Callable[[int], str], wrap: Callable[[str], object]) -> Callable[[int], object]:
    return lambda length: wrap(make(length))


def regular_expressions(longest: int, only: str) -> Iterator[tuple[str, float | None]]:
    for name, pattern, method in patterns():
        if only not in name:
            continue
        is_bytes = isinstance(pattern.pattern, bytes)
        call = partial(pattern.sub, b"" if is_bytes else "") if method == "sub" else getattr(pattern, method)
        worst = None
        for start, pump, end in itertools.product(STARTS, PUMPS, ("", END)):
            make = pumped(start, pump, end)
            text = wrapped(make, lambda text: text.encode("latin-1")) if is_bytes else make
            ratio = grows_too_fast(text, call, min(longest, 16_384))
            if ratio is not None:
                worst = max(worst or 0, ratio)
                print(f"  {name}: {start!r} + {pump!r} * n + {end!r}: {ratio:.1f} times")
        yield name, worst


def head_of(line: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n".encode("latin-1", "replace")


def whole_head(data: bytes) -> None:
    body_length(parse_head(data))


def feed_all(data: bytes) -> None:
    body = ChunkedBody(LONGEST, lambda data: None)
    for start in range(0, len(data), 8192):
        body.feed(data[start : start + 8192])


def feed_bytes(data: bytes) -> None:
    body = ChunkedBody(LONGEST, lambda data: None)
    for start in range(len(data)):
        body.feed(data[start : start + 1])


def forwarded(value: str) -> None:
    environ = {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": value, "SCRIPT_NAME": "", "PATH_INFO": "/"}
    _BY_FORWARDED.rewrite(environ)


def counted(value: str) -> None:
    names = ("FOR", "PROTO", "HOST", "PORT", "PREFIX")
    environ = {"REMOTE_ADDR": "127.0.0.1", **{f"HTTP_X_FORWARDED_{name}": value for name in names}}
    _BY_COUNT.rewrite({**environ, "SCRIPT_NAME": "", "PATH_INFO": "/"})


def scoped_cookie(value: str) -> None:
    def app(environ, start_response):
        start_response("200 OK", [("Set-Cookie", value)])
        return []

    ScopedCookies(app)({"SCRIPT_NAME": "/a"}, lambda status, headers, exc_info=None: None)


_BY_FORWARDED = TrustedProxies(lambda *_: [], trusted=["127.0.0.1"], forwarded=1)
_BY_COUNT = TrustedProxies(lambda *_: [], trusted=["127.0.0.1"], x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)

FUNCTIONS = {
    "head: a header line": (head_of, whole_head),
    "head: a value": (lambda text: head_of(f"X:{text}a"), whole_head),
    "head: Connection": (lambda text: head_of(f"Connection: {text}"), lambda data: parse_head(data).keeps_alive),
    "head: Transfer-Encoding": (lambda text: head_of(f"Transfer-Encoding: {text}"), whole_head),
    "head: Content-Length": (lambda text: head_of(f"Content-Length: {text}"), whole_head),
    "head: the request line": (lambda text: f"GET {text} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"), whole_head),
    "body: the line of a chunk": (lambda text: f"5;a={text}\r\n".encode("latin-1"), feed_all),
    "body: chunks": (lambda text: text.encode("latin-1"), feed_all),
    "body: a trailer": (lambda text: f"0\r\nX:{text}a\r\n\r\n".encode("latin-1"), feed_all),
    "body: a trailer, byte by byte": (lambda text: f"0\r\nX:{text}a\r\n\r\n".encode("latin-1"), feed_bytes),
    "Host": (str, host_name),
    "the target": (lambda text: f"/{text}", split_target),
    "an absolute target": (lambda text: f"http://{text}/", split_target),
    "Forwarded": (str, forwarded),
    "X-Forwarded-": (str, counted),
    "Set-Cookie, scoped": (str, scoped_cookie),
    "the access log": (str, escaped),
    "doctor: Set-Cookie": (str, lambda text: list(cookies_of(ProbeResult("http://a/", 200, [("Set-Cookie", text)])))),
    "doctor: a charset": (
        lambda text: ProbeResult("http://a/", 200, [("Content-Type", f"text/html; charset={text}")], b""),
        lambda result: result.text,
    ),
    "doctor: a page in Punycode": (
        lambda text: ProbeResult("http://a/", 200, [("Content-Type", "text/html; charset=punycode")], text.encode()),
        lambda result: result.text,
    ),
    "app: a header": (str, lambda text: read_headers([("X", text)])),
    "doctor: a page": (
        lambda text: text.encode("latin-1"),
        lambda body: links(ProbeResult("http://a/", 200, [("Content-Type", "text/html")], body)),
    ),
}


def functions(longest: int, only: str) -> Iterator[tuple[str, float | None]]:
    for name, (wrap, call) in FUNCTIONS.items():
        if only not in name:
            continue
        worst = None
        for start, pump in itertools.product(STARTS, PUMPS):
            make = pumped(start, pump, "")
            ratio = grows_too_fast(wrapped(make, wrap), call, longest)
            if ratio is not None:
                worst = max(worst or 0, ratio)
                print(f"  {name}: {start!r} + {pump!r} * n: {ratio:.1f} times")
        yield name, worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--longest", type=int, default=LONGEST, help=f"bytes of the longest input ({LONGEST})")
    parser.add_argument("--only", default="", metavar="TEXT", help="test only the names that contain this")
    options = parser.parse_args()
    results = [*functions(options.longest, options.only), *regular_expressions(options.longest, options.only)]
    if not results:
        parser.error(f"no name contains {options.only!r}")
    for name, worst in results:
        print(f"{name:<48} {'linear' if worst is None else f'{worst:.1f} times for twice the length'}")
    return 1 if any(worst for _, worst in results) else 0


if __name__ == "__main__":
    sys.exit(main())
