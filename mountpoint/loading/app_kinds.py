"""Recognise objects of well-known packages, and advise on those that people name in place of a WSGI app.

The packages are not imported: an object is recognised by the names of its class and of the base classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_DEPTH = 10  # layers of middleware; an object may wrap itself
#: The attributes in which a middleware keeps the app that it wraps.
_WRAPPED = ("wsgi_app", "app", "application", "_app", "wrapped")

#: The class, and what it is with the advice. ``{spec}`` stands for the name of the app in the file.
_KINDS = {
    "aiohttp.Application": (
        "is an aiohttp app, which runs only in an event loop, but mountpoint serves WSGI apps; "
        "serve it with aiohttp's run_app() at an address of its own, behind the same proxy"
    ),
    "celery.Celery": "is a Celery app, which runs tasks; name the WSGI app that sends the tasks",
    "click.Command": "is a click command, which starts a program; name the WSGI app that the program serves",
    "django.ASGIHandler": (
        "is an ASGI app (django.ASGIHandler), but mountpoint serves WSGI apps; name the WSGI app of the project, "
        'which get_wsgi_application() makes, as in "mysite.wsgi:application"'
    ),
    "fastapi.APIRouter": (
        "is a FastAPI router, only a part of an app; FastAPI apps are ASGI apps, so serve the app with an ASGI server"
    ),
    "flask.Blueprint": "is a Flask Blueprint, only a part of an app; register it on a Flask app and name that",
    "flask_restful.Api": "is an extension of a Flask app; name the Flask app",
    "flask_restx.Api": "is an extension of a Flask app; name the Flask app",
    "flask_socketio.SocketIO": "is an extension of a Flask app; name the Flask app",
    "pyramid.Configurator": 'is a Configurator of Pyramid; write "{spec}.make_wsgi_app()"',
    "tornado.Application": (
        "is a Tornado app, which runs only in an event loop, but mountpoint serves WSGI apps; "
        "serve it with its method listen() at an address of its own, behind the same proxy"
    ),
    "typer.Typer": "is a Typer command, which starts a program; name the WSGI app that the program serves",
    "web.application": 'is a web.py application, which makes the WSGI app; write "{spec}.wsgifunc()"',
}


def advice_for_kind(found: object, spec: str) -> str:
    """Return what *found*, which the file names as *spec*, is and what to write, or an empty string.

    The result continues a sentence: ``is a Flask Blueprint, ...``.
    """
    for name, advice in _KINDS.items():
        if is_instance_by_name(found, name):
            return advice.format(spec=spec)
    return ""


def layers(app: Any) -> Iterator[Any]:
    """Yield *app*, and each app that it wraps, from the outside in."""
    for _ in range(_DEPTH):
        yield app
        attributes = getattr(app, "__dict__", {})
        inner = next((attributes[name] for name in _WRAPPED if callable(attributes.get(name))), None)
        if inner is None:
            return
        app = inner


def is_instance_by_name(value: object, name: str) -> bool:
    """Whether *value* is an instance of the class *name*, such as ``flask.Flask``, without importing that package.

    *name* is the top-level package and the class; the modules in between do not matter.
    """
    return any(f"{base.__module__.partition('.')[0]}.{base.__name__}" == name for base in type(value).__mro__)


def type_name(value: object) -> str:
    """Return the type of *value* for a message: ``int``, or ``flask.Flask`` with its top-level package."""
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__.partition('.')[0]}.{cls.__name__}"
