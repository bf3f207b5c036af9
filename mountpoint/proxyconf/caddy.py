r"""Caddy, 2.6 or later: a site for each host, with a handle for each mount.

- Caddy's matcher ``path`` ignores case, and both it and ``path_regexp`` merge slashes, but Caddy forwards the path as
  the client sent it. So Caddy and mountpoint would give ``//tv_ws`` to different mounts. ``vars_regexp`` compares the
  decoded path without other changes, as mountpoint does.
- ``uri strip_prefix`` resolves dot segments, which would lead to sibling mounts, and does not handle UTF-8.
  ``uri path_regexp`` changes only the matched part of the path that the client sent.
- A pattern is in backquotes, which no key contains, and every special character is written as ``\x{..}``. Caddy
  replaces ``{$HOME}`` everywhere, even in comments, and other ``{placeholders}`` in many places.
- Caddy drops the headers that a client names in ``Connection`` before ``header_up`` sets ours.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..config.address import Address
from ..wsgi.request_id import REQUEST_ID_HEADER
from .plan import (
    ANY_HOST_COMMENT,
    CLEARED_COMMENT,
    OTHER_HOSTS_COMMENT,
    PASSED_COMMENTS,
    Location,
    Plan,
    Site,
    comment_safe,
    heading,
    link_encoded,
    percent_encoded,
    regex_literal,
)

HAS_VERSIONS = True
_REQUEST_BUFFERS = (2, 6, 4)  # the first version with this option. Caddy 2.8 removed the two that it replaces.
_SET = {
    "x_for": ("X-Forwarded-For", "{remote_host}"),
    "x_proto": ("X-Forwarded-Proto", "{scheme}"),
    "x_host": ("X-Forwarded-Host", "{hostport}"),
    "x_port": ("X-Forwarded-Port", "{port}"),
    "x_prefix": ("X-Forwarded-Prefix", "{vars.mountpoint_prefix}"),
    "forwarded": ("Forwarded", '`for="{mountpoint_for}";host="{hostport}";proto={scheme}`'),
}


def render(plan: Plan) -> str:
    """Return a ``Caddyfile``, complete or to be added to one."""
    where = "This is a complete Caddyfile." if plan.standalone else "Put it into your Caddyfile."
    lines = heading(plan, f"{where} Then run: caddy validate --config Caddyfile && caddy reload")
    lines += ["", *_backend(plan)]
    for site in plan.sites:
        lines += ["", *_site(plan, site)]
    if not plan.serves_any_host:
        lines += ["", *_other_hosts(plan)]
    return "\n".join([*lines, ""])


def _backend(plan: Plan) -> Iterator[str]:
    yield "(mountpoint) {"
    yield f"\treverse_proxy {' '.join(map(_upstream, plan.upstreams))} {{"
    if len(plan.upstreams) > 1:
        yield "\t\tlb_policy least_conn"
        yield "\t\tfail_duration 10s"
    yield "\t\t# Holds a slow upload back, in memory, until its last byte is here."
    if plan.proxy_version is None or plan.proxy_version >= _REQUEST_BUFFERS:
        yield "\t\t# Before Caddy 2.6.4, as in Debian and Ubuntu: mountpoint proxy-config caddy --proxy-version 2.6"
        yield f"\t\trequest_buffers {plan.body_limit}"
    else:
        yield "\t\t# From Caddy 2.8 on: mountpoint proxy-config caddy, without --proxy-version"
        yield "\t\tbuffer_requests"
        yield f"\t\tmax_buffer_size {plan.body_limit}"
    yield "\t\tflush_interval -1 # sends streamed responses at once"
    for name in plan.settings.counts():
        header, value = _SET[name]
        yield f"\t\theader_up {header} {value}"
    if plan.gives_request_ids:
        yield f"\t\theader_up {REQUEST_ID_HEADER} {{http.request.uuid}}"
    yield f"\t\t# {CLEARED_COMMENT}"
    for header in plan.uncounted_headers():
        yield f"\t\theader_up -{header}"
    if passed := plan.passed_headers():
        yield from (f"\t\t# {comment}" for comment in PASSED_COMMENTS)
        yield from (f"\t\theader_up -{header}" for header in passed)
    yield "\t\ttransport http {"
    yield f"\t\t\tkeepalive {plan.idle_timeout}s # shorter than mountpoint's, so that Caddy closes first"
    yield f"\t\t\tresponse_header_timeout {plan.read_timeout}s # at least drain_timeout"
    yield "\t\t}"
    yield "\t}"
    yield "}"


def _upstream(address: Address) -> str:
    return f"unix/{address.unix}" if address.unix else str(address)


def _site(plan: Plan, site: Site) -> Iterator[str]:
    if not site.name:
        yield f"# {ANY_HOST_COMMENT}"
    elif site.name.startswith("*."):
        yield f"# A wildcard of Caddy covers one label: a{site.name[1:]} is served, a.b{site.name[1:]} is not."
    yield f"{'https' if plan.tls else 'http'}://{site.name} {{"
    yield from _certificate(plan)
    yield "\trequest_body {"
    yield f"\t\tmax_size {plan.body_limit}"
    yield "\t}"
    if plan.settings.forwarded:
        yield "\tmap {remote_host} {mountpoint_for} {"
        yield "\t\t~: [{remote_host}]"
        yield "\t\tdefault {remote_host}"
        yield "\t}"
    if plan.stripped_prefix:
        yield ""
        yield "\t# Caddy strips this spelling only, so a path with a percent-encoded letter in the prefix gets 404."
        yield f"\t@elsewhere not vars_regexp {{http.request.uri}} `^{_link_pattern(plan.stripped_prefix)}(/|\\?|$)`"
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
    yield f"\t# {comment_safe(location.key)}"
    if location.public_path:
        yield f"\t@mount{number} vars_regexp {{http.request.uri.path}} `^{regex_literal(location.public_path)}(/|$)`"
        yield f"\thandle @mount{number} {{"
    else:
        yield "\thandle {"
    if location.prefix_header:
        yield "\t\t# Paths with a percent-encoded letter, and the path without its slash, are not stripped."
        yield f"\t\t@below{number} vars_regexp {{http.request.uri}} `^{_link_pattern(location.public_path)}/`"
        yield f"\t\tvars @below{number} mountpoint_prefix {location.prefix_header}"
        yield f"\t\turi @below{number} path_regexp `^{_link_pattern(location.public_path)}/` /"
    elif location.is_stripped:
        if location.exact_target is None:
            pattern = f"^{_link_pattern(location.public_path)}(\\?.*)?$"
            yield f"\t\t@slashless vars_regexp slashless {{http.request.uri}} `{pattern}`"
            yield f"\t\tredir @slashless {percent_encoded(location.public_path)}/{{re.slashless.1}} 308"
        yield f"\t\turi path_regexp `^{_link_pattern(plan.stripped_prefix)}/` /"
    yield "\t\timport mountpoint"
    yield "\t}"


def _other_hosts(plan: Plan) -> Iterator[str]:
    yield f"# {OTHER_HOSTS_COMMENT}"
    yield "http:// {"
    yield "\tabort"
    yield "}"
    if plan.tls:
        yield "https:// {"
        yield from _certificate(plan)
        yield "\tabort"
        yield "}"


def _link_pattern(path: str) -> str:
    """Return a pattern for *path* as a client sends it."""
    return regex_literal(link_encoded(path))
