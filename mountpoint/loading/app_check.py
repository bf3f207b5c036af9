"""Check that the object found for an app is a WSGI application, and explain what it is if it is not.

The check happens at load, where `mountpoint check` can report it, instead of at the first request.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from ..config.app_spec import AppSpec
from ..errors import NotAnApp


def require_app(spec: AppSpec, found: Any) -> None:
    """Raise `NotAnApp`, with the change to make, if *found* cannot be called as ``app(environ, start_response)``.

    An object passes if Python cannot read its signature. An exception that *found* raises during the inspection
    propagates.
    """
    name = f'"{spec.text}"'
    if is_instance_by_name(found, "flask.Blueprint"):
        raise NotAnApp(f"{name} is a Flask Blueprint, only a part of an app; register it on a Flask app and name that")
    if isinstance(found, ModuleType):
        raise NotAnApp(f'{name} is a module; write "{found.__name__}:app", where "app" is the name of the app in it')
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(_class_call(found)):
        raise NotAnApp(
            f"{name} is an ASGI app ({type_name(found)}), but mountpoint serves WSGI apps; serve it with an ASGI "
            "server, or wrap it in a2wsgi's ASGIMiddleware and name the wrapper"
        )
    if not callable(found):
        hint = "" if spec.is_factory else _hint_at_inner_app(spec, found)
        raise NotAnApp(f"{name} is an object of type {type_name(found)}, which is not a WSGI application{hint}")
    if inspect.isclass(found) and _instances_are_callable(found):
        hint = "return an instance of it" if spec.is_factory else f'write "{spec.text}()" to mount an instance'
        raise NotAnApp(f"{name} is a class with callable instances; {hint}")
    if not _accepts_environ_and_start_response(found):
        hint = "" if spec.is_factory else f'; if it is a factory that returns the app, write "{spec.text}()"'
        raise NotAnApp(
            f"{name} takes ({_parameters(found)}), but a WSGI application takes (environ, start_response){hint}"
        )


def is_instance_by_name(value: object, name: str) -> bool:
    """Whether *value* is an instance of the class *name*, such as ``flask.Flask``, without importing that package.

    *name* is the top-level package and the class; the modules in between do not matter.
    """
    return any(f"{base.__module__.partition('.')[0]}.{base.__name__}" == name for base in type(value).__mro__)


def type_name(value: object) -> str:
    """Return the type of *value* for a message: ``int``, or ``flask.Flask`` with its top-level package."""
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


def _hint_at_inner_app(spec: AppSpec, found: Any) -> str:
    """Return advice to name an attribute of *found* that holds the WSGI app, as ``server`` of Dash does."""
    for name in ("wsgi_app", "wsgi", "server", "application", "app"):
        if callable(getattr(found, name, None)):
            return f'; its attribute "{name}" is callable: write "{spec.text}.{name}"'
    return ""


def _accepts_environ_and_start_response(found: Any) -> bool:
    try:
        signature = inspect.signature(found)
    except ValueError:  # some callables written in C have no signature; the first request shows if one is an app
        return True
    try:
        signature.bind({}, print)
    except TypeError:
        return False
    # A server passes both arguments, so an app has no reason to give both a default. A factory may have two optional
    # parameters, as in create_app(config=None, debug=False).
    has_default = [parameter.default is not parameter.empty for parameter in signature.parameters.values()]
    return has_default != [True, True]


def _class_call(value: object) -> object:
    """Return the ``__call__`` that the class of *value* defines or inherits, or None.

    ``type(value).__call__`` would find that of the metaclass, which is the constructor.
    """
    return next((vars(base)["__call__"] for base in type(value).__mro__ if "__call__" in vars(base)), None)


def _instances_are_callable(cls: type) -> bool:
    """Whether instances of *cls* can be called; if not, the class itself may be the app, as PEP 3333 allows."""
    return any("__call__" in vars(base) for base in cls.__mro__)


def _parameters(found: Any) -> str:
    return str(inspect.signature(found).replace(return_annotation=inspect.Signature.empty))[1:-1]
