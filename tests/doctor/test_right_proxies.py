"""The five proxies, with what `mountpoint proxy-config` prints for each, before five frameworks: all are healthy."""

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
from support.proxies import PROXIES, Front, make_certificate, prepare, reserved_ports, wait_until
from support.running import MountpointServe, children
from support.shapes import FIVE

from mountpoint.config.address import listen_address
from mountpoint.config.reader import load_config
from mountpoint.doctor.run import examine_url
from mountpoint.proxyconf import RenderOptions, proxy_config

if sys.platform == "win32":
    pytest.skip("the proxies are those of Linux and macOS", allow_module_level=True)

SITES = (Path(__file__).parent.parent / "support" / "sites.py").as_posix()
MOUNTS = "".join(f'"/{name}" = "{SITES}:{name}_app()"\n' for name in FIVE)
TABLE = f"""
[server]
max_request_body_size = 65536

[doctor]
key = "0123456789abcdef0123456789abcdef"

[defaults]
cookies = "scoped"  # two of them call theirs "session"

[mounts]
{MOUNTS}
[proxy]
trusted = ["127.0.0.1"]
x_for = 1
x_proto = 1
x_host = 1
x_port = 1
"""
#: What each shape adds to ``[proxy]``, and what stands in front of its mounts.
SHAPES = {
    "keep": ("", ""),
    "strip": ("x_prefix = 1\nrestore_prefix = true\n", ""),
    "strips": ('strips = "/apps"\n', "/apps"),
}


class Behind(NamedTuple):
    """`mountpoint serve` with a table, and the folder in which that lies."""

    folder: Path
    port: int


class Proxied(NamedTuple):
    """A proxy in front of that; ``url`` has no slash at its end."""

    proxy: str
    url: str
    folder: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def behind(tmp_path_factory) -> Iterator[Callable[[str], Behind]]:
    """Return ``behind(shape)``, which serves the table of that shape; each once."""
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


EACH = [
    pytest.param((proxy, shape, scheme), marks=getattr(pytest.mark, proxy), id=f"{proxy}-{shape}-{scheme}")
    for proxy in PROXIES
    for shape, scheme in (("keep", "http"), ("strip", "http"), ("strips", "http"), ("keep", "https"))
]


@pytest.fixture(scope="module", params=EACH)
def proxied(request, behind, tmp_path_factory) -> Iterator[Proxied]:
    proxy, shape, scheme = request.param
    served = behind(shape)
    tls = request.getfixturevalue("certificate") if scheme == "https" else None
    wish = RenderOptions(
        server_name="localhost",
        shape="keep" if shape == "keep" else "strip",
        tls=tls and (str(tls[0]), str(tls[1])),
        upstreams=[listen_address(f"127.0.0.1:{served.port}")],
        standalone=True,
    )
    configuration = proxy_config(load_config(served.folder / "mounts.toml"), proxy, wish)
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
        wait_until(front, lambda: answers(front, f"{prefix}/flask/"))
        yield Proxied(proxy, front.url + prefix, served.folder)


def answers(front: Front, target: str) -> bool:
    """Whether it hands on what it is asked for. It may listen before it has read its file, or its certificate."""
    try:
        return front.fetch(target).status == 200
    except (ConnectionError, ssl.SSLError):
        return False


def test_with_the_table_and_the_key_a_right_proxy_has_no_finding(proxied):
    command = [sys.executable, "-m", "mountpoint", "doctor", "mounts.toml", "--url", f"{proxied.url}/", "--json"]
    done = subprocess.run(command, cwd=proxied.folder, capture_output=True, text=True, check=False, timeout=120)
    report = json.loads(done.stdout)
    found = {(finding["symptom"], finding["certainty"]) for finding in report["findings"]}
    # What comes in chunks only nginx counts before it passes any of it on. Caddy counts while it does, and mountpoint,
    # which refuses such a body in any case, may be the first to say so; the others do not count it.
    streams = proxied.proxy != "nginx"
    assert found <= ({("large-body", "note")} if streams else set()), done.stdout
    assert (done.returncode, report["healthy"], len(report["mounts"])) == (0, True, len(FIVE))
    # All was looked at, the probes that need the key too. Whoever refuses a body may hang up before it is answered.
    expected = ("1 links to other hosts", "bodies over the limit: no answer")
    assert [what for what in report["not_looked_at"] if not any(part in what for part in expected)] == []


@pytest.mark.parametrize("app", FIVE)
def test_by_its_address_alone_a_right_proxy_has_no_finding(proxied, app):
    report = examine_url(f"{proxied.url}/{app}/")
    assert report.findings == [], report.as_text()
    assert report.exit_code == 0
