"""The id of a request: the one of a trusted proxy, or else a new one.

A client can send ``X-Request-ID`` too. If the server took it, clients could give many requests the id of one, and could
write any text into logs. So only the id of a trusted peer is taken, and only if it is one valid id. Two headers of that
name reach this module as one value with a comma, which is not valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

REQUEST_ID_HEADER: Final = "X-Request-ID"

#: None of these characters needs an escape in a log, in JSON, in HTML or in a URL's path.
_VALID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)

#: Not the functions of `random`: an app may seed them. It takes less time than `os.urandom`, and an id is not a secret.
_random_bits = Random().getrandbits  # noqa: S311


class RequestIds:
    """Chooses the ids of requests. *is_trusted* tells whether the address of a peer is that of a trusted proxy."""

    def __init__(self, is_trusted: Callable[[str], bool]) -> None:
        self._is_trusted = lru_cache(maxsize=256)(is_trusted)

    def choose(self, peer: str, given: str | None) -> str:
        """Return the id of a request from *peer*, which has *given* in ``X-Request-ID``."""
        if given is not None and _VALID.fullmatch(given) and self._is_trusted(peer):
            return given
        return new_request_id()


def new_request_id() -> str:
    """Return 32 random hex digits, as ``$request_id`` of nginx has them."""
    return _random_bits(128).to_bytes(16, "big").hex()


def set_request_id(environ: WSGIEnvironment, request_id: str) -> None:
    """Give *environ* the id, in place of the one that the client may have sent."""
    environ["HTTP_X_REQUEST_ID"] = environ["mountpoint.request_id"] = request_id
