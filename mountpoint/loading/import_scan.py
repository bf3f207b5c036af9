"""The names that source files import, also in functions that have not run yet.

A lazy import in a request is too late to refuse an app, so its name is read from the source. Reading is in two steps,
because the sources of an app may be large: a regular expression finds candidates, and the parser confirms the few that
matter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_FROM = re.compile(r"^[ \t]*from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*+(?:[^\n#'\"]*[:;][ \t]*+)?import[ \t]+([\w., \t]+)", re.MULTILINE)
# Functions that import the module that a string names.
_CALL = re.compile(r"\b(?:import_module|__import__|import_string|from_object|include)\(\s*['\"]([\w.]+)")
_NAME = re.compile(r"\w+")
_COMMENT = re.compile(r"#[^\n]*")


class Source(NamedTuple):
    """A source file, and the package that its relative imports start from, empty if it is not in one."""

    file: Path
    package: str


def source_of(name: str, file: Path) -> Source:
    """Return the source of the module *name* in *file*."""
    return Source(file, name if file.stem == "__init__" else name.rpartition(".")[0])


def scan_imports(sources: Iterable[Source], find: Callable[[str], Path | None]) -> dict[str, set[Source]]:
    """Return each name that *sources* import, with the sources that import it. The names are absolute.

    *find* returns the file of a module by its name, or None if its imports do not matter. The files that it returns
    are scanned too. A source may mention a name only in a docstring: see `is_imported`.
    """
    found: dict[str, set[Source]] = {}
    waiting, seen = [*sources], set()
    while waiting:
        source = waiting.pop()
        if source.file in seen:
            continue
        seen.add(source.file)
        for name in set(_candidates(_read(source.file), source.package)):
            if name not in found and (file := find(name)):
                waiting.append(source_of(name, file))
            found.setdefault(name, set()).add(source)
    return found


def is_imported(name: str, source: Source) -> bool:
    """Whether *source* has a statement that imports *name*, or a module in it, or a call that imports it by a string.

    Statements that never run in a server do not count: those for type checkers, and those of a script.
    """
    text = _read(source.file)
    if any(_is_part(name, called) for called in _CALL.findall(text)):
        return True
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        _is_part(name, imported) for node in _statements(tree) for imported in _absolute_names(node, source.package)
    )


def _read(file: Path) -> str:
    """Return the text of *file*, empty if it is not a readable Python source."""
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.suffix == ".py" else ""
    except (OSError, ValueError):
        return ""


def _candidates(text: str, package: str) -> Iterator[str]:
    for module, names in _FROM.findall(text):
        base = _absolute(module, package)
        if base:
            yield base
            yield from (f"{base}.{name}" for name in _NAME.findall(_COMMENT.sub("", names)))
    for names in _IMPORT.findall(text):
        yield from (name.split()[0] for name in names.split(",") if name.split())
    yield from _CALL.findall(text)


def _absolute(module: str, package: str) -> str:
    """Return the name of *module* in a ``from`` statement; empty for a relative one outside of a known package."""
    name = module.lstrip(".")
    level = len(module) - len(name)
    if not level:
        return name
    if not package:
        return ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield each import statement below *tree* that may run in a server."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _never_runs(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _never_runs(test: ast.expr) -> bool:
    text = ast.unparse(test)
    return text in ("TYPE_CHECKING", "typing.TYPE_CHECKING") or text.startswith("__name__ ==")


def _absolute_names(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and (base := _absolute("." * node.level + (node.module or ""), package)):
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return []


def _is_part(name: str, imported: str) -> bool:
    """Whether an import of *imported* imports *name*: the module itself, or a package above it."""
    return imported == name or imported.startswith(f"{name}.")
