"""The one change that fixes each symptom, in the language of the proxy, ready to copy.

The entry ``words`` is for the reader. It is used where a language has no entry of its own, and for a proxy that does
not name itself. ``<prefix>``, ``<host>`` and ``<detail>`` are replaced in a report; ``APP`` stands for the address of
the app.
"""

from __future__ import annotations

from collections.abc import Mapping

_LANGUAGES = {"nginx": "nginx", "openresty": "nginx", "apache": "apache", "caddy": "caddy"}

_KEEP = {
    "words": "configure the proxy to forward <prefix>/ unchanged, and mount the app at <prefix> behind it",
    "nginx": 'location <prefix>/ { proxy_pass http://APP; }  # no path after APP, not even "/"',
    "apache": 'ProxyPass "<prefix>" "http://APP<prefix>"\n# instead of the line that strips <prefix>',
    "caddy": "@app path <prefix> <prefix>/*\nhandle @app {  # handle, not handle_path\n\treverse_proxy APP\n}",
}
_MOUNT = '\n# and in mounts.toml: [mounts] "<prefix>" = "module:app"'
_HOST = {
    "words": "configure the proxy to forward the Host header that the client sends: <host>; "
    "if the app names an address of the server itself, remove it there",
    "nginx": "proxy_set_header Host $host;  # or $host:$server_port, if the port is not 80 or 443",
    "apache": "ProxyPreserveHost On",
    "caddy": "header_up Host {http.request.hostport}  # in the reverse_proxy block; remove any other header_up Host",
}
_SCHEME = {
    "words": "configure the proxy to set X-Forwarded-Proto, and mountpoint to trust it: "
    '[proxy] trusted = ["ADDRESS"], x_proto = 1',
    "nginx": "proxy_set_header X-Forwarded-Proto $scheme;  "
    '# and in mounts.toml: [proxy] trusted = ["127.0.0.1"], x_proto = 1',
    "apache": 'RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"\n'
    '# and in mounts.toml: [proxy] trusted = ["127.0.0.1"], x_proto = 1',
    "caddy": "# remove any header_up X-Forwarded-Proto: Caddy sets it by default\n"
    '# and in mounts.toml: [proxy] trusted = ["127.0.0.1"], x_proto = 1',
}
_LOCATION = {
    "words": "configure the proxy to forward every path below <prefix>/ to the app",
    "nginx": "location <prefix>/ { proxy_pass http://APP; }",
    "apache": 'ProxyPass "<prefix>" "http://APP<prefix>"',
    "caddy": "@app path <prefix> <prefix>/*\nhandle @app {\n\treverse_proxy APP\n}",
}
_SLASH = {
    "words": "configure the proxy to redirect <prefix> to the path <prefix>/, "
    "or to forward <prefix> to mountpoint, which redirects it",
    "nginx": "location = <prefix> { return 308 <prefix>/$is_args$args; }  absolute_redirect off;",
    "apache": 'RewriteEngine On\nRewriteRule "^<prefix>$" "<prefix>/" [R=308,L]',
    "caddy": "handle <prefix> {  # mountpoint redirects it, with its query\n\treverse_proxy APP\n}",
}
_CLEAR = {
    "words": "configure the proxy to remove <detail> from the client's request, or to set it itself",
    "nginx": 'proxy_set_header <detail> "";',
    "apache": "RequestHeader unset <detail>",
    "caddy": "header_up -<detail>",
}
_MOUNT_UNSTRIPPED = 'in mounts.toml: [mounts] "<prefix>" = "module:app", and no strips in [proxy]; '

#: The fix of each symptom, by the language of the proxy.
FIXES: Mapping[str, Mapping[str, str]] = {
    "prefix-missing": {language: text + _MOUNT for language, text in _KEEP.items()}
    | {"words": f'{_KEEP["words"]} (in mounts.toml: [mounts] "<prefix>" = "module:app")'},
    "prefix-hard-coded": {"words": "build the link in the app (url_for, reverse, get_url), or make it relative"},
    "prefix-doubled": {
        "words": "let only one of the two add <prefix>: configure the proxy to send no X-Forwarded-Prefix, "
        "and set no x_prefix in [proxy]",
        "nginx": 'proxy_set_header X-Forwarded-Prefix "";  # and no x_prefix in [proxy]; '
        "no path after APP\n# if only the paths of cookies are doubled: proxy_cookie_path ~^/$ <prefix>;",
        "apache": "RequestHeader unset X-Forwarded-Prefix\n# and no x_prefix in [proxy]",
        "caddy": "header_up -X-Forwarded-Prefix  # and no x_prefix in [proxy]",
    },
    "proxy-strips": _KEEP,
    "path-changed": _KEEP,
    "own-prefix": {
        "words": "remove <prefix> from the app: from its routes, from a blueprint's url_prefix, from a middleware that "
        "adds a prefix, or from a dispatcher of its own; mountpoint sets SCRIPT_NAME"
    },
    "proxy-keeps": {
        "words": f"{_MOUNT_UNSTRIPPED}or configure the proxy to strip <prefix>",
        "nginx": f'{_MOUNT_UNSTRIPPED}or let nginx strip <prefix>: proxy_pass http://APP/;  # with the "/"',
        "apache": f'{_MOUNT_UNSTRIPPED}or let Apache strip <prefix>: ProxyPass "<prefix>/" "http://APP/"',
        "caddy": f"{_MOUNT_UNSTRIPPED}or let Caddy strip <prefix>: handle_path <prefix>/*",
    },
    "no-location": _LOCATION,
    "app-down": {"words": "start the app, or correct the address that the proxy forwards to"},
    "failing": {"words": "read the log of the app: it says why the request fails"},
    "same-page": {
        "words": "configure the proxy to forward each path unchanged",
        "nginx": "location <prefix>/ { proxy_pass http://APP; }  # no path after APP, and no rewrite to one path",
    },
    "loop-slash": {
        "words": "configure the proxy to forward <prefix>/ with its slash",
        "nginx": "proxy_pass http://APP;  # or, if the location ends with a slash, with a path that ends with one too",
        "apache": 'ProxyPass "<prefix>" "http://APP<prefix>"\n# both end with a slash, or neither does',
    },
    "loop-bare-prefix": {
        "words": 'in mounts.toml: [mounts."<prefix>"] slash = "pass"; or remove the rule of the proxy that removes the '
        "slash at the end of a path"
    },
    "loop-scheme": _SCHEME,
    "static-url": {
        "words": 'in the settings of Django: STATIC_URL = "<prefix>/static/", and for WhiteNoise '
        'WHITENOISE_STATIC_PREFIX = "/static/"'
    },
    "http-links": _SCHEME,
    "loop": {"words": "find the redirects that lead to each other, in the proxy and in the app, and remove one"},
    "private-host": _HOST,
    "port-lost": _HOST | {"nginx": "proxy_set_header Host $host:$server_port;"},
    "assets-stolen": {
        "words": "exclude the paths below <prefix>/ from the other location",
        "nginx": "location ^~ <prefix>/ { ... }  # ^~ takes precedence over regex locations",
        "apache": "move the rule for file extensions below the ProxyPass of <prefix>/, or exclude <prefix>/ from it",
        "caddy": "put handle <prefix>/* before the handle that matches extensions",
    },
    "slash-200": _SLASH,
    "slash-elsewhere": _SLASH | {"nginx": f"absolute_redirect off;  # or {_SLASH['nginx']}"},
    "slash-404": _SLASH,
    "cookie-collision": {"words": 'give the cookie of each app its own name, or set cookies = "scoped" in [defaults]'},
    "cookie-pathless": {"words": "set the cookie with Path=<prefix>/ in the app"},
    "cookie-path": {
        "words": "set the cookie with a path that covers the pages of the app: Path=<prefix> "
        "(SESSION_COOKIE_PATH or APPLICATION_ROOT in Flask, SESSION_COOKIE_PATH in Django)",
        "nginx": "proxy_cookie_path ~^/$ <prefix>;  # not proxy_cookie_path / ..., which matches every path",
    },
    "no-boundary": {
        "words": "end the location at a slash: match <prefix>, and the paths that begin with <prefix>/",
        "nginx": "location <prefix>/ { ... }  # with the slash, and proxy_pass without a path: http://APP;",
        "apache": 'ProxyPass "<prefix>" "http://APP<prefix>"\n# instead of ProxyPassMatch',
        "caddy": "@app path <prefix> <prefix>/*\nhandle @app {  # instead of <prefix>*\n\treverse_proxy APP\n}",
    },
    "spoofed-header": _CLEAR,
    "large-body": {
        "words": "configure the proxy to reject bodies of more than <detail> bytes",
        "nginx": "client_max_body_size <detail>;",
        "apache": 'RewriteEngine On\nRewriteCond expr "%{HTTP:Content-Length} -gt <detail>"\n'
        'RewriteRule "^" - [R=413]\n# LimitRequestBody does not apply to proxied requests',
        "caddy": "request_body {\n\tmax_size <detail>\n}",
    },
    "dead-link": {"words": "correct the link in the app, or, if it is intended, add its target to [doctor] allow"},
    "better-apart": {"words": 'in mounts.toml: process = "own" for one of the two apps'},
    "broken-mount": {"words": "run mountpoint check, which shows the error"},
}


def language_of(server: str) -> str:
    """Return the language of the proxy whose responses have *server* as their ``Server`` header.

    >>> language_of("nginx/1.22.1"), language_of("gunicorn")
    ('nginx', 'words')
    """
    return _LANGUAGES.get(server.partition("/")[0].strip().lower(), "words")


def fix(symptom: str, server: str, fills: Mapping[str, str]) -> str:
    """Return the fix of *symptom* for the proxy that names itself *server*.

    *fills* maps the name in each pair of angle brackets to its value.

    >>> fix("spoofed-header", "nginx", {"detail": "X-Forwarded-Proto"})
    'proxy_set_header X-Forwarded-Proto "";'
    """
    languages = FIXES[symptom]
    text = languages.get(language_of(server), languages["words"])
    for name, value in fills.items():
        text = text.replace(f"<{name}>", value)
    return text
