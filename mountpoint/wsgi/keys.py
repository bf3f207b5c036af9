"""The text of a mount's key and of a ``Host`` header, turned into the forms that are compared.

A key, ``[host]/path``, is written for people, in plain Unicode. The path of a request is a *WSGI string* (PEP 3333):
bytes decoded as latin-1.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from functools import lru_cache

# RFC 3986 allows more in a reg-name, such as the comma by which servers join two Host headers. No real host has one.
_LABELS = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*"
_HOST = re.compile(rf"(?:(?P<name>{_LABELS})\.?|(?P<ipv6>\[[0-9a-f:.]+\]))(?::[0-9]{{0,5}})?", re.ASCII | re.IGNORECASE)
_HOST_OF_KEY = re.compile(rf"(?:\*\.)?{_LABELS}|\[[0-9a-f:.]+\]", re.ASCII)
_PORT = re.compile(r"([^\[\]:]+|\[.*\]):[0-9]*")
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)+")
_LONGEST_KNOWN = 64  # characters of a host that is remembered
_FORBIDDEN = re.compile(r"""[\x00-\x1f\x7f-\x9f\s\\?#%*"'`<>\ud800-\udfff]""")
_INSTEAD = {
    "%": "write the character itself, not its percent-encoding",
    "*": "leave it out, a mount owns all that is below it",
    "?": "leave the query out",
    "#": "leave the fragment out",
    "\\": "write a slash",
}


class InvalidKeyError(ValueError):
    """A key that is not ``[host]/path``. *advice* is the key to write instead, empty if none is known."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f'{message}; write "{advice}"' if advice else message)
        self.advice = advice


def split_key(key: object) -> tuple[str, str]:
    """Split a mount's *key* into its host, empty for every host, and its path, empty for the root.

    Raises `InvalidKeyError`.

    >>> split_key("*.Example.com/shop/")
    ('*.example.com', '/shop')
    """
    if not isinstance(key, str):
        raise InvalidKeyError(f'expected a string such as "/shop", found {type(key).__name__}')
    if scheme := _SCHEME.match(key):
        raise InvalidKeyError("expected [host]/path, found a scheme", _advice(key[scheme.end() :]))
    host, slash, rest = key.partition("/")
    host = _checked_host(host, key) if host else ""
    path = (slash + rest).removesuffix("/")
    if found := _FORBIDDEN.search(path):
        instead = _INSTEAD.get(found[0], "leave it out")
        raise InvalidKeyError(f"expected a path of plain segments, found {found[0]!r}; {instead}")
    segments = path.split("/")[1:]
    if "" in segments:
        advice = _advice(host + "/" + "/".join(filter(None, segments)))
        raise InvalidKeyError("expected one slash between segments, found an empty segment", advice)
    if "." in segments or ".." in segments:
        advice = host + posixpath.normpath(path)
        raise InvalidKeyError(f'expected a path without dot segments, found "{path}"', advice)
    return host, path


def path_of_key(key: object) -> str:
    """Return the path of a *key* that must not name a host. Raises `InvalidKeyError`."""
    if isinstance(key, str) and _SCHEME.match(key):
        raise InvalidKeyError('expected a path such as "/apps", found a scheme', "/apps")
    host, path = split_key(key)
    if host:
        raise InvalidKeyError(f'expected a path such as "/apps", found a host in "{key}"')
    return path


def wsgi_string(text: str) -> str:
    """Return *text*, written for people, as it stands in environ: its UTF-8 bytes decoded as latin-1 (PEP 3333)."""
    return text if text.isascii() else text.encode().decode("latin-1")


def host_name(value: str) -> str | None:
    """Return the bare name in *value*, the value of ``Host``: lower case, without port and trailing dot.

    Return None if *value* is outside the grammar: two values joined by a comma, userinfo, a slash. An IPv6 literal
    keeps its brackets. (RFC 9110 section 7.2, RFC 3986 section 3.2.2)

    >>> host_name("Example.com.:8080"), host_name("[::1]:80"), host_name("a, b")
    ('example.com', '[::1]', None)
    """
    # Requests name the same hosts again and again. Clients choose the text, so a long one is not remembered.
    return _host_name(value) if len(value) <= _LONGEST_KNOWN else _host_name.__wrapped__(value)


@lru_cache(maxsize=1024)
def _host_name(value: str) -> str | None:
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    name = (match["name"] or match["ipv6"]).lower()
    return name if name[0] != "[" or _is_ipv6(name) else None


def host_covers(pattern: str, host: str) -> bool:
    """Whether *pattern*, the host of a key, covers *host*, which may be a wildcard too.

    An empty pattern covers every host. A wildcard covers one label or more, so ``*.example.com`` does not cover
    ``example.com``.

    >>> host_covers("*.example.com", "a.b.example.com"), host_covers("*.example.com", "example.com")
    (True, False)
    """
    return pattern in ("", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def is_below(path: str, prefix: str) -> bool:
    """Whether *path* is *prefix* or lies below it. A prefix ends at a segment boundary, and an empty one is the root.

    >>> is_below("/shop/cart", "/shop"), is_below("/shop", "/shop"), is_below("/shopping", "/shop")
    (True, True, False)
    """
    return path == prefix or path.startswith(f"{prefix}/")


def _checked_host(host: str, key: str) -> str:
    """Return the *host* of *key*, normalised. Raises `InvalidKeyError`."""
    bare = host.removesuffix(".")
    if not ("." in bare or bare.startswith("[") or bare.lower().partition(":")[0] == "localhost"):
        advice = _advice(key[len(host) :] if bare == "*" else "/" + key.strip().lstrip("/"))  # "*" means every host
        raise InvalidKeyError(f'expected a path that starts with a slash, found "{key}"', advice)
    name = host.lower().removesuffix(".")
    if _HOST_OF_KEY.fullmatch(name) and (name[0] != "[" or _is_ipv6(name)):
        return name
    if with_port := _PORT.fullmatch(host):
        advice = _advice(key.replace(host, with_port[1], 1))
        raise InvalidKeyError(f'expected a host without a port, found "{host}"', advice)
    try:
        ascii_form = name.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_form = ""
    if ascii_form and ascii_form != name and _HOST_OF_KEY.fullmatch(ascii_form):
        advice = _advice(key.replace(host, ascii_form, 1))
        raise InvalidKeyError(f'expected a host as browsers send it, found "{host}"', advice)
    raise InvalidKeyError(f'expected a host such as "example.com", "*.example.com" or "[::1]", found "{host}"')


def _advice(key: str) -> str:
    """Return *key* if it is valid, else the advice for it, which may be empty."""
    try:
        split_key(key)
    except InvalidKeyError as error:
        return error.advice
    return key or "/"


def _is_ipv6(literal: str) -> bool:
    try:
        ipaddress.IPv6Address(literal[1:-1])
    except ValueError:
        return False
    return True
