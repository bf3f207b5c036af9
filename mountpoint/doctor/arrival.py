"""Ask the echo how a request arrives behind the proxy, and what a client can smuggle past the proxy.

These probes need the key of ``[doctor]``. It shows that the user owns the server, so the doctor may send requests that
no honest client sends: spoofed forwarding headers, and a body over the limit. Each probe has its own query string, so
that no cache can store its response and give it to another client.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..config.reader import Config
from ..wsgi.echo import ECHO_HEADER
from ..wsgi.forwarding_headers import forwarding_variables, variable
from ..wsgi.proxies import TrustedProxies
from ..wsgi.proxy_settings import ProxySettings
from ..wsgi.target import split_target
from .addresses import path_of
from .crawl import ServedMount
from .fetch import Headers, ProbeResult, Site
from .mapping import report_changed_path

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_LARGEST_PROBE = 16 * 2**20  # bytes; the doctor sends no larger body
_CHUNK = 65_536  # bytes
#: The headers that are sent one at a time, so that the report can name the one that gets through.
_SPOOFED = (
    ("X-Forwarded-Prefix", "/mountpoint-doctor"),
    ("X-Forwarded-Host", "doctor.invalid"),
    ("X-Forwarded-Proto", "gopher"),
    ("X-Forwarded-For", "192.0.2.77"),
    ("X-Forwarded-Port", "7"),
    ("Forwarded", "for=192.0.2.77;host=doctor.invalid;proto=gopher"),
    ("X-Forwarded-Ssl", "on"),
    ("X-Original-URL", "/mountpoint-doctor"),
)
#: The variables of environ that a trusted header changes.
_REWRITTEN = ("SCRIPT_NAME", "PATH_INFO", "HTTP_HOST", "SERVER_PORT", "REMOTE_ADDR", "wsgi.url_scheme")


class Arrival(NamedTuple):
    """A request as it arrived, as the echo reports it: WSGI strings, and the forwarding headers by their variables."""

    path: str
    script_name: str
    peer: str | None
    forwarding: Mapping[str, str]


def examine_arrival(config: Config, served: ServedMount) -> bool:
    """Report a path that the proxy changes; return whether that explains every other fault of the mount.

    The echo says which path arrives. Without a key, the only check is whether another app responds instead of
    the mount.
    """
    if not config.doctor.key:
        served.report.skip(
            "spoofed forwarding headers, bodies over the limit, the path that arrives: these checks need [doctor] key"
        )
        return report_changed_path(served)
    arrival = _ask_echo(config, served.site, served.root)
    if arrival is None:
        served.report.skip(
            f"{served.name}: the path that arrives: the echo does not respond (does the URL serve this table?)"
        )
        return False
    try:
        environ = _rewrite(config.proxy, arrival)
    except ValueError as error:
        served.report.add("failing", "likely", served.prefix, [f"mountpoint rejects a header of the proxy: {error}"])
        return True
    strips = config.proxy.strips_prefix()
    arrived = environ["SCRIPT_NAME"].removeprefix(strips) + environ["PATH_INFO"]
    expected = split_target(path_of(served.root)).path_info.removeprefix(strips)
    if arrived == expected:
        return False
    live = served.site.get(served.root)
    evidence = [
        f"{path_of(served.root)} arrives as {arrival.path or 'an empty path'} instead of {expected}",
        f"the response is {live.summary}",
    ]
    served.report.add(_symptom_of(arrived, expected, strips), "sure", served.prefix, evidence)
    return True


def _symptom_of(arrived: str, expected: str, strips: str) -> str:
    """Return the symptom of a path that arrives as *arrived*, not as *expected*. The proxy may strip *strips* only."""
    mount = expected.rstrip("/")
    if mount and not arrived.strip("/"):
        return "proxy-strips"
    if strips and arrived == strips + expected:
        return "proxy-keeps"
    if arrived == mount:
        return "loop-slash"
    if arrived == mount + expected:
        return "prefix-doubled"
    return "path-changed"


def probe_defences(config: Config, served: ServedMount) -> None:
    """Check that the proxy clears spoofed forwarding headers and rejects bodies over the limit, at the mount *served*.

    Without the key, or without the echo, nothing is sent.
    """
    if not config.doctor.key:
        return
    plain = _ask_echo(config, served.site, served.root)
    if plain is None:
        return
    _probe_spoofed_headers(config, served, plain)
    _probe_large_body(config, served)


def _probe_spoofed_headers(config: Config, served: ServedMount, plain: Arrival) -> None:
    """Send each spoofed header, and compare the environ of the app with that of *plain*, a request without one."""
    honest = _rewritten_values(config.proxy, plain)
    passed = config.proxy.passed()
    own = {*config.proxy.pass_headers, *filter(None, [config.proxy.user_header])}
    # The echo reports a header only if it is a forwarding header, whatever [proxy] passes on.
    named = [(name, "mountpoint-doctor") for name in sorted(own) if forwarding_variables({variable(name): ""})]
    spoofed = {name.lower(): (name, value) for name, value in (*named, *_SPOOFED)}
    for name, value in spoofed.values():
        arrival = _ask_echo(config, served.site, served.root, [(name, value)])
        if arrival is None:
            served.report.skip(f"a client's own {name}: the proxy rejects the request")
            continue
        arrived = arrival.forwarding.get(variable(name), "")
        if value not in [item.strip() for item in arrived.split(",")]:  # the proxy may append a value of its own
            continue
        is_trusted = variable(name) in passed or _rewritten_values(config.proxy, arrival) != honest
        evidence = f"a client's {name}: {value} reaches mountpoint, which {'trusts' if is_trusted else 'ignores'} it"
        served.report.add(
            "spoofed-header", "sure" if is_trusted else "note", served.prefix, [evidence], {"detail": name}
        )


def _probe_large_body(config: Config, served: ServedMount) -> None:
    """Send a body of one byte more than mountpoint accepts, in chunks, and see which server rejects it."""
    limit = config.server.adjustments["max_request_body_size"]
    assert isinstance(limit, int)
    if limit > _LARGEST_PROBE:
        served.report.skip("bodies over the limit: [server] max_request_body_size is more than 16 MiB")
        return
    result = served.site.request("POST", _unique(served.root), [(ECHO_HEADER, config.doctor.key)], _chunks(limit + 1))
    evidence = f"a body of {limit + 1} bytes, sent in chunks: {result.summary}"
    # waitress writes "generated by" into its own error pages. 502 is the proxy's response if waitress has closed the
    # connection before the proxy could send the whole body.
    is_rejected_by_mountpoint = result.status == 502 or (result.status == 413 and b"generated by" in result.body)
    fills = {"detail": str(limit)}
    if _arrival_in(result):
        served.report.add("large-body", "sure", served.prefix, [f"{evidence}: the server accepts it"], fills)
    elif is_rejected_by_mountpoint:
        # The limit holds. The size of a chunked body is not announced, and some proxies forward it before they know it.
        served.report.add(
            "large-body", "note", served.prefix, [f"{evidence}: mountpoint rejects it, not the proxy"], fills
        )
    elif not result.status:
        served.report.skip(f"bodies over the limit: {result.error}")


def _chunks(size: int) -> Iterator[bytes]:
    for start in range(0, size, _CHUNK):
        yield b"x" * min(_CHUNK, size - start)


def _unique(url: str) -> str:
    return f"{url}?mountpoint-doctor={secrets.token_hex(8)}"


def _ask_echo(config: Config, site: Site, url: str, headers: Headers = ()) -> Arrival | None:
    """Return how a GET of *url* with *headers* arrives, or None if the echo does not respond."""
    return _arrival_in(site.request("GET", _unique(url), [(ECHO_HEADER, config.doctor.key), *headers]))


def _arrival_in(result: ProbeResult) -> Arrival | None:
    """Return the report of the echo that *result* holds, or None if *result* is another page."""
    try:
        body = json.loads(result.body)
    except ValueError:
        return None
    if result.status != 200 or not isinstance(body, dict) or not body.keys() >= set(Arrival._fields):
        return None
    return Arrival(**{name: body[name] for name in Arrival._fields})


def _rewritten_values(settings: ProxySettings, arrival: Arrival) -> Mapping[str, str] | None:
    """Return the variables that trusted headers change, or None if mountpoint rejects the request."""
    try:
        environ = _rewrite(settings, arrival)
    except ValueError:
        return None
    return {name: environ[name] for name in _REWRITTEN}


def _rewrite(settings: ProxySettings, arrival: Arrival) -> WSGIEnvironment:
    """Return the environ that the app gets. Raises ValueError if a trusted header is outside its grammar."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": arrival.script_name,
        "PATH_INFO": arrival.path,
        "HTTP_HOST": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": arrival.peer,
        "wsgi.url_scheme": "http",
        **arrival.forwarding,
    }
    return TrustedProxies(_never_called, **dataclasses.asdict(settings)).rewrite(environ)


def _never_called(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise NotImplementedError  # stands for the app, since only its environ is wanted
