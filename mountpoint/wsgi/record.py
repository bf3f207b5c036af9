"""The facts about one request that every layer shares.

Each layer hands its own copy of environ to the next one, so nothing that an inner layer writes into environ is visible
outside. So the server, or else the dispatcher, puts one mutable record into environ under `RECORD_KEY`, and every copy
refers to it. The layers write it and the access log reads it, so none of them has to wrap the response.
"""

from __future__ import annotations

from typing import Final

RECORD_KEY: Final = "mountpoint.request"


class RequestRecord:
    """The facts about one request.

    ``mount``        key of the mount that owns the path; None until the request is routed, and if no mount owns it
    ``remote_addr``  address of the client, from a trusted proxy's header if there is one; None if the server gave none
    ``reason``       why mountpoint responds itself; None if the app responds
    """

    __slots__ = ("mount", "reason", "remote_addr")

    def __init__(self, remote_addr: str | None = None) -> None:
        self.mount: str | None = None
        self.reason: str | None = None
        self.remote_addr = remote_addr

    def reset(self, remote_addr: str | None) -> None:
        """Return to the state of a new record, before the request is routed again on another table."""
        self.mount = self.reason = None
        self.remote_addr = remote_addr
