"""The one thing that travels outward: what became of a request.

Inward a layer speaks to the next through its own copy of environ. Outward, past those copies, nothing would be seen;
so a single mutable record lies in environ under `KEY`, put there by the server (or by the first of our layers) and
shared by every copy. The dispatcher writes it; the access log reads it; none of them has to wrap the response.
"""

from __future__ import annotations

from typing import Final

KEY: Final = "mountpoint.request"


class RequestRecord:
    """What is known of one request.

    ``mount``        key of the mount that got it, None while nobody has
    ``remote_addr``  the client's address, as far as it is trusted; None when the server gave none
    ``reason``       why we answered it ourselves, None while nobody has
    """

    __slots__ = ("mount", "reason", "remote_addr")

    def __init__(self, remote_addr: str | None = None) -> None:
        self.reset(remote_addr)

    def reset(self, remote_addr: str | None) -> None:
        """Forget what the layers wrote: the request is routed once more, on another table."""
        self.mount: str | None = None
        self.reason: str | None = None
        self.remote_addr = remote_addr
