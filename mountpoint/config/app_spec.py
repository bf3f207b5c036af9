"""How an app is named in a file: ``module:attribute``, ``module:factory("literal", key=1)``, ``dir/file.py:attribute``.

Read only, never run: what the name stands for is found out by `mountpoint.loading.importing`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

_FILE = re.compile(r"(?P<file>.+?\.py)(?::(?P<object>.*))?", re.DOTALL)
_FORMS = 'expected "module:attribute", "module:factory()", "dir/file.py:attribute" or "module"'


@dataclass(frozen=True, slots=True)
class AppSpec:
    """The parsed name of an app.

    ``attribute`` is empty where only a module was named; ``args`` is None unless it is called.
    """

    text: str
    module: str
    attribute: str = ""
    args: tuple[object, ...] | None = None
    kwargs: Mapping[str, object] = field(default_factory=dict)
    folder: str = ""  #: of ``dir/file.py``: the folder ``dir``, below the root or absolute

    @property
    def is_factory(self) -> bool:
        """Whether the attribute is to be called, and what it returns is the app."""
        return self.args is not None


def parse_spec(text: str) -> AppSpec:
    """Return the app that *text* names. Raises ValueError with what is wrong and what to write instead.

    >>> parse_spec("blog.wsgi:make_app('prod', debug=False)")
    AppSpec(text=..., module='blog.wsgi', attribute='make_app', args=('prod',), kwargs={'debug': False}, folder='')
    >>> parse_spec("apps/tv/web.py:app").folder, parse_spec("apps/tv/web.py:app").module
    ('apps/tv', 'web')
    """
    folder = ""
    if match := _FILE.fullmatch(text):
        file = PurePath(match["file"])
        folder, module, expression = file.parent.as_posix(), file.stem, match["object"]
        if not module.isidentifier():
            raise ValueError(
                f'expected a file whose name can be imported, found "{file.name}"; rename it, without "-" or "."'
            )
    else:
        module, colon, expression = text.partition(":")
        if "/" in module or "\\" in module:
            hint = f'; a path ends in ".py": write "{module}.py:{expression}"' if expression else ""
            raise ValueError(f'{_FORMS}, found "{text}"{hint}')
        if not all(part.isidentifier() for part in module.split(".")):
            module, dot, _ = re.sub(r"\(.*", "", text, flags=re.DOTALL).rpartition(".")
            hint = f'; write "{module}:{text.removeprefix(module + dot)}"' if dot and "(" in text and not colon else ""
            raise ValueError(f'{_FORMS}, found "{text}"{hint}')
        expression = expression if colon else None
    if expression is None:
        return AppSpec(text, module, folder=folder)
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f'{_FORMS}, found "{text}"') from None
    args: tuple[object, ...] | None = None
    kwargs: dict[str, object] = {}
    if isinstance(tree, ast.Call):
        args = tuple(_literal(node) for node in tree.args)
        for keyword in tree.keywords:
            if keyword.arg is None:
                raise ValueError(
                    f'expected literal arguments, found "**{ast.unparse(keyword.value)}"; write each as key=value'
                )
            if keyword.arg in kwargs:
                raise ValueError(f'expected each argument once, found "{keyword.arg}" twice')
            kwargs[keyword.arg] = _literal(keyword.value)
        tree = tree.func
    attribute = ast.unparse(tree)
    if not all(part.isidentifier() for part in attribute.split(".")):
        raise ValueError(f'expected an attribute, or one call of it, after ":", found "{expression}"')
    return AppSpec(text, module, attribute, args, kwargs, folder)


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        found = ast.unparse(node)
        raise ValueError(f'expected a literal argument (a string, a number, a list ...), found "{found}"') from None
