"""Parse the name of an app: ``module:attribute``, ``module:factory("literal", key=1)`` or ``dir/file.py:attribute``.

Nothing is imported or called here. `mountpoint.loading.importing` does that with the result.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import NamedTuple

_FILE = re.compile(r"(?P<file>.+?\.py)(?::(?P<object>.*))?", re.DOTALL)
_COMMAND = re.compile(r"(?:python[0-9.]*|flask|gunicorn|hypercorn|uvicorn|uwsgi|waitress-serve)\s(?:.*\s)?(?P<app>\S+)")
_SEPARATOR_MISTAKE = re.compile(r"(?P<file>.+\.py)\W+(?P<name>\w+)")
_OTHER_SUFFIXES = ("cgi", "fcgi", "py3", "pyw", "wsgi")  # of files with Python code that no import finds
_FORMS = 'expected "module:attribute", "module:factory()", "dir/file.py:attribute" or "module"'


class AppSpec(NamedTuple):
    """The parsed name of an app.

    ``attribute`` is empty if the text names only a module. ``args`` is None unless the attribute is a factory.
    """

    text: str
    module: str
    attribute: str = ""
    args: tuple[object, ...] | None = None
    kwargs: Mapping[str, object] = MappingProxyType({})
    folder: str = ""  #: ``dir`` of ``dir/file.py``: relative to the mount's root, or absolute

    @property
    def is_factory(self) -> bool:
        """Whether the app is the value that the attribute returns when it is called."""
        return self.args is not None


def parse_spec(text: str) -> AppSpec:
    """Return the parsed *text*. Raises ValueError that says what is wrong and what to write instead.

    >>> parse_spec("blog.wsgi:make_app('prod', debug=False)")
    AppSpec(text=..., module='blog.wsgi', attribute='make_app', args=('prod',), kwargs={'debug': False}, folder='')
    >>> parse_spec("apps/tv/web.py:app").folder, parse_spec("apps/tv/web.py:app").module
    ('apps/tv', 'web')
    """
    if re.search(r"[\t\n\b\f\r]", text):  # "apps\tv.py" in double quotes contains a tab
        raise ValueError(f'{_FORMS}, found "{text}"; TOML reads a backslash in double quotes as an escape: write "/"')
    folder, module, expression = _split(text)
    if expression is None:
        return AppSpec(text, module, folder=folder)
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f'{_FORMS}, found "{text}"{_advice(text)}') from None
    args: tuple[object, ...] | None = None
    kwargs: dict[str, object] = {}
    if isinstance(tree, ast.Call):
        args, kwargs = _literal_arguments(tree)
        tree = tree.func
    attribute = ast.unparse(tree)
    if not all(part.isidentifier() for part in attribute.split(".")):
        raise ValueError(f'expected an attribute, or one call of it, after ":", found "{expression}"')
    return AppSpec(text, module, attribute, args, kwargs, folder)


def _split(text: str) -> tuple[str, str, str | None]:
    """Return the folder, the module and the expression after the colon, or None without a colon."""
    if command := _COMMAND.fullmatch(text):
        raise ValueError(f'{_FORMS}, found the command "{text}"; write "{command["app"]}"')
    if match := _FILE.fullmatch(text):
        file = PurePath(match["file"])
        if "\\" in file.name:  # here and not on Windows, where it separates the folders
            advice = text.replace("\\", "/")
            raise ValueError(f'expected a path with slashes, found "{text}"; write "{advice}"')
        if not file.stem.isidentifier():
            identifier = re.sub(r"^(?=\d)|\W", "_", file.stem)
            raise ValueError(
                f'expected a file with a name that Python can import, found "{file.name}"; '
                f'rename it to "{identifier}.py"'
            )
        return file.parent.as_posix(), file.stem, match["object"]
    module, colon, expression = text.partition(":")
    if "/" in module or "\\" in module:
        hint = _advice(text) or _advice_on_path(module, expression)
        raise ValueError(f'{_FORMS}, found "{text}"{hint}')
    if not all(part.isidentifier() for part in module.split(".")):
        if hint := _advice(text) or _advice_on_name(module, colon + expression):
            raise ValueError(f'{_FORMS}, found "{text}"{hint}')
        module, dot, _ = re.sub(r"\(.*", "", text, flags=re.DOTALL).rpartition(".")
        hint = f'; write "{module}:{text.removeprefix(module + dot)}"' if dot and "(" in text and not colon else ""
        raise ValueError(f'{_FORMS}, found "{text}"{hint}')
    return "", module, expression if colon else None


def _advice(text: str) -> str:
    """Return the spec to write if *text* is a file and a name with another separator than one colon."""
    match = _SEPARATOR_MISTAKE.fullmatch(text)
    return f'; write "{match["file"]}:{match["name"]}"' if match else ""


def _advice_on_path(path: str, expression: str | None) -> str:
    """Return what to write instead of *path*, which has slashes and does not end in ``.py``."""
    path = path.replace("\\", "/")
    folder, slash, name = path.rpartition("/")
    stem, _, suffix = name.rpartition(".")
    attribute = f":{expression}" if expression else ""
    if suffix in _OTHER_SUFFIXES and stem:
        return f"; {_renamed(name, f'{folder}{slash}', attribute)}"
    if not expression:
        return ""
    if not name:
        return f'; name a file in the folder, as in "{path}web.py{attribute}"'
    if suffix == "pyc":
        return f'; write "{folder}{slash}{stem}.py{attribute}"'
    file = f"{folder}{slash}{name.replace('.', '/')}"
    package = file.removeprefix("./").replace("/", ".")
    is_module = all(part.isidentifier() for part in package.split("."))
    hint = f', or "{package}{attribute}" if it is a package' if is_module else ""
    return f'; a path ends in ".py": write "{file}.py{attribute}"{hint}'


def _advice_on_name(module: str, attribute: str) -> str:
    """Return the advice for a *module* whose file has a name that Python cannot import, such as ``my-app``."""
    wrong = next((part for part in module.split(".") if not part.isidentifier()), "")
    if not re.fullmatch(r"[\w-]+", wrong):
        return ""
    right = re.sub(r"^(?=\d)|\W", "_", wrong)
    new = module.replace(wrong, right)
    return f'; Python cannot import "{wrong}": rename it to "{right}", and write "{new}{attribute}"'


def other_suffix_advice(spec: AppSpec, folder: Path) -> str:
    """Return the advice for a file such as ``site.wsgi`` in *folder*, which *spec* names as if it was a module."""
    if spec.module.rpartition(".")[2] in _OTHER_SUFFIXES and (folder / spec.module).is_file():
        return f"; {_renamed(spec.module, '', spec.text[len(spec.module) :])}"
    return ""


def _renamed(name: str, folder: str, attribute: str) -> str:
    new = re.sub(r"^(?=\d)|\W", "_", name) + ".py"
    return (
        f'Python imports only files that end in ".py": rename "{name}" to "{new}", and write "{folder}{new}{attribute}"'
    )


def _literal_arguments(call: ast.Call) -> tuple[tuple[object, ...], dict[str, object]]:
    args = tuple(_literal(node) for node in call.args)
    kwargs: dict[str, object] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise ValueError(
                f'expected literal arguments, found "**{ast.unparse(keyword.value)}"; write each as key=value'
            )
        if keyword.arg in kwargs:
            raise ValueError(f'expected each argument once, found "{keyword.arg}" twice')
        kwargs[keyword.arg] = _literal(keyword.value)
    return args, kwargs


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        found = ast.unparse(node)
        raise ValueError(f'expected a literal argument (a string, a number, a list ...), found "{found}"') from None
