r"""Traefik 3: routers, middlewares and a service for the file provider.

- A rule is compared with the path as the client sent it, but Traefik decodes all except reserved characters first. So
  ``/admin%2Fx`` and ``/a%24b`` stay encoded until mountpoint decodes them, and a rule accepts each reserved character
  in both spellings.
- Before that, Traefik merges slashes and resolves dot segments (``sanitizePath``), and forwards the result.
- Traefik sets its forwarding headers before any middleware runs. A middleware then removes those that are not counted.
- The file is a Go template, in which ``{{`` has a meaning, even in comments. So braces of a key are written as escapes.
- A limit for bodies would make Traefik hold back streamed responses, so mountpoint alone limits bodies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .plan import (
    ANY_HOST_COMMENT,
    CLEARED_COMMENT,
    PASSED_COMMENTS,
    Feature,
    Location,
    Plan,
    Site,
    comment_safe,
    heading,
    percent_encoded,
    regex_literal,
)

UNSUPPORTED: frozenset[Feature] = frozenset({"forwarded", "unix"})

_RESERVED = ":/?#[]@!$&'()*+,;="  # RFC 3986 section 2.2; Traefik leaves these encoded if the client encoded them


@dataclass(frozen=True, slots=True)
class _Router:
    rule: str
    middlewares: Iterable[str]
    comments: Sequence[str] = ()
    point: str = "web"


def render(plan: Plan) -> str:
    """Return a file for Traefik's file provider. It does not define the entry points."""
    points = {"web": 80, "websecure": 443} if plan.tls else {"web": 80}
    listed = " and ".join(f"{name} at :{port}" for name, port in points.items())
    notes = [
        f"Give it to Traefik's file provider, with the entry points {listed}. Traefik logs the errors in it.",
        "mountpoint rejects bodies that are too large: a limit here would hold back streamed responses.",
        "Traefik passes a slow upload on as it comes. It ends it after respondingTimeouts.readTimeout of the entry",
        "point, 60 s by default.",
    ]
    if plan.standalone:
        addresses = " ".join(f"--entryPoints.{name}.address=:{port}" for name, port in points.items())
        notes += ["Start Traefik with:", "", f"    traefik --providers.file.filename=FILE {addresses}"]
    lines = [*heading(plan, *notes), "", "http:", "  routers:"]
    routers = [router for site in plan.sites for router in _routers(plan, site)]
    for number, router in enumerate(routers, 1):
        lines += [f"    # {comment}" for comment in router.comments]
        lines += _router(f"mountpoint-{number}", router, priority=len(routers) - number + 1)
    lines += ["  middlewares:", *_middlewares(plan), "  services:", *_service(plan)]
    if plan.tls:
        certificate, key = plan.tls
        lines += ["tls:", "  certificates:", f"    - certFile: {_text(certificate)}", f"      keyFile: {_text(key)}"]
    return "\n".join([*lines, ""])


def _routers(plan: Plan, site: Site) -> Iterator[_Router]:
    """Yield the routers of *site*, in the order in which Traefik has to try them."""
    host_rule = _host_rule(site.name)
    and_host = f" && {host_rule}" if host_rule else ""
    point = "websecure" if plan.tls else "web"
    comments = [site.name or ANY_HOST_COMMENT]
    if plan.tls:
        yield _Router(f"PathPrefix(`/`){and_host}", ["mountpoint-https"], comments)
        comments = []
    for location in site.locations:
        comments = [*comments, comment_safe(location.key)]
        for rule, middlewares in _routes(plan, location):
            yield _Router(rule + and_host, middlewares, comments, point)
            comments = []


def _host_rule(name: str) -> str:
    if name.startswith("*."):
        return f"HostRegexp(`^.+{_pattern(name[1:])}$`)"
    if name.startswith("["):  # Traefik removes the brackets if the header has a port
        return f"HostRegexp(`^\\[?{_pattern(name[1:-1])}\\]?$`)"
    return f"Host(`{name}`)" if name else ""


def _routes(plan: Plan, location: Location) -> Iterator[tuple[str, list[str]]]:
    """Yield the rules of a mount, each with its middlewares."""
    clear = "mountpoint-clear"
    if location.public_path:
        mount_rule = f"PathRegexp(`^{_pattern_with_encodings(location.public_path)}(/|%2F|$)`)"
    else:
        mount_rule = "PathPrefix(`/`)"
    if location.prefix_header:
        name = _middleware_name(location)
        yield f"PathPrefix(`{location.public_path}/`)", [clear, f"{name}-strip", f"{name}-tell"]
        yield mount_rule, [clear]  # other spellings, and the path without its slash, are not stripped
    elif plan.stripped_prefix:
        if location.exact_target is None:
            yield f"Path(`{location.public_path}`)", ["mountpoint-slash"]
        yield f"PathPrefix(`{plan.stripped_prefix}/`) && {mount_rule}", [clear, "mountpoint-strip"]
    else:
        yield mount_rule, [clear]


def _middleware_name(location: Location) -> str:
    """Return the beginning of the names of the middlewares of *location*, unique for each path."""
    return f"mountpoint-{location.public_path[1:].encode().hex()}"


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
    yield f"    # {CLEARED_COMMENT}"
    yield "    mountpoint-clear:"
    yield "      headers:"
    yield "        customRequestHeaders:"
    for header in plan.uncounted_headers(clears_request_id=True):
        yield f'          {header}: ""'
    if passed := plan.passed_headers():
        yield from (f"          # {comment}" for comment in PASSED_COMMENTS)
        yield from (f'          {header}: ""' for header in passed)
    if plan.sends_prefix:
        yield '          X-Forwarded-Prefix: ""'
    if plan.stripped_prefix:
        yield "    mountpoint-strip:"
        yield from _strip(plan.stripped_prefix)
        yield "    mountpoint-slash:"
        yield "      redirectRegex:"
        pattern = rf"^(https?://[^/?]+){_pattern(plan.stripped_prefix)}(\?.*)?$"
        yield f"        regex: {_text(pattern)}"
        yield f'        replacement: "${{1}}{percent_encoded(plan.stripped_prefix)}/${{2}}"'
        yield "        permanent: true"
    if plan.sends_prefix:
        locations = [location for site in plan.sites for location in site.locations if location.prefix_header]
        for location in {location.public_path: location for location in locations}.values():
            yield f"    {_middleware_name(location)}-strip:"
            yield from _strip(location.public_path)
            yield f"    {_middleware_name(location)}-tell:"
            yield "      headers:"
            yield "        customRequestHeaders:"
            yield f"          X-Forwarded-Prefix: {_text(location.prefix_header)}"


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
    yield f"        responseHeaderTimeout: {plan.read_timeout}s  # at least drain_timeout"
    yield f"        idleConnTimeout: {plan.idle_timeout}s  # shorter than mountpoint's, so that Traefik closes first"


def _pattern(text: str) -> str:
    """Return a pattern for *text*. Traefik decodes letters before it compares, so letters stay as they are."""
    return regex_literal(text, ascii_only=False)


def _pattern_with_encodings(path: str) -> str:
    """Return a pattern for *path* in which each reserved character may be percent-encoded or not."""
    return "/" + "".join(
        f"({_pattern(character)}|%{ord(character):02X})" if character in _RESERVED else _pattern(character)
        for character in path[1:]
    )


def _text(text: str) -> str:
    """Return *text* as a quoted YAML string, with an escape for each brace that could begin a Go template."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() and c != "{" else f"\\U{ord(c):08X}" for c in escaped) + '"'
