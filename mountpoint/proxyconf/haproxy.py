r"""HAProxy, 2.4 or later: a frontend and a backend.

- ``path`` is the path as it was sent, and ``/%61dmin`` goes on as it is: rules are compared with ``path,url_dec``, as
  mountpoint's table is with the decoded path. A path that cannot be decoded is refused, since no rule could see it.
- Text in single quotes is literal, and no key has one. In a header's value ``%`` is doubled.
- The site and the mount are found once and kept in variables, since stripping changes what the rules look at.
"""

from __future__ import annotations

from collections.abc import Iterator

from .plan import ANY_HOST, OTHER_HOSTS, Location, Plan, encoded, heading, link_encoded, readable

_SET = {
    "x_for": ["X-Forwarded-For %[src]"],
    "x_proto": ["X-Forwarded-Proto %[ssl_fc,iif(https,http)]"],
    "x_host": ["X-Forwarded-Host %[req.hdr(Host)]"],
    "x_port": ["X-Forwarded-Port %[dst_port]"],
    "x_prefix": [],  # by each mount
    "forwarded": [
        """Forwarded 'for="%[src]";host="%[req.hdr(Host)]";proto=%[ssl_fc,iif(https,http)]'""",
        """Forwarded 'for="[%[src]]";host="%[req.hdr(Host)]";proto=%[ssl_fc,iif(https,http)]' if { src -m sub : }""",
    ],
}


def render(plan: Plan) -> str:
    """Return a frontend and a backend for ``haproxy.cfg``, or a whole one."""
    where = "It is all of haproxy.cfg" if plan.standalone else "For the end of haproxy.cfg"
    lines = heading(plan, f"{where}; then: haproxy -c -f /etc/haproxy/haproxy.cfg && systemctl reload haproxy")
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
    yield "    option http-no-delay  # what an app streams is sent at once"
    yield ""
    yield from _sites(plan)
    if plan.tls:
        yield "    http-request redirect scheme https code 308 unless { ssl_fc }"
    yield "    # What cannot be decoded would pass by every rule."
    yield "    http-request deny deny_status 400 unless { path,url_dec -m found }"
    yield f"    http-request deny deny_status 413 if {{ req.body_size gt {plan.body_limit} }}"
    if plan.strips:
        beginning = link_encoded(plan.strips)
        yield "    # What is stripped must be spelled like this: with a letter encoded it is not found."
        yield f"    acl strips path -m str '{beginning}'"
        yield f"    acl strips path -m beg '{beginning}/'"
        yield "    http-request deny deny_status 404 unless strips"
    yield ""
    yield "    # A client could send these: none of them arrives but those that are set below."
    yield "    http-request del-header X-Forwarded- -m beg"
    for header in ("Forwarded", "X-Real-IP", "X-Script-Name"):
        yield f"    http-request del-header {header}"
    yield "    http-request del-header _ -m sub  # X_Forwarded_For, which some servers take for the same"
    for name in plan.trust.counts():
        yield from (f"    http-request set-header {header}" for header in _SET[name])
    number = 0
    for place, site in enumerate(plan.sites, 1):
        for location in site.locations:
            number += 1
            yield ""
            yield from _location(plan, place, number, location)
    yield ""
    yield "    http-request deny deny_status 404 unless { var(txn.mount) -m found }"
    if plan.strips:
        yield f"    http-request set-path %[path,bytes({len(link_encoded(plan.strips))})]"
    yield "    default_backend mountpoint"


def _bind(plan: Plan) -> Iterator[str]:
    yield "    bind :80"
    yield "    bind :::80 v6only"
    if plan.tls:
        certificate, key = plan.tls
        if key not in (certificate, f"{certificate}.key"):
            yield f"    # The key is looked for in the certificate's file, or beside it: ln -s {key} {certificate}.key"
        yield f"    bind :443 ssl crt {certificate}"
        yield f"    bind :::443 v6only ssl crt {certificate}"


def _sites(plan: Plan) -> Iterator[str]:
    host = "req.hdr(Host),host_only,lower"
    for number, site in enumerate(plan.sites, 1):
        found = "!{ var(txn.site) -m found }"
        if site.name.startswith("*."):
            found = f"{{ {host} -m end '{site.name[1:]}' }} {found}"
        elif site.name:
            found = f"{{ {host} -m str '{site.name}' }}"
        else:
            yield f"    # {ANY_HOST}"
        yield f"    http-request set-var(txn.site) int({number}) if {found}"
    if not plan.is_open:
        yield f"    # {OTHER_HOSTS}"
        yield "    http-request deny deny_status 421 unless { var(txn.site) -m found }"


def _location(plan: Plan, site: int, number: int, location: Location) -> Iterator[str]:
    yield f"    # {readable(location.key)}"
    conditions = [f"{{ var(txn.site) -m int {site} }}"] if len(plan.sites) > 1 else []
    conditions.append("!{ var(txn.mount) -m found }")  # of an earlier one, which is longer
    if location.public:
        yield f"    acl mount{number} path,url_dec -m str '{location.public}'"
        yield f"    acl mount{number} path,url_dec -m beg '{location.public}/'"
        conditions.insert(0, f"mount{number}")
    yield f"    http-request set-var(txn.mount) int({number}) if {' '.join(conditions)}"
    here = f"{{ var(txn.mount) -m int {number} }}"
    beginning = link_encoded(location.public)
    if location.prefix:
        yield "    # Spelled otherwise, a letter of it encoded say, or without its slash, it goes on whole."
        below = f"{here} {{ path -m beg '{beginning}/' }}"
        yield f"    http-request set-header X-Forwarded-Prefix '{_value(location.prefix)}' if {below}"
        yield f"    http-request set-path %[path,bytes({len(beginning)})] if {below}"
    elif location.slashless is None and location.public:
        exactly = f"{here} {{ path -m str '{beginning}' }}"
        target = f"{_value(encoded(location.public))}/"
        yield f"    http-request redirect code 308 location '{target}?%[query]' if {exactly} {{ query -m found }}"
        yield f"    http-request redirect code 308 location '{target}' if {exactly}"


def _value(text: str) -> str:
    return text.replace("%", "%%")


def _backend(plan: Plan) -> Iterator[str]:
    yield "backend mountpoint"
    yield "    mode http"
    yield "    timeout connect 5s"
    yield f"    timeout server {plan.read_timeout}s  # no shorter than drain_timeout"
    yield "    option http-no-delay"
    several = len(plan.upstreams) > 1
    if several:
        yield "    balance leastconn"
    for number, address in enumerate(plan.upstreams, 1):
        where = f"unix@{address.unix}" if address.unix else address
        # Shorter than mountpoint's own, or it might close first.
        yield f"    server mountpoint{number} {where} pool-purge-delay {min(5, plan.idle_timeout)}s{' check' * several}"
