r"""nginx, 1.19.4 or later: an upstream, and a server block for each host.

- A location in quotes is literal text, except for ``"`` and ``\``, which no key contains. nginx compares it with the
  path after decoding it and resolving its dot segments. mountpoint compares the decoded path, and rejects dot segments.
  The two agree if nginx does not merge slashes, which ``merge_slashes off`` ensures.
- In a URL, ``$`` begins a variable, so paths are percent-encoded there.
- One ``proxy_set_header`` in a location removes all those of the server block, so the prefix is passed in a variable.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    percent_encoded,
)

_SET = {
    "x_for": ("X-Forwarded-For", "$remote_addr"),
    "x_proto": ("X-Forwarded-Proto", "$scheme"),
    "x_host": ("X-Forwarded-Host", "$host$mountpoint_port"),
    "x_port": ("X-Forwarded-Port", "$server_port"),
    "x_prefix": ("X-Forwarded-Prefix", "$mountpoint_prefix"),
    "forwarded": ("Forwarded", '\'for="$mountpoint_for";host="$host$mountpoint_port";proto=$scheme\''),
}


def render(plan: Plan) -> str:
    """Return a file for ``/etc/nginx/conf.d/``, or a complete ``nginx.conf``."""
    if plan.standalone:
        where = "This is a complete nginx.conf."
    else:
        where = "Put it into /etc/nginx/conf.d/, and remove the default site."
    head = heading(plan, f"{where} Then run: nginx -t && nginx -s reload")
    body = [*_shared(plan)]
    if not plan.serves_any_host:
        body += ["", *_default_server(plan)]
    for site in plan.sites:
        body += ["", *_server(plan, site)]
        if plan.tls:
            body += ["", *_to_https(plan, site)]
    if plan.standalone:
        body = ["events {}", "", "http {", *(f"    {line}".rstrip() for line in body), "}"]
    return "\n".join([*head, "", *body, ""])


def _shared(plan: Plan) -> Iterator[str]:
    yield "upstream mountpoint {"
    for address in plan.upstreams:
        yield f"    server {address};"
    yield "    keepalive 16;"
    yield f"    keepalive_timeout {plan.idle_timeout}s;  # shorter than mountpoint's, so that nginx closes first"
    yield "}"
    yield ""
    yield "# The port of the Host header, for links: $host lacks it, and $http_host may name another host than the URL."
    yield "map $http_host $mountpoint_port {"
    yield '    "~(?<mountpoint_own_port>:[0-9]+)$" $mountpoint_own_port;'
    yield '    default "";'
    yield "}"
    if plan.settings.forwarded:
        yield "map $remote_addr $mountpoint_for {"
        yield '    "~:" "[$remote_addr]";'
        yield "    default $remote_addr;"
        yield "}"


def _listen(plan: Plan, *, default: bool) -> list[str]:
    word = " default_server" if default else ""
    ports = ["443 ssl", "[::]:443 ssl"] if plan.tls else ["80", "[::]:80"]
    return [f"    listen {port}{word};" for port in ports]


def _certificate(plan: Plan) -> list[str]:
    return [f"    ssl_certificate {plan.tls[0]};", f"    ssl_certificate_key {plan.tls[1]};"] if plan.tls else []


def _default_server(plan: Plan) -> Iterator[str]:
    yield f"# {OTHER_HOSTS_COMMENT}"
    yield "# If you have a default_server already, remove this one, and write merge_slashes off in yours: nginx merges"
    yield "# slashes before it knows the host."
    yield "server {"
    yield from _listen(plan, default=True)
    yield "    merge_slashes off;"
    if plan.tls:
        yield "    ssl_reject_handshake on;"
        yield "}"
        yield ""
        yield "server {"
        yield "    listen 80 default_server;"
        yield "    listen [::]:80 default_server;"
    yield "    return 444;"
    yield "}"


def _to_https(plan: Plan, site: Site) -> Iterator[str]:
    word = " default_server" if plan.serves_any_host and not site.name else ""
    yield "server {"
    yield f"    listen 80{word};"
    yield f"    listen [::]:80{word};"
    yield f"    server_name {site.name or '_'};"
    yield "    return 308 https://$host$request_uri;"
    yield "}"


def _server(plan: Plan, site: Site) -> Iterator[str]:
    yield "server {"
    yield from _listen(plan, default=not site.name)
    if site.name:
        yield f"    server_name {site.name};"
    else:
        yield f"    # {ANY_HOST_COMMENT}"
        yield "    server_name _;"
    yield from _certificate(plan)
    yield ""
    for location in site.locations:
        yield from _location(location)
    if not site.has_root:
        yield "    location / {"
        yield "        return 404;"
        yield "    }"
        yield ""
    yield "    merge_slashes off;      # mountpoint does not merge them either: //tv_ws is not /tv_ws"
    yield "    absolute_redirect off;  # a redirect keeps the scheme and the port that the client used"
    yield f"    client_max_body_size {plan.body_limit};"
    yield f"    proxy_read_timeout {plan.read_timeout}s;  # at least drain_timeout"
    yield "    proxy_request_buffering on;  # holds a slow upload back until its last byte is here"
    yield "    proxy_buffering off;    # sends streamed responses at once; mountpoint buffers for slow clients"
    yield "    proxy_redirect off;     # Location and Set-Cookie need no change"
    yield "    proxy_http_version 1.1;"
    yield ""
    yield "    # A location with its own proxy_set_header loses all of these."
    yield '    proxy_set_header Connection "";  # keeps connections open, and no client can name headers to remove'
    yield "    proxy_set_header Host $host$mountpoint_port;"
    for name in plan.settings.counts():
        header, value = _SET[name]
        yield f"    proxy_set_header {header} {value};"
    if plan.gives_request_ids:
        yield f"    proxy_set_header {REQUEST_ID_HEADER} $request_id;  # log_format can have it too"
    yield f"    # {CLEARED_COMMENT}"
    for header in plan.uncounted_headers():
        yield f'    proxy_set_header {header} "";'
    if passed := plan.passed_headers():
        yield from (f"    # {comment}" for comment in PASSED_COMMENTS)
        yield from (f'    proxy_set_header {header} "";' for header in passed)
    if plan.sends_prefix:
        yield '    set $mountpoint_prefix "";  # nginx does not send an empty header'
    yield "}"


def _location(location: Location) -> Iterator[str]:
    """Yield a location for the paths below the mount, and one for the mount's path without a slash.

    Without ``^~``, a regular expression elsewhere in the file could take the app's static files.
    """
    yield f"    # {comment_safe(location.key)}"
    yield f'    location ^~ "{location.public_path}/" {{'
    if location.prefix_header:
        yield f'        set $mountpoint_prefix "{location.prefix_header}";'
    # A path after the host, even only a slash, makes nginx strip. Without one it forwards what the client sent.
    uri = f"{percent_encoded(location.upstream_path)}/" if location.is_stripped else ""
    yield f'        proxy_pass "http://mountpoint{uri}";'
    yield "    }"
    if location.public_path:
        yield f'    location = "{location.public_path}" {{'
        if location.exact_target is None:
            yield f'        return 308 "{percent_encoded(location.public_path)}/$is_args$args";'
        else:
            is_changed = location.exact_target != location.public_path
            uri = percent_encoded(location.exact_target) if is_changed else ""
            yield f'        proxy_pass "http://mountpoint{uri}";  # mountpoint redirects it, or passes it to the app'
        yield "    }"
    yield ""
