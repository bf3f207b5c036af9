"""Configurations of nginx for the doctor's tests: the usual mistakes, each with its symptom, and right ones.

In a location ``<app>`` stands for the framework, which is the prefix too, and ``<name>`` for the address of the stack
of that name in `support/sites.py`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

FIVE = ("flask", "django", "bottle", "falcon", "pyramid")
_HOST = "proxy_set_header Host $host:$server_port;"
_SECURE = f"{_HOST} proxy_set_header X-Forwarded-Proto https;"
_KEEP = "location ~ ^/<app>(/|$) { proxy_pass http://<mounted>; }"


class Shape(NamedTuple):
    """The locations of a ``server`` block, and the finding that the doctor has to report about it.

    *name* completes the sentence "nginx ...". A right configuration has an empty *symptom*.
    """

    name: str
    locations: str
    symptom: str = ""
    certainty: str = "sure"
    apps: tuple[str, ...] = FIVE
    headers: str = _HOST
    prefix: str = ""  # in front of the prefix of the app
    secure: bool = False

    def site(self, app: str, ports: dict[str, int], certificate: object = None) -> str:
        """Return the ``server`` block for *app*. The fixture ``nginx`` replaces its port 80."""
        text = self.locations.replace("<app>", app)
        text = re.sub(r"<([a-z-]+)>", lambda match: f"127.0.0.1:{ports[match[1]]}", text)
        listen = "listen 80 ssl;" if self.secure else "listen 80;"
        tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if self.secure else ""
        upstream = f"upstream backend {{ server 127.0.0.1:{ports['mounted']}; }}"
        return f"{upstream} server {{ {listen} server_name localhost; {tls} {self.headers} {text} }}"


ONE = ("flask",)
ABSOLUTE = ("pyramid",)  # writes scheme, host and port into every link

WRONG = (
    Shape(
        "strips, and the app does not know its prefix",
        "location /<app>/ { proxy_pass http://<bare-<app>>/; }",
        "prefix-missing",
    ),
    Shape(
        "keeps in front of an app without a prefix",
        "location /<app>/ { proxy_pass http://<bare-<app>>; }",
        "proxy-keeps",
        "likely",
    ),
    Shape("strips in front of a mount", "location /<app>/ { proxy_pass http://<mounted>/; }", "proxy-strips"),
    Shape(
        "replaces the prefix by a slash, in front of a mount",
        "location /<app> { proxy_pass http://<mounted>/; }",
        "proxy-strips",
        apps=("flask", "falcon"),
    ),
    Shape(
        "removes the slash that mountpoint adds",
        "rewrite ^/(.*)/$ /$1 permanent; location / { proxy_pass http://<mounted>; }",
        "loop-bare-prefix",
        "likely",
        ONE,
    ),
    Shape(
        "strips in front of a mount that redirects to a page",
        "location /<app>/ { proxy_pass http://<redirecting>/; }",
        "proxy-strips",
        apps=ONE,
    ),
    Shape(
        "keeps in front of an app that adds the prefix",
        "location /<app>/ { proxy_pass http://<prefixed-twice>; }",
        "own-prefix",
        "likely",
        ONE,
    ),
    Shape(
        "sends another path",
        "location /<app>/ { proxy_pass http://<mounted>/other/; }",
        "proxy-keeps",
        "likely",
        ONE,
    ),
    Shape(
        "keeps a prefix that the table declares as stripped",
        "location /apps/ { proxy_pass http://<under-apps>; }",
        "proxy-keeps",
        "likely",
        prefix="/apps",
    ),
    Shape(
        "sends a prefix to a mount",
        f"location /<app>/ {{ {_HOST} proxy_set_header X-Forwarded-Prefix /<app>; proxy_pass http://<headers>; }}",
        "prefix-doubled",
    ),
    Shape("loses the slash", "location /<app>/ { proxy_pass http://<mounted>/<app>; }", "loop-slash", "likely"),
    Shape("has no location", "location /other/ { proxy_pass http://<mounted>; }", "no-location", "likely"),
    Shape(
        "forwards every path as one",
        "location /<app>/ { rewrite ^ /<app>/ break; proxy_pass http://<mounted>; }",
        "same-page",
        "likely",
    ),
    Shape(
        "sends the upstream's name",
        "location /<app>/ { proxy_pass http://backend; }",
        "private-host",
        apps=ABSOLUTE,
        headers="",
    ),
    Shape(
        "sends the upstream's address",
        "location /<app>/ { proxy_pass http://<mounted>; }",
        "private-host",
        "likely",
        ABSOLUTE,
        headers="",
    ),
    Shape("loses the port", _KEEP, "port-lost", apps=ABSOLUTE, headers="proxy_set_header Host $host;"),
    Shape(
        "matches files by a regex location",
        "location /<app>/ { proxy_pass http://<mounted>; } location ~* \\.(js|css)$ { root /nonexistent; }",
        "assets-stolen",
        "likely",
    ),
    Shape(
        "forwards the prefix without its slash",
        "location ~ ^/<app>(/|$) { proxy_pass http://<passing>; }",
        "slash-200",
        apps=ONE,
    ),
    Shape(
        "redirects to its own port",
        "location /<app>/ { proxy_pass http://<mounted>; } port_in_redirect off;",
        "slash-elsewhere",
    ),
    Shape(
        "redirects to http",
        f"location = /<app> {{ return 301 http://$host:$server_port/<app>/; }} {_KEEP.replace('mounted', 'headers')}",
        "slash-elsewhere",
        apps=("flask", "pyramid"),
        headers=_SECURE,
        secure=True,
    ),
    Shape("has no location without the slash", f"location = /<app> {{ return 404; }} {_KEEP}", "slash-404", "likely"),
    Shape("has no boundary", "location /<app> { proxy_pass http://<named-<app>>/; }", "no-boundary"),
    Shape(
        "has no boundary in front of a mount",
        "location /<app> { proxy_pass http://<mounted>; }",
        "no-boundary",
        "likely",
        ONE,
    ),
    Shape(
        "rewrites cookies twice",
        "location /<app>/ { proxy_pass http://<mounted>; proxy_cookie_path / /<app>/<app>/; }",
        "cookie-path",
        "likely",
        ("flask", "django", "pyramid"),
    ),
    Shape(
        "has an app that sets a cookie below its root",
        _KEEP.replace("mounted", "deep-cookie"),
        "cookie-pathless",
        "likely",
    ),
    Shape("has an app with a hard-coded link", _KEEP.replace("mounted", "hard"), "prefix-hard-coded", apps=ONE),
    Shape("has no server behind it", "location /<app>/ { proxy_pass http://127.0.0.1:1; }", "app-down", "likely"),
    Shape(
        "redirects in a circle",
        "location = /<app>/ { return 302 /<app>/in; } location = /<app>/in { return 302 /<app>/; }",
        "loop",
        "likely",
        ONE,
    ),
    Shape(
        "loses the scheme of an app that requires https",
        _KEEP.replace("mounted", "https"),
        "loop-scheme",
        "likely",
        secure=True,
    ),
    Shape("loses the scheme of links", _KEEP, "http-links", apps=ABSOLUTE, secure=True),
)

RIGHT = (
    Shape("keeps", _KEEP),
    Shape("keeps, with a location for each mount", "location /<app>/ { proxy_pass http://<mounted>; }"),
    Shape("keeps everything", "location / { proxy_pass http://<mounted>; }"),
    Shape("strips, and the server sets SCRIPT_NAME", "location /<app>/ { proxy_pass http://<named-<app>>/; }"),
    Shape(
        "strips one prefix in front of all mounts",
        "location ^~ /apps/ { proxy_pass http://<under-apps>/; }",
        prefix="/apps",
    ),
    Shape("keeps, over TLS", _KEEP.replace("mounted", "headers"), headers=_SECURE, secure=True),
)
