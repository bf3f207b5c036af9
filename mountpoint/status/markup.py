"""Build HTML so that no text can become markup: `element` escapes every string that is not `Html`.

>>> element("td", "<b>", element("br"), class_="name")
'<td class="name">&lt;b&gt;<br></td>'
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

_VOID = frozenset({"br", "link", "meta"})
#: Control characters, which HTML does not allow, and surrogates, which UTF-8 does not.
_UNPRINTABLE = "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"
_SPECIAL = re.compile(f"[&<>\"'{_UNPRINTABLE}]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}


class Html(str):
    """A piece of HTML. Only the functions of the room make one, of constant text and of escaped strings."""

    __slots__ = ()


def escape(text: str) -> str:
    """Return *text* as HTML, with U+FFFD for each character that a page cannot contain.

    >>> escape("<b>" + chr(0))
    '&lt;b&gt;�'
    """
    if isinstance(text, Html):
        return text
    return _SPECIAL.sub(lambda match: _ENTITIES.get(match[0], "\ufffd"), text)


def join(parts: Iterable[str]) -> Html:
    """Return *parts* one after the other, each escaped unless it is `Html`."""
    return Html("".join(map(escape, parts)))


def element(tag: str, /, *children: str, **attributes: str) -> Html:
    """Return the element *tag* around *children*. An underscore at the end of an attribute's name is left out."""
    start = tag
    for key, value in attributes.items():
        start += f' {_attribute(key)}="{escape(value)}"'
    return Html(f"<{start}>" if tag in _VOID else f"<{start}>{''.join(map(escape, children))}</{tag}>")


@cache
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
