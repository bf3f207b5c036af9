"""Find variables of ``env`` that an app reads from ``os.environ`` in a request, when they are no longer set.

This module searches the sources of the app. A read in a function counts, unless the load has run that line: such a
function makes the app.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_READERS = ("get", "__getitem__", "pop", "setdefault")


class LateRead(NamedTuple):
    """The variable *name*, which *file* reads at *line*."""

    name: str
    file: Path
    line: int

    def __str__(self) -> str:
        return (
            f"{self.file}, line {self.line}, reads {self.name} of env from os.environ, which has it only during the "
            "load; read it at import, or from environ of the request, or serve this app from a process of its own: "
            'write process = "own"'
        )


def late_reads(files: Iterable[Path], names: Collection[str], executed: Collection[tuple[str, int]]) -> list[LateRead]:
    """Return the first read of each of *names* that *files* contain in a function, without the lines in *executed*.

    *executed* are pairs of a file name and a line, of the reads that the load has made.
    """
    found: dict[str, LateRead] = {}
    for file in sorted(files):
        text = ""
        with suppress(OSError):
            text = file.read_text(encoding="utf-8", errors="replace")
        if "env" not in text or not any(name in text for name in names):
            continue
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for name, node in _reads_in_functions(ast.parse(text)):
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                if name in names and not any((str(file), line) in executed for line in lines):
                    found.setdefault(name, LateRead(name, file, node.lineno))
    return list(found.values())


def _reads_in_functions(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the name of each variable of the environment that a function in *tree* reads, and the expression."""
    aliases = {  # of os.environ and os.getenv
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        for alias in node.names
    }
    modules = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "os"
    }

    def means(node: ast.expr, name: str) -> bool:
        if isinstance(node, ast.Attribute):
            return node.attr == name and isinstance(node.value, ast.Name) and node.value.id in modules
        return isinstance(node, ast.Name) and aliases.get(node.id) == name

    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    functions = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    for node in (inner for function in functions for inner in ast.walk(function)):
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and means(node.value, "environ"):
            key = node.slice
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            is_method = isinstance(called, ast.Attribute) and called.attr in _READERS and means(called.value, "environ")
            key = node.args[0] if is_method or means(called, "getenv") else None
        if isinstance(node, ast.expr) and isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, node
