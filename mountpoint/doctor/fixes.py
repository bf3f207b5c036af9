"""The one change that mends a symptom, in the language of the proxy: to be written as it stands, comments and all.

``words`` stands where a language has nothing of its own, and for proxies that do not name themselves. Between angle
brackets stands what is filled in: ``<prefix>``, ``<origin>``, ``<host>``, ``<detail>``.
"""

from __future__ import annotations

from collections.abc import Mapping

_LANGUAGES = {"nginx": "nginx", "openresty": "nginx", "apache": "apache", "caddy": "caddy"}

_KEEP = {
    "words": "let the proxy forward <prefix>/ as it is, and mount the app at <prefix> behind it",
    "nginx": 'location <prefix>/ { proxy_pass http://APP; }  # no path after APP, not even "/"',
    "apache": 'ProxyPass "<prefix>" "http://APP<prefix>"\n# in the place of what strips',
    "caddy": "@app path <prefix> <prefix>/*\nhandle @app {  # handle, not handle_path\n\treverse_proxy APP\n}",
}
_MOUNT = '\n# and behind it, mounts.toml: [mounts] "<prefix>" = "module:app"'
_HOST = {
    "words": "let the proxy send the Host that the client asked for: <host>",
    "nginx": "proxy_set_header Host $host;  # on a port other than 80 and 443: $host:$server_port",
    "apache": "ProxyPreserveHost On",
    "caddy": "header_up Host {http.request.hostport}  # in the reverse_proxy block; or remove what sets it otherwise",
}
_SCHEME = {
    "words": 'let the proxy set X-Forwarded-Proto, and believe it ([proxy] trusted = ["ADDRESS"], x_proto = 1)',
    "nginx": 'proxy_set_header X-Forwarded-Proto $scheme;  # and [proxy] trusted = ["127.0.0.1"], x_proto = 1',
    "apache": 'RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"\n'
    '# and [proxy] trusted = ["127.0.0.1"], x_proto = 1',
    "caddy": 'remove header_up X-Forwarded-Proto if there is one; [proxy] trusted = ["127.0.0.1"], x_proto = 1',
}
_LOCATION = {
    "words": "let the proxy forward what is below <prefix>/ to the app",
    "nginx": "location <prefix>/ { proxy_pass http://APP; }",
    "apache": 'ProxyPass "<prefix>" "http://APP<prefix>"',
    "caddy": "@app path <prefix> <prefix>/*\nhandle @app {\n\treverse_proxy APP\n}",
}
_SLASH = {
    "words": "let the proxy redirect <prefix> to the path <prefix>/, or forward it to mountpoint, which does",
    "nginx": "location = <prefix> { return 308 <prefix>/$is_args$args; }  absolute_redirect off;",
    "apache": 'RewriteEngine On\nRewriteRule "^<prefix>$" "<prefix>/" [R=308,L]',
    "caddy": "handle <prefix> {  # mountpoint redirects it, query and all\n\treverse_proxy APP\n}",
}
_CLEAR = {
    "words": "let the proxy remove <detail> from what clients send, or set it itself",
    "nginx": 'proxy_set_header <detail> "";',
    "apache": "RequestHeader unset <detail>",
    "caddy": "header_up -<detail>",
}

#: What mends each symptom, by language.
FIXES: Mapping[str, Mapping[str, str]] = {
    "prefix-missing": {language: text + _MOUNT for language, text in _KEEP.items()}
    | {"words": f'{_KEEP["words"]} (mounts.toml: [mounts] "<prefix>" = "module:app")'},
    "prefix-hard-coded": {"words": "build the address in the app (url_for, reverse, get_url), or write it relative"},
    "prefix-doubled": {
        "words": "let one of the two add it: behind a mount, send no X-Forwarded-Prefix and set no [proxy] x_prefix",
        "nginx": 'proxy_set_header X-Forwarded-Prefix "";  # and no x_prefix in [proxy]; '
        "if only cookies are doubled, proxy_cookie_path ~^/$ <prefix>;",
        "apache": "RequestHeader unset X-Forwarded-Prefix\n# and no x_prefix in [proxy]",
        "caddy": "header_up -X-Forwarded-Prefix  # and no x_prefix in [proxy]",
    },
    "proxy-strips": _KEEP,
    "proxy-keeps": {
        "words": 'mount the app at <prefix> behind the proxy (mounts.toml: [mounts] "<prefix>" = "module:app"; '
        "if there is strips in [proxy], remove it), or let the proxy strip",
        "nginx": 'mounts.toml: [mounts] "<prefix>" = "module:app", and no strips in [proxy]; '
        'or let nginx strip: proxy_pass http://APP/;  # with the "/"',
        "apache": 'mounts.toml: [mounts] "<prefix>" = "module:app", and no strips in [proxy]; '
        'or let Apache strip: ProxyPass "<prefix>/" "http://APP/"',
        "caddy": 'mounts.toml: [mounts] "<prefix>" = "module:app", and no strips in [proxy]; '
        "or let Caddy strip: handle_path <prefix>/*",
    },
    "no-location": _LOCATION,
    "app-down": {"words": "start the app, or correct the address that the proxy forwards to"},
    "failing": {"words": "see the log of the app for what it answers"},
    "same-page": {
        "words": "let the proxy forward each path as it is, not one path for all",
        "nginx": "location <prefix>/ { proxy_pass http://APP; }  # no path after APP, and no rewrite to one",
    },
    "loop-slash": {
        "words": "let the proxy forward <prefix>/ with its slash",
        "nginx": "proxy_pass http://APP;  # or with a path that ends with a slash, as the location does",
        "apache": 'ProxyPass "<prefix>" "http://APP<prefix>"\n# a slash at the end of both, or of none',
    },
    "loop-scheme": _SCHEME,
    "http-links": _SCHEME,
    "loop": {"words": "see who redirects to whom: one of the two has to stop"},
    "private-host": _HOST,
    "port-lost": _HOST | {"nginx": "proxy_set_header Host $host:$server_port;"},
    "assets-stolen": {
        "words": "keep the other location away from what is below <prefix>/",
        "nginx": "location ^~ <prefix>/ { ... }  # ^~ goes before regex locations",
        "apache": "move the rule for file extensions below the ProxyPass of <prefix>/, or exclude <prefix>/ from it",
        "caddy": "put handle <prefix>/* before the handle that matches extensions",
    },
    "slash-200": _SLASH,
    "slash-elsewhere": _SLASH | {"nginx": f"absolute_redirect off;  # or {_SLASH['nginx']}"},
    "slash-404": _SLASH,
    "cookie-collision": {"words": 'give each app a cookie name of its own, or write cookies = "scoped" in [defaults]'},
    "cookie-pathless": {"words": "set the cookie with Path=<prefix>/ in the app"},
    "cookie-path": {
        "words": "set the cookie with a path that covers its pages, Path=<prefix>",
        "nginx": "proxy_cookie_path ~^/$ <prefix>;  # and not: proxy_cookie_path / ...; which matches every path",
    },
    "no-boundary": {
        "words": "end the location at a segment: <prefix>/ with its slash, and <prefix> alone",
        "nginx": "location <prefix>/ { ... }  # with the slash; and no slash lost: proxy_pass http://APP;",
        "apache": 'ProxyPass "<prefix>" "http://APP<prefix>"\n# in the place of ProxyPassMatch',
        "caddy": "@app path <prefix> <prefix>/*\nhandle @app {  # and not <prefix>*\n\treverse_proxy APP\n}",
    },
    "spoofed-header": _CLEAR,
    "large-body": {
        "words": "limit bodies at the proxy to <detail> bytes",
        "nginx": "client_max_body_size <detail>;",
        "apache": 'RewriteEngine On\nRewriteCond expr "%{HTTP:Content-Length} -gt <detail>"\n'
        'RewriteRule "^" - [R=413]\n# LimitRequestBody does not apply to proxied requests',
        "caddy": "request_body {\n\tmax_size <detail>\n}",
    },
    "dead-link": {"words": "correct the address in the app; or, if it is meant, list it in [doctor] allow"},
    "broken-mount": {"words": "mountpoint check says why"},
}


def language_of(server: str) -> str:
    """Return the language of the proxy that calls itself *server* in its answers.

    >>> language_of("nginx/1.22.1"), language_of("gunicorn")
    ('nginx', 'words')
    """
    return _LANGUAGES.get(server.partition("/")[0].strip().lower(), "words")


def fix(symptom: str, server: str, fills: Mapping[str, str]) -> str:
    """Return what mends *symptom* at the proxy that calls itself *server*; *fills* are for the angle brackets."""
    languages = FIXES[symptom]
    text = languages.get(language_of(server), languages["words"])
    for name, value in fills.items():
        text = text.replace(f"<{name}>", value)
    return text
