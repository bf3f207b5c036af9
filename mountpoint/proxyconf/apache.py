r"""Apache httpd, 2.4.39 or later: a balancer, and a virtual host for each host, with a ProxyPass for each mount.

- ProxyPass compares literal text with the path after httpd has decoded it, merged its slashes and resolved its dot
  segments. It forwards that path, encoded again. With ``AllowEncodedSlashes NoDecode``, httpd would give ``/admin%2Fx``
  to the root and mountpoint would give it to ``/admin``, so encoded slashes are decoded.
- In quotes only ``${NAME}`` has a meaning. A variable stands for the ``$`` of a path, because httpd does not expand the
  value of a variable again. In patterns every special character is written as ``\x{..}``.
- A client can name headers in ``Connection``, and httpd would remove ours. So only ``close`` and ``keep-alive`` arrive.
- A request that matches no name gets the first virtual host, so the first one rejects requests, or serves every host.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..config.address import Address
from ..wsgi.keys import wsgi_string
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
    percent_encoded,
    regex_literal,
)

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


def render(plan: Plan) -> str:
    """Return a file for ``sites-available/``, or a complete configuration for ``apache2 -f``."""
    modules = [*_MODULES, "ssl"] if plan.tls else [*_MODULES]
    if plan.standalone:
        lines = heading(
            plan,
            "This is a complete configuration, with the paths of Debian. Then run:",
            "    apache2 -t -f FILE && apache2 -f FILE",
        )
        lines += ["", *_server(plan, modules)]
    else:
        lines = heading(
            plan,
            "Save it as /etc/apache2/sites-available/mountpoint.conf. Then run, on Debian:",
            f"    a2enmod {' '.join(modules)}",
            "    a2dissite 000-default && a2ensite mountpoint && apache2ctl configtest && apache2ctl graceful",
        )
    lines += ["", *_balancer(plan)]
    # httpd gives a request that matches no name to the first virtual host of the port.
    if plan.serves_any_host:
        sites = [plan.sites[-1], *plan.sites[:-1]]
    else:
        sites = list(plan.sites)
        lines += ["", *_other_hosts(plan)]
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
    if any("${" in location.public_path for site in plan.sites for location in site.locations):
        yield "# httpd would read ${...} in the paths below as a variable. This one stands for the dollar sign there."
        yield "Define mountpoint_dollar $"
    yield '<Proxy "balancer://mountpoint">'
    yield "    # ttl is shorter than mountpoint's, so that httpd closes first. timeout is at least drain_timeout."
    retry = 10 if len(plan.upstreams) > 1 else 0
    times = f"connectiontimeout=5 timeout={plan.read_timeout} ttl={plan.idle_timeout} retry={retry}"
    for number, address in enumerate(plan.upstreams, 1):
        yield f'    BalancerMember "{_upstream(number, address)}" {times} flushpackets=on'
    yield "</Proxy>"


def _upstream(number: int, address: Address) -> str:
    return f"unix:{address.unix}|http://mountpoint{number}" if address.unix else f"http://{address}"


def _other_hosts(plan: Plan) -> Iterator[str]:
    yield f"# {OTHER_HOSTS_COMMENT}"
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
        yield f"    # {ANY_HOST_COMMENT}"
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
    yield "    # httpd and mountpoint both decode slashes, so that they compare the same path."
    yield "    AllowEncodedSlashes On"
    yield "    MergeSlashes On"
    yield "    TraceEnable Off"
    yield "    RewriteEngine On"
    yield "    # httpd holds a slow upload back up to 16 KB. It passes on a larger one, and mod_reqtimeout ends it."
    yield "    # LimitRequestBody does not apply to forwarded requests."
    yield f'    RewriteCond expr "%{{HTTP:Content-Length}} -gt {plan.body_limit}"'
    yield '    RewriteRule "^" - [R=413]'
    yield ""
    yield "    ProxyPreserveHost On"
    yield "    # With On, httpd would append to the headers that the client sent."
    yield "    ProxyAddHeaders Off"
    yield "    # A client could name headers here, and httpd would remove them, even those that are set below."
    yield '    RequestHeader edit Connection "(?i)^(?!(?:close|keep-alive)$).*" "close"'
    yield f"    # {CLEARED_COMMENT}"
    for header in plan.uncounted_headers(clears_request_id=True):
        yield f"    RequestHeader unset {header}"
    if passed := plan.passed_headers():
        yield from (f"    # {comment}" for comment in PASSED_COMMENTS)
        yield from (f"    RequestHeader unset {header}" for header in passed)
    if plan.sends_prefix:
        yield "    RequestHeader unset X-Forwarded-Prefix"
    for name in plan.settings.counts():
        yield from (f"    RequestHeader set {header}" for header in _SET[name])
    if plan.sends_prefix:
        yield "    # The last match wins, so the longest prefix is last. The path without its slash is not stripped."
        for location in reversed(site.locations):
            if location.prefix_header:
                pattern = _byte_pattern(location.public_path)
                prefix = location.prefix_header.replace("%", r"\%")
                yield f'    RewriteRule "^{pattern}$" - [E=!MOUNTPOINT_PREFIX]'
                yield f'    RewriteRule "^{pattern}/" - [E=MOUNTPOINT_PREFIX:{prefix}]'
    yield ""
    yield "    # The first match wins, so the longest path is first."
    for location in site.locations:
        yield from _location(location)
    yield "</VirtualHost>"


def _location(location: Location) -> Iterator[str]:
    yield f"    # {comment_safe(location.key)}"
    public, upstream = _quoted(location.public_path), _quoted(location.upstream_path)
    if upstream or not public:
        # Without a slash at the end, one ProxyPass covers the mount's path and the paths below it.
        yield f'    ProxyPass "{public or "/"}" "balancer://mountpoint{upstream or "/"}"'
        return
    yield f'    ProxyPass "{public}/" "balancer://mountpoint/"'
    if location.exact_target:
        yield f'    ProxyPass "{public}" "balancer://mountpoint{_quoted(location.exact_target)}"'
    else:
        target = percent_encoded(location.public_path).replace("%", r"\%")
        yield f'    RewriteRule "^{_byte_pattern(location.public_path)}$" "{target}/" [R=308,NE,L]'


def _quoted(path: str) -> str:
    """Return *path* for a string in quotes, without anything that looks like a variable."""
    return path.replace("${", "${mountpoint_dollar}{")


def _byte_pattern(path: str) -> str:
    """Return a pattern for *path*; httpd matches the bytes of its UTF-8 encoding, one by one."""
    return regex_literal(wsgi_string(path))
