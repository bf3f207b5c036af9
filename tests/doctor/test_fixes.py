"""Each fix for Apache and Caddy, written into a wrong configuration as it is printed, makes the site healthy."""

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
    pytest.skip("these proxies run on Linux and macOS only", allow_module_level=True)


class Wrong(NamedTuple):
    """A wrong configuration: its *lines*, and the finding that the doctor has to report.

    ``<name>`` stands for the address of that stack of `support/sites.py`. The fix replaces the word FIX, or without it
    all lines.
    """

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
CASES = [
    pytest.param(proxy, wrong, marks=getattr(pytest.mark, proxy), id=f"{proxy}: {wrong.symptom}")
    for proxy, all_wrong in (("apache", APACHE), ("caddy", CADDY))
    for wrong in all_wrong
]


@pytest.fixture
def look(tmp_path, stacks):
    """Return ``look(proxy, lines, app)``: it starts *proxy* with these lines, and returns the report about *app*."""
    (tmp_path / "mounts.toml").write_text('[mounts]\n"/flask" = "site_app:app"\n')
    options = RenderOptions(server_name="localhost", standalone=True)
    config = load_config(tmp_path / "mounts.toml")

    def look(proxy, lines, app):
        lines = re.sub(r"<([a-z-]+)>", lambda match: f"127.0.0.1:{stacks[match[1]]}", lines)
        if proxy == "apache":
            head = proxy_config(config, proxy, options).text.partition("<Proxy ")[0]
            text = f"{head}<VirtualHost *:80>\nServerName localhost\nProxyPreserveHost On\n{lines}\n</VirtualHost>\n"
        else:
            text = f"http://localhost {{\n{lines}\nhandle * {{\n\terror 404\n}}\n}}\n"
        with children(Front) as launch, reserved_ports() as ports:
            command, env = prepare(proxy, text, tmp_path / proxy, ports)
            wait_until(launch(command, env=env), lambda: listens(ports["80"]))
            return examine_url(f"http://localhost:{ports['80']}/{app}/")

    return look


@pytest.mark.parametrize(("proxy", "wrong"), CASES)
def test_the_fix_as_printed_makes_the_site_healthy(look, proxy, wrong):
    report = look(proxy, wrong.lines.replace("FIX", ""), wrong.app)
    [found] = [found for found in report.findings if (found.symptom, found.certainty) == wrong[:2]]
    fix = found.fix.replace("APP", "<mounted>")
    again = look(proxy, wrong.lines.replace("FIX", fix) if "FIX" in wrong.lines else fix, wrong.app)
    assert again.findings == [], f"{report.as_text()}\n\n{again.as_text()}"
