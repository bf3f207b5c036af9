"""The body of an app, checked before its first byte is sent (PEP 3333).

A mistake in the body is found late: the app has already called ``start_response``. Python's own messages for it name
neither the app nor bytes (``object of type 'int' has no len()``), so each mistake gets a message here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .app_header import describe

_BODY = 'an iterable of bytes, such as [b"text"]'


class AppBodyError(TypeError):
    """The body of an app cannot be sent."""


def require_body(response: object) -> None:
    """Raise `AppBodyError` unless *response*, the result of an app, can be an iterable of bytes."""
    if isinstance(response, str):
        advice = "encode the text, and return it in a list: [text.encode()]"
    elif isinstance(response, (bytes, bytearray, memoryview)):
        advice = "return the bytes in a list: [body]"
    elif isinstance(response, Mapping):
        advice = "encode it, for example with json.dumps, and return the bytes in a list"
    elif hasattr(response, "__await__") or hasattr(response, "__aiter__"):
        advice = "an async function is an ASGI app, so wrap it, for example in asgiref's or a2wsgi's adapter"
    elif not isinstance(response, Iterable) and not hasattr(response, "__getitem__"):
        advice = "return the response of the app in each case"
    else:
        return
    raise AppBodyError(f"the app returned {describe(response)}; expected {_BODY}; {advice}")


def close_of(response: object) -> Callable[[], object] | None:
    """Return the ``close`` of *response*, None without one. Raises `AppBodyError` if it cannot be called."""
    close: Any = getattr(response, "close", None)
    if close is not None and not callable(close):
        raise AppBodyError(f"the close of the body is {describe(close)}; expected a method without arguments")
    return close  # type: ignore[no-any-return]


def piece_of_body(piece: object, source: str) -> bytes:
    """Return *piece* as bytes. *source* says who gave it, such as ``the app's body has``. Raises `AppBodyError`."""
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, (bytearray, memoryview)):
        return bytes(piece)  # the app may change it before it is sent
    advice = "; encode the text: text.encode()" if isinstance(piece, str) else ""
    raise AppBodyError(f"{source} {describe(piece)}; expected bytes{advice}")
