"""Bind the listening sockets: those of systemd, those of the process that this one takes over from, or new ones."""

from __future__ import annotations

import logging

from ..config.reader import ServerConfig
from ..errors import ServeError
from ..server.sockets import BoundSocket, bind, wrap_systemd_sockets
from .inheritance import Inheritance
from .systemd import inherited_sockets

logger = logging.getLogger("mountpoint")


def bind_sockets(settings: ServerConfig, inheritance: Inheritance) -> list[BoundSocket]:
    """Return the sockets to listen on. Raises `ServeError` if an address cannot be bound."""
    sockets = inherited_sockets()
    if inheritance.from_systemd:
        sockets = [sock for group in inheritance.sockets.values() for sock in group]
    if sockets:
        logger.info("listening on the sockets from systemd; listen in the file and --listen are ignored")
        bound = wrap_systemd_sockets(sockets)
        if len({one.address.unix is None for one in bound}) > 1:
            raise ServeError(
                "expected only TCP or only unix sockets from systemd, found both; write a .socket unit for each"
            )
        return bound
    return bind(
        settings.listen,
        ipv4=bool(settings.adjustments.get("ipv4", True)),
        ipv6=bool(settings.adjustments.get("ipv6", True)),
        permissions=settings.unix_socket_perms,
        inherited=inheritance.sockets,
    )
