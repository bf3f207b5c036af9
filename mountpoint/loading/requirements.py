"""Find packages that apps use, and whose requirements the environment does not satisfy.

The metadata of the installed packages is compared, as ``pip check`` does. One environment has one version of each
package, so such a fault is often a conflict between two apps.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib import metadata
from typing import Any, NamedTuple

from .loaded_mount import LoadedMount

#: The library that reads requirements. mountpoint does not depend on it, and nearly every environment has a copy.
_PARSERS = ("packaging.requirements", "pip._vendor.packaging.requirements", "setuptools._vendor.packaging.requirements")
_REMEDY = 'name its python, and write process = "own"'


class RequirementFault(NamedTuple):
    """A fault of the environment that *mount* is served from, and a sentence with the remedy."""

    mount: LoadedMount
    text: str


def requirement_faults(mounts: Sequence[LoadedMount]) -> Iterator[RequirementFault]:
    """Yield each requirement that is not satisfied, of a package that one of *mounts* uses in this process.

    Yields nothing if no library can read requirements.
    """
    sharing = [mount for mount in mounts if mount.app and not mount.config.own]
    parser = next(filter(None, map(_imported, _PARSERS)), None) if sharing else None
    if parser is None:
        return
    environment = _Environment(parser)
    used = [environment.used_by(mount.modules) for mount in sharing]
    for package in dict.fromkeys(name for names in used for name in names):
        users = [mount for mount, names in zip(sharing, used, strict=True) if package in names]
        for requirement in environment.unsatisfied(package):
            wanted = _normalized(requirement.name)
            others = [
                mount.config.key
                for mount, names in zip(sharing, used, strict=True)
                if wanted in names and mount not in users
            ]
            yield RequirementFault(users[0], environment.explain(package, requirement, users, others))


class _Environment:
    """The packages that are installed for this process."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._requirements: dict[str, list[Any]] = {}
        self._modules = metadata.packages_distributions()

    @cached_property
    def _installed(self) -> Mapping[str, metadata.Distribution]:
        found: dict[str, metadata.Distribution] = {}
        for distribution in metadata.distributions():
            with suppress(Exception):  # broken metadata
                found.setdefault(_normalized(distribution.metadata["Name"]), distribution)
        return found

    def used_by(self, modules: Iterable[str]) -> dict[str, None]:
        """Return the packages that *modules* are in, and those that they require."""
        found: dict[str, None] = {}
        waiting = [_normalized(name) for module in sorted(modules) for name in self._modules.get(module, ())]
        while waiting:
            name = waiting.pop(0)
            if name in self._installed and name not in found:
                found[name] = None
                waiting += [_normalized(requirement.name) for requirement in self._required_by(name)]
        return found

    def unsatisfied(self, package: str) -> Iterator[Any]:
        """Yield each requirement of *package* that the environment does not satisfy."""
        for requirement in self._required_by(package):
            distribution = self._installed.get(_normalized(requirement.name))
            with suppress(Exception):  # a version that is not one
                if distribution is None or not requirement.specifier.contains(distribution.version, prereleases=True):
                    yield requirement

    def explain(self, package: str, requirement: Any, users: Sequence[LoadedMount], others: Sequence[str]) -> str:
        """Return the sentence about *requirement* of *package*, which *users* use. *others* use what is required."""
        also = f", like {', '.join(mount.config.key for mount in users[1:])}" if users[1:] else ""
        text = (
            f"it uses {package} {self._installed[package].version}{also}; that requires "
            f"{requirement.name}{requirement.specifier}, and "
        )
        distribution = self._installed.get(_normalized(requirement.name))
        text += f"{distribution.version} is installed" if distribution else "it is not installed"
        if others:
            return f"{text}, for {', '.join(others)} as well; give one of the apps its own environment: {_REMEDY}"
        return f"{text}; install a version that fits, or give the app its own environment: {_REMEDY}"

    def _required_by(self, package: str) -> list[Any]:
        if package not in self._requirements:
            found = self._requirements[package] = []
            for line in self._installed[package].requires or ():
                with suppress(Exception):  # a requirement in an old syntax
                    requirement = self._parser.Requirement(line)
                    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                        found.append(requirement)
        return self._requirements[package]


def _imported(name: str) -> Any:
    with suppress(ImportError):
        return importlib.import_module(name)
    return None


def _normalized(name: str) -> str:
    """Return the name of a package in the form in which two spellings of it are equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
