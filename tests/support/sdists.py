"""The source archives of other servers, whose tests run against `mountpoint serve`. Nothing of theirs is committed.

pip fetches an archive from the index that it is configured for. The archive is kept in pytest's cache folder, and is
used only if its checksum is the pinned one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


class Unavailable(Exception):
    """The archive could not be fetched."""


def fetch(name: str, version: str, sha256: str, cache: Path) -> Path:
    """Return the archive of *name* from *cache*, into which pip downloads it if it is missing. Raises `Unavailable`."""
    archive = cache / f"{name}-{version}.tar.gz"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            # pip also runs the archive's build backend, to read its metadata. No option prevents that.
            options = ["--quiet", "--no-deps", "--no-binary", name, "--dest", folder]
            child = subprocess.run(
                [*_pip(), "download", *options, f"{name}=={version}"], capture_output=True, text=True, check=False
            )
            if child.returncode:
                raise Unavailable(f"pip cannot download {name} {version}: {child.stderr}")
            (Path(folder) / archive.name).replace(archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise AssertionError(f"{archive} has the SHA-256 {found}, expected {sha256}")
    return archive


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack *archive* into *folder*. Return the folder that it consists of."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if program := shutil.which("pip", path=os.environ.get("PATH", os.defpath)):
        return [program]
    raise Unavailable("pip is not installed")
