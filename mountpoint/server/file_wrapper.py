"""``wsgi.file_wrapper``: a file on disk or in memory is sent by the loop, and any other object by its app's thread.

waitress's loop reads whatever has ``seek`` and ``tell``: an object that fetches from elsewhere, or decompresses, stops
all connections for as long as its ``read`` takes. And a file that is cut off meanwhile it tries to read for ever.
"""

from __future__ import annotations

import io

from waitress.buffers import ReadOnlyFileBasedBuffer


class FileWrapper(ReadOnlyFileBasedBuffer):
    """A response that the server reads from *file*."""

    def prepare(self, size: int | None = None) -> int:
        """Return how many bytes the loop is to send, at most *size*; 0 if the thread is to iterate over it."""
        return super().prepare(size) if _is_quick(self.file) else 0

    def get(self, numbytes: int = -1, skip: bool = False) -> bytes:
        """Read *numbytes*. Raises OSError, with which the connection ends, if the file has become shorter."""
        data = super().get(numbytes, skip)
        if not data and self.remain:
            raise OSError("the file ended before its length")
        return data


def _is_quick(file: object) -> bool:
    """Whether *file* is one as Python opens them, or in memory, or the wrapper of `tempfile` around one."""
    file = getattr(file, "file", file)
    if type(file) in (io.BufferedReader, io.BufferedRandom):
        file = file.raw  # type: ignore[attr-defined]
    return type(file) in (io.FileIO, io.BytesIO)
