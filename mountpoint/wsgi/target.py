"""The request target as the client sent it (RFC 9112 section 3.2): authority, path and query.

`urllib.parse.urlsplit` is not safe for a server: it drops TABs and leading control characters, so that ``/ad<TAB>min``
becomes ``/admin``, and it reads ``//x`` as a host. This module drops nothing. It rejects a target with a character
that no target may hold.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<authority>[^/?]*)(?P<rest>.*)", re.DOTALL)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f#]")


class Target(NamedTuple):
    """The parts of a target. ``authority`` is None in origin form. ``path_info`` is decoded, ``query`` is not."""

    authority: str | None
    path_info: str
    query: str


def split_target(target: str) -> Target:
    """Split *target*, a WSGI string.

    Raises ValueError if it has no path, or holds a control character, a space or a fragment.

    >>> split_target("//a%2Fb?c")
    Target(authority=None, path_info='//a/b', query='c')
    >>> split_target("http://example.com?x")
    Target(authority='example.com', path_info='/', query='x')
    """
    if found := _FORBIDDEN.search(target):
        raise ValueError(f"the request target holds {found[0]!r}")
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
