"""Tell from its signature whether a callable is a WSGI app, an ASGI app or a factory."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import Any

_FACTORY_NAME = re.compile(
    r"(?:build|configure|create|get|init|load|make|new|set_?up)_?(?:\w*_)?(?:api|app|application|server|site|wsgi\w*)"
    r"|\w*factory",
    re.IGNORECASE,
)
_PROGRAM_NAME = re.compile(r"cli|main|run|serve|wsgifunc")
_SETTING = re.compile(
    r"_*(?:app|global|local|test|flask|base|extra)?_?(?:cfg|conf|config|configuration|options|settings?)(?:_\w+)?"
    r"|argv|cls|debug|env_name|import_name|kwargs|mode|name|profile|testing"
)
_ENVIRON = re.compile(r"_|e|env|\w*environ\w*")
_SIMPLE_TYPES = frozenset({"str", "bool", "int", "float", "Path"})
_APP_TYPES = frozenset({"Flask", "Bottle", "WSGIApplication", "WSGIHandler", "Dash", "API", "App", "Application"})


def accepts_environ_and_start_response(found: Callable[..., Any]) -> bool:
    """Whether *found* can be an app: it takes two arguments, and nothing shows that it is a factory.

    A factory such as ``create_app(config, env)`` takes two arguments as well. Its names, annotations and defaults show
    that it is a factory.
    """
    try:
        signature = inspect.signature(found)
    except ValueError:  # some callables written in C have no signature; the first request shows if one is an app
        return True
    try:
        signature.bind({}, print)
    except TypeError:
        return _is_wrapped_view(found, signature)
    return not _is_factory(found, signature)


def is_asgi(found: object) -> bool:
    """Whether *found*, or an instance of it if it is a class, is an ASGI app."""
    call = class_call(found if inspect.isclass(found) else type(found))
    if inspect.isclass(found) or (not inspect.isroutine(found) and not isinstance(found, functools.partial)):
        return inspect.iscoroutinefunction(call) or _names(call)[1:4] == ["scope", "receive", "send"]
    if inspect.iscoroutinefunction(found):
        return len(_names(found)) == 3
    return _names(found) == ["scope", "receive", "send"]


def class_call(cls: type) -> object:
    """Return the ``__call__`` that *cls* defines or inherits, or None.

    ``cls.__call__`` could find that of the metaclass, which is the constructor.
    """
    return next((vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None)


def parameters_text(found: Callable[..., Any]) -> str:
    """Return the parameters of *found* as its definition spells them."""
    return str(inspect.signature(found).replace(return_annotation=inspect.Signature.empty))[1:-1]


def call_with_arguments(found: Callable[..., Any]) -> str:
    """Return the call of *found* for an app spec, with ``...`` for each argument that has no default.

    >>> call_with_arguments(lambda config, debug=False: None)
    '(config=...)'
    """
    required = [
        parameter.name
        for parameter in inspect.signature(found).parameters.values()
        if parameter.default is Parameter.empty
        and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    return f"({', '.join(f'{name}=...' for name in required)})"


def _names(call: object) -> list[str]:
    try:
        return list(inspect.signature(call).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []


def _is_wrapped_view(found: Callable[..., Any], signature: inspect.Signature) -> bool:
    """Whether *found* is an app that a decorator made of ``view(request)``, as werkzeug's ``Request.application`` does.

    `inspect.signature` returns that of the view.
    """
    if [*signature.parameters][-1:] not in (["request"], ["req"]) or not hasattr(found, "__wrapped__"):
        return False
    try:
        inspect.signature(found, follow_wrapped=False).bind({}, print)
    except (TypeError, ValueError):
        return False
    return True


def _is_factory(found: Callable[..., Any], signature: inspect.Signature) -> bool:
    """Whether the function *found*, which takes two arguments, takes settings instead of environ."""
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ][:2]
    # A server passes both arguments, so an app has no reason to give both a default.
    if len(positional) == 2 and all(parameter.default is not Parameter.empty for parameter in positional):
        return True
    function = found.func if isinstance(found, functools.partial) else found
    if not inspect.isroutine(function):  # an instance with __call__ has been made already
        return False
    if _type_name(signature.return_annotation) in _APP_TYPES:
        return True
    name = getattr(function, "__name__", "")
    if not positional:
        return (_FACTORY_NAME.fullmatch(name) or _PROGRAM_NAME.fullmatch(name)) is not None
    return _takes_settings(positional, name)


def _takes_settings(positional: Sequence[Parameter], function_name: str) -> bool:
    first, *rest = (parameter.name for parameter in positional)
    if _SETTING.fullmatch(first) or any(_type_name(parameter.annotation) in _SIMPLE_TYPES for parameter in positional):
        return True
    takes_start_response = bool(rest) and ("start" in rest[0] or _ENVIRON.fullmatch(first) is not None)
    return _FACTORY_NAME.fullmatch(function_name) is not None and not takes_start_response


def _type_name(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.partition("[")[0].partition(" |")[0].rpartition(".")[2]
