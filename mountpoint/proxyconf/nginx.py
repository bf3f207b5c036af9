r"""nginx, 1.19.4 or later: an upstream, and a server a host.

- A location in quotes is literal text but for ``"`` and ``\``, which no key has. It is compared with the decoded,
  resolved path. So is mountpoint's table with the decoded one, and a path with dot segments is refused there: the two
  agree as long as nginx squeezes no slashes, hence ``merge_slashes off``.
- In a URL, ``$`` would begin a variable: there paths are percent-encoded.
- One proxy_set_header in a location drops all of the server's. The prefix gets there by a variable.
"""

from __future__ import annotations

from collections.abc import Iterator

from .plan import ANY_HOST, CLEARED, OTHER_HOSTS, Location, Plan, Site, encoded, heading, readable

_SET = {
    "x_for": ("X-Forwarded-For", "$remote_addr"),
    "x_proto": ("X-Forwarded-Proto", "$scheme"),
    "x_host": ("X-Forwarded-Host", "$host$mountpoint_port"),
    "x_port": ("X-Forwarded-Port", "$server_port"),
    "x_prefix": ("X-Forwarded-Prefix", "$mountpoint_prefix"),
    "forwarded": ("Forwarded", '\'for="$mountpoint_for";host="$host$mountpoint_port";proto=$scheme\''),
}


def render(plan: Plan) -> str:
    """Return what goes into ``/etc/nginx/conf.d/``, or a whole ``nginx.conf``."""
    where = "It is all of nginx.conf" if plan.standalone else "For /etc/nginx/conf.d/, in the place of the default site"
    head = heading(plan, f"{where}; then: nginx -t && nginx -s reload")
    body = [*_shared(plan)]
    if not plan.is_open:
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
    yield f"    keepalive_timeout {plan.idle_timeout}s;  # shorter than mountpoint's, or it might close first"
    yield "}"
    yield ""
    yield "# The port that the client wrote, for links: $host has none, and $http_host need not be who was asked."
    yield "map $http_host $mountpoint_port {"
    yield '    "~(?<mountpoint_own_port>:[0-9]+)$" $mountpoint_own_port;'
    yield '    default "";'
    yield "}"
    if plan.trust.forwarded:
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
    yield f"# {OTHER_HOSTS} If you have a"
    yield "# default_server already, leave this one out, and write merge_slashes off there: nginx squeezes before it"
    yield "# knows the host."
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
    word = " default_server" if plan.is_open and not site.name else ""
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
        yield f"    # {ANY_HOST}"
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
    yield "    merge_slashes off;      # //tv_ws is not /tv_ws, here as there"
    yield "    absolute_redirect off;  # a redirect keeps the scheme and the port that the client used"
    yield f"    client_max_body_size {plan.body_limit};"
    yield f"    proxy_read_timeout {plan.read_timeout}s;  # no shorter than drain_timeout"
    yield "    proxy_buffering off;    # what an app streams is sent at once; mountpoint buffers for slow readers"
    yield "    proxy_redirect off;     # Location and Set-Cookie are right as they come"
    yield "    proxy_http_version 1.1;"
    yield ""
    yield "    # A location with a proxy_set_header of its own loses all of these."
    yield '    proxy_set_header Connection "";  # keep-alive; and a client cannot name headers to be dropped'
    yield "    proxy_set_header Host $host$mountpoint_port;"
    for name in plan.trust.counts():
        header, value = _SET[name]
        yield f"    proxy_set_header {header} {value};"
    yield f"    # {CLEARED}"
    for header in plan.cleared():
        yield f'    proxy_set_header {header} "";'
    if plan.tells_prefix:
        yield '    set $mountpoint_prefix "";  # an empty header is not sent'
    yield "}"


def _location(location: Location) -> Iterator[str]:
    """Yield two locations: what is below, with ``^~``, or a regex might take the assets; and the mount itself."""
    yield f"    # {readable(location.key)}"
    yield f'    location ^~ "{location.public}/" {{'
    if location.prefix:
        yield f'        set $mountpoint_prefix "{location.prefix}";'
    # A URI after the host, were it a slash, is what strips. Without one the path goes on as the client sent it.
    uri = f"{encoded(location.inner)}/" if location.strips else ""
    yield f'        proxy_pass "http://mountpoint{uri}";'
    yield "    }"
    if location.public:
        yield f'    location = "{location.public}" {{'
        if location.slashless is None:
            yield f'        return 308 "{encoded(location.public)}/$is_args$args";'
        else:
            changes = location.slashless != location.public
            uri = encoded(location.slashless) if changes else ""
            yield f'        proxy_pass "http://mountpoint{uri}";  # mountpoint redirects it, query and all'
        yield "    }"
    yield ""
