"""From an app's name to its WSGI callable; and when that fails, from the failure to what its owner can do.

Three failures look alike to a caller of `importlib` and are told apart here: there is no such module, the module has
no such attribute, and the module is there and its own code raised. In the last case the traceback begins at the first
frame of the user's own code.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from ..config.app_spec import AppSpec
from ..errors import AppRaised, LoadError, NoSuchAttribute, NoSuchModule, NotAnApp, did_you_mean

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

# Every project has them, and no app imports them by these names.
_HARMLESS = frozenset({"__init__", "__main__", "conftest", "manage", "setup", "tests"})


def import_path(roots: Iterable[Path]) -> list[str]:
    """Return *roots* as they are to stand on ``sys.path``: in their order, each once."""
    return list({root.resolve(): str(root) for root in dict.fromkeys(roots)}.values())  # one folder, two spellings


def put_on_path(names: Sequence[str]) -> None:
    """Put *names* in front of ``sys.path``, where an app may have put others before them."""
    if sys.path[: len(names)] != names:
        own = set(names)
        sys.path[:] = [*names, *(name for name in sys.path if name not in own)]
        importlib.invalidate_caches()


def top_level(root: Path) -> dict[str, Path]:
    """Return the files of the modules and packages that *root* adds to the import path, by name."""
    found = {}
    for entry in root.iterdir():
        if entry.suffix == ".py":
            found[entry.stem] = entry
        else:
            with suppress(PermissionError):  # what cannot be read cannot be imported either
                if (entry / "__init__.py").is_file():
                    found[entry.name] = entry / "__init__.py"
    return {name: file for name, file in found.items() if name not in _HARMLESS and name.isidentifier()}


def is_a(value: object, name: str) -> bool:
    """Whether *value* is of the class ``package.Class``, which is not imported for it."""
    return any(f"{base.__module__.partition('.')[0]}.{base.__name__}" == name for base in type(value).__mro__)


def load_app(spec: AppSpec, root: Path) -> WSGIApplication:
    """Import what *spec* names, call it if it is a factory, and return the WSGI application.

    *root* must be on the import path. Raises a `LoadError` that says which of the failures it was.
    """
    module = _import(spec, root)
    found = _attribute(spec, root, module)
    if spec.args is not None:
        found = _call(spec, found)
    try:
        _require_app(spec, found)
    except LoadError:
        raise
    except Exception as error:  # a proxy of werkzeug's raises at any touch while it stands for nothing
        raise _raised(spec, error, "could not be looked at", *_file(module)) from error
    return found  # type: ignore[no-any-return]


def _import(spec: AppSpec, root: Path) -> ModuleType:
    expected = _file_of(spec, root)
    process = os.getpid()
    try:
        module = importlib.import_module(spec.module)
    except ModuleNotFoundError as error:
        # The name alone does not tell: the module may be there, and import itself something that is not.
        if error.name and _is_self_or_parent(error.name, spec.module) and _own_frames(error.__traceback__) is None:
            if expected.exists():  # the package of that name is another one
                raise _taken(spec, expected, sys.modules.get(spec.module.partition(".")[0])) from None
            hint = _below(spec, root) or _nearest(error.name, root)
            raise NoSuchModule(
                f'no module "{error.name}" in the folder "{root}", nor installed{hint}', files=[str(expected)]
            ) from None
        raise _raised(spec, error, "could not be imported", expected) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit(), a CancelledError: no reason to take the others down
        _end_if_forked(process)
        raise _raised(spec, error, "could not be imported", expected) from error
    origin = getattr(module, "__file__", None)  # a module that is built in has none
    if expected.exists() and (origin is None or not expected.samefile(origin)):
        raise _taken(spec, expected, module)
    return module


def _taken(spec: AppSpec, expected: Path, module: ModuleType | None) -> NoSuchModule:
    taker = getattr(module, "__file__", None) or "a module of Python's own"
    return NoSuchModule(
        f'"{spec.module}" means {expected} here, but {taker} is imported already under that name; rename one',
        files=[str(expected)],
    )


def _below(spec: AppSpec, root: Path) -> str:
    """Return the hint at the folder of *root* in which the module would be found."""
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if (file := _file_of(spec, folder)).exists():
            return f'; there is {file}: write root = "{folder.name}"'
    return ""


def _nearest(name: str, root: Path) -> str:
    """Return the hint at the module whose name is nearest to *name*: in its package, where it has one."""
    package, dot, _ = name.rpartition(".")
    folder = root.joinpath(*package.split(".")) if dot else root
    return did_you_mean(name, [f"{package}{dot}{own}" for own in top_level(folder)] if folder.is_dir() else ())


def _file_of(spec: AppSpec, root: Path) -> Path:
    """Return the file of the spec's module, were it in *root*; a package goes before a module, as in an import."""
    path = root.joinpath(*spec.module.split("."))
    package = path / "__init__.py"
    return package if package.is_file() else path.with_name(path.name + ".py")


def _is_self_or_parent(name: str, module: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def _attribute(spec: AppSpec, root: Path, module: ModuleType) -> Any:
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        hint = _below(spec, root) or "; write the file that is meant, or put an __init__.py into the folder"
        raise NoSuchAttribute(f'"{spec.module}" is a folder without an __init__.py{hint}')
    if not spec.attribute:
        for name in ("application", "app"):
            if hasattr(module, name):
                return getattr(module, name)
        raise NoSuchAttribute(
            f'module "{spec.module}" has neither "application" nor "app"; {_offer(spec.module, module)}',
            files=_file(module),
        )
    found: Any = module
    path = spec.module
    separator = ":"
    for name in spec.attribute.split("."):
        try:
            found = getattr(found, name)
        except Exception as error:
            if not isinstance(error, AttributeError):
                raise _raised(spec, error, "could not be read", *_file(module)) from error
            hint = did_you_mean(name, _public(found)) or f"; {_offer(path, found)}"
            raise NoSuchAttribute(f'"{path}" has no attribute "{name}"{hint}', files=_file(module)) from None
        path += separator + name
        separator = "."
    return found


def _public(owner: object) -> list[str]:
    return [name for name in vars(owner) if not name.startswith("_")] if hasattr(owner, "__dict__") else []


def _offer(path: str, owner: object) -> str:
    """Say what there is instead: first what could be an app, which is defined here and can be called."""
    names = _public(owner)
    callables = [
        name for name in names if callable(getattr(owner, name)) and not _is_imported(owner, getattr(owner, name))
    ]
    if shown := callables or names:
        return f"it has {', '.join(shown[:12])}{', ...' if len(shown) > 12 else ''}"
    return "it is empty"


def _is_imported(module: object, value: object) -> bool:
    """Whether a class or function stands in *module* only because it was imported there."""
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ != getattr(
        module, "__name__", None
    )


def _call(spec: AppSpec, factory: Any) -> Any:
    if not callable(factory):
        raise NotAnApp(f'"{spec.module}:{spec.attribute}" is {_kind(factory)}, which cannot be called; remove the "()"')
    process = os.getpid()
    try:
        made = factory(*(spec.args or ()), **spec.kwargs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _end_if_forked(process)
        raise _raised(spec, error, "raised when it was called", *_file(sys.modules[spec.module])) from error
    if inspect.iscoroutine(made):
        made.close()
        raise NotAnApp(f'the factory "{spec.text}" is async; make the app in an ordinary function')
    if made is None:
        raise NotAnApp(f'the factory "{spec.text}" returned None; it ends without "return app"')
    return made


# ------------------------------------------------------------------------------------------------- is it a WSGI app?


def _require_app(spec: AppSpec, found: Any) -> None:
    """Raise `NotAnApp`, with what to do, if *found* cannot be called as ``app(environ, start_response)``."""
    name = f'"{spec.text}"'
    if is_a(found, "flask.Blueprint"):
        raise NotAnApp(f"{name} is a Flask Blueprint, a part of an app; register it on a Flask() and name that")
    if isinstance(found, ModuleType):
        raise NotAnApp(f'{name} is a module; write "{found.__name__}:app", with the name that the app has in it')
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(_method_call(found)):
        raise NotAnApp(
            f"{name} is an ASGI app ({_kind(found)}), and mountpoint serves WSGI apps; serve it with an ASGI server, "
            "or wrap it in a2wsgi's ASGIMiddleware and name that"
        )
    if not callable(found):
        inner = [
            part
            for part in ("wsgi_app", "wsgi", "server", "application", "app")
            if callable(getattr(found, part, None))
        ]
        hint = f'; its attribute is: write "{spec.text}.{inner[0]}"' if inner and not spec.is_factory else ""
        raise NotAnApp(f"{name} is {_kind(found)}, which is not a WSGI application{hint}")
    if inspect.isclass(found) and _makes_callables(found):
        raise NotAnApp(f'{name} is a class; write "{spec.text}()" for an instance of it')
    try:
        signature = inspect.signature(found)
        signature.bind({}, print)
        if len(signature.parameters) == 2 and all(
            parameter.default is not parameter.empty for parameter in signature.parameters.values()
        ):
            raise TypeError  # an app has no defaults for what every server gives it, and a factory may
    except TypeError:
        hint = "" if spec.is_factory else f'; if it makes the app, write "{spec.text}()"'
        raise NotAnApp(
            f"{name} takes ({_parameters(found)}), and a WSGI application takes (environ, start_response){hint}"
        ) from None
    except ValueError:
        pass  # no signature to be had, as of a builtin: the first request will tell


def _method_call(found: object) -> object:
    """Return the ``__call__`` that *found* has of its class, or None; a class's own would be its constructor."""
    return next((vars(base)["__call__"] for base in type(found).__mro__ if "__call__" in vars(base)), None)


def _makes_callables(cls: type) -> bool:
    """Whether instances of *cls* can be called. (PEP 3333 lets a class be the app, whose instances are iterated.)"""
    return any("__call__" in vars(base) for base in cls.__mro__)


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _parameters(found: Any) -> str:
    return str(inspect.signature(found).replace(return_annotation=inspect.Signature.empty))[1:-1]


# ------------------------------------------------------------------------------------------------- the app's own fault


def _raised(spec: AppSpec, error: BaseException, what: str, *sources: str | Path) -> AppRaised:
    """Return the failure of the app's own code, with the traceback from its own first frame."""
    own = _own_frames(error.__traceback__)
    details = "".join(traceback.format_exception(type(error), error, own))
    files = {frame.filename for frame in traceback.extract_tb(own)} if own else set()
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
    said = traceback.TracebackException(type(error), error, None)
    said.__notes__ = None  # else the last of them would stand for the error
    summary = [*said.format_exception_only()][-1].strip().partition("\n")[0]
    return AppRaised(f'"{spec.text}" {what}: {summary}', details=details, files=sorted(files | set(map(str, sources))))


def _own_frames(tb: TracebackType | None) -> TracebackType | None:
    """Return *tb* from the first frame that is neither ours nor the import system's; None if there is none."""
    while tb is not None and _is_machinery(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return tb


def _end_if_forked(process: int) -> None:
    """End a child that the app has forked off *process*: it was about to end, and must not serve beside its parent."""
    if os.getpid() != process:
        os._exit(1)


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen importlib") or filename == importlib.__file__


def _file(module: ModuleType) -> Sequence[str]:
    origin = getattr(module, "__file__", None)
    return [origin] if origin else []
