"""The request target, as the client sent it (RFC 9112 section 3.2): authority, path and query.

`urllib.parse.urlsplit` drops TABs and leading control characters, so that ``/ad<TAB>min`` would be ``/admin``, and
takes ``//x`` for a host; a server must not. Nothing is dropped here, and what cannot stand in a target is refused.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<authority>[^/?]*)(?P<rest>.*)", re.DOTALL)
_IMPOSSIBLE = re.compile(r"[\x00-\x20\x7f#]")


class Target(NamedTuple):
    """The parts of a target. ``authority`` is None in origin form; ``path_info`` is decoded, the query is not."""

    authority: str | None
    path_info: str
    query: str


def split_target(target: str) -> Target:
    """Split *target*, a WSGI string. Raises ValueError if it has no path, or holds a control, a space or a fragment.

    >>> split_target("//a%2Fb?c#d".partition("#")[0])
    Target(authority=None, path_info='//a/b', query='c')
    >>> split_target("http://example.com?x")
    Target(authority='example.com', path_info='/', query='x')
    """
    if impossible := _IMPOSSIBLE.search(target):
        raise ValueError(f"the request target holds {impossible[0]!r}")
    authority = None
    if target[:1] != "/" and (match := _ABSOLUTE.fullmatch(target)):
        authority, target = match["authority"], match["rest"]
        if target[:1] != "/":  # an empty path means the root (RFC 9110 section 4.2.3)
            target = "/" + target
    path, _, query = target.partition("?")
    if not path:
        raise ValueError("the request target has no path")
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    return Target(authority, path, query)
