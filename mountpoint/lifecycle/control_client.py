"""Ask the server of a table to do something, through its control socket."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # the command line imports this module elsewhere only

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ..config.control_path import control_in
from ..config.toml_file import DEFAULT_FILE, read_toml
from ..errors import ConfigError, ControlError, UnreadableError
from .control_connection import GREETING_SECONDS, Connection
from .control_place import known_folders, socket_name, sockets_in

_SEARCH_SECONDS = 1.0  # the same, for a server that may serve another table
_ATTEMPTS = 3  # to connect to servers that end in the same moment
_AGAIN_SECONDS = 0.1  # between two attempts while one process hands over to another


def ask(
    file: str | Path,
    request: Mapping[str, Any],
    *,
    control: str | Path | None = None,
    timeout: float,
    on_line: Callable[[str], object] = lambda line: None,
) -> Mapping[str, Any]:
    """Send *request* to the server of the table *file*, and return the outcome.

    *control* is the path of its control socket, by default that of the file. *on_line* is called with each line of
    progress. Raises `ControlError` if no server answers within *timeout* seconds, and `UnreadableError` if *file*
    cannot be read.
    """
    deadline = time.monotonic() + timeout
    while True:
        with closing(connect(file, control)) as connection:
            outcome = connection.ask(request, deadline, on_line)
        if not outcome.get("again") or time.monotonic() + _AGAIN_SECONDS > deadline:
            return outcome
        time.sleep(_AGAIN_SECONDS)


def connect(file: str | Path, control: str | Path | None = None) -> Connection:
    """Return a connection to the server of the table *file*. Raises the same exceptions as `ask`."""
    search = _Search(Path(file))
    if control is not None:
        found = search.at([Path(control)])
    else:
        found = search.configured() or search.default() or search.elsewhere()
    if found is None:
        raise search.failure()
    return found


def _connection(path: Path) -> Connection:
    for _ in range(_ATTEMPTS):
        with suppress(ConnectionResetError, ConnectionAbortedError):  # that server has just ended
            return Connection(path, GREETING_SECONDS)
    return Connection(path, GREETING_SECONDS)


class _Search:
    """Looks for the server of the table *file*, and keeps the reason why it was not found."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tried: list[Path] = []
        self._others: list[str] = []  # the tables that have a server
        self._reason = ""

    def configured(self) -> Connection | None:
        """Look at the path in the file. Raises `UnreadableError` if the file cannot be read."""
        try:
            value = read_toml(self._file, DEFAULT_FILE)["server"]["control"]
            if path := control_in(self._file.absolute().parent, value):
                return self.at([path])
            self._reason = "it has control = false; remove that line, and start the server again"
        except UnreadableError:
            raise
        except (KeyError, TypeError):  # the default path
            pass
        except (ConfigError, ValueError) as error:  # the server may have started before this mistake
            self._reason = str(error)
        return None

    def default(self) -> Connection | None:
        """Look at the default path in each folder that may have it."""
        return self.at([folder / socket_name(self._file) for folder in known_folders()])

    def elsewhere(self) -> Connection | None:
        """Look at all sockets: the server may have started before a symbolic link to the file was changed."""
        found: list[Connection] = []
        for path in [path for folder in known_folders() for path in sockets_in(folder) if path not in self._tried]:
            try:
                connection = Connection(path, _SEARCH_SECONDS)
            except (OSError, ControlError):
                continue
            file = str(connection.greeting.get("file"))
            if file == str(self._file.absolute()):
                found.append(connection)
            else:
                connection.close()
                self._others.append(file)
        return self._only(found)

    def at(self, paths: Sequence[Path]) -> Connection | None:
        """Return a connection to the server at one of *paths*, None without one."""
        found = []
        for path in paths:
            self._tried.append(path)
            try:
                found.append(_connection(path))
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
                pass
            except PermissionError:
                self._reason = f"only the user of the server and root may use {path}; run the command as one of them"
            except OSError as error:
                self._reason = f"{path} cannot be used: {error.strerror or error}"
        return self._only(found)

    def failure(self) -> ControlError:
        """Return the error with the places where no server was found, and with advice."""
        if self._reason:
            return ControlError(f"{self._file}: the server cannot be reached: {self._reason}")
        where = " or ".join(map(str, self._tried[:3]))
        others = f"; other tables have a server: {', '.join(self._others[:3])}" if self._others else ""
        return ControlError(
            f"{self._file}: no server runs for this table, since nothing listens on {where}; "
            f'start one with "mountpoint serve {self._file}"{others}'
        )

    def _only(self, found: Sequence[Connection]) -> Connection | None:
        if len(found) < 2:
            return found[0] if found else None
        processes = ", ".join(f"process {one.greeting.get('pid')} at {one.path}" for one in found)
        for one in found:
            one.close()
        raise ControlError(f"{self._file}: several servers answer: {processes}; choose one with --control PATH")
