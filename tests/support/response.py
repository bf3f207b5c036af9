"""The response that a test received, from a server or from an app that it called."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Response:
    """A response that was read to its end. `headers` ignores the case of names: ``response.headers["location"]``."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """Return the value of the header *name*, or None without such a header."""
        return self.headers[name]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def seen(self) -> dict[str, Any]:
        """Return the body of an app that answers with the request that it saw, as JSON."""
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        """Whether the server announces that it closes the connection after this response."""
        return self.headers.get_all("Connection", []) == ["close"]
