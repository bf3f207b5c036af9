"""Make the virtual environment and the data of each app in this folder. It needs an index of packages, such as PyPI.

    python3 install.py              # all apps
    python3 install.py shop radicale

It takes uv if that is installed, which is faster, and otherwise venv and pip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent.resolve()
DJANGO = ("shop", "blog")
APPS = sorted(file.parent.name for file in FOLDER.glob("*/requirements.txt"))


def install(name: str) -> None:
    folder = FOLDER / name
    python, requirements = folder / ".venv" / "bin" / "python", folder / "requirements.txt"
    if uv := shutil.which("uv"):
        run(uv, "venv", "--quiet", "--clear", "--python", interpreter(folder), folder / ".venv")
        run(uv, "pip", "install", "--quiet", "--python", python, "--requirement", requirements)
    else:
        run(interpreter(folder), "-m", "venv", "--clear", folder / ".venv")
        run(python, "-m", "pip", "install", "--quiet", "--requirement", requirements)
    if name in DJANGO:
        if not (folder / "manage.py").exists():
            run(python, "-m", "django", "startproject", "mysite", folder)
        run(python, "manage.py", "migrate", "--verbosity=0", "--settings=production", cwd=folder)
        run(python, "manage.py", "collectstatic", "--no-input", "--verbosity=0", "--settings=production", cwd=folder)
    print(f"{name}: installed", flush=True)


def interpreter(folder: Path) -> str:
    """Return the Python that ``.python-version`` in *folder* names; without it, or if it is missing, this one."""
    file = folder / ".python-version"
    if file.exists():
        for found in candidates(file.read_text(encoding="utf-8").strip()):
            if subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0:
                return str(found)
        print(f"{folder.name}: no Python {file.read_text(encoding='utf-8').strip()}, so it gets this one", flush=True)
    return sys.executable


def candidates(version: str) -> list[str | Path]:
    on_path = shutil.which(f"python{version}")
    return [*([on_path] if on_path else []), *Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python")]


def run(*command: str | Path, cwd: Path = FOLDER) -> None:
    subprocess.run(command, cwd=cwd, check=True)


if __name__ == "__main__":
    os.environ.setdefault("UV_NATIVE_TLS", "1")  # uv trusts the certificates that the system trusts
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(install, sys.argv[1:] or APPS):
            pass
