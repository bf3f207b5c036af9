"""The body of a request, taken apart as it arrives, in time that grows with its bytes and not faster.

A body is sent with its length in front, or in chunks (RFC 9112 sections 6.2 and 7.1). A chunk of one byte takes six
bytes on the wire and nearly as much work as a large one. So the framing, which is all that is not data, may be as long
as the data and `SPARE_FRAMING` bytes more; beyond that the request is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, Protocol

from .head import RequestError, parse_fields, split_lines

SPARE_FRAMING = 16_384  # bytes: about 3,000 chunks of one byte
LONGEST_LINE = 4_096  # bytes of the size of a chunk with its extensions
_MOST_DIGITS = 16  # hexadecimal digits of a 64-bit number

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token of RFC 9110
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE = re.compile(r"[0-9A-Fa-f]+", re.ASCII)
# RFC 9112 section 7.1.1, with the blanks that it allows around ";" and "=".
_EXTENSION = re.compile(rf"[ \t]*;[ \t]*{_TOKEN}(?:[ \t]*=[ \t]*(?:{_TOKEN}|{_QUOTED}))?")

_State = Literal["size", "data", "end of data", "trailer"]


class Body(Protocol):
    """Takes the bytes of a request's body."""

    complete: bool
    length: int

    def feed(self, data: bytes) -> int:
        """Take what belongs to the body from the start of *data*, and return how many bytes that was.

        Raises `RequestError` if the body breaks the grammar.
        """


class SizedBody:
    """A body of *length* bytes, at least one. *write* is called with each piece of it."""

    def __init__(self, length: int, write: Callable[[bytes], object]) -> None:
        self.complete = False
        self.length = 0  # bytes that have arrived
        self._expected = length
        self._write = write

    def feed(self, data: bytes) -> int:
        piece = data[: self._expected - self.length]
        self._write(piece)
        self.length += len(piece)
        self.complete = self.length == self._expected
        return len(piece)


class ChunkedBody:
    """A body in chunks. *write* is called with the data, without framing; a trailer is checked and dropped.

    The trailer may have *longest_trailer* bytes.
    """

    def __init__(self, longest_trailer: int, write: Callable[[bytes], object]) -> None:
        self.complete = False
        self.length = 0  # bytes of data
        self._longest_trailer = longest_trailer
        self._write = write
        self._state: _State = "size"
        self._line = bytearray()  # the beginning of a line whose end has not arrived
        self._remaining = 0  # bytes of data that the chunk still has
        self._framing = 0
        self._trailer: list[bytes] = []
        self._trailer_size = 0

    def feed(self, data: bytes) -> int:
        position, pieces = 0, []
        while position < len(data) and not self.complete:
            if self._state == "data":
                piece = data[position : position + self._remaining]
                pieces.append(piece)
                position += len(piece)
                self.length += len(piece)
                self._remaining -= len(piece)
                if not self._remaining:
                    self._state = "end of data"
                continue
            end = data.find(b"\n", position) + 1
            part = data[position : end or None]
            position += len(part)
            self._count_framing(len(part))
            self._line += part
            if end:
                line = bytes(self._line)
                self._line.clear()
                self._take_line(line)
        if pieces:
            self._write(b"".join(pieces))
        return position

    def _count_framing(self, size: int) -> None:
        self._framing += size
        if self._state == "end of data" and len(self._line) + size > len(b"\r\n"):
            raise RequestError(400, "Chunk not properly terminated")
        if self._state == "trailer":
            self._trailer_size += size
            is_too_long = self._trailer_size > self._longest_trailer
        else:
            is_too_long = len(self._line) + size > LONGEST_LINE
        if is_too_long:
            raise RequestError(400, "The line of a chunk, or the trailer, is too long.")
        if self._state != "trailer" and self._framing > self.length + SPARE_FRAMING:
            raise RequestError(400, "The body has more framing than data.")

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):  # a bare LF, which other readers may not take for an end
            raise RequestError(400, "Bare LF in a chunked body")
        if self._state == "size":
            self._remaining = _chunk_size(line[:-2].decode("latin-1"))
            self._state = "data" if self._remaining else "trailer"
        elif self._state == "end of data":
            self._state = "size"
        elif line == b"\r\n":
            parse_fields(split_lines(b"".join(self._trailer)))
            self.complete = True
        else:
            self._trailer.append(line)


def _chunk_size(line: str) -> int:
    """Return the size in *line*, which may have extensions behind it. Raises `RequestError`."""
    match = _SIZE.match(line)
    if match is None or len(match[0].lstrip("0")) > _MOST_DIGITS:
        raise RequestError(400, "Invalid chunk size")
    position = match.end()
    while position < len(line):
        extension = _EXTENSION.match(line, position)
        if extension is None:
            raise RequestError(400, "Invalid chunk extension")
        position = extension.end()
    return int(match[0], 16)
