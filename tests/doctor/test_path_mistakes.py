"""Apache, Caddy and HAProxy that change the path of a mount: the doctor names the fault, or is not sure."""

from __future__ import annotations

import re
import sys

import pytest
from support.proxies import Front, listens, prepare, reserved_ports, wait_until
from support.running import children

from mountpoint.config.reader import load_config
from mountpoint.doctor.by_url import examine_url
from mountpoint.proxyconf import RenderOptions, proxy_config

if sys.platform == "win32":
    pytest.skip("these proxies run on Linux and macOS only", allow_module_level=True)

APP = "http://<mounted>"
STRIPS, DROPS, UNSURE = ("proxy-strips", "sure"), ("loop-slash", "likely"), ("proxy-keeps", "likely")
ALL_TO_ONE, BOUNDARY = ("same-page", "likely"), ("no-boundary", "likely")

#: By proxy: the lines of a wrong configuration, and the finding for each. UNSURE is the usual cause of a 404.
WRONG = {
    "apache": {
        f'ProxyPass "/flask/" "{APP}/"': STRIPS,
        f'ProxyPass "/flask" "{APP}"': STRIPS,
        f'<Location "/flask/">\nProxyPass "{APP}/"\n</Location>': STRIPS,
        f'RewriteEngine On\nRewriteRule "^/flask(.*)$" "{APP}/$1" [P]': STRIPS,
        f'ProxyPass "/flask/" "{APP}/flask"': DROPS,
        f'ProxyPass "/flask" "{APP}/"': STRIPS,
        f'ProxyPass "/flask/" "{APP}"': UNSURE,
        'ProxyPass "/flask/" "http://127.0.0.1:1/flask/"': ("app-down", "likely"),
    },
    "caddy": {
        "handle_path /flask/* {\nreverse_proxy <mounted>\n}": STRIPS,
        "handle_path /flask* {\nreverse_proxy <mounted>\n}": STRIPS,
        "handle /flask/* {\nuri strip_prefix /flask\nreverse_proxy <mounted>\n}": STRIPS,
        "handle /flask/* {\nuri strip_suffix /\nreverse_proxy <mounted>\n}": DROPS,
        "handle /flask/* {\nrewrite * /flask{uri}\nreverse_proxy <mounted>\n}": UNSURE,
        "handle /flask/* {\nrewrite * /flask/\nreverse_proxy <mounted>\n}": ALL_TO_ONE,
        "handle /other/* {\nreverse_proxy <mounted>\n}": ("no-location", "likely"),
        "handle /flask/* {\nreverse_proxy <mounted>\n}": ("slash-404", "likely"),
    },
    "haproxy": {
        "http-request replace-path /flask/(.*) /\\1": STRIPS,
        "http-request replace-path /flask(.*) \\1": STRIPS,
        "http-request replace-path /flask(.*) /\\1": STRIPS,
        "http-request replace-path (.*)/ \\1": DROPS,
        "http-request set-path /flask%[path]": UNSURE,
        "http-request set-path /flask/": ALL_TO_ONE,
        "acl never always_false": BOUNDARY,
    },
}
CASES = [
    pytest.param(proxy, lines, *found, marks=getattr(pytest.mark, proxy), id=f"{proxy}: {lines}")
    for proxy, all_lines in WRONG.items()
    for lines, found in all_lines.items()
]


def configuration(proxy, lines, folder):
    """Return the configuration of *proxy* with *lines*. Caddy gets no rule for other paths, as in most files."""
    if proxy == "caddy":
        return f"http://localhost {{\n{lines}\n}}\n"
    if proxy == "apache":
        (folder / "mounts.toml").write_text('[mounts]\n"/flask" = "site_app:app"\n')
        options = RenderOptions(server_name="localhost", standalone=True)
        head = proxy_config(load_config(folder / "mounts.toml"), proxy, options).text.partition("<Proxy ")[0]
        return f"{head}<VirtualHost *:80>\nServerName localhost\nProxyPreserveHost On\n{lines}\n</VirtualHost>\n"
    timeouts = " ".join(f"\ntimeout {name} 9s" for name in ("connect", "client", "server"))
    return (
        f"defaults\nmode http{timeouts}\nfrontend front\nbind :80\nbind :::80\n"
        f"use_backend app if {{ path_beg /flask }}\nbackend app\n{lines}\nserver app <mounted>\n"
    )


@pytest.mark.parametrize(("proxy", "lines", "symptom", "certainty"), CASES)
def test_a_changed_path_has_its_symptom_and_no_other_sure_one(tmp_path, stacks, proxy, lines, symptom, certainty):
    text = configuration(proxy, lines, tmp_path)
    text = re.sub(r"<([a-z]+)>", lambda match: f"127.0.0.1:{stacks[match[1]]}", text)
    text = text.replace("<VirtualHost 127.0.0.1:80>", "<VirtualHost *:80>")
    with children(Front) as launch, reserved_ports() as ports:
        command, env = prepare(proxy, text, tmp_path / proxy, ports)
        wait_until(launch(command, env=env), lambda: listens(ports["80"]))
        report = examine_url(f"http://localhost:{ports['80']}/flask/")
    found = {(finding.symptom, finding.certainty) for finding in report.findings}
    assert (symptom, certainty) in found, report.as_text()
    assert {name for name, how in found if how == "sure"} <= {symptom}, report.as_text()
