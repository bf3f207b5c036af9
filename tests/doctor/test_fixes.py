"""What the doctor says to Apache and Caddy, written into their configuration as it is printed: it mends them."""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

import pytest
from support.proxies import Front, listens, prepare, reserved_ports, wait_until
from support.running import children

from mountpoint.config.reader import load_config
from mountpoint.doctor.by_url import examine_url
from mountpoint.proxyconf import RenderOptions, proxy_config

if sys.platform == "win32":
    pytest.skip("the proxies are those of Linux and macOS", allow_module_level=True)


class Wrong(NamedTuple):
    """The *lines* of the site, ``<name>`` for a stack of `sites.py`; the fix is put in their place, or where FIX is."""

    symptom: str
    certainty: str
    lines: str
    app: str = "flask"


APACHE = (
    Wrong("prefix-missing", "sure", 'ProxyPass "/flask/" "http://<bare-flask>/"'),
    Wrong("proxy-strips", "sure", 'ProxyPass "/flask/" "http://<mounted>/"'),
    Wrong("no-location", "likely", 'ProxyPass "/other/" "http://<mounted>/other/"'),
    Wrong("loop-slash", "likely", 'ProxyPass "/flask/" "http://<mounted>/flask"'),
    Wrong("no-boundary", "sure", 'ProxyPassMatch "^/flask(.*)$" "http://<named-flask>/$1"'),
    Wrong("slash-404", "likely", 'ProxyPass "/flask/" "http://<mounted>/flask/"\nFIX'),
    Wrong(
        "private-host",
        "likely",
        'ProxyPreserveHost Off\nFIX\nProxyPass "/pyramid" "http://<mounted>/pyramid"',
        app="pyramid",
    ),
)
CADDY = (
    Wrong("prefix-missing", "sure", "handle_path /flask/* {\n\treverse_proxy <bare-flask>\n}"),
    Wrong("proxy-strips", "sure", "handle_path /flask/* {\n\treverse_proxy <mounted>\n}"),
    Wrong("no-location", "likely", "handle /other/* {\n\treverse_proxy <mounted>\n}"),
    Wrong("no-boundary", "sure", "handle_path /flask* {\n\treverse_proxy <named-flask>\n}"),
    Wrong("slash-404", "likely", "handle /flask/* {\n\treverse_proxy <mounted>\n}\nFIX"),
    Wrong(
        "private-host",
        "likely",
        "handle {\nreverse_proxy <mounted> {\nheader_up Host {upstream_hostport}\nFIX\n}\n}",
        app="pyramid",
    ),
)
EACH = [
    pytest.param(proxy, wrong, marks=getattr(pytest.mark, proxy), id=f"{proxy}: {wrong.symptom}")
    for proxy, all_wrong in (("apache", APACHE), ("caddy", CADDY))
    for wrong in all_wrong
]


@pytest.fixture
def look(tmp_path, stacks):
    """Return ``look(proxy, lines, app)``, which starts *proxy* with a site of those lines, and looks at *app* there."""
    (tmp_path / "mounts.toml").write_text('[mounts]\n"/flask" = "site_app:app"\n')
    wish = RenderOptions(server_name="localhost", standalone=True)
    config = load_config(tmp_path / "mounts.toml")

    def look(proxy, lines, app):
        lines = re.sub(r"<([a-z-]+)>", lambda match: f"127.0.0.1:{stacks[match[1]]}", lines)
        if proxy == "apache":
            head = proxy_config(config, proxy, wish).text.partition("<Proxy ")[0]
            text = f"{head}<VirtualHost *:80>\nServerName localhost\nProxyPreserveHost On\n{lines}\n</VirtualHost>\n"
        else:
            text = f"http://localhost {{\n{lines}\nhandle * {{\n\terror 404\n}}\n}}\n"
        with children(Front) as launch, reserved_ports() as ports:
            command, env = prepare(proxy, text, tmp_path / proxy, ports)
            wait_until(launch(command, env=env), lambda: listens(ports["80"]))
            return examine_url(f"http://localhost:{ports['80']}/{app}/")

    return look


@pytest.mark.parametrize(("proxy", "wrong"), EACH)
def test_what_it_says_mends_it(look, proxy, wrong):
    report = look(proxy, wrong.lines.replace("FIX", ""), wrong.app)
    [found] = [found for found in report.findings if (found.symptom, found.certainty) == wrong[:2]]
    fix = found.fix.replace("APP", "<mounted>")
    again = look(proxy, wrong.lines.replace("FIX", fix) if "FIX" in wrong.lines else fix, wrong.app)
    assert again.findings == [], f"{report.as_text()}\n\n{again.as_text()}"
