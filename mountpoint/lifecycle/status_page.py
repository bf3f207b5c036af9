"""The status page in the life of the process: it is bound first, handed over at SIGUSR2, and closed last.

It stays as it is at SIGHUP. werkzeug is imported only if the table asks for the page, because its import takes as long
as that of the whole server.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..config.status import StatusConfig
from ..errors import ServeError
from ..server.sockets import BoundSocket, bind, urls_of
from .inheritance import Inheritance

if TYPE_CHECKING:
    from ..status.app import ServingProcess
    from ..status.listener import StatusListener

_BACKLOG = 16  # connections that the kernel keeps until the listener accepts them
_CLOSE_SECONDS = 1.0  # for which the end of the process waits for responses

logger = logging.getLogger("mountpoint")


class StatusPage:
    """Listens at the address in *config*, if there is one. Raises `ServeError` if it cannot.

    ``bound`` are its sockets, for a successor. It does not use the sockets of systemd.
    """

    def __init__(self, config: StatusConfig, inheritance: Inheritance) -> None:
        self._config = config
        self._listener: StatusListener | None = None
        addresses = () if config.listen is None else (config.listen,)
        try:
            self.bound: list[BoundSocket] = bind(addresses, inherited=inheritance.status_sockets)
            for one in self.bound:
                one.socket.listen(_BACKLOG)
        except ServeError as error:
            raise ServeError(f"status: {error}") from None

    def start(self, process: ServingProcess) -> None:
        """Show *process*, in a thread."""
        listen = self._config.listen
        if listen is None:
            return
        from ..status.app import StatusApp
        from ..status.listener import StatusListener

        hosts = None if self._config.key or listen.unix else {listen.host.lower()}
        app = StatusApp(process, self._config.key, hosts)
        self._listener = StatusListener([one.socket for one in self.bound], app)
        self._listener.start()
        for url in urls_of(self.bound):
            logger.info("the status page is on %s", url)

    def hand_over(self) -> None:
        """Leave the sockets and their files to the process that takes over."""
        for one in self.bound:
            one.file = None
        if self._listener is not None:
            self._listener.stop()

    def close(self) -> None:
        """Finish the responses, and close the sockets."""
        if self._listener is not None:
            self._listener.stop()
            self._listener.join(_CLOSE_SECONDS)
        for one in self.bound:
            one.close()
