"""Keep ``sys.stdout``, ``sys.stderr`` and ``wsgi.errors`` from blocking the threads of apps.

An app that prints, or that writes to ``wsgi.errors``, waits until the reader of the pipe takes its text. If that reader
hangs, each request of the app keeps its worker thread. So the server gives the apps streams that write to a
`DetachedStream`, as the handlers of logging do: text that the pipe does not take is kept, then dropped and counted.

The descriptors 1 and 2 stay as they are. A write to them that does not go through these streams still waits, such as
``os.write(2, ...)``, the output of a C library, or that of a child process.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from .log_stream import DetachedStream, detach

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NAMES = ("stdout", "stderr")
_errors: TextIO | None = None


@contextmanager
def detached_standard_streams() -> Iterator[None]:
    """Replace ``sys.stdout`` and ``sys.stderr`` while the body runs, unless they write to a regular file.

    A stream that the body replaces itself stays.
    """
    global _errors  # noqa: PLW0603 - as the streams of sys, there is one in the process
    replaced: dict[str, tuple[Any, TextIO]] = {}
    for name in _NAMES:
        before = getattr(sys, name)
        if detached := detach(before):
            replaced[name] = before, _text_stream(detached, before)
            setattr(sys, name, replaced[name][1])
            if name == "stderr":
                _errors = _text_stream(detached, before)
    try:
        yield
    finally:
        for name, (before, ours) in replaced.items():
            if getattr(sys, name) is ours:
                setattr(sys, name, before)
            _flush(ours)
        if _errors:
            _flush(_errors)
        _errors = None


def errors_stream() -> TextIO:
    """Return ``wsgi.errors``. It is not ``sys.stderr`` itself, which an app may close or replace."""
    return _errors or sys.stderr


class _Detached(io.RawIOBase):
    """The binary stream below a text stream. Closing it closes nothing else."""

    def __init__(self, stream: DetachedStream, before: Any) -> None:
        self._stream = stream
        self._before = before  # may have another descriptor of the same pipe

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        if self.closed:
            raise ValueError("write to a closed stream")
        return self._stream.write_bytes(bytes(data))

    def fileno(self) -> int:
        return int(self._before.fileno())

    def isatty(self) -> bool:
        return bool(self._before.isatty())


def _text_stream(detached: DetachedStream, before: Any) -> TextIO:
    """Return a text stream that writes whole lines to *detached*, in the encoding of *before*."""
    # Each line is one write, also for stdout. Otherwise half a line of one thread could end up in a line of another.
    return io.TextIOWrapper(
        _Detached(detached, before),  # type: ignore[type-var]
        encoding=detached.encoding,
        errors=getattr(before, "errors", None) or "backslashreplace",
        line_buffering=True,
    )


def _flush(stream: TextIO) -> None:
    with suppress(ValueError, OSError):  # an app has closed it, or its reader has gone
        stream.flush()
