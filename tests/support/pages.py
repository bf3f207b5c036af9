"""A page of the manual as a test reads it: its sections, fenced blocks, links and anchors.

Read in this order: `Page` and `Block` are the text, `SectionRunner` does what the text tells a reader to do.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mountpoint import load_config
from support.running import needed
from support.waiting import TIMEOUT

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "mountpoint" / "docs"
SETTINGS = ROOT / "tests" / "docs" / "settings"

#: A command that starts with one of these goes on running; it is stopped at the end of its section.
SERVERS = re.compile(
    r"^(mountpoint serve(?!.*--help)|gunicorn|uwsgi|python \S*with_\w+\.py|python \S*without_a_file\.py)\b"
)


@dataclass(frozen=True)
class Block:
    """A fenced block; *line* is the line of its fence in the page, from 1."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def file(self) -> str | None:
        """The file that the block shows: its first line is a comment with the name of one, and nothing else."""
        match = re.fullmatch(r"# ([\w./-]+\.\w+)", self.first_line)
        return match[1] if match else None


@dataclass(frozen=True)
class Section:
    """The blocks below one heading of level 2, or above the first. A reader does them in order, in one folder."""

    page: str
    title: str
    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return f"{Path(self.page).stem}: {self.title}"


@dataclass(frozen=True)
class Page:
    """A page of Markdown at *path*."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> Page:
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return re.sub(r"^```.*?^```$", "", self.text, flags=re.MULTILINE | re.DOTALL)

    @property
    def headings(self) -> list[str]:
        return re.findall(r"^#{1,6} (.+)$", self.prose, re.MULTILINE)

    @property
    def anchors(self) -> set[str]:
        """The anchors that GitHub gives to the headings."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.headings}

    @property
    def links(self) -> list[str]:
        """Every target of a link or picture, in Markdown or in HTML, outside inline code."""
        prose = re.sub(r"`[^`\n]*`", "", self.prose)
        return re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:href|src|srcset)="([^"]+)"', prose)

    @property
    def sections(self) -> tuple[Section, ...]:
        found: list[tuple[str, list[Block]]] = [("opening", [])]
        lines = iter(enumerate(self.text.splitlines(), 1))
        for number, line in lines:
            if line.startswith("## "):
                found.append((line[3:], []))
            elif line.startswith("```"):
                text = []
                for _, inner in lines:
                    if inner == "```":
                        break
                    text.append(f"{inner}\n")
                else:
                    raise ValueError(f"{self.name}:{number}: the block has no end")
                found[-1][1].append(Block(self.name, number, line[3:].strip(), "".join(text)))
        return tuple(Section(self.name, title, tuple(blocks)) for title, blocks in found if blocks)


def manual() -> list[Page]:
    """Return README.md and every page of the manual."""
    return [Page.read(path) for path in (ROOT / "README.md", *sorted(MANUAL.glob("*.md")))]


@dataclass(frozen=True)
class Settings:
    """The needs of a page, from ``tests/docs/settings/<page>.py``, a file that need not exist.

    Such a file may define

    ``NOT_RUN``  ``{first line of a block, or a line "$ command": why no test can run it}``
    ``FILES``    ``{name: text}``, files that the reader of the page has; written for each section
    ``COPIES``   ``{name: path in the repository}``, folders and files that are copied for each section
    ``NAMES``    ``{name: value}``, names that the page's Python code takes as given
    ``NEEDS``    ``{title of a section: module}``; the test of the section is skipped where the module is not installed
    ``CHECKS``   ``{language: function(block, folder)}``, for a language that `SectionRunner` does not know
    """

    not_run: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, page: str) -> Settings:
        file = SETTINGS / f"{Path(page).stem.replace('-', '_').lower()}.py"
        if not file.exists():
            return cls()
        module = runpy.run_path(str(file))
        unknown = {name for name in module if name.isupper()} - {
            "NOT_RUN",
            "FILES",
            "COPIES",
            "NAMES",
            "NEEDS",
            "CHECKS",
        }
        assert not unknown, f"{file}: {unknown}"
        return cls(**{name.lower(): module[name] for name in module if name.isupper()})


class SectionRunner:
    """Does what one section of a page says, in *folder*.

    The one change to the text: port 8080, which another test may be using, becomes a free port of four digits.

    ``console``  each ``$ command`` is run by bash, and its stdout and stderr together must be what is shown. ``...``
                 stands for anything, on a line of its own for any number of lines. The time of a log line stands for
                 any time. A server (`SERVERS`) goes on running; its log must begin with the shown lines. ``$?`` is the
                 exit code of the command before
    ``toml``     loads with `load_config`; folders that it names are made. A file, if its first line is ``# name.toml``
    ``python``   runs, with the names that blocks before it in the section have defined. A file, as above, is imported
                 by the commands that follow
    ``pycon``    runs as a doctest
    ``nginx``    passes ``nginx -t``, inside the ``http``, ``server`` or ``location`` that it lacks
    ``json``     parses
    ``text``     is not code. Another language needs an entry in the page's settings
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.port = _free_port()
        self.names = dict(settings.names)
        self.code = 0
        self.servers: list[tuple[subprocess.Popen[bytes], Path, Block]] = []
        for name, source in settings.copies.items():
            self._copy(ROOT / source, self._path(name))
        for name, text in settings.files.items():
            self._path(name).write_text(self._ported(text), encoding="utf-8")

    def run(self, section: Section) -> None:
        if section.title in self.settings.needs:
            pytest.importorskip(self.settings.needs[section.title])
        try:
            for block in section.blocks:
                if block.first_line in self.settings.not_run:
                    continue
                if block.file and block.language != "console":
                    self._path(block.file).write_text(self._ported(block.text), encoding="utf-8")
                check = self.settings.checks.get(block.language) or getattr(self, f"_{block.language}", None)
                if check is None:
                    pytest.fail(f"{block.place}: no test runs a block of {block.language!r}; see SectionRunner")
                check(*((block, self.folder) if block.language in self.settings.checks else (block,)))
        finally:
            self._stop_servers()

    # -------------------------------------------------------------------------------------------------- the languages

    def _text(self, block: Block) -> None:
        """Nothing to run: a drawing, or a form of words."""

    def _json(self, block: Block) -> None:
        json.loads(block.text)

    def _toml(self, block: Block) -> None:
        text = self._ported(block.text)
        known = ("mounts", "defaults", "server", "proxy", "logging", "doctor", "status")
        if not set(tables := tomllib.loads(text)) <= set(known):
            return  # another program's file: it parses
        mounts = tables.setdefault("mounts", {})
        if not mounts:
            text += '\n[mounts]\n"/" = "app"\n'
        with tempfile.TemporaryDirectory() as name:
            folder = self.folder if block.file else Path(name)
            for mount in [*mounts.values(), tables.get("defaults", {})]:
                keys = {"app": mount} if isinstance(mount, str) else mount
                root = folder / keys.get("root", ".")
                root.mkdir(parents=True, exist_ok=True)
                (root / keys.get("app", "app").partition(":")[0]).parent.mkdir(parents=True, exist_ok=True)
            file = folder / "mounts.toml" if not block.file else folder / block.file
            if not block.file:
                file.write_text(text, encoding="utf-8")
            assert load_config(file).mounts, block.place

    def _python(self, block: Block) -> None:
        code = compile(self._ported(block.text), block.place, "exec")
        if not block.file:
            exec(code, self.names)

    def _pycon(self, block: Block) -> None:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        test = doctest.DocTestParser().get_doctest(self._ported(block.text), self.names, block.place, block.place, 0)
        output: list[str] = []
        doctest.DocTestRunner(optionflags=flags).run(test, out=output.append, clear_globs=False)
        self.names.update(test.globs)
        assert not output, "".join(output)

    def _nginx(self, block: Block) -> None:
        program = needed("nginx", "nginx-light")
        text = self._ported(block.text)
        if "server {" not in text:
            text = f"server {{\nlisten 80;\n{text}\n}}"
        if "http {" not in text:
            text = f"http {{\n{text}\n}}"
        with tempfile.TemporaryDirectory() as name:
            ports = re.sub(r"(listen (?:\S+:)?)(?:80|443)\b", rf"\g<1>{_free_port()}", text)
            user = "user root;" if os.geteuid() == 0 else ""
            file = Path(name, "nginx.conf")
            file.write_text(f"{user}\npid {name}/pid;\nevents {{}}\n{ports}\n", encoding="utf-8")
            command = [program, "-t", "-q", "-p", name, "-c", str(file), "-e", f"{name}/error.log"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
            assert done.returncode == 0, f"{block.place}: {done.stderr}"

    def _console(self, block: Block) -> None:
        for line, written, output in commands(block):
            if f"$ {written}" in self.settings.not_run:
                continue
            place, command, shown = f"{block.page}:{line}", self._ported(written), self._ported(output)
            if SERVERS.match(command):
                self._serve(command, shown, block)
                continue
            # A subshell that exits with the last code is what sets $? for this command.
            done = subprocess.run(
                ["bash", "-c", f"(exit {self.code})\n{command}"],
                cwd=self.folder,
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=2 * TIMEOUT,
            )
            self.code = done.returncode
            found = done.stdout.decode()
            if found and not found.endswith("\n"):
                found += "\n"  # a page shows the next command on a line of its own
            assert _pattern(shown).fullmatch(found), f"{place}: $ {command}\n{_difference(shown, found)}"

    def _serve(self, command: str, shown: str, block: Block) -> None:
        if command.startswith("mountpoint serve") and "--listen" not in command:
            table = next((word for word in command.split() if word.endswith(".toml")), "mounts.toml")
            if (self.folder / table).exists() and "listen" not in (self.folder / table).read_text():
                command += f" --listen 127.0.0.1:{self.port}"  # the default is 8080
        log = self.folder / f".log-{len(self.servers)}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.servers.append((process, log, block))
        deadline = time.monotonic() + TIMEOUT
        while not (self._listens() and _pattern(shown).match(log.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{block.place}: $ {command}\n{_difference(shown, log.read_text())}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def _stop_servers(self) -> None:
        for process, log, block in reversed(self.servers):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                pytest.fail(f"{block.place}: the server had to be killed\n{log.read_text()}")

    # -------------------------------------------------------------------------------------------------------- helpers

    def _environment(self) -> dict[str, str]:
        """The reader's shell: this interpreter's commands come first, and the line width is that of the page."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"])
        return {**os.environ, "PATH": path, "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}

    def _path(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".venv"))  # the environments of an example
        else:
            shutil.copy(source, target)
        for file in target.rglob("*") if target.is_dir() else [target]:
            if file.suffix in (".toml", ".py", ".conf"):
                file.write_text(self._ported(file.read_text(encoding="utf-8")), encoding="utf-8")

    def _ported(self, text: str) -> str:
        return re.sub(r"\b8080\b", str(self.port), text)


def commands(block: Block) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the command and the shown output of each command in a console block.

    A command goes on in the next line where its line ends with a backslash.
    """
    lines = list(enumerate(block.text.splitlines(keepends=True), block.line + 1))
    assert lines, f"{block.place}: the block is empty"
    assert lines[0][1].startswith("$ "), f"{block.place}: a console block begins with $ and a command"
    position = 0
    while position < len(lines):
        number, line = lines[position]
        command = line[2:]
        while command.endswith("\\\n"):
            position += 1
            command += lines[position][1]
        shown = []
        position += 1
        while position < len(lines) and not lines[position][1].startswith("$ "):
            shown.append(lines[position][1])
            position += 1
        yield number, command.rstrip("\n"), "".join(shown)


_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


def _pattern(shown: str) -> re.Pattern[str]:
    """Return what matches *shown*: ``...`` is anything, and the time of a log line is any time."""
    parts = []
    for line in shown.splitlines(keepends=True):
        if line.strip() == "...":
            parts.append("(?:.*\n)*?")
            continue
        for piece in re.split(rf"(\.\.\.|{_TIME})", line):
            if piece == "...":
                parts.append("[^\n]*?")
            else:
                parts.append(_TIME if re.fullmatch(_TIME, piece) else re.escape(piece))
    return re.compile("".join(parts))


def _difference(shown: str, found: str) -> str:
    return f"--- the page shows\n{shown}--- the command prints\n{found}---"


def _free_port() -> int:
    """Return a free port of four digits, as 8080 has: tables in the output keep their width."""
    start = 1100 + os.getpid() * 7 % 8000
    for port in [*range(start, 9999), *range(1100, start)]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
