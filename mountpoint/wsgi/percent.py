"""Percent-encoding (RFC 3986): which characters a URL may hold as they are, in each of its places.

Paths and queries are *WSGI strings* (PEP 3333): bytes decoded as latin-1. Letters, digits and ``-._~``, which RFC 3986
section 2.3 calls unreserved, are never encoded.
"""

from __future__ import annotations

from urllib.parse import quote

_SUB_DELIMS = "!$&'()*+,;="  # section 2.2
_GEN_DELIMS = ":/?#[]@"  # section 2.2
_PATH = "/:@" + _SUB_DELIMS  # section 3.3: pchar, and the slash between segments
# Section 3.4. A query arrives encoded and stays encoded, so its percent signs are not encoded again.
_QUERY = _PATH + "?%"
# An attribute of Set-Cookie ends at a semicolon (RFC 6265 section 5.2).
_COOKIE_PATH = _PATH.replace(";", "")
# Delimiters have a meaning in a whole URL, and an encoded byte stays encoded. The fragment is cut off first.
_URL = _GEN_DELIMS.replace("#", "") + _SUB_DELIMS + "%"


def encode_path(path: str) -> str:
    r"""Return *path* as browsers and frameworks write it in a link.

    >>> encode_path("/caf\xc3\xa9/a,b c")
    '/caf%C3%A9/a,b%20c'
    """
    return quote(path, safe=_PATH, encoding="latin-1")


def encode_plain_path(path: str) -> str:
    """Return *path* with every character encoded, except for unreserved ones and the slash.

    For generated configuration: no proxy's language gives a meaning to a character that is left, and every server
    decodes the others before it compares paths.

    >>> encode_plain_path("/a,b;c")
    '/a%2Cb%3Bc'
    """
    return quote(path, safe="/", encoding="latin-1")


def encode_cookie_path(path: str) -> str:
    """Return *path* for the ``Path`` of a cookie: as in a link, but no semicolon may end the attribute.

    >>> encode_cookie_path("/a;b,c")
    '/a%3Bb,c'
    """
    return quote(path, safe=_COOKIE_PATH, encoding="latin-1")


def encode_query(query: str) -> str:
    """Return *query*, a WSGI string as the client sent it, with each character encoded that a query may not hold.

    >>> encode_query("a=%20&b[]=1")
    'a=%20&b%5B%5D=1'
    """
    return quote(query, safe=_QUERY, encoding="latin-1")


def encode_url(url: str, encoding: str = "utf-8") -> str:
    r"""Return *url*, a whole URL or its path and query, as a browser sends it: encoded, and without its fragment.

    Raises UnicodeEncodeError if *encoding* does not have a character of *url*.

    >>> encode_url("http://[::1]/caf\u00e9?a=%20#top")
    'http://[::1]/caf%C3%A9?a=%20'
    """
    return quote(url.partition("#")[0], safe=_URL, encoding=encoding)
