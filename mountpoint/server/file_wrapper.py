"""``wsgi.file_wrapper``: the loop sends a file on disk or in memory, and the app's thread iterates over anything else.

waitress's loop reads every object that has ``seek`` and ``tell``. An object that decompresses, or fetches its data from
elsewhere, would stop all connections for as long as its ``read`` takes. And when a file becomes shorter while it is
sent, waitress tries to read the missing bytes for ever.
"""

from __future__ import annotations

import io

from waitress.buffers import ReadOnlyFileBasedBuffer


class FileWrapper(ReadOnlyFileBasedBuffer):
    """A response that the server reads from *file*."""

    def prepare(self, size: int | None = None) -> int:
        """Return how many bytes the loop shall send, at most *size*; 0 if the thread shall iterate over the file."""
        return super().prepare(size) if _is_quick(self.file) else 0

    def get(self, numbytes: int = -1, skip: bool = False) -> bytes:
        """Read *numbytes*. Raises OSError, which closes the connection, if the file has become shorter."""
        data = super().get(numbytes, skip)
        if not data and self.remain:
            raise OSError("the file ended before its length")
        return data


def _is_quick(file: object) -> bool:
    """Whether *file* is what `open` or `io.BytesIO` returns, or one of them in a wrapper of `tempfile`."""
    file = getattr(file, "file", file)
    if type(file) in (io.BufferedReader, io.BufferedRandom):
        file = file.raw  # type: ignore[attr-defined]
    return type(file) in (io.FileIO, io.BytesIO)
