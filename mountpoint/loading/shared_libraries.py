"""Libraries that keep one state for the process, and that two apps set up.

The second call of ``sentry_sdk.init`` replaces the client of the first app. OpenTelemetry ignores the second provider.
The registry of prometheus_client refuses a second metric of the same name, so the second app does not load. This
module does not import the libraries. It wraps functions of those that an app imports, and records the loads that call
them.
"""

from __future__ import annotations

import functools
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, TypeGuard

from ..config.reader import MountConfig
from ..errors import LoadError, causes, counted
from .import_hooks import after_import
from .module_files import is_own

#: The functions of OpenTelemetry that set the provider of the process, its class, and what it gets from the app.
_PROVIDERS = {
    "opentelemetry.trace": ("set_tracer_provider", "TracerProvider", "spans"),
    "opentelemetry.metrics": ("set_meter_provider", "MeterProvider", "metrics"),
    "opentelemetry._logs": ("set_logger_provider", "LoggerProvider", "log records"),
}
_REGISTRY = "prometheus_client.registry"
_DUPLICATE = re.compile(r"Duplicated timeseries in CollectorRegistry: \{(.*)\}")
_MAX_NAMED = 5  # metrics in one message
_REMEDY = 'serve one of the two from a process of its own: write process = "own"'


@dataclass(slots=True)
class _Calls:
    """The calls that one load has made."""

    root: Path
    providers: list[str] = field(default_factory=list)  # names of modules in `_PROVIDERS`
    collectors: list[tuple[Any, bool]] = field(default_factory=list)  # each, and whether a source of the app made it


_calls: dict[int, _Calls] = {}  # by the thread that loads


class SharedLibraries:
    """The mounts whose loads have set up such a library, for all loads of one process."""

    def __init__(self) -> None:
        self._keys: set[str] = set()  # of the mounts in the table
        self._sentry: MountConfig | None = None
        self._providers: dict[str, MountConfig] = {}
        self._metrics: dict[str, MountConfig] = {}

    def set_mounts(self, keys: Iterable[str]) -> None:
        """Set the keys of the mounts in the table. Only these count as siblings."""
        self._keys = set(keys)

    @contextmanager
    def watch(self, mount: MountConfig, warnings: list[str]) -> Iterator[None]:
        """Run the body, which loads *mount*; add a warning to *warnings* for each library that a sibling has set up.

        Raises `LoadError` with the name of the sibling if prometheus_client has refused a metric of the same name. The
        metrics of an app that fails to load are removed, so that its next load can register them.
        """
        thread = threading.get_ident()
        client = _sentry_client()
        calls = _calls[thread] = _Calls(mount.root)
        try:
            with after_import(dict.fromkeys(_PROVIDERS, _observe_provider) | {_REGISTRY: _observe_registry}):
                yield
        except LoadError as error:
            _unregister(collector for collector, is_own_source in calls.collectors if is_own_source)
            if refused := self._refused_metrics(error, mount):
                raise LoadError(refused, files=error.files) from error
            raise
        finally:
            del _calls[thread]
        for collector, _ in calls.collectors:
            self._metrics.update(dict.fromkeys(_names(collector), mount))
        if (now := _sentry_client()) is not None and now is not client:
            if self._is_sibling(self._sentry, mount):
                warnings.append(
                    f"its load has called sentry_sdk.init after the load of {self._sentry.key}; a process has only one "
                    "client of Sentry, so the events of both apps go to the project of this one; call init once for "
                    f"both, or {_REMEDY}"
                )
            self._sentry = mount
        for name in dict.fromkeys(calls.providers):
            first = self._providers.setdefault(name, mount)
            if self._is_sibling(first, mount):
                _, provider, records = _PROVIDERS[name]
                warnings.append(
                    f"its load has set a second {provider} of OpenTelemetry; a process keeps only the first, which "
                    f"{first.key} has set, so the {records} of this app go there; set one provider for both, or "
                    f"{_REMEDY}"
                )

    def _is_sibling(self, setter: MountConfig | None, mount: MountConfig) -> TypeGuard[MountConfig]:
        """Whether *setter* is a mount of the table with another app than *mount*."""
        return (
            setter is not None
            and setter.key in self._keys
            and setter.key != mount.key
            and (setter.root, setter.app.module) != (mount.root, mount.app.module)
        )

    def _refused_metrics(self, error: LoadError, mount: MountConfig) -> str:
        """Return the message if *error* is about metrics that a sibling has registered, else an empty one."""
        found = next((match for cause in causes(error) if (match := _DUPLICATE.search(str(cause)))), None)
        names = sorted(name.strip(" '\"") for name in found[1].split(",")) if found else []
        owner = next((self._metrics[name] for name in names if name in self._metrics), None)
        if owner is None or owner.key == mount.key:
            return ""
        # A counter "x" has the series x, x_total and x_created.
        names = [name for name in names if not any(name.startswith(f"{other}_") for other in names)]
        listed = ", ".join(names[:_MAX_NAMED])
        if len(names) > _MAX_NAMED:
            listed += f" and {counted(len(names) - _MAX_NAMED, 'other')}"
        return (
            f"prometheus_client has one registry for the process, and the load of {owner.key} has registered {listed} "
            "there before this one; give the metrics of this app a namespace or a CollectorRegistry of their own, or "
            f"{_REMEDY}"
        )


# ------------------------------------------------------------------------------------------------------ the libraries


def _sentry_client() -> Any:
    """Return the active client of Sentry's SDK, None without one."""
    sdk: Any = sys.modules.get("sentry_sdk")
    with suppress(Exception):  # an attribute that a release lacks
        client = sdk.get_global_scope().client if hasattr(sdk, "get_global_scope") else sdk.Hub.main.client
        return client if getattr(client, "dsn", None) else None  # without a DSN it sends nothing
    return None


def _observe_provider(module: ModuleType) -> None:
    """Record the loads that call the function of *module* which sets a provider."""
    name = module.__name__

    def record(calls: _Calls, *_: object) -> None:
        calls.providers.append(name)

    _observe(module, _PROVIDERS[name][0], record)


def _observe_registry(module: ModuleType) -> None:
    """Record the collectors that loads register in the default registry of prometheus_client."""
    registry = getattr(module, "CollectorRegistry", None)
    default = getattr(module, "REGISTRY", None)

    def record(calls: _Calls, registry: Any = None, collector: Any = None, *_: object) -> None:
        if registry is default:
            calls.collectors.append((collector, _is_called_by(calls.root, module)))

    if registry is not None and default is not None:
        _observe(registry, "register", record)


def _observe(owner: Any, attribute: str, record: Callable[..., None]) -> None:
    """Wrap the function *attribute* of *owner*: ``record(calls, *args)`` runs after each call that a load makes."""
    function: Callable[..., Any] | None = getattr(owner, attribute, None)
    if function is None or hasattr(function, "is_observed_by_mountpoint"):
        return

    @functools.wraps(function)
    def observed(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if calls := _calls.get(threading.get_ident()):
            record(calls, *args)
        return result

    vars(observed)["is_observed_by_mountpoint"] = True
    setattr(owner, attribute, observed)


def _is_called_by(root: Path, module: ModuleType) -> bool:
    """Whether a source below *root* is the first one that has called into the package of *module*."""
    package = str(Path(str(module.__file__)).parent)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((package, __file__)):
        frame = frame.f_back
    return frame is not None and is_own(frame.f_code.co_filename, root)


def _names(collector: Any) -> list[str]:
    with suppress(Exception):  # an attribute that a release lacks, or a collector that has been removed
        return list(sys.modules[_REGISTRY].REGISTRY._collector_to_names[collector])
    return []


def _unregister(collectors: Iterable[Any]) -> None:
    for collector in collectors:
        with suppress(Exception):  # the app has removed it
            sys.modules[_REGISTRY].REGISTRY.unregister(collector)
