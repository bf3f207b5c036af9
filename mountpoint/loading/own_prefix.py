"""Find a loaded app that has a prefix of its own: then its pages or its cookies are not where its mount is.

A mount gives its app the prefix in ``SCRIPT_NAME``. An app that adds the prefix itself, as it had to under a server
without mounts, has its pages at ``/shop/shop/``. If it adds another prefix, its links and cookies leave the mount.

Only the loaded objects are read: no request is made, and no framework is imported. This happens in the process of the
app, so the module runs on Python 3.8 too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Optional

from ..wsgi.keys import is_below, wsgi_string
from .app_kinds import is_instance_by_name, layers, type_name

_DJANGO_COOKIES = ("SESSION_COOKIE_PATH", "CSRF_COOKIE_PATH", "LANGUAGE_COOKIE_PATH")


class Prefixes(NamedTuple):
    """The path of a mount in the file, and in the browser, which is None if only a request tells it."""

    path: str
    public: Optional[str]  # noqa: UP045 - for Python 3.8


class PrefixFault(NamedTuple):
    """A fault of an app: the *symptom*, as the doctor names it, and a sentence with the remedy."""

    symptom: Literal["own-prefix", "cookie-path", "static-url"]
    text: str


def prefix_faults(app: Any, prefixes: Prefixes) -> Iterator[PrefixFault]:
    """Yield each fault of *app*. Call it before the first request: Django keeps its prefix."""
    if prefixes.path == "/":
        return
    for layer in layers(app):
        for text in _added_prefixes(layer, {prefixes.path, prefixes.public or prefixes.path}):
            yield PrefixFault("own-prefix", text)
        if prefixes.public:
            yield from _other_prefixes(layer, prefixes.public)


# ---------------------------------------------------------------------------- the prefix is added a second time


def _added_prefixes(layer: Any, prefixes: set[str]) -> Iterator[str]:
    """Yield a sentence for each way in which *layer* adds one of *prefixes*."""
    name = type_name(layer)
    for prefix in sorted(prefixes & {key.rstrip("/") for key in _dispatched(layer)}):
        yield (
            f'{name} in the app mounts it at "{prefix}" once more, so its pages are at {prefix}{prefix}; '
            "name the inner app in mounts.toml, without that dispatcher"
        )
    routes = list(_routes(layer))
    below = [route for route in routes if any(is_below(route, prefix) for prefix in prefixes)]
    if below and not any(route in ("", "/") for route in routes):
        prefix = next(prefix for prefix in sorted(prefixes) if is_below(below[0], prefix))
        yield (
            f'the app has no page at "/", and {len(below)} of its {len(routes)} routes begin with "{prefix}", so those '
            f"pages are at {prefix}{prefix}; remove the prefix from the routes, or the url_prefix from the blueprint"
        )
    if is_instance_by_name(layer, "flask.Flask"):
        return
    for attribute, value in getattr(layer, "__dict__", {}).items():
        if "prefix" in attribute.lower() and isinstance(value, str) and value.rstrip("/") in prefixes:
            yield (
                f'the middleware {name} has {attribute} = "{value}", and mountpoint sets SCRIPT_NAME already, so the '
                "app may get a path without its prefix and respond with 404; remove the middleware"
            )


def _dispatched(layer: Any) -> Iterator[str]:
    """Yield the prefixes below which *layer* mounts other apps, if it is a dispatcher of a known package."""
    if is_instance_by_name(layer, "werkzeug.DispatcherMiddleware"):
        yield from layer.mounts
    elif is_instance_by_name(layer, "mountpoint.Dispatcher"):
        yield from (mount.key for mount in layer.table)
    elif is_instance_by_name(layer, "paste.URLMap"):
        yield from (path for (_, path), _ in layer.applications)
    elif is_instance_by_name(layer, "cheroot.PathInfoDispatcher"):
        yield from (path for path, _ in layer.apps)


def _routes(layer: Any) -> Iterator[str]:
    """Yield the routes of *layer* in its framework's syntax, except for static files."""
    if is_instance_by_name(layer, "flask.Flask"):
        yield from (rule.rule for rule in layer.url_map.iter_rules() if not rule.endpoint.endswith("static"))
    elif is_instance_by_name(layer, "bottle.Bottle"):
        yield from (route.rule for route in layer.routes)
    elif is_instance_by_name(layer, "pyramid.Router") and layer.routes_mapper is not None:
        yield from ("/" + route.pattern.lstrip("/") for route in layer.routes_mapper.get_routes())


# -------------------------------------------------------------------------------- another prefix than the mount's


def _other_prefixes(layer: Any, public: str) -> Iterator[PrefixFault]:
    """Yield a fault for each setting of *layer* that names another prefix than *public*, that of the mount."""
    if is_instance_by_name(layer, "flask.Flask") and layer.config["SECRET_KEY"]:
        name = "SESSION_COOKIE_PATH" if layer.config["SESSION_COOKIE_PATH"] else "APPLICATION_ROOT"
        yield from _cookie_fault(name, layer.config[name], public)
    elif is_instance_by_name(layer, "django.WSGIHandler"):
        yield from _django_faults(public)
    elif is_instance_by_name(layer, "cherrypy.Tree"):
        if not any(is_below(key, public) for key in layer.apps):
            text = (
                f'cherrypy.tree looks for the whole path and has no app at "{public}", so every page is 404; '
                f'write cherrypy.tree.mount(root, "{public}")'
            )
            yield PrefixFault("own-prefix", text)
    elif is_instance_by_name(layer, "cherrypy.Application") and layer._script_name not in (None, public):
        text = (
            f'the app looks for the whole path below its script_name, "{layer._script_name}", so every page is 404; '
            "write cherrypy.Application(root, script_name=None)"
        )
        yield PrefixFault("own-prefix", text)


def _cookie_fault(name: str, path: object, public: str) -> Iterator[PrefixFault]:
    if path and not is_below(public, str(path).rstrip("/")):
        text = (
            f'{name} = "{path}" is the path of its session cookie, and browsers return no such cookie to {public}, so '
            f'no login lasts; remove {name}, or write "{public}"'
        )
        yield PrefixFault("cookie-path", text)


def _django_faults(public: str) -> Iterator[PrefixFault]:
    settings = sys.modules["django.conf"].settings
    for name in _DJANGO_COOKIES:
        yield from _cookie_fault(name, getattr(settings, name), public)
    forced = settings.FORCE_SCRIPT_NAME
    if forced is not None and wsgi_string(forced.rstrip("/")) != wsgi_string(public):
        text = f'FORCE_SCRIPT_NAME = "{forced}" replaces the prefix of the mount, so links leave it; remove the setting'
        yield PrefixFault("own-prefix", text)
    for name in ("STATIC_URL", "MEDIA_URL"):
        cached = vars(settings).get(name)  # set when the setting is read first, with the prefix of that moment
        written = getattr(settings._wrapped, name, None)
        if isinstance(cached, str) and written and cached != written and not is_below(cached, public):
            advice = f'write {name} = "{public}/{written}"'
            if name == "STATIC_URL":
                advice += f', and for WhiteNoise WHITENOISE_STATIC_PREFIX = "/{written}"'
            text = (
                f'{name} = "{written}" was read during the load, as WhiteNoise does, and Django keeps it as '
                f'"{cached}", without the prefix, so pages have no style; {advice}'
            )
            yield PrefixFault("static-url", text)
