"""Check that the object found for an app is a WSGI application, and explain what it is if it is not.

The check happens at load, where `mountpoint check` can report it, instead of at the first request.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import suppress
from types import ModuleType
from typing import Any

from ..config.app_spec import AppSpec
from ..errors import NotAnApp
from .app_kinds import advice_for_kind, is_instance_by_name, type_name
from .signatures import accepts_environ_and_start_response, call_with_arguments, is_asgi, parameters_text


def require_app(spec: AppSpec, found: Any) -> None:
    """Raise `NotAnApp`, with the change to make, if *found* cannot be called as ``app(environ, start_response)``.

    An object passes if Python cannot read its signature. An exception that *found* raises during the inspection
    propagates.
    """
    if explanation := _explanation(spec, found):
        raise NotAnApp(f'"{spec.text}" {explanation}')


def require_factory(spec: AppSpec, factory: Any) -> None:
    """Raise `NotAnApp` if a call of *factory* cannot return an app: it is not callable, or it starts a program."""
    if not callable(factory):
        raise NotAnApp(
            f'"{spec.module}:{spec.attribute}" is an object of type {type_name(factory)}, '
            'which cannot be called; remove the "()"'
        )
    if is_instance_by_name(factory, "click.Command") or is_instance_by_name(factory, "typer.Typer"):
        raise NotAnApp(f'"{spec.text}" {advice_for_kind(factory, spec.text)}')


def call_advice(spec: AppSpec, factory: Any) -> str:
    """Return what to write instead of a call of *factory* with arguments that it does not take."""
    name = spec.text[: spec.text.find("(", spec.text.find(":", len(spec.folder)))]
    try:
        is_app = not (spec.args or spec.kwargs or _explanation(_NO_SPEC, factory))
        if is_app:
            return f'; it is a WSGI app already: write "{name}"'
        return f'; it takes ({parameters_text(factory)}): write "{name}{call_with_arguments(factory)}"'
    except Exception:
        return ""


def require_result(spec: AppSpec, factory: Any, result: Any) -> None:
    """Raise `NotAnApp` if the *result* of *factory* shows a mistake in the factory itself."""
    if inspect.iscoroutine(result):
        result.close()  # else Python warns that it was never awaited
        fault = "is a coroutine function" if inspect.iscoroutinefunction(factory) else "returned a coroutine"
        raise NotAnApp(f'the factory "{spec.text}" {fault}; write "def" instead of "async def"')
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise NotAnApp(f'the factory "{spec.text}" is a generator; write "return app" instead of "yield app"')
    if inspect.isawaitable(result):
        raise NotAnApp(f'the factory "{spec.text}" returned an awaitable, {type_name(result)}; return the app itself')
    if isinstance(result, (tuple, list)):
        raise NotAnApp(f'the factory "{spec.text}" returned a {type_name(result)}; return only the app')
    if result is None:
        raise NotAnApp(f'the factory "{spec.text}" returned None; write "return app" at its end')


def wsgi_names(owner: object) -> list[str]:
    """Return the names of the WSGI apps among the public attributes of *owner*, an object or a module.

    Functions and classes are left out, because many of them have the signature of an app by accident.
    """
    names = []
    for name, value in vars(owner).items() if hasattr(owner, "__dict__") else ():
        with suppress(Exception):  # a context-local proxy (flask.request) raises at any access outside a request
            if not name.startswith("_") and not _is_definition(value) and not _explanation(_NO_SPEC, value):
                names.append(name)
    return names


_NO_SPEC = AppSpec("", "")
#: Attributes that hold the WSGI app, as ``server`` of Dash does, or are it, as ``wsgi_app`` of Flask is.
_INNER_APPS = ("wsgi_app", "wsgi", "server", "application", "app")


def _explanation(spec: AppSpec, found: Any) -> str:
    """Return why *found* is not a WSGI application, and the change to make. Empty if it is one."""
    if isinstance(found, ModuleType):
        name = next((name for name in ("application", "app", *wsgi_names(found)) if hasattr(found, name)), "")
        hint = "" if name else ', where "app" is the name of the app in it'
        return f'is a module; write "{found.__name__}:{name or "app"}"{hint}'
    if advice := advice_for_kind(found, spec.text):
        return advice
    if is_asgi(found):
        kind = "a class" if inspect.isclass(found) else type_name(found)
        return (
            f"is an ASGI app ({kind}), but mountpoint serves WSGI apps; serve it with an ASGI "
            "server, or wrap it in a2wsgi's ASGIMiddleware and name the wrapper"
        )
    if inspect.iscoroutinefunction(found):
        return 'is a coroutine function, which WSGI cannot call; write "def" instead of "async def"'
    if inspect.iscoroutine(found):
        return 'is a coroutine, since a coroutine function made it; write "def" instead of "async def" there'
    if not callable(found):
        hint = "" if spec.is_factory else _hint_at_inner_app(spec, found)
        return f"is an object of type {type_name(found)}, which is not a WSGI application{hint}"
    if inspect.isclass(found) and _instances_are_callable(found):
        hint = "return an instance of it" if spec.is_factory else f'write "{spec.text}()" to mount an instance'
        return f"is a class with callable instances; {hint}"
    if not accepts_environ_and_start_response(found):
        return (
            f"takes ({parameters_text(found)}), but a WSGI application takes (environ, start_response)"
            f"{'' if spec.is_factory else _hint_at_call(spec, found)}"
        )
    return ""


def _hint_at_inner_app(spec: AppSpec, found: Any) -> str:
    """Return advice to name an attribute of *found* that holds the WSGI app."""
    for name in _INNER_APPS:
        if callable(inner := getattr(found, name, None)) and not _explanation(_NO_SPEC, inner):
            return f'; its attribute "{name}" is callable: write "{spec.text}.{name}"'
    return ""


def _hint_at_call(spec: AppSpec, found: Any) -> str:
    """Return advice on the call that makes the app, or on the object that *found* is a method of."""
    owner = getattr(found, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType) and not _explanation(_NO_SPEC, owner):
        return f'; it is a method of the app: write "{spec.text.rpartition(".")[0]}"'
    if next(iter(inspect.signature(found).parameters), "") == "self":
        return "; it is a method of a class: make an instance in the module, and name the method of the instance"
    return f'; if it is a factory that returns the app, write "{spec.text}{call_with_arguments(found)}"'


def _is_definition(value: object) -> bool:
    """Whether *value* is a class, a function or the like, and not an instance that a framework's class made."""
    is_partial = isinstance(value, functools.partial)
    return is_partial or inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, ModuleType)


def _instances_are_callable(cls: type) -> bool:
    """Whether instances of *cls* can be called; if not, the class itself may be the app, as PEP 3333 allows."""
    return any("__call__" in vars(base) for base in cls.__mro__)
