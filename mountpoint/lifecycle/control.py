"""The control socket of the serving process, or nothing on a system without unix sockets."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..config.reader import Config
from ..status.process import versions
from .control_messages import DRAINING, HANDED_OVER, Handler
from .control_place import default_path
from .inheritance import Inheritance

logger = logging.getLogger("mountpoint")


class Control:
    """The control socket of a process that serves *config*, if the table has one.

    *state* returns one of the states in `mountpoint.lifecycle.control_messages`. The caller adds to ``handlers`` until
    `start`. During a takeover the socket stays with the old process until `announce`.
    """

    def __init__(self, config: Config, inheritance: Inheritance, state: Callable[[], str]) -> None:
        self.handlers: dict[str, Handler] = {"identify": lambda request, reply: reply.end()}
        self._config = config
        self._file = config.file.absolute()  # an app may change the working folder
        self._inheritance = inheritance
        self._state = state
        self._is_announced = False
        self._successor = 0  # its process, once it has taken over
        self._server: Any = None

    def start(self) -> None:
        """Answer commands from now on. A failure is logged, and the process serves without a control socket."""
        if sys.platform != "win32" and self._config.server.control is not False:
            from .control_server import ControlServer

            try:
                self._server = ControlServer(
                    self._config.server.control or default_path(self._file),
                    self.handlers,
                    self._greeting,
                    may_claim=self._may_claim,
                    may_replace=self._may_replace,
                )
                self._server.start()
            except (OSError, RuntimeError, MemoryError) as error:
                logger.warning('no control socket: %s; commands such as "mountpoint reload" need one', error)

    def announce(self) -> None:
        """Take the socket of the process that this one takes over from. From now on commands reach this one."""
        self._is_announced = True
        if self._server is not None:
            self._server.claim()

    def drain(self) -> None:
        """Let a server that starts take the socket, and end the commands that wait."""
        if self._server is not None:
            self._server.give_way()
            self._server.end_commands("the server is stopping")

    def hand_over(self, pid: int) -> None:
        """Have the commands that wait ask the process *pid*, which has taken over."""
        self._successor = pid
        if self._server is not None:
            self._server.end_commands(*self._end())

    def close(self) -> None:
        """Close the socket."""
        if self._server is not None:
            self._server.close(*self._end())

    def _end(self) -> tuple[str, bool]:
        """Return the message for commands that have not ended, and whether they are to ask again."""
        if self._successor:
            return f"process {self._successor} has taken over", True
        return "the server has ended", False

    def _greeting(self) -> Mapping[str, Any]:
        return {
            "pid": os.getpid(),
            "file": str(self._file),
            "version": versions()["mountpoint"],
            "state": HANDED_OVER if self._successor else self._state(),
        }

    def _may_claim(self) -> bool:
        if self._state() == DRAINING:
            return False
        return self._is_announced or not self._inheritance.old_process_serves

    def _may_replace(self, pid: int) -> bool:
        return self._is_announced and pid == self._inheritance.old_pid
