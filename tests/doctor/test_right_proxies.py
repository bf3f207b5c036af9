"""Each of five proxies, with the output of `mountpoint proxy-config`, in front of five frameworks: all are healthy."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from support.proxies import PROXIES, Front, make_certificate, prepare, reserved_ports, version_of, wait_until
from support.running import MountpointServe, children
from support.shapes import FIVE

from mountpoint.config.address import listen_address
from mountpoint.config.reader import load_config
from mountpoint.doctor.by_url import examine_url
from mountpoint.proxyconf import RenderOptions, proxy_config

if sys.platform == "win32":
    pytest.skip("these proxies run on Linux and macOS only", allow_module_level=True)

SITES = (Path(__file__).parent.parent / "support" / "sites.py").as_posix()
MOUNTS = "".join(f'"/{name}" = "{SITES}:{name}_app()"\n' for name in FIVE)
TABLE = f"""
[server]
max_request_body_size = 65536

[doctor]
key = "0123456789abcdef0123456789abcdef"

[defaults]
cookies = "scoped"  # two of the apps name their cookie "session"

[mounts]
{MOUNTS}
[proxy]
trusted = ["127.0.0.1"]
x_for = 1
x_proto = 1
x_host = 1
x_port = 1
"""
#: By shape: the keys that it needs in ``[proxy]``, and the public prefix in front of its mounts.
SHAPES = {
    "keep": ("", ""),
    "strip": ("x_prefix = 1\nrestore_prefix = true\n", ""),
    "strips": ('strips = "/apps"\n', "/apps"),
}


class Behind(NamedTuple):
    """A running `mountpoint serve`: the folder of its table, and its port."""

    folder: Path
    port: int


class Proxied(NamedTuple):
    """A proxy in front of `mountpoint serve`. ``url`` does not end with a slash."""

    proxy: str
    url: str
    folder: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def behind(tmp_path_factory) -> Iterator[Callable[[str], Behind]]:
    """Return ``behind(shape)``: it serves the table of that shape, and starts each server once."""
    started: dict[str, Behind] = {}
    with children(MountpointServe) as launch:

        def behind(shape: str) -> Behind:
            if shape not in started:
                folder = tmp_path_factory.mktemp("behind")
                (folder / "mounts.toml").write_text(TABLE + SHAPES[shape][0])
                command = [sys.executable, "-m", "mountpoint", "serve", "mounts.toml", "--listen", "127.0.0.1:0"]
                child = launch(command, cwd=folder)
                child.wait_for("serving on http")
                started[shape] = Behind(folder, child.port)
            return started[shape]

        yield behind


CASES = [
    pytest.param((proxy, shape, scheme), marks=getattr(pytest.mark, proxy), id=f"{proxy}-{shape}-{scheme}")
    for proxy in PROXIES
    for shape, scheme in (("keep", "http"), ("strip", "http"), ("strips", "http"), ("keep", "https"))
]


@pytest.fixture(scope="module", params=CASES)
def proxied(request, behind, tmp_path_factory) -> Iterator[Proxied]:
    proxy, shape, scheme = request.param
    served = behind(shape)
    tls = request.getfixturevalue("certificate") if scheme == "https" else None
    options = RenderOptions(
        server_name="localhost",
        shape="keep" if shape == "keep" else "strip",
        tls=tls and (str(tls[0]), str(tls[1])),
        upstreams=[listen_address(f"127.0.0.1:{served.port}")],
        standalone=True,
        proxy_version=version_of(proxy),
    )
    configuration = proxy_config(load_config(served.folder / "mounts.toml"), proxy, options)
    assert configuration.advice == ""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        if tls:
            patch.setenv("SSL_CERT_FILE", str(tls[0]))
        launch, ports = stack.enter_context(children(Front)), stack.enter_context(reserved_ports())
        command, env = prepare(proxy, configuration.text, tmp_path_factory.mktemp("proxy") / proxy, ports)
        front = launch(command, env=env)
        front.url = f"{scheme}://localhost:{ports['443' if tls else '80']}"
        if tls:
            front.context = ssl.create_default_context(cafile=str(tls[0]))
        prefix = SHAPES[shape][1]
        wait_until(front, lambda: responds(front, f"{prefix}/flask/"))
        yield Proxied(proxy, front.url + prefix, served.folder)


def responds(front: Front, target: str) -> bool:
    """Whether the proxy forwards *target*. It may listen before it has read its configuration or its certificate."""
    try:
        return front.fetch(target).status == 200
    except (ConnectionError, ssl.SSLError):
        return False


def test_a_right_proxy_has_no_finding_with_table_and_key(proxied):
    command = [sys.executable, "-m", "mountpoint", "doctor", "mounts.toml", "--url", f"{proxied.url}/", "--json"]
    done = subprocess.run(command, cwd=proxied.folder, capture_output=True, text=True, check=False, timeout=120)
    report = json.loads(done.stdout)
    found = {(finding["symptom"], finding["certainty"]) for finding in report["findings"]}
    # Only nginx reads a chunked body before it forwards it. Caddy counts the bytes as it forwards them, so mountpoint
    # may reject the body first. The other proxies do not count the bytes.
    streams = proxied.proxy != "nginx"
    assert found <= ({("large-body", "note")} if streams else set()), done.stdout
    assert (done.returncode, report["healthy"], len(report["mounts"])) == (0, True, len(FIVE))
    # Nothing else is skipped. A server that rejects a body may close the connection before it responds.
    expected = ("links to other hosts (1)", "bodies over the limit: no response")
    assert [what for what in report["not_looked_at"] if not any(part in what for part in expected)] == []


@pytest.mark.parametrize("app", FIVE)
def test_a_right_proxy_has_no_finding_by_its_url_alone(proxied, app):
    report = examine_url(f"{proxied.url}/{app}/")
    assert report.findings == [], report.as_text()
    assert report.exit_code == 0
