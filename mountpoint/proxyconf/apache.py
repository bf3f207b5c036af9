r"""Apache httpd, 2.4.39 or later: a balancer, and a virtual host a host, with a ProxyPass for each mount.

- ProxyPass compares literal text with the decoded path, whose slashes are squeezed and whose dots are resolved, and
  sends on what it compared, encoded again. With ``AllowEncodedSlashes NoDecode``, ``/admin%2Fx`` would be the root's
  here and ``/admin``'s at mountpoint: they are decoded.
- In quotes only ``${NAME}`` means something. A variable that stands for the dollar breaks it up, since what a variable
  stands for is not looked at again. In patterns every special character is ``\x{..}``.
- A client may name headers in ``Connection``, and httpd would drop ours: it may say close or keep-alive there only.
- Whoever matches no name gets the first virtual host, which is therefore nobody's, or everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..config.address import Address
from .plan import ANY_HOST, CLEARED, OTHER_HOSTS, Location, Plan, Site, encoded, heading, readable

_FOR, _FOR_IPV6 = r"\"%{REMOTE_ADDR}\"", r"\"[%{REMOTE_ADDR}]\""
_REST = r"host=\"%{HTTP_HOST}\";proto=%{REQUEST_SCHEME}"
_IF_IPV6 = '"expr=%{REMOTE_ADDR} =~ /:/"'
_SET = {
    "x_for": ['X-Forwarded-For "expr=%{REMOTE_ADDR}"'],
    "x_proto": ['X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"'],
    "x_host": ['X-Forwarded-Host "expr=%{HTTP_HOST}"'],
    "x_port": ['X-Forwarded-Port "expr=%{SERVER_PORT}"'],
    "x_prefix": ['X-Forwarded-Prefix "%{MOUNTPOINT_PREFIX}e" env=MOUNTPOINT_PREFIX'],
    "forwarded": [f'Forwarded "expr=for={_FOR};{_REST}"', f'Forwarded "expr=for={_FOR_IPV6};{_REST}" {_IF_IPV6}'],
}
_MODULES = ("headers", "rewrite", "slotmem_shm", "proxy", "proxy_balancer", "lbmethod_byrequests", "proxy_http")
_SPECIAL = re.compile(r"[^\w/~-]", re.ASCII)


def render(plan: Plan) -> str:
    """Return what goes into ``sites-available/``, or a whole configuration for ``apache2 -f``."""
    modules = [*_MODULES, *(["ssl"] if plan.tls else [])]
    if plan.standalone:
        where = "It is a whole configuration, with the folders of Debian; then: apache2 -t -f FILE && apache2 -f FILE"
    else:
        where = "For /etc/apache2/sites-available/mountpoint.conf; then, with Debian's commands:"
    lines = heading(
        plan,
        where,
        *(
            ()
            if plan.standalone
            else (
                f"    a2enmod {' '.join(modules)}",
                "    a2dissite 000-default && a2ensite mountpoint && apache2ctl configtest && apache2ctl graceful",
            )
        ),
    )
    if plan.standalone:
        lines += ["", *_server(plan, modules)]
    lines += ["", *_balancer(plan)]
    # The first of its port is for every host that is not named.
    if plan.is_open:
        sites = [plan.sites[-1], *plan.sites[:-1]]
    else:
        sites = list(plan.sites)
        lines += ["", *_others(plan)]
    for site in sites:
        lines += ["", *_host(plan, site)]
    return "\n".join([*lines, ""])


def _server(plan: Plan, modules: list[str]) -> Iterator[str]:
    yield 'ServerRoot "/usr/lib/apache2"'
    for module in ("mpm_event", "authz_core", *modules):
        yield f"LoadModule {module}_module modules/mod_{module}.so"
    yield "User www-data"
    yield "Group www-data"
    yield "PidFile /run/apache2/mountpoint.pid"
    yield "DefaultRuntimeDir /run/apache2"
    yield "ErrorLog /var/log/apache2/mountpoint.log"
    yield "ServerName mountpoint.invalid"
    yield "ServerTokens Prod"
    yield "Listen 80"
    if plan.tls:
        yield "Listen 443"


def _balancer(plan: Plan) -> Iterator[str]:
    if any("${" in location.public for site in plan.sites for location in site.locations):
        yield "# Keeps what looks like a variable in the names below from being one."
        yield "Define mountpoint_dollar $"
    yield '<Proxy "balancer://mountpoint">'
    yield "    # ttl: shorter than mountpoint's own, or it might close first. timeout: no shorter than drain_timeout."
    retry = 10 if len(plan.upstreams) > 1 else 0
    times = f"connectiontimeout=5 timeout={plan.read_timeout} ttl={plan.idle_timeout} retry={retry}"
    for number, address in enumerate(plan.upstreams, 1):
        yield f'    BalancerMember "{_upstream(number, address)}" {times} flushpackets=on'
    yield "</Proxy>"


def _upstream(number: int, address: Address) -> str:
    return f"unix:{address.unix}|http://mountpoint{number}" if address.unix else f"http://{address}"


def _others(plan: Plan) -> Iterator[str]:
    yield f"# {OTHER_HOSTS}"
    for port in ("80", "443") if plan.tls else ("80",):
        yield f"<VirtualHost *:{port}>"
        yield "    ServerName mountpoint.invalid"
        if port == "443":
            yield from _certificate(plan)
        yield '    <Location "/">'
        yield "        Require all denied"
        yield "    </Location>"
        yield "</VirtualHost>"


def _names(site: Site) -> Iterator[str]:
    if not site.name:
        yield f"    # {ANY_HOST}"
    if site.name[:1] not in ("", "*", "["):
        yield f"    ServerName {site.name}"
        return
    yield "    ServerName mountpoint.invalid"
    if site.name:
        yield f"    ServerAlias {site.name}"


def _certificate(plan: Plan) -> Iterator[str]:
    if plan.tls:
        yield "    SSLEngine on"
        yield f"    SSLCertificateFile {plan.tls[0]}"
        yield f"    SSLCertificateKeyFile {plan.tls[1]}"


def _host(plan: Plan, site: Site) -> Iterator[str]:
    if plan.tls:
        yield "<VirtualHost *:80>"
        yield from _names(site)
        yield "    RewriteEngine On"
        yield '    RewriteRule "^" "https://%{SERVER_NAME}%{REQUEST_URI}" [R=308,L]'
        yield "</VirtualHost>"
        yield ""
    yield f"<VirtualHost *:{'443' if plan.tls else '80'}>"
    yield from _names(site)
    yield from _certificate(plan)
    yield ""
    yield "    # Decoded, as mountpoint decodes them: both look at the same path."
    yield "    AllowEncodedSlashes On"
    yield "    MergeSlashes On"
    yield "    TraceEnable Off"
    yield "    RewriteEngine On"
    yield "    # LimitRequestBody is not for what is passed on."
    yield f'    RewriteCond expr "%{{HTTP:Content-Length}} -gt {plan.body_limit}"'
    yield '    RewriteRule "^" - [R=413]'
    yield ""
    yield "    ProxyPreserveHost On"
    yield "    # It would append to what the client sent."
    yield "    ProxyAddHeaders Off"
    yield "    # What a client names in Connection would be dropped, of ours too."
    yield '    RequestHeader edit Connection "(?i)^(?!(?:close|keep-alive)$).*" "close"'
    yield f"    # {CLEARED}"
    for header in [*plan.cleared(), *(["X-Forwarded-Prefix"] if plan.tells_prefix else [])]:
        yield f"    RequestHeader unset {header}"
    for name in plan.trust.counts():
        yield from (f"    RequestHeader set {header}" for header in _SET[name])
    if plan.tells_prefix:
        yield "    # The last that matches is the longest. Without its slash a mount's own address goes on whole."
        for location in reversed(site.locations):
            if location.prefix:
                prefix = location.prefix.replace("%", r"\%")
                yield f'    RewriteRule "^{_pattern(location.public)}$" - [E=!MOUNTPOINT_PREFIX]'
                yield f'    RewriteRule "^{_pattern(location.public)}/" - [E=MOUNTPOINT_PREFIX:{prefix}]'
    yield ""
    yield "    # The first that matches is the longest; each ends at a segment."
    for location in site.locations:
        yield from _location(location)
    yield "</VirtualHost>"


def _location(location: Location) -> Iterator[str]:
    yield f"    # {readable(location.key)}"
    public, inner = _literal(location.public), _literal(location.inner)
    if inner or not public:
        # Without slashes at their ends, it is for what is below as well as for the mount's own address.
        yield f'    ProxyPass "{public or "/"}" "balancer://mountpoint{inner or "/"}"'
        return
    yield f'    ProxyPass "{public}/" "balancer://mountpoint/"'
    if location.slashless:
        yield f'    ProxyPass "{public}" "balancer://mountpoint{_literal(location.slashless)}"'
    else:
        target = encoded(location.public).replace("%", r"\%")
        yield f'    RewriteRule "^{_pattern(location.public)}$" "{target}/" [R=308,NE,L]'


def _literal(path: str) -> str:
    return path.replace("${", "${mountpoint_dollar}{")


def _pattern(path: str) -> str:
    return "".join(_SPECIAL.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", chr(byte)) for byte in path.encode())
