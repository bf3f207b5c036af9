"""Read the TOML document of a mount table, with a message that names the line of a mistake."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Problem, UnreadableError


def read_document(file: Path, usual_name: str) -> dict[str, Any]:
    """Return the TOML document in *file*. A folder has the document under its *usual_name*.

    Raises `UnreadableError` if the file cannot be read, and `ConfigError` if it is not TOML.
    """
    import tomllib  # here, because an embedded `Dispatcher` does not need it

    def unreadable(message: str) -> UnreadableError:
        return UnreadableError([Problem("", message)], file=str(file))

    def malformed(message: str, line: object, column: object) -> ConfigError:
        return ConfigError([Problem("", message)], file=f"{file}:{line}:{column}")

    try:
        mode = file.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # to read a FIFO or a device may take for ever
            kind = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}.get(stat.S_IFMT(mode), "a device")
            raise unreadable(f"expected a regular file, found {kind}; write the table into a file")
        data = file.read_bytes()
    except FileNotFoundError:
        raise unreadable("expected a mount table, found no such file; name the file, or write one") from None
    except IsADirectoryError:
        raise unreadable(f'expected a file, found a folder; write "{file / usual_name}"') from None
    except OSError as error:
        raise unreadable(f"cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        data = error.object  # without the byte order mark, which error.start does not count
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"expected UTF-8, found the byte 0x{data[error.start]:02x}; save the file as UTF-8"
        raise malformed(message, line, column) from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise malformed("expected TOML, found arrays or tables that are nested too deeply", 1, 1) from None
    except ValueError as error:
        # Before Python 3.14 only the error's text has the position: "(at line 3, column 5)" or "(at end of document)".
        message, found, position = str(error).rpartition(" (at ")
        numbers = re.findall(r"\d+", position if found else "")
        if not numbers:
            numbers = [text.count("\n") + 1, len(text) - text.rfind("\n")]
        line_text = "".join(text.splitlines()[int(numbers[0]) - 1 :][:1])
        has_unquoted_path = re.match(r"\s*(\[[\w.]*)?[\w.*-]*/", line_text)
        hint = '; a key that contains a slash needs quotes; write "/path"' if has_unquoted_path else ""
        raise malformed(f"not TOML: {message or error}{hint}", *numbers[:2]) from None
