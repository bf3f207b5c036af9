"""Find the place in an app's code where a thread is: the line that explains why a load or a thread does not end."""

from __future__ import annotations

import importlib
import linecache
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from .module_files import is_own

_PACKAGE = str(Path(__file__).parent.parent / "_")[:-1]  # ends in a separator, so "mountpoint_x" does not match


def place_in(root: Path, thread: int | None) -> str:
    """Return ``file:line: source`` of the innermost frame of *thread* whose code is below *root*.

    *thread* is an identifier. Without such a frame the innermost frame of other code counts, such as that of a library.
    The text is ``an unknown place`` if the thread has ended.
    """
    frames = list(_frames(thread))
    own = next((frame for frame in frames if is_app_code(frame.f_code.co_filename, root)), None)
    other = next((frame for frame in frames if not _is_machinery(frame.f_code.co_filename)), None)
    frame = own or other
    if frame is None:
        return "an unknown place"
    file, line = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(file, line).strip()
    return f"{file}:{line}" + (f": {source}" if source else "")


def root_of_thread(thread: threading.Thread, roots: Iterable[Path]) -> Path | None:
    """Return the innermost of *roots* that holds code which *thread* runs now, or None."""
    files = [frame.f_code.co_filename for frame in _frames(thread.ident)]
    found = [root for root in roots if any(is_app_code(file, root) for file in files)]
    return max(found, key=lambda root: len(root.parts), default=None)


def is_app_code(filename: str, root: Path) -> bool:
    """Whether *filename*, of a code object, is below *root* and not part of an installed package or of Python."""
    return Path(filename).is_absolute() and is_own(filename, root)  # "<string>" is not a path


def is_package_code(filename: str) -> bool:
    """Whether *filename*, of a code object, is a module of mountpoint."""
    return filename.startswith(_PACKAGE)


def _frames(thread: int | None) -> Iterator[FrameType]:
    """Yield the frames of *thread*, the innermost first."""
    frame = sys._current_frames().get(thread) if thread is not None else None
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_machinery(filename: str) -> bool:
    is_import = filename.startswith("<frozen importlib") or filename == importlib.__file__
    return is_import or is_package_code(filename) or filename == threading.__file__
