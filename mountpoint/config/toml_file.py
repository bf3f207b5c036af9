"""Read a TOML file. Each failure is an error that says where, why and what to write instead."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Problem, UnreadableError

#: The usual name of a mount table.
DEFAULT_FILE = "mounts.toml"


def read_toml(file: Path, default_name: str) -> dict[str, Any]:
    """Return the document in *file*. *default_name* is the usual name of such a file.

    Raises `UnreadableError` if *file* cannot be read, and `ConfigError` with line and column if it is not TOML.
    """
    import tomllib  # here, because an embedded `Dispatcher` does not need it

    text = _decoded(file, _bytes(file, default_name))
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _malformed(file, "expected TOML, found arrays or tables that are nested too deeply", 1, 1) from None
    except ValueError as error:
        if file.suffix in (".py", ".wsgi"):
            raise _not_a_table(file, "a Python file", f"; {_advice_for_app(str(file))}") from None
        from .toml_mistakes import explain

        # Before Python 3.14 only the error's text has the position: "(at line 3, column 5)" or "(at end of document)".
        message, found, position = str(error).rpartition(" (at ")
        numbers = [int(number) for number in re.findall(r"[0-9]+", position if found else "")]
        line, column = numbers or (text.count("\n") + 1, len(text) - text.rfind("\n"))
        mistake = explain(text, line, message or str(error))
        column = column if mistake.line == line else 1
        raise _malformed(file, f"not TOML: {mistake.explanation}", mistake.line, column) from None


def _not_a_table(file: Path, found: str, advice: str) -> UnreadableError:
    return UnreadableError([Problem("", f"expected a mount table, found {found}{advice}")], file=str(file))


def _malformed(file: Path, message: str, line: int, column: int) -> ConfigError:
    return ConfigError([Problem("", message)], file=f"{file}:{line}:{column}")


def _bytes(file: Path, default_name: str) -> bytes:
    def unreadable(message: str) -> UnreadableError:
        return UnreadableError([Problem("", message)], file=str(file))

    try:
        mode = file.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # to read a FIFO or a device may take for ever
            kind = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}.get(stat.S_IFMT(mode), "a device")
            raise unreadable(f"expected a regular file, found {kind}; write the table into a file")
        if stat.S_ISDIR(mode):
            advice = _nearest(file / default_name) or f'; write "{file / default_name}"'
            raise unreadable(f"expected a file, found a folder{advice}")
        return file.read_bytes()
    except FileNotFoundError:
        advice = _advice_for_missing(file) or _nearest(file) or "; name the file, or write one"
        raise _not_a_table(file, "no such file", advice) from None
    except OSError as error:
        raise unreadable(f"cannot be read: {error.strerror}") from None


def _advice_for_missing(file: Path) -> str:
    """Return advice if *file* is an argument of another kind: a URL, an address, an app. Else the empty string."""
    text = str(file)
    if re.match(r"https?:", text):
        return "; a URL is not the file of a table; name the file first"
    if re.fullmatch(r"(?:[\w.-]+|\[[0-9a-f:.]+\])?:[0-9]+|[0-9]+|unix:.*", text):
        return "; an address to listen at belongs to --listen of serve, or to listen under [server]"
    if re.fullmatch(r"[\w./-]*\w:\w[\w.]*(?:\(.*\))?|.*\.py", text):
        return f"; {_advice_for_app(text)}"
    if re.fullmatch(r"/[\w-]+", text):
        return '; name the file of the table; only "mountpoint restart" takes a mount'
    return ""


def _advice_for_app(text: str) -> str:
    return f'name an app in a table: write a file with [mounts], and "/" = "{text}"'


def _nearest(file: Path) -> str:
    """Return a "did you mean" for *file* from the TOML files in its folder: a similar name, or the only file."""
    try:
        names = sorted(other.name for other in file.parent.glob("*.toml") if other.name != "pyproject.toml")
    except OSError:  # pragma: no cover - Python before 3.13 skips a folder that cannot be read
        return ""
    if file.name in names:
        return f'; write "{file}"'
    if not names and file.parent == Path() and Path("..", file.name).is_file():
        return f'; did you mean "{Path("..", file.name)}"?'
    by_stem = {name.removesuffix(".toml"): name for name in names}
    import difflib  # here, because most commands find their file

    nearest = [*by_stem] if len(by_stem) == 1 else difflib.get_close_matches(file.stem, by_stem, n=1)
    return f'; did you mean "{file.with_name(by_stem[nearest[0]])}"?' if nearest else ""


def _decoded(file: Path, data: bytes) -> str:
    # UTF-16 may lack its byte order mark, but it has a NUL beside each ASCII letter.
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:100]:
        raise _malformed(file, "expected UTF-8, found UTF-16; save the file as UTF-8", 1, 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        data = error.object  # without the byte order mark, which error.start does not count
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"expected UTF-8, found the byte 0x{data[error.start]:02x}; save the file as UTF-8"
        raise _malformed(file, message, line, column) from None
