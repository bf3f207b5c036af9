"""Text of clients in the snapshot: bounded, and readable."""

from __future__ import annotations

#: The characters that are kept.
METHOD_CHARACTERS = 20
PATH_CHARACTERS = 200


def readable(text: str) -> str:
    r"""Return a WSGI string, which has a character for each byte, as the UTF-8 that the client meant.

    >>> readable("/caf\xc3\xa9")
    '/café'
    """
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")
