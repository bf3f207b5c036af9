"""What arrives behind the proxy, by the echo: the path, and what a client can smuggle in.

Only with the key of ``[doctor]``, whose holder owns both ends: these requests carry forwarding headers that no client
of a right proxy may choose, and bodies that it refuses. Each has a query string of its own, so that no cache keeps what
another could be given.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..config.reader import Config
from ..wsgi.echo import HEADER
from ..wsgi.proxies import TrustedProxies
from ..wsgi.target import split_target
from .addresses import path_of
from .crawl import Place
from .fetch import ProbeResult, Site
from .findings import Report

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_LARGEST_PROBE = 16 * 2**20  # bytes; a larger limit is not tried
_CHUNK = 65_536
# What a client may try, and no app may be told by it; one each, so that it is known which gets through.
_SPOOFED = (
    ("X-Forwarded-Prefix", "/mountpoint-doctor"),
    ("X-Forwarded-Host", "doctor.invalid"),
    ("X-Forwarded-Proto", "gopher"),
    ("X-Forwarded-For", "192.0.2.77"),
    ("X-Forwarded-Port", "7"),
    ("Forwarded", "for=192.0.2.77;host=doctor.invalid;proto=gopher"),
)
_NOT_WITHOUT_KEY = "spoofed forwarding headers, bodies over the limit, the path that arrives: these need [doctor] key"


def look_at_arrival(config: Config, place: Place) -> bool:
    """Ask the echo what arrives for the mount's root; return whether that explains why nothing else can work."""
    if not config.doctor.key:
        place.report.skip(_NOT_WITHOUT_KEY)
        return _is_anothers(place)
    seen = _echo(config, place.site, place.root)
    if seen is None:
        place.report.skip(
            f"{place.prefix or '/'}: what arrives: the echo does not answer (is this table served there?)"
        )
        return False
    expected = _expected(config, place)
    told = _told(config, seen)
    arrived = told["SCRIPT_NAME"].removeprefix(config.proxy.strips_prefix()) + told["PATH_INFO"]
    if arrived == expected:
        return False
    return _explain(config, place, seen["path"], arrived, expected)


def _is_anothers(place: Place) -> bool:
    """Say if the mount's page is had under its prefix twice only, while another app answers for the prefix."""
    assert place.in_process
    page, live = place.in_process.get(place.root), place.site.get(place.root)
    if not place.prefix or page.status != 200 or live.is_like(page):
        return False
    twice = place.site.get(place.site.url(f"{place.prefix}{place.prefix}/"))
    if not twice.is_like(page) or twice.is_like(place.probe_unknown()):
        return False
    evidence = [
        f"{path_of(live.url)}: {live.summary}, not the mount's page",
        f"{path_of(twice.url)}: {twice.summary}, the mount's page",
    ]
    place.report.add("proxy-strips", "sure", place.prefix, evidence)
    return True


def _expected(config: Config, place: Place) -> str:
    """Return the path that the table knows the mount's root by."""
    public = split_target(path_of(place.root)).path_info
    return public.removeprefix(config.proxy.strips_prefix())


def _explain(config: Config, place: Place, path: str, arrived: str, expected: str) -> bool:
    """Say why *arrived* is not *expected*, if the stack in process fails on the one and works on the other."""
    report, strips = place.report, config.proxy.strips_prefix()
    own = expected.rstrip("/")
    live = place.site.get(place.root)
    evidence = [
        f"{path_of(place.root)} arrives as {path or 'nothing'}, and {expected} is expected",
        f"it is answered {live.summary}",
    ]
    if arrived in ("/", "//", "") and own:
        report.add("proxy-strips", "sure", place.prefix, evidence)
    elif strips and arrived == strips + expected:
        report.add("proxy-keeps", "sure", place.prefix, evidence)
    elif arrived == own:
        report.add("loop-slash", "sure", place.prefix, evidence)
    elif arrived == own + expected:
        report.add("prefix-doubled", "sure", place.prefix, evidence)
    else:
        report.add("failing", "likely", place.prefix, evidence)
    return True


def look_at_limits(config: Config, live: Site, places: Sequence[Place], report: Report) -> None:
    """Try what a client must not be able to do: choose forwarding headers, send bodies over the limit."""
    if not config.doctor.key or not places:
        return
    place = places[0]
    plain = _echo(config, live, place.root)
    if plain is None:
        return
    before = _told(config, plain)
    for name, value in _SPOOFED:
        spoofed = _echo(config, live, place.root, [(name, value)])
        if spoofed is None:
            report.skip(f"a client's own {name}: the proxy refuses it")
            continue
        variable = f"HTTP_{name.upper().replace('-', '_')}"
        arrived = spoofed["forwarding"].get(variable, "").split(",")
        sent = value in map(str.strip, arrived)  # alone, or with what a proxy has appended
        if sent and _told(config, spoofed) != before:
            evidence = [f"{name}: {value} is believed; without it the app is told otherwise"]
            report.add("spoofed-header", "sure", place.prefix, evidence, {"detail": name})
        elif sent:
            evidence = [f"{name}: {value} gets through the proxy, and is not believed here"]
            report.add("spoofed-header", "note", place.prefix, evidence, {"detail": name})
    _look_at_bodies(config, live, place, report)


def _look_at_bodies(config: Config, live: Site, place: Place, report: Report) -> None:
    limit = config.server.adjustments.get("max_request_body_size")
    if not isinstance(limit, int) or limit > _LARGEST_PROBE:
        report.skip("bodies over the limit: [server] max_request_body_size is not set, or more than 16 MiB")
        return
    answer = live.ask("POST", _probe(place.root), [(HEADER, config.doctor.key)], _chunks(limit + 1))
    evidence = f"a body of {limit + 1} bytes, in chunks: {answer.summary}, by the server behind the proxy"
    # waitress's own words; or it has closed the connection before the proxy could read them.
    is_refused_behind = answer.status == 502 or (answer.status == 413 and b"generated by" in answer.body)
    if _is_echo(answer):
        report.add("large-body", "sure", place.prefix, [evidence], {"detail": str(limit)})
    elif is_refused_behind:
        # The limit holds. Of a body in chunks nobody knows the size before, and some proxies do not wait to learn it.
        report.add("large-body", "note", place.prefix, [f"{evidence}, which refuses it"], {"detail": str(limit)})
    elif not answer.status:
        report.skip(f"bodies over the limit: {answer.error}")


def _chunks(size: int) -> Iterator[bytes]:
    for start in range(0, size, _CHUNK):
        yield b"x" * min(_CHUNK, size - start)


def _probe(url: str) -> str:
    return f"{url}?mountpoint-doctor={secrets.token_hex(8)}"


def _echo(config: Config, site: Site, url: str, headers: Sequence[tuple[str, str]] = ()) -> dict[str, Any] | None:
    """Return what arrives for *url* sent with *headers*, or None if the echo does not answer."""
    answer = site.ask("GET", _probe(url), [(HEADER, config.doctor.key), *headers])
    if not _is_echo(answer):
        return None
    seen: dict[str, Any] = json.loads(answer.body)
    return seen


def _is_echo(answer: ProbeResult) -> bool:
    try:
        seen = json.loads(answer.body)
    except ValueError:
        return False
    return answer.status == 200 and isinstance(seen, dict) and seen.keys() >= {"path", "script_name", "forwarding"}


def _told(config: Config, seen: dict[str, Any]) -> dict[str, str]:
    """Return what an app would be told of what arrived: the answer of the real `TrustedProxies`."""
    told: dict[str, str] = {}
    names = ("SCRIPT_NAME", "PATH_INFO", "HTTP_HOST", "SERVER_PORT", "REMOTE_ADDR", "wsgi.url_scheme")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        told.update({name: environ[name] for name in names})
        return []

    def refused(status: str, headers: object, exc_info: object = None) -> Any:
        told.update(dict.fromkeys(names, status))

    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": seen["script_name"],
        "PATH_INFO": seen["path"],
        "HTTP_HOST": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": seen["peer"],
        "wsgi.url_scheme": "http",
        **seen["forwarding"],
    }
    TrustedProxies(app, **dataclasses.asdict(config.proxy))(environ, refused)
    return told
