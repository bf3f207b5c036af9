r"""Traefik 3: routers, middlewares and a service for the file provider.

- A rule is compared with the path as it was sent, but for its letters, which are decoded: ``/admin%2Fx`` and ``/a%24b``
  stay, and go on, and mountpoint decodes them. So a mount's rule takes its reserved characters in either spelling.
- Slashes are squeezed and dots resolved before that (``sanitizePath``), and the path goes on so.
- Traefik sets its forwarding headers before any middleware, which may then remove what nobody counts.
- The file is a Go template, in which ``{{`` means something, in comments too: no brace of a key is written as one.
- A limit for bodies would hold back what an app streams: it is left to mountpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .plan import ANY_HOST, Location, Plan, Site, encoded, heading, readable

#: What the configuration cannot say: see `make_plan`.
LACKS = {"speaks_forwarded": False, "speaks_unix": False}

# RFC 3986 section 2.2: what Traefik leaves encoded, if it is.
_RESERVED = ":/?#[]@!$&'()*+,;="
_SPECIAL = re.compile(r"[^\w~-]")


@dataclass(frozen=True, slots=True)
class _Router:
    rule: str
    middlewares: Iterable[str]
    comment: str = ""
    point: str = "web"


def render(plan: Plan) -> str:
    """Return a file for Traefik's file provider, which is complete but for the entry points."""
    points = {"web": 80, "websecure": 443} if plan.tls else {"web": 80}
    listed = " and ".join(f"{name} at :{port}" for name, port in points.items())
    note = [f"For Traefik's file provider, with the entry points {listed}; what is wrong is in Traefik's log."]
    note += ["mountpoint itself refuses bodies that are too large: here a limit would hold back what an app streams."]
    if plan.standalone:
        addresses = " ".join(f"--entryPoints.{name}.address=:{port}" for name, port in points.items())
        note += ["Its settings are given at the start:", "", f"    traefik --providers.file.filename=FILE {addresses}"]
    lines = [*heading(plan, *note), "", "http:", "  routers:"]
    routers = [router for site in plan.sites for router in _routers(plan, site)]
    for number, router in enumerate(routers, 1):
        lines += [f"    # {router.comment}"] if router.comment else []
        lines += _router(f"mountpoint-{number}", router, priority=len(routers) - number + 1)
    lines += ["  middlewares:", *_middlewares(plan), "  services:", *_service(plan)]
    if plan.tls:
        certificate, key = plan.tls
        lines += ["tls:", "  certificates:", f"    - certFile: {_text(certificate)}", f"      keyFile: {_text(key)}"]
    return "\n".join([*lines, ""])


def _routers(plan: Plan, site: Site) -> Iterator[_Router]:
    """Yield the routers of *site*, in the order in which they are to be asked."""
    host = _host(site.name)
    also = f" && {host}" if host else ""
    point = "websecure" if plan.tls else "web"
    comment = site.name or ANY_HOST
    if plan.tls:
        yield _Router(f"PathPrefix(`/`){also}", ["mountpoint-https"], comment)
        comment = ""
    for location in site.locations:
        comment = f"{comment}: " * bool(comment) + readable(location.key)
        for rule, middlewares in _routes(plan, location):
            yield _Router(rule + also, middlewares, comment, point)
            comment = ""


def _host(name: str) -> str:
    if name.startswith("*."):
        return f"HostRegexp(`^.+{_literal(name[1:])}$`)"
    if name.startswith("["):  # which is looked at without its brackets where there is a port
        return f"HostRegexp(`^\\[?{_literal(name[1:-1])}\\]?$`)"
    return f"Host(`{name}`)" if name else ""


def _routes(plan: Plan, location: Location) -> Iterator[tuple[str, list[str]]]:
    """Yield the rules of a mount, each with its middlewares."""
    whole = f"PathRegexp(`^{_either(location.public)}(/|%2F|$)`)" if location.public else "PathPrefix(`/`)"
    clear = "mountpoint-clear"
    if location.prefix:
        # Spelled otherwise, or without its slash, it goes on whole.
        yield f"PathPrefix(`{location.public}/`)", [clear, *(f"{_name(location)}-{what}" for what in ("strip", "tell"))]
        yield whole, [clear]
    elif plan.strips:
        if location.slashless is None:
            yield f"Path(`{location.public}`)", ["mountpoint-slash"]
        yield f"PathPrefix(`{plan.strips}/`) && {whole}", [clear, "mountpoint-strip"]
    else:
        yield whole, [clear]


def _name(location: Location) -> str:
    """Return a name for the middlewares of *location*, different for each path."""
    return f"mountpoint-{location.public[1:].encode().hex()}"


def _router(name: str, router: _Router, priority: int) -> Iterator[str]:
    yield f"    {name}:"
    yield f"      rule: {_text(router.rule)}"
    yield f"      priority: {priority}"
    yield f"      entryPoints: [{router.point}]"
    yield f"      middlewares: [{', '.join(router.middlewares)}]"
    if router.point == "websecure":
        yield "      tls: {}"
    yield "      service: mountpoint"


def _middlewares(plan: Plan) -> Iterator[str]:
    if plan.tls:
        yield "    mountpoint-https:"
        yield "      redirectScheme:"
        yield "        scheme: https"
        yield "        permanent: true"
    yield "    # None of these arrives: a client could send the ones, and nobody counts the others, which Traefik sets."
    yield "    mountpoint-clear:"
    yield "      headers:"
    yield "        customRequestHeaders:"
    for header in [*plan.cleared(), *(["X-Forwarded-Prefix"] if plan.tells_prefix else [])]:
        yield f'          {header}: ""'
    if plan.strips:
        yield "    mountpoint-strip:"
        yield from _strip(plan.strips)
        yield "    mountpoint-slash:"
        yield "      redirectRegex:"
        pattern = rf"^(https?://[^/?]+){_literal(plan.strips)}(\?.*)?$"
        yield f"        regex: {_text(pattern)}"
        yield f'        replacement: "${{1}}{encoded(plan.strips)}/${{2}}"'
        yield "        permanent: true"
    if plan.tells_prefix:
        locations = {location.public: location for site in plan.sites for location in site.locations if location.prefix}
        for location in locations.values():
            yield f"    {_name(location)}-strip:"
            yield from _strip(location.public)
            yield f"    {_name(location)}-tell:"
            yield "      headers:"
            yield "        customRequestHeaders:"
            yield f"          X-Forwarded-Prefix: {_text(location.prefix)}"


def _strip(path: str) -> Iterator[str]:
    yield "      stripPrefix:"
    yield f"        prefixes: [{_text(path)}]"


def _service(plan: Plan) -> Iterator[str]:
    yield "    mountpoint:"
    yield "      loadBalancer:"
    yield "        servers:"
    for address in plan.upstreams:
        yield f"          - url: {_text(f'http://{address}')}"
    yield "        passHostHeader: true"
    yield "        serversTransport: mountpoint"
    yield "  serversTransports:"
    yield "    mountpoint:"
    yield "      forwardingTimeouts:"
    yield "        dialTimeout: 5s"
    yield f"        responseHeaderTimeout: {plan.read_timeout}s  # no shorter than drain_timeout"
    yield f"        idleConnTimeout: {plan.idle_timeout}s  # shorter than mountpoint's, or it might close first"


def _literal(text: str) -> str:
    """Return a pattern for *text*, in which nothing means anything to Traefik or to a regular expression."""
    return _SPECIAL.sub(lambda match: match[0] if match[0] == "/" else f"\\x{{{ord(match[0]):X}}}", text)


def _either(path: str) -> str:
    """Return a pattern for *path*, with each reserved character as it is or encoded."""
    return "/" + _SPECIAL.sub(
        lambda match: f"({_literal(match[0])}|%{ord(match[0]):02X})" if match[0] in _RESERVED else _literal(match[0]),
        path[1:],
    )


def _text(text: str) -> str:
    """Return *text* as YAML has it in quotes, with no brace that a template could begin with."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() and c != "{" else f"\\U{ord(c):08X}" for c in escaped) + '"'
