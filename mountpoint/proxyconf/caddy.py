r"""Caddy, 2.6 or later: a site a host, with a handle for each mount.

- Caddy's own ``path`` ignores case, and both it and ``path_regexp`` squeeze slashes, while the path goes on as the
  client sent it: ``//tv_ws`` would be one mount's here and another's there. ``vars_regexp`` is compared with the
  decoded path as it is, as mountpoint's table is.
- ``uri strip_prefix`` resolves dot segments, which would lead into siblings, and knows no UTF-8. ``uri path_regexp``
  changes the path as it was sent, and nothing else of it.
- A pattern stands in backquotes, which no key has, with every special character as ``\x{..}``: ``{$HOME}`` would be
  replaced wherever it stands, in comments too, and other ``{placeholders}`` in many places.
- Headers that a client names in ``Connection`` are dropped before ``header_up`` sets ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..config.address import Address
from .plan import ANY_HOST, CLEARED, OTHER_HOSTS, Location, Plan, Site, encoded, heading, link_encoded, readable

_SET = {
    "x_for": ("X-Forwarded-For", "{remote_host}"),
    "x_proto": ("X-Forwarded-Proto", "{scheme}"),
    "x_host": ("X-Forwarded-Host", "{hostport}"),
    "x_port": ("X-Forwarded-Port", "{port}"),
    "x_prefix": ("X-Forwarded-Prefix", "{vars.mountpoint_prefix}"),
    "forwarded": ("Forwarded", '`for="{mountpoint_for}";host="{hostport}";proto={scheme}`'),
}
_SPECIAL = re.compile(r"[^\w/~-]", re.ASCII)


def render(plan: Plan) -> str:
    """Return what goes into a ``Caddyfile``, which may be the whole of one."""
    where = "It is a whole Caddyfile" if plan.standalone else "For a Caddyfile"
    lines = heading(plan, f"{where}; then: caddy validate --config Caddyfile && caddy reload")
    lines += ["", *_backend(plan)]
    for site in plan.sites:
        lines += ["", *_site(plan, site)]
    if not plan.is_open:
        lines += ["", *_others(plan)]
    return "\n".join([*lines, ""])


def _backend(plan: Plan) -> Iterator[str]:
    yield "(mountpoint) {"
    yield f"\treverse_proxy {' '.join(map(_upstream, plan.upstreams))} {{"
    if len(plan.upstreams) > 1:
        yield "\t\tlb_policy least_conn"
        yield "\t\tfail_duration 10s"
    yield "\t\tflush_interval -1 # what an app streams is sent at once"
    for name in plan.trust.counts():
        header, value = _SET[name]
        yield f"\t\theader_up {header} {value}"
    yield f"\t\t# {CLEARED}"
    for header in plan.cleared():
        yield f"\t\theader_up -{header}"
    yield "\t\ttransport http {"
    yield f"\t\t\tkeepalive {plan.idle_timeout}s # shorter than mountpoint's, or it might close first"
    yield f"\t\t\tresponse_header_timeout {plan.read_timeout}s # no shorter than drain_timeout"
    yield "\t\t}"
    yield "\t}"
    yield "}"


def _upstream(address: Address) -> str:
    return f"unix/{address.unix}" if address.unix else str(address)


def _site(plan: Plan, site: Site) -> Iterator[str]:
    if not site.name:
        yield f"# {ANY_HOST}"
    elif site.name.startswith("*."):
        yield f"# Of a wildcard Caddy takes one label: a{site.name[1:]} is served here, a.b{site.name[1:]} is not."
    yield f"{'https' if plan.tls else 'http'}://{site.name} {{"
    yield from _certificate(plan)
    yield "\trequest_body {"
    yield f"\t\tmax_size {plan.body_limit}"
    yield "\t}"
    if plan.trust.forwarded:
        yield "\tmap {remote_host} {mountpoint_for} {"
        yield "\t\t~: [{remote_host}]"
        yield "\t\tdefault {remote_host}"
        yield "\t}"
    if plan.strips:
        yield ""
        yield "\t# What is stripped must be spelled like this: with a letter encoded it is not found."
        yield f"\t@elsewhere not vars_regexp {{http.request.uri}} `^{_literal(link_encoded(plan.strips))}(/|\\?|$)`"
        yield "\thandle @elsewhere {"
        yield "\t\terror 404"
        yield "\t}"
    for number, location in enumerate(site.locations, 1):
        yield ""
        yield from _location(plan, number, location)
    if not site.has_root:
        yield ""
        yield "\thandle {"
        yield "\t\terror 404"
        yield "\t}"
    yield "}"


def _certificate(plan: Plan) -> list[str]:
    return [f"\ttls {plan.tls[0]} {plan.tls[1]}"] if plan.tls else []


def _location(plan: Plan, number: int, location: Location) -> Iterator[str]:
    yield f"\t# {readable(location.key)}"
    if location.public:
        yield f"\t@mount{number} vars_regexp {{http.request.uri.path}} `^{_literal(location.public)}(/|$)`"
        yield f"\thandle @mount{number} {{"
    else:
        yield "\thandle {"
    if location.prefix:
        yield "\t\t# Spelled otherwise, a letter of it encoded say, or without its slash, it goes on whole."
        yield f"\t\t@below{number} vars_regexp {{http.request.uri}} `^{_literal(link_encoded(location.public))}/`"
        yield f"\t\tvars @below{number} mountpoint_prefix {location.prefix}"
        yield f"\t\turi @below{number} path_regexp `^{_literal(link_encoded(location.public))}/` /"
    elif location.strips:
        if location.slashless is None:
            pattern = f"^{_literal(link_encoded(location.public))}(\\?.*)?$"
            yield f"\t\t@slashless vars_regexp slashless {{http.request.uri}} `{pattern}`"
            yield f"\t\tredir @slashless {encoded(location.public)}/{{re.slashless.1}} 308"
        yield f"\t\turi path_regexp `^{_literal(link_encoded(plan.strips))}/` /"
    yield "\t\timport mountpoint"
    yield "\t}"


def _others(plan: Plan) -> Iterator[str]:
    yield f"# {OTHER_HOSTS}"
    yield "http:// {"
    yield "\tabort"
    yield "}"
    if plan.tls:
        yield "https:// {"
        yield from _certificate(plan)
        yield "\tabort"
        yield "}"


def _literal(path: str) -> str:
    """Return a pattern for *path*, in which nothing means anything to Caddy or to a regular expression."""
    return _SPECIAL.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", path)
