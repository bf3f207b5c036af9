"""Load one app: import its module, find its attribute, call its factory, and check the result.

`importlib` reports three different failures in much the same way. This module tells them apart, because the operator
has to fix each in another place:

- The module does not exist (`NoSuchModule`).
- The module exists, but does not have the attribute (`NoSuchAttribute`).
- The module exists, and its own code raised (`AppRaised`). The traceback then starts at the first frame of the app.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from ..config.app_spec import AppSpec, other_suffix_advice
from ..errors import AppRaised, NoSuchAttribute, NoSuchModule, NotAnApp, did_you_mean
from . import app_check
from .forking import ending_forked_children
from .import_advice import (
    arguments_advice,
    describe_elsewhere,
    relative_import_advice,
    require_file,
    shadowed_module,
    variable_advice,
)
from .missing_imports import environment_advice, missing_import_hint, package_import_advice
from .module_files import top_level_modules

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def load_app(spec: AppSpec, root: Path) -> WSGIApplication:
    """Return the WSGI application that *spec* names, after calling its factory if it names one.

    *root* must be on ``sys.path``. Raises the subclass of `LoadError` for the kind of failure, whatever the app's code
    raises; only KeyboardInterrupt propagates.
    """
    with ending_forked_children():  # a child that went on would load the other apps and serve beside its parent
        module = _import(spec, root)
        found = _attribute(spec, root, module)
        if spec.is_factory:
            found = _call_factory(spec, root, found)
        try:
            app_check.require_app(spec, found)
        except NotAnApp:
            raise
        except Exception as error:  # a context-local proxy (flask.current_app) raises at any access outside a request
            raise _app_raised(spec, error, "could not be inspected", *_source_of(module)) from error
        return found  # type: ignore[no-any-return]


# --------------------------------------------------------------------------------------------------------- the module


def _import(spec: AppSpec, root: Path) -> ModuleType:
    require_file(spec, root)
    expected = source_in(spec, root)
    try:
        module = importlib.import_module(spec.module)
    except ModuleNotFoundError as error:
        # The name in the error is not enough: the module may exist, and fail at an import of a missing module.
        missing = error.name
        if missing and _is_self_or_parent(missing, spec.module) and _own_frames(error.__traceback__) is None:
            if expected.exists():  # Python has found another package under the name of this one
                raise shadowed_module(spec, expected, sys.modules.get(spec.module.partition(".")[0])) from None
            hint = other_suffix_advice(spec, root) or _hint_at_root(spec, root)
            hint = hint or environment_advice(missing, root) or _hint_at_nearest_module(missing, root)
            raise NoSuchModule(
                f'no module "{missing}" in the folder "{root}", nor installed{hint}', files=[str(expected)]
            ) from None
        own = _own_frames(error.__traceback__)
        advice = package_import_advice(spec, root, missing or "", own)
        hint = missing_import_hint(missing or "", root, own)
        raise _app_raised(spec, error, "could not be imported", expected, advice=advice, hint=hint) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() in one app must not end the process that serves the others
        own = _own_frames(error.__traceback__)
        advice = relative_import_advice(spec, root, error, own) or arguments_advice(error)
        hint = variable_advice(error)
        raise _app_raised(spec, error, "could not be imported", expected, advice=advice, hint=hint) from error
    origin = getattr(module, "__file__", None)  # a built-in module has none
    if expected.exists() and (origin is None or not expected.samefile(origin)):
        raise shadowed_module(spec, expected, module)
    return module


def _hint_at_root(spec: AppSpec, root: Path) -> str:
    """Return advice to set ``root`` to the folder inside *root* that contains the module, or an empty string."""
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if (file := source_in(spec, folder)).exists():
            return f'; there is {file}: write root = "{folder.name}"'
    return ""


def _hint_at_nearest_module(name: str, root: Path) -> str:
    """Return a "did you mean" for *name* from the modules beside it: those of its package, or of *root*."""
    package, dot, _ = name.rpartition(".")
    folder = root.joinpath(*package.split(".")) if dot else root
    siblings = top_level_modules(folder) if folder.is_dir() else ()
    return did_you_mean(name, [f"{package}{dot}{sibling}" for sibling in siblings])


def source_in(spec: AppSpec, root: Path) -> Path:
    """Return the source file that the module would have in *root*: a package wins over a module, as in an import."""
    path = root.joinpath(*spec.module.split("."))
    package = path / "__init__.py"
    return package if package.is_file() else path.with_name(path.name + ".py")


def _is_self_or_parent(name: str, module: str) -> bool:
    return module == name or module.startswith(f"{name}.")


# ------------------------------------------------------------------------------------------ the attribute and factory


def _attribute(spec: AppSpec, root: Path, module: ModuleType) -> Any:
    """Return the object that *spec* names in *module*; without an attribute: ``application``, else ``app``."""
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        hint = _hint_at_root(spec, root) or environment_advice(spec.module, root)
        hint = hint or "; name a module inside the folder, or add an __init__.py to it"
        raise NoSuchAttribute(f'"{spec.module}" is a folder without an __init__.py{hint}')
    if not spec.attribute:
        for name in ("application", "app"):
            if hasattr(module, name):
                return getattr(module, name)
        raise NoSuchAttribute(
            f'module "{spec.module}" has neither "application" nor "app"; {_names_or_app(spec, module)}'
            f"{describe_elsewhere(module, root)}",
            files=_source_of(module),
        )
    found: Any = module
    path = spec.module
    separator = ":"
    for name in spec.attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            hint = did_you_mean(name, _public_names(found)) or f"; {_list_names(found)}"
            hint += describe_elsewhere(module, root)
            raise NoSuchAttribute(f'"{path}" has no attribute "{name}"{hint}', files=_source_of(module)) from None
        except Exception as error:
            raise _app_raised(spec, error, "could not be read", *_source_of(module)) from error
        path += separator + name
        separator = "."
    return found


def _public_names(owner: object) -> list[str]:
    return [name for name in vars(owner) if not name.startswith("_")] if hasattr(owner, "__dict__") else []


def _list_names(owner: object) -> str:
    """Say which names *owner* has: the callables that it defines itself, since one may be the app, else all names."""
    names = _public_names(owner)
    callables = [
        name for name in names if callable(getattr(owner, name)) and not _is_imported(owner, getattr(owner, name))
    ]
    if shown := callables or names:
        return f"it has {', '.join(shown[:12])}{', ...' if len(shown) > 12 else ''}"
    return "it is empty"


def _names_or_app(spec: AppSpec, module: ModuleType) -> str:
    """Return advice to name the only app of *module*. If it has none or several, list its names."""
    apps = app_check.wsgi_names(module)
    return f'write "{spec.text}:{apps[0]}"' if len(apps) == 1 else _list_names(module)


def _is_imported(module: object, value: object) -> bool:
    """Whether *value* is a class or function that *module* imports from elsewhere."""
    is_definition = inspect.isclass(value) or inspect.isfunction(value)
    return is_definition and value.__module__ != getattr(module, "__name__", None)


def _call_factory(spec: AppSpec, root: Path, factory: Any) -> Any:
    app_check.require_factory(spec, factory)
    try:
        app = factory(*(spec.args or ()), **spec.kwargs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        sources, own = _source_of(sys.modules[spec.module]), _own_frames(error.__traceback__)
        advice = hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = missing_import_hint(error.name or "", root, own)
        elif isinstance(error, TypeError) and own is None:  # the call itself failed, not the code of the factory
            advice = app_check.call_advice(spec, factory)
        else:
            advice, hint = arguments_advice(error), variable_advice(error)
        raise _app_raised(spec, error, "raised when it was called", *sources, advice=advice, hint=hint) from error
    app_check.require_result(spec, factory, app)
    return app


# ------------------------------------------------------------------------------------------------- the app's own fault


def _app_raised(
    spec: AppSpec, error: BaseException, action: str, *sources: str | Path, advice: str = "", hint: str = ""
) -> AppRaised:
    """Return the error for an exception from the app's own code, with the traceback from the app's first frame.

    Its ``files`` are *sources*, every file in the traceback, and a file with a syntax error. With *advice*, the mistake
    is in the table and not in the code, so the error has no traceback. Without *advice*, the error ends with *hint*.
    """
    own = _own_frames(error.__traceback__)
    details = "" if advice else "".join(traceback.format_exception(type(error), error, own))
    files = {frame.filename for frame in traceback.extract_tb(own)} if own else set()
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
    without_traceback = traceback.TracebackException(type(error), error, None)
    without_traceback.__notes__ = None  # the summary is the last line, and notes would follow it
    summary = [*without_traceback.format_exception_only()][-1].strip().partition("\n")[0]
    return AppRaised(
        f'"{spec.text}" {action}: {summary}{advice or hint}',
        details=details,
        files=sorted(files | set(map(str, sources))),
    )


def _own_frames(tb: TracebackType | None) -> TracebackType | None:
    """Return *tb* from the app's first frame on, or None if all frames belong to mountpoint or the import system."""
    while tb is not None and _is_machinery(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return tb


def _is_machinery(filename: str) -> bool:
    if filename in (importlib.__file__, inspect.__file__) or filename.startswith("<frozen importlib"):
        return True
    return os.path.dirname(filename) == os.path.dirname(__file__)  # noqa: PTH120 - it may be "<string>"


def _source_of(module: ModuleType) -> Sequence[str]:
    """Return the source file of *module* as a list of one, or an empty list if it has none."""
    origin = getattr(module, "__file__", None)
    return [origin] if origin else []
