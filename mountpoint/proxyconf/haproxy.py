r"""HAProxy, 2.4 or later: a frontend and a backend.

- ``path`` is the path as the client sent it, and HAProxy forwards ``/%61dmin`` unchanged. So rules compare
  ``path,url_dec``, as mountpoint compares the decoded path. A path that cannot be decoded is rejected: no rule matches.
- Text in single quotes is literal, and no key contains one. ``%`` is doubled in the value of a header.
- Variables hold the site and the mount, because stripping changes the path that later rules would compare.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..wsgi.request_id import REQUEST_ID_HEADER
from .plan import (
    ANY_HOST_COMMENT,
    OTHER_HOSTS_COMMENT,
    PASSED_COMMENTS,
    Location,
    Plan,
    comment_safe,
    heading,
    link_encoded,
    percent_encoded,
)

_SET = {
    "x_for": ["X-Forwarded-For %[src]"],
    "x_proto": ["X-Forwarded-Proto %[ssl_fc,iif(https,http)]"],
    "x_host": ["X-Forwarded-Host %[req.hdr(Host)]"],
    "x_port": ["X-Forwarded-Port %[dst_port]"],
    "x_prefix": [],  # each mount sets its own
    "forwarded": [
        """Forwarded 'for="%[src]";host="%[req.hdr(Host)]";proto=%[ssl_fc,iif(https,http)]'""",
        """Forwarded 'for="[%[src]]";host="%[req.hdr(Host)]";proto=%[ssl_fc,iif(https,http)]' if { src -m sub : }""",
    ],
}


def render(plan: Plan) -> str:
    """Return a frontend and a backend for ``haproxy.cfg``, or a complete one."""
    where = "This is a complete haproxy.cfg." if plan.standalone else "Put it at the end of haproxy.cfg."
    lines = heading(plan, f"{where} Then run: haproxy -c -f /etc/haproxy/haproxy.cfg && systemctl reload haproxy")
    if plan.standalone:
        lines += ["", "global", "    log stderr format raw local0 notice"]
    return "\n".join([*lines, "", *_frontend(plan), "", *_backend(plan), ""])


def _frontend(plan: Plan) -> Iterator[str]:
    yield "frontend mountpoint"
    yield "    mode http"
    yield from _bind(plan)
    yield f"    timeout client {plan.read_timeout}s"
    yield "    timeout http-request 60s"
    yield "    timeout http-keep-alive 60s"
    yield "    option http-no-delay  # sends streamed responses at once"
    yield "    # Holds a slow upload back for up to timeout http-request, if its body fits into the buffer"
    yield "    # (tune.bufsize, 16 KB by default). HAProxy passes on a larger one as it comes."
    yield "    option http-buffer-request"
    yield ""
    yield from _sites(plan)
    if plan.tls:
        yield "    http-request redirect scheme https code 308 unless { ssl_fc }"
    yield "    # A path that cannot be decoded would match no rule."
    yield "    http-request deny deny_status 400 unless { path,url_dec -m found }"
    yield f"    http-request deny deny_status 413 if {{ req.body_size gt {plan.body_limit} }}"
    if plan.stripped_prefix:
        prefix = link_encoded(plan.stripped_prefix)
        yield "    # HAProxy strips this spelling only, so a path with a percent-encoded letter in the prefix gets 404."
        yield f"    acl strips path -m str '{prefix}'"
        yield f"    acl strips path -m beg '{prefix}/'"
        yield "    http-request deny deny_status 404 unless strips"
    yield ""
    yield "    # A client could forge these headers. Those that [proxy] counts are set again below."
    yield "    http-request del-header X-Forwarded- -m beg"
    for header in plan.uncounted_headers():
        if not header.startswith("X-Forwarded-"):
            yield f"    http-request del-header {header}"
    yield "    http-request del-header _ -m sub  # some servers take X_Forwarded_For for X-Forwarded-For"
    if passed := plan.passed_headers():
        yield from (f"    # {comment}" for comment in PASSED_COMMENTS)
        yield from (f"    http-request del-header {header}" for header in passed)
    for name in plan.settings.counts():
        yield from (f"    http-request set-header {header}" for header in _SET[name])
    if plan.gives_request_ids:
        yield f"    http-request set-header {REQUEST_ID_HEADER} %[uuid()]"
    mount_number = 0
    for site_number, site in enumerate(plan.sites, 1):
        for location in site.locations:
            mount_number += 1
            yield ""
            yield from _location(plan, site_number, mount_number, location)
    yield ""
    yield "    http-request deny deny_status 404 unless { var(txn.mount) -m found }"
    if plan.stripped_prefix:
        yield f"    http-request set-path %[path,bytes({len(link_encoded(plan.stripped_prefix))})]"
    yield "    default_backend mountpoint"


def _bind(plan: Plan) -> Iterator[str]:
    yield "    bind :80"
    yield "    bind :::80 v6only"
    if plan.tls:
        certificate, key = plan.tls
        if key not in (certificate, f"{certificate}.key"):
            yield f"    # HAProxy also looks for the key beside the certificate: ln -s {key} {certificate}.key"
        yield f"    bind :443 ssl crt {certificate}"
        yield f"    bind :::443 v6only ssl crt {certificate}"


def _sites(plan: Plan) -> Iterator[str]:
    host = "req.hdr(Host),host_only,lower"
    for number, site in enumerate(plan.sites, 1):
        condition = "!{ var(txn.site) -m found }"
        if site.name.startswith("*."):
            condition = f"{{ {host} -m end '{site.name[1:]}' }} {condition}"
        elif site.name:
            condition = f"{{ {host} -m str '{site.name}' }}"
        else:
            yield f"    # {ANY_HOST_COMMENT}"
        yield f"    http-request set-var(txn.site) int({number}) if {condition}"
    if not plan.serves_any_host:
        yield f"    # {OTHER_HOSTS_COMMENT}"
        yield "    http-request deny deny_status 421 unless { var(txn.site) -m found }"


def _location(plan: Plan, site: int, number: int, location: Location) -> Iterator[str]:
    yield f"    # {comment_safe(location.key)}"
    conditions = [f"{{ var(txn.site) -m int {site} }}"] if len(plan.sites) > 1 else []
    conditions.append("!{ var(txn.mount) -m found }")  # an earlier mount, with a longer path, takes precedence
    if location.public_path:
        yield f"    acl mount{number} path,url_dec -m str '{location.public_path}'"
        yield f"    acl mount{number} path,url_dec -m beg '{location.public_path}/'"
        conditions.insert(0, f"mount{number}")
    yield f"    http-request set-var(txn.mount) int({number}) if {' '.join(conditions)}"
    is_here = f"{{ var(txn.mount) -m int {number} }}"
    sent_path = link_encoded(location.public_path)
    if location.prefix_header:
        yield "    # Paths with a percent-encoded letter, and the path without its slash, are not stripped."
        below = f"{is_here} {{ path -m beg '{sent_path}/' }}"
        yield f"    http-request set-header X-Forwarded-Prefix '{_value(location.prefix_header)}' if {below}"
        yield f"    http-request set-path %[path,bytes({len(sent_path)})] if {below}"
    elif location.exact_target is None and location.public_path:
        exactly = f"{is_here} {{ path -m str '{sent_path}' }}"
        target = f"{_value(percent_encoded(location.public_path))}/"
        yield f"    http-request redirect code 308 location '{target}?%[query]' if {exactly} {{ query -m found }}"
        yield f"    http-request redirect code 308 location '{target}' if {exactly}"


def _value(text: str) -> str:
    return text.replace("%", "%%")


def _backend(plan: Plan) -> Iterator[str]:
    yield "backend mountpoint"
    yield "    mode http"
    yield "    timeout connect 5s"
    yield f"    timeout server {plan.read_timeout}s  # at least drain_timeout"
    yield "    option http-no-delay"
    # HAProxy closes idle connections before mountpoint's channel_timeout would.
    options = f"pool-purge-delay {min(5, plan.idle_timeout)}s"
    if len(plan.upstreams) > 1:
        yield "    balance leastconn"
        yield "    option redispatch 1  # a request whose server is dead goes to another one at once"
        options += " check"
        if plan.health_port:
            yield "    option httpchk GET /readyz  # of the status page"
            options += f" port {plan.health_port}"
    for number, address in enumerate(plan.upstreams, 1):
        target = f"unix@{address.unix}" if address.unix else address
        yield f"    server mountpoint{number} {target} {options}"
