"""The type and the place of an exception that an app has raised, in this process or in a worker of its own.

The place is the innermost line of the app's own code: an error in a library is found from the line that called it.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ..loading.places import is_app_code, is_package_code
from ..workers.report import AppFailed

#: Characters of a type or a place that are kept: an app chooses both.
MAX_TEXT = 200

_FRAME = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
_TYPE = re.compile(r"^([^\W\d][\w.]*)(?::|$)", re.MULTILINE)


def describe(error: BaseException, root: Path) -> tuple[str, str | None]:
    """Return the type of *error* and its place, ``file:line in function``; None if no code of an app was called.

    *root* is the folder of the app, and *error* is what the server has caught.
    """
    if isinstance(error, AppFailed):
        return _describe_text(str(error), root)
    if isinstance(error.__cause__, BaseException) and not isinstance(error.__cause__, Exception):
        error = error.__cause__  # SystemExit and its like, which the server wraps
    frames = traceback.walk_tb(error.__traceback__)
    places = [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in frames]
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return name[:MAX_TEXT], _place(places, root)


def _describe_text(text: str, root: Path) -> tuple[str, str | None]:
    """Describe the traceback that a worker has sent."""
    frames = [*_FRAME.finditer(text)]
    found = _TYPE.search(text, frames[-1].end() if frames else 0)
    places = [(match[1], int(match[2]), match[3]) for match in frames]
    return (found[1] if found else "Exception")[:MAX_TEXT], _place(places, root)


def _place(places: Iterable[tuple[str, int, str]], root: Path) -> str | None:
    """Return the last of *places* below *root*, else the last one outside of this package."""
    others = [place for place in places if not is_package_code(place[0])]
    own = [place for place in others if _is_app_code(place[0], root)]
    if not others:
        return None
    file, line, function = (own or others)[-1]
    if own:
        file = str(Path(file).absolute()).removeprefix(f"{root.absolute()}/")
    return f"{file}:{line} in {function}"[-MAX_TEXT:]


_is_app_code = lru_cache(maxsize=1024)(is_app_code)  # it asks the file system, and an app may raise for each request
