"""Build the package as a release would, look into both archives, and run the wheel in a clean environment.

    python tests/package.py FOLDER

The tox environment ``package`` runs it. It needs ``build`` and ``twine``, and an index to install from.
"""

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
APP = "def app(environ, start_response):\n    start_response('200 OK', [('Content-Length', '2')])\n    return [b'ok']\n"
TABLE = '[mounts]\n"/hello" = "hello.py:app"\n'


def run(*command, cwd):
    print("+", *command, flush=True)
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def shipped():
    """Return the files of the package that both archives must hold: all but what Python makes itself."""
    folder = ROOT / "mountpoint"
    files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {file.relative_to(ROOT).as_posix() for file in files}


def require(found, expected, archive):
    missing = sorted(expected - found)
    assert not missing, f"{archive.name} lacks {missing}"


def main(folder):
    run(sys.executable, "-m", "build", "--outdir", folder, str(ROOT), cwd=ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=folder)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    require(names, shipped(), wheel)
    assert any(name.endswith(".dist-info/licenses/mountpoint/LICENSE") for name in names), sorted(names)
    with tarfile.open(sdist) as archive:
        require({name.partition("/")[2] for name in archive.getnames()}, shipped(), sdist)

    clean = folder / "clean"
    venv.create(clean, with_pip=True)
    scripts = clean / ("Scripts" if sys.platform == "win32" else "bin")
    run(scripts / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    (folder / "hello.py").write_text(APP, encoding="utf-8")
    (folder / "mounts.toml").write_text(TABLE, encoding="utf-8")
    mountpoint = scripts / "mountpoint"
    assert run(mountpoint, "--version", cwd=folder).startswith("mountpoint ")
    assert "1 mount, 0 problems" in run(mountpoint, "check", cwd=folder)
    assert "SCRIPT_NAME  /hello" in run(mountpoint, "resolve", "/hello/x", cwd=folder)
    assert "getting-started" in run(mountpoint, "docs", cwd=folder)
    assert "0 sure, 0 likely" in run(mountpoint, "doctor", cwd=folder)
    print("the package is complete, and its wheel runs")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as made:
        main(Path(made))
