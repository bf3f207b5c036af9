"""Run code on a module of another package as soon as it has been imported, before the importing code can use it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Actions = Mapping[str, Callable[[ModuleType], object]]


@contextmanager
def after_import(actions: Actions) -> Iterator[None]:
    """Call the action of each module in *actions* that is imported already, or that the body imports.

    An action may be called several times for one module: once by each body.
    """
    finder = _Finder(actions)
    sys.meta_path.insert(0, finder)
    for name, act in actions.items():
        if name in sys.modules:
            act(sys.modules[name])
    try:
        yield
    finally:
        if finder in sys.meta_path:  # the body may have replaced the list
            sys.meta_path.remove(finder)


class _Finder:
    """Finds the modules of *actions* through the other finders, and calls the action once the module has run."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        act = self._actions.get(name)
        if act is None:
            return None
        others = [finder for finder in sys.meta_path if not (isinstance(finder, _Finder) and name in finder._actions)]
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                execute(module)
                act(module)

            loader.exec_module = execute_and_act
        return spec
