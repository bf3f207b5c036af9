"""``mountpoint top``: the status of a server, live in a terminal.

A thread asks the server, so that keys work while it does not answer.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ControlError, MountpointError, Problem, UsageError
from .lines import Line, Snapshot, Style
from .screen import View, press, screen
from .status import NO_SERVER, fetch, has_colours, require_known

_ASK_SECONDS = 1.0  # between two requests
_KEY_MILLISECONDS = 200  # for a key, before the screen is drawn again with a new answer


class Poller:
    """Polls the server for its snapshot in a thread.

    ``latest`` is the last snapshot, and the reason why the last request had no response, empty if it had one.
    """

    def __init__(self, ask: Callable[[], Snapshot], snapshot: Snapshot) -> None:
        self.latest: tuple[Snapshot, str] = (snapshot, "")
        self._ask = ask
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mountpoint-top", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop polling. A request that waits for its response ends with the process."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(_ASK_SECONDS):
            try:
                self.latest = (self._ask(), "")
            except (MountpointError, OSError) as error:  # also the file, or the working folder, may go and come back
                self.latest = (self.latest[0], str(error))


def top(file: str | Path, control: str | None) -> tuple[int, str]:
    """Show the status of the server of *file* until the user quits; return the exit code and a message for stderr.

    Raises `UsageError` without a terminal, and without the module curses.
    """
    advice = 'write "mountpoint status", which needs none'
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError([Problem("", f"expected a terminal, found a file or a pipe; {advice}")])
    try:
        import curses
    except ImportError:
        message = (
            'expected a Python with the module curses; write "mountpoint status"; on Windows, open the status page'
        )
        raise UsageError([Problem("", message)]) from None
    try:
        snapshot = _fetch_known(file, control)
    except ControlError as error:
        return NO_SERVER, str(error)
    poller = Poller(lambda: _fetch_known(file, control), snapshot)
    signal.signal(signal.SIGTERM, _exit)
    for name in ("COLUMNS", "LINES"):  # curses would keep this size when the window gets another one
        os.environ.pop(name, None)
    try:
        return curses.wrapper(_Display(curses, poller).run), ""
    except curses.error as error:
        raise UsageError([Problem("", f"expected a terminal that curses knows, found {error}; {advice}")]) from None
    finally:
        poller.stop()


def _fetch_known(file: str | Path, control: str | None) -> Snapshot:
    snapshot = fetch(file, control)
    require_known(snapshot)
    return snapshot


def _exit(number: int, frame: object) -> NoReturn:
    """End by an exception, so that the terminal is restored."""
    raise SystemExit(128 + number)


class _Display:
    """Draws the screen, and passes keys to `press`."""

    def __init__(self, curses: Any, poller: Poller) -> None:
        self._curses = curses
        self._poller = poller
        self._view = View()
        self._keys: Mapping[int, str] = {
            curses.KEY_UP: "up",
            curses.KEY_DOWN: "down",
            curses.KEY_ENTER: "enter",
            10: "enter",
            13: "enter",
            27: "escape",
        }
        self._styles: dict[Style, int] = {}

    def run(self, window: Any) -> int:
        """Show the screen until the user quits; return the exit code."""
        curses = self._curses
        self._choose_styles()
        window.timeout(_KEY_MILLISECONDS)
        self._poller.start()
        while not self._view.quits:
            snapshot, problem = self._poller.latest
            self._draw(window, snapshot, problem)
            key = window.getch()
            if key == curses.KEY_RESIZE:
                curses.update_lines_cols()
                window.clear()  # draw everything: the terminal has moved its lines
            elif key >= 0:
                name = self._keys.get(key) or (chr(key) if key < 0x110000 else "")
                self._view = press(self._view, name, snapshot)
        return 0

    def _choose_styles(self) -> None:
        curses = self._curses
        curses.set_escdelay(25)
        with suppress(curses.error):  # a terminal that always shows its cursor
            curses.curs_set(0)
        self._styles = {"heading": curses.A_BOLD, "bad": curses.A_BOLD, "dim": curses.A_DIM}
        self._styles["selected"] = curses.A_REVERSE
        if curses.has_colors() and has_colours():
            curses.use_default_colors()
            curses.init_pair(1, curses.COLOR_RED, -1)
            curses.init_pair(2, curses.COLOR_GREEN, -1)
            self._styles["bad"] |= curses.color_pair(1)
            self._styles["good"] = curses.color_pair(2)

    def _draw(self, window: Any, snapshot: Snapshot, problem: str) -> None:
        height, width = window.getmaxyx()
        window.erase()
        for row, line in enumerate(screen(self._view, snapshot, problem, width, height)):
            self._write(window, row, line)
        window.refresh()

    def _write(self, window: Any, row: int, line: Line) -> None:
        with suppress(self._curses.error):  # the last cell is written, and the cursor cannot move on
            window.addstr(row, 0, line.text, self._styles.get(line.style, 0))
