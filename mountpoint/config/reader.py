"""Read and validate ``mounts.toml``, and return it as a frozen `Config`.

All problems of a file are collected and raised together. Each names the path of its key, the expected value, the value
that was found and, for a misspelt key, the nearest known one. `mountpoint.config.schema` holds the accepted values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError, Problem, did_you_mean
from ..wsgi.proxy_settings import FILE_KEYS, ProxySettings
from ..wsgi.table import DotSegments, Mount, MountTable, Slash
from .address import Address
from .app_spec import AppSpec
from .control_path import control_in
from .key import Key
from .own_process import OwnProcess, take_own_process, with_prefix
from .request_id import conflicts_with_request_id
from .schema import (
    DEFAULT_LISTEN,
    DOCTOR_KEYS,
    MOUNT_KEYS,
    PROXY_KEYS,
    REPLACED,
    SERVER_KEYS,
    WAITRESS_DEFAULTS,
    WAITRESS_KEYS,
)
from .status import STATUS_KEYS, StatusConfig, take_status
from .toml_file import DEFAULT_FILE, read_toml
from .validators import Validator, any_table, connection_ceiling, toml_text


@dataclass(frozen=True, slots=True)
class MountConfig:
    """One mount of the file.

    ``key`` is normalised, ``root`` is the absolute folder that goes on the import path for the app.
    """

    key: str
    app: AppSpec
    root: Path
    slash: Slash = "redirect"
    dot_segments: DotSegments = "refuse"
    cookies: Literal["pass", "scoped"] = "pass"
    limit: int | None = None  # requests that run at once; None for a fair share of the threads
    queue: int = 100  # requests that wait
    max_body: int | None = None  # bytes; None for max_request_body_size
    slow_after: float = 10.0  # seconds
    required: bool = False  # for the server to count as ready
    env: Mapping[str, str] = field(default_factory=dict)  # set while the app is loaded
    own: OwnProcess | None = None  # None for an app in the server's process
    public: str | None = None  # its path in the browser, None if only a request tells it

    @property
    def path(self) -> str:
        """The path of the key, ``/`` for the root."""
        return "/" + self.key.partition("/")[2]


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The section ``[server]``. ``adjustments`` are the keyword arguments for `waitress.adjustments.Adjustments`.

    They always contain ``max_request_body_size``, which is large enough for the ``max_body`` of every mount.
    """

    listen: tuple[Address, ...]
    threads: int = 8
    drain_timeout: float = 30.0  # seconds
    header_timeout: float = 30.0  # seconds
    body_timeout: float = 30.0  # seconds
    body_min_rate: int = 500  # bytes a second
    max_buffered_bodies: int = 256 * 2**20  # bytes
    strict: bool = False
    access_log: Literal["combined", "json", False] = "combined"
    access_log_exclude: tuple[str, ...] = ()  # WSGI strings
    has_json_logs: bool = False  # as the file says, also if an option turns the access log off
    request_id: bool = False
    log_level: str | None = None  # None for "info", or for the levels that [logging] sets
    unix_socket_perms: int = 0o660
    connection_limit: int = 1000
    control: Path | Literal[False] | None = None  # None for the default path
    adjustments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DoctorConfig:
    """The section ``[doctor]``.

    ``key`` is the secret of the echo; the echo is off if it is empty. ``allow`` are paths and URLs that links may lead
    to outside their mount.
    """

    key: str = field(default="", repr=False)
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A validated ``mounts.toml``.

    ``logging`` is a `logging.config` dictionary. ``overrides`` are the keys of ``[server]`` that `load_config` got from
    the command line, kept for the next reload.
    """

    file: Path
    mounts: tuple[MountConfig, ...]
    server: ServerConfig
    proxy: ProxySettings = field(default_factory=ProxySettings)
    logging: Mapping[str, Any] | None = None
    doctor: DoctorConfig = field(default_factory=DoctorConfig)
    status: StatusConfig = field(default_factory=StatusConfig)
    overrides: Mapping[str, object] = field(default_factory=dict)


def load_config(file: str | Path = DEFAULT_FILE, overrides: Mapping[str, object] | None = None) -> Config:
    """Read and validate *file*. *overrides* are keys of ``[server]`` that replace those of the file.

    Raises `UnreadableError` if the file cannot be read, and `ConfigError` with every problem in it.
    """
    file = Path(file)
    document = read_toml(file, DEFAULT_FILE)
    validation = _Validation(file, overrides or {})
    config = validation.config(document)
    if validation.problems:
        raise ConfigError(validation.problems, file=str(file))
    return config


def quoted(name: str) -> str:
    """Return *name* as TOML spells it as a key.

    >>> quoted("shop"), quoted("/shop")
    ('shop', '"/shop"')
    """
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


class _Validation:
    """Validates one document and collects its problems. The results are usable only if it collects no problem."""

    def __init__(self, file: Path, overrides: Mapping[str, object]) -> None:
        self.file = file
        self.folder = file.absolute().parent  # absolute, because an app may change the working folder
        self.overrides = overrides
        self.problems: dict[Problem, None] = {}  # a set that keeps the order

    def config(self, document: dict[str, Any]) -> Config:
        sections = ("server", "defaults", "mounts", "proxy", "logging", "doctor", "status")
        if not document.get("mounts", {}):
            found = "found none" if document else "found an empty file"
            self.report("mounts", f'expected at least one mount, {found}; write [mounts], and "/path" = "module:app"')
        for name in document:
            if name not in sections:
                self.report_unknown(name, name, sections)
        tables = {name: self.validated(name, any_table, document.get(name, {})) or {} for name in sections}
        mounts = self.mounts(tables["mounts"], tables["defaults"])
        server = self.server(tables["server"])
        server = self.with_body_limit(server, mounts, is_explicit="max_request_body_size" in tables["server"])
        proxy = self.proxy(tables["proxy"])
        for problem in conflicts_with_request_id(proxy) if server.request_id else ():
            self.report(problem.key, problem.message)
        return Config(
            file=self.file,
            mounts=mounts if self.problems else tuple(_with_public_path(mount, proxy) for mount in mounts),
            server=self.with_room_for_a_body(server, is_explicit="max_buffered_bodies" in tables["server"]),
            proxy=proxy,
            logging=tables["logging"] or None,
            doctor=DoctorConfig(**self.section("doctor", tables["doctor"], DOCTOR_KEYS)),
            status=self.status(tables["status"], server.listen),
            overrides=self.overrides,
        )

    # ----------------------------------------------------------------------------------------- collecting problems

    def report(self, path: str, message: str) -> None:
        """Add a problem at *path*, unless it is there already: each mount checks the root of ``[defaults]`` again."""
        self.problems[Problem(path, message)] = None

    def report_unknown(self, path: str, name: str, known: Collection[str]) -> None:
        hint = _advice_for_section(path, name) or did_you_mean(name, known)
        self.report(path, f"unknown key{hint}" if hint else f"unknown key; expected one of {', '.join(known)}")

    def validated(self, path: str, validator: Validator, value: Any) -> Any:
        """Return *value* as *validator* returns it, or report a problem at *path* and return None."""
        try:
            return validator(value)
        except ValueError as error:
            self.report(path, str(error))
            return None

    # ---------------------------------------------------------------------------------------------------- sections

    def section(self, path: str, table: dict[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
        """Return the valid values of *table*, and report the others."""
        valid = {}
        for name, value in table.items():
            key_path = f"{path}.{quoted(name)}"
            if name not in keys:
                self.report_unknown(key_path, name, keys)
            elif (result := self.validated(key_path, keys[name].validator, value)) is not None:
                valid[name] = result
        return valid

    def mounts(self, table: dict[str, Any], defaults: dict[str, Any]) -> tuple[MountConfig, ...]:
        default_values = self.section("defaults", defaults, MOUNT_KEYS)
        mounts: list[MountConfig] = []
        for key, value in table.items():
            path = f"mounts.{quoted(key)}"
            if advice := _advice_for_misplaced(key, value, table):
                self.report(path, advice)
                continue
            own = {"app": value} if isinstance(value, str) else self.validated(path, _mount_table, value)
            if own is None:
                continue
            values = default_values | self.section(path, own, MOUNT_KEYS)
            values["env"] = {**default_values.get("env", {}), **values.get("env", {})}
            if "app" not in own and "app" not in defaults:
                self.report(path, 'expected the key app, found none; write app = "module:attribute"')
            app = values.pop("app", AppSpec("", ""))
            root = self.root(
                f"{path}.root" if "root" in own else "defaults.root",
                values.pop("root", ""),
                f"{path}.app" if "app" in own else "defaults.app",
                app,
            )
            process = take_own_process(values, own, self.folder, partial(self._report_below, path, own))
            if process is not None:
                values["limit"] = min(values.get("limit", process.capacity), process.capacity)
            mounts.append(MountConfig(key=key, app=app, root=root, own=process, **values))
        return self.normalised(mounts)

    def _report_below(self, path: str, own: Collection[str], key: str, message: str) -> None:
        """Report a problem of *key* where the file has it: in the mount at *path*, which has *own*, or in defaults."""
        self.report(f"{path if key in own else 'defaults'}.{key}", message)

    def root(self, path: str, text: str, app_path: str, app: AppSpec) -> Path:
        """Return the folder for the import path: *text*, relative to the file, joined with the folder of *app*."""
        root = self.folder / text
        if text and not self.is_folder(path, root):
            return root
        if app.folder:
            outer, root = root, root / app.folder
            if text and not root.is_dir() and (outer / f"{app.module}.py").is_file():
                advice = f'write "{app.text.replace(f"{app.folder}/", "", 1)}"'
                self.report(app_path, f'expected a path that starts at root, {outer}, found "{app.text}"; {advice}')
            else:
                self.is_folder(app_path, root)
        return root

    def is_folder(self, path: str, folder: Path) -> bool:
        """Whether *folder* exists; if not, report a problem at *path*."""
        try:
            if folder.is_dir():
                return True
            found = "a file" if folder.exists() else "nothing"
        except (OSError, ValueError) as error:  # no permission for a folder above it; a NUL character
            found = f"{getattr(error, 'strerror', None) or error},"
        self.report(path, f'expected a folder, found {found} at "{folder}"{_advice_for_folder(folder)}')
        return False

    def normalised(self, mounts: list[MountConfig]) -> tuple[MountConfig, ...]:
        """Return *mounts* with the keys that the dispatcher uses; the mount table reports the invalid keys."""
        try:
            table = MountTable(Mount(mount.key, _unloaded_app) for mount in mounts) if mounts else ()
        except ConfigError as error:
            for problem in error.problems:
                self.report(f"mounts.{quoted(problem.key)}", problem.message)
            return ()
        return tuple(replace(config, key=mount.key) for config, mount in zip(mounts, table, strict=True))

    def server(self, table: dict[str, Any]) -> ServerConfig:
        values: dict[str, Any] = {"connection_limit": min(1000, connection_ceiling())}
        adjustments = dict(WAITRESS_DEFAULTS)
        listen: tuple[Address, ...] = ()
        values["has_json_logs"] = table.get("access_log") == "json"
        table = {"listen": DEFAULT_LISTEN, **table, **self.overrides}
        for name, value in table.items():
            path = f"--{name.replace('_', '-')}" if name in self.overrides else f"server.{quoted(name)}"
            if name == "listen":
                listen = self.listen(path, value, Path.cwd() if name in self.overrides else self.folder)
            elif name == "control":
                folder = Path.cwd() if name in self.overrides else self.folder
                values[name] = self.validated(path, partial(control_in, folder), value)
            elif name in REPLACED:
                self.report(path, f"cannot be set here; {REPLACED[name]}")
            elif name in SERVER_KEYS:
                values[name] = self.validated(path, SERVER_KEYS[name].validator, value)
            elif name in WAITRESS_KEYS:
                adjustments[name] = self.validated(path, WAITRESS_KEYS[name].validator, value)
            else:
                self.report_unknown(path, name, [*SERVER_KEYS, *WAITRESS_KEYS])
        return ServerConfig(listen=listen, adjustments=adjustments, **values)

    def listen(self, path: str, value: Any, folder: Path) -> tuple[Address, ...]:
        """Return the addresses in *value*, with the files of unix sockets relative to *folder*."""
        items = value if isinstance(value, list) else [value]
        addresses = [self.validated(path, SERVER_KEYS["listen"].validator, item) for item in items]
        if not items:
            self.report(path, f'expected at least one address, found an empty array; write "{DEFAULT_LISTEN}"')
        if None in addresses:
            return ()
        if len({address.unix is None for address in addresses}) > 1:
            self.report(path, "expected all TCP or all unix sockets, found both; run one process for each kind")
        for address in dict.fromkeys(addresses):
            if addresses.count(address) > 1:
                self.report(path, f'expected each address once, found "{address}" twice; remove one of them')
        return tuple(Address(unix=folder / address.unix) if address.unix else address for address in addresses)

    def status(self, table: dict[str, Any], server: tuple[Address, ...]) -> StatusConfig:
        values = self.section("status", table, STATUS_KEYS)
        return take_status(values, table, self.folder, server, lambda key, text: self.report(f"status.{key}", text))

    def with_body_limit(
        self, server: ServerConfig, mounts: tuple[MountConfig, ...], *, is_explicit: bool
    ) -> ServerConfig:
        """Return *server* with a ``max_request_body_size`` that is large enough for each ``max_body``.

        If the file sets ``max_request_body_size`` itself (*is_explicit*), a larger ``max_body`` is a problem instead.
        """
        name = "max_request_body_size"
        server_limit = server.adjustments[name]
        largest = max((mount.max_body or 0 for mount in mounts), default=0)
        if not isinstance(server_limit, int) or largest <= server_limit:  # None if it is reported as invalid already
            return server
        if is_explicit:
            for mount in mounts:
                if (mount.max_body or 0) > server_limit:
                    self.report(
                        f"mounts.{quoted(mount.key)}.max_body",
                        f"expected at most server.{name} ({server_limit}), found {mount.max_body}; "
                        f"raise server.{name}, or write a smaller number",
                    )
        return replace(server, adjustments={**server.adjustments, name: largest})

    def with_room_for_a_body(self, server: ServerConfig, *, is_explicit: bool) -> ServerConfig:
        """Return *server* with a ``max_buffered_bodies`` of at least one body, unless the file sets it."""
        largest = server.adjustments["max_request_body_size"]
        if is_explicit or not isinstance(largest, int) or largest <= server.max_buffered_bodies:
            return server
        return replace(server, max_buffered_bodies=largest)

    def proxy(self, table: dict[str, Any]) -> ProxySettings:
        values = self.section("proxy", table, PROXY_KEYS)
        fields = {key: name for name, key in FILE_KEYS.items()}
        settings = ProxySettings(**{fields.get(key, key): value for key, value in values.items()})
        # A rejected value may be the one that the others need, so then only single values are checked.
        problems = settings.problems() if len(values) == len(table) else settings.wrong_values()
        for problem in problems:
            self.report(f"proxy.{FILE_KEYS.get(problem.key, problem.key)}", problem.message)
        return settings


def _with_public_path(mount: MountConfig, proxy: ProxySettings) -> MountConfig:
    """Return *mount*, whose key is normalised, with its public path, also in place of ``{prefix}`` in its ``env``."""
    strips = proxy.strips_prefix().encode("latin-1").decode()
    path = strips + mount.path
    is_public = proxy.restore_prefix or not proxy.x_prefix  # else only the proxy knows what it strips
    return replace(mount, env=with_prefix(mount.env, path.rstrip("/")), public=path if is_public else None)


def _advice_for_folder(folder: Path) -> str:
    """Return advice for *folder*, which does not exist: a similar name, or an empty string."""
    if re.search(r"[\t\n\b\f\r]", str(folder)):  # "C:\temp" in double quotes contains a tab
        return "; TOML reads a backslash in double quotes as an escape: write the path in single quotes"
    try:
        return did_you_mean(folder.name, [entry.name for entry in folder.parent.iterdir() if entry.is_dir()])
    except OSError:
        return ""


def _advice_for_section(path: str, name: str) -> str:
    """Return where the key *name* belongs if another section than that of *path* has it, else an empty string."""
    section = path.partition(".")[0]
    if "/" in name:
        return "; if it is a mount, move the line up to the lines directly below [mounts]"
    if section not in ("defaults", "mounts") and name in MOUNT_KEYS:
        return "; it is a key of a mount: write it below [defaults], for all mounts, or in the table of one mount"
    keys = {"server": {*SERVER_KEYS, *WAITRESS_KEYS}, "proxy": PROXY_KEYS, "status": STATUS_KEYS, "doctor": DOCTOR_KEYS}
    where = [f"[{other}]" for other, names in keys.items() if other != section and name in names]
    return f"; it is a key of {' and of '.join(where)}" if where else ""


def _advice_for_misplaced(key: str, value: Any, table: Mapping[str, Any]) -> str:
    """Return a message if *key* of *table*, which is ``[mounts]``, belongs elsewhere; else an empty string."""
    if key in SERVER_KEYS or key in WAITRESS_KEYS:
        return "is a key of [server]; write it below the line [server]"
    if key in MOUNT_KEYS:
        name, app = "/shop", "shop:app"
        for other, other_value in table.items():
            if other == key:
                break
            if isinstance(other_value, str) and "/" in other:
                name, app = other, other_value
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else "..."
        return f'is a key of one mount; write it into its mount, as in "{name}" = {{ app = "{app}", {key} = {text} }}'
    names = [key]
    while isinstance(value, dict) and len(value) == 1 and not value.keys() & MOUNT_KEYS.keys():
        [(name, value)] = value.items()
        names.append(name)
    if len(names) > 1 and not any("/" in name for name in names):
        dotted = ".".join(names)
        return f'a key that contains a dot needs quotes; write "{dotted}"'
    return ""


def _mount_table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f'expected "module:attribute" or a table with the key app, found {toml_text(value)}')
    return value


def _unloaded_app(environ: Any, start_response: Any) -> Any:
    raise NotImplementedError  # stands for an app while only the keys of the mounts are validated
