"""``mounts.toml``: read, checked, and turned into a `Config` that cannot change.

Everything that is wrong is said at once, each with the path of its key, what was expected, what was found, and the
nearest right name. What one value may be is said in `mountpoint.config.schema`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError, Problem, UnreadableError, did_you_mean
from ..wsgi.proxy_settings import ProxySettings
from ..wsgi.table import DotSegments, Mount, MountTable, Slash
from .address import Address
from .app_spec import AppSpec
from .schema import (
    DEFAULT_LISTEN,
    DOCTOR_KEYS,
    MOUNT_KEYS,
    PROXY_KEYS,
    REPLACED,
    SERVER_KEYS,
    WAITRESS_DEFAULTS,
    WAITRESS_KEYS,
    Key,
)
from .validators import Validator, any_table, connection_ceiling, toml_text

DEFAULT_FILE = "mounts.toml"


@dataclass(frozen=True, slots=True)
class MountConfig:
    """One mount of the file: its key, normalised, its app's name, and the folder that is on the import path for it."""

    key: str
    app: AppSpec
    root: Path
    slash: Slash = "redirect"
    dot_segments: DotSegments = "refuse"
    cookies: Literal["pass", "scoped"] = "pass"
    limit: int | None = None  # requests that run at once
    queue: int = 100  # requests that wait
    max_body: int | None = None  # bytes
    slow_after: float = 10.0  # seconds
    env: Mapping[str, str] = field(default_factory=dict)  # while it is loaded


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The section ``[server]``: what is ours, and in ``adjustments`` what is waitress's, under waitress's names."""

    listen: tuple[Address, ...]
    threads: int = 8
    drain_timeout: float = 30.0  # seconds
    header_timeout: float = 30.0  # seconds
    strict: bool = False
    access_log: bool = True
    log_level: str | None = None  # "info", and where there is a [logging], what that says
    unix_socket_perms: int = 0o660
    connection_limit: int = 1000
    adjustments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DoctorConfig:
    """The section ``[doctor]``: the echo's key, empty for no echo, and the addresses that may leave their mount."""

    key: str = field(default="", repr=False)
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A whole ``mounts.toml``, checked. ``logging`` is a `logging.config` dictionary, ``overrides`` what was given."""

    file: Path
    mounts: tuple[MountConfig, ...]
    server: ServerConfig
    proxy: ProxySettings = field(default_factory=ProxySettings)
    logging: Mapping[str, Any] | None = None
    doctor: DoctorConfig = field(default_factory=DoctorConfig)
    overrides: Mapping[str, object] = field(default_factory=dict)


def load_config(file: str | Path = DEFAULT_FILE, overrides: Mapping[str, object] | None = None) -> Config:
    """Read *file*. *overrides* are keys of ``[server]`` from the command line, which replace the file's.

    Raises `UnreadableError` if the file cannot be read at all, and `ConfigError` with all that is wrong in it.
    """
    file = Path(file)
    document = _read(file)
    reader = _Reader(file, overrides or {})
    config = reader.config(document)
    if reader.problems:
        raise ConfigError(reader.problems, file=str(file))
    return config


def _read(file: Path) -> dict[str, Any]:
    import tomllib  # here, so that the dispatcher alone does without it

    def unreadable(message: str) -> UnreadableError:
        return UnreadableError([Problem("", message)], file=str(file))

    def malformed(message: str, line: object, column: object) -> ConfigError:
        return ConfigError([Problem("", message)], file=f"{file}:{line}:{column}")

    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise unreadable("expected a mount table, found no such file; name the file, or write one") from None
    except IsADirectoryError:
        raise unreadable(f'expected a file, found a folder; write "{file / DEFAULT_FILE}"') from None
    except OSError as error:
        raise unreadable(f"cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        data = error.object  # without the byte order mark, to which its places do not refer
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"expected UTF-8, found the byte 0x{data[error.start]:02x}; save the file as UTF-8"
        raise malformed(message, line, column) from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise malformed("expected TOML, found it nested too deeply", 1, 1) from None
    except ValueError as error:
        # Its place is in its text only: "... (at line 3, column 5)", or "(at end of document)".
        message, at, place = str(error).rpartition(" (at ")
        numbers = re.findall(r"\d+", place if at else "") or [text.count("\n") + 1, len(text) - text.rfind("\n")]
        culprit = "".join(text.splitlines()[int(numbers[0]) - 1 :][:1])
        unquoted = re.match(r"\s*(\[[\w.]*)?[\w.*-]*/", culprit)
        hint = '; a key with a slash is written in quotes, "/path"' if unquoted else ""
        raise malformed(f"not TOML: {message or error}{hint}", *numbers[:2]) from None


class _Reader:
    """Walks a document and collects its problems; what it returns is meant to be used only if there are none."""

    def __init__(self, file: Path, overrides: Mapping[str, object]) -> None:
        self.file = file
        self.folder = file.absolute().parent  # absolute, since an app may change the working folder
        self.overrides = overrides
        self.problems: list[Problem] = []
        self.missing: set[Problem] = set()  # the folders that are none

    def config(self, document: dict[str, Any]) -> Config:
        sections = ("server", "defaults", "mounts", "proxy", "logging", "doctor")
        if not document.get("mounts", {}):
            found = "found none" if document else "found an empty file"
            self.wrong("mounts", f'expected at least one mount, {found}; write [mounts], and "/path" = "module:app"')
        for name in document:
            if name not in sections:
                self.unknown(name, name, sections)
        tables = {name: self.keep(name, any_table, document.get(name, {})) or {} for name in sections}
        mounts = self.mounts(tables["mounts"], tables["defaults"])
        return Config(
            file=self.file,
            mounts=mounts,
            server=self.with_room(mounts, self.server(tables["server"]), tables["server"]),
            proxy=self.proxy(tables["proxy"]),
            logging=tables["logging"] or None,
            doctor=DoctorConfig(**self.section("doctor", tables["doctor"], DOCTOR_KEYS)),
            overrides=self.overrides,
        )

    # -------------------------------------------------------------------------------------------------- collecting

    def wrong(self, key: str, message: str) -> None:
        self.problems.append(Problem(key, message))

    def unknown(self, key: str, name: str, known: Any) -> None:
        hint = did_you_mean(name, known)
        self.wrong(key, f"unknown key{hint}" if hint else f"unknown key; expected one of {', '.join(known)}")

    def keep(self, key: str, rule: Validator, value: Any) -> Any:
        """Return what *rule* makes of *value*, or None and a problem at *key*."""
        try:
            return rule(value)
        except ValueError as error:
            self.wrong(key, str(error))
            return None

    # ---------------------------------------------------------------------------------------------------- sections

    def mounts(self, table: dict[str, Any], defaults: dict[str, Any]) -> tuple[MountConfig, ...]:
        shared = self.section("defaults", defaults, MOUNT_KEYS)
        mounts: list[MountConfig] = []
        for key, value in table.items():
            where = f"mounts.{quoted(key)}"
            if message := _misplaced(key, value):
                self.wrong(where, message)
                continue
            own = {"app": value} if isinstance(value, str) else self.keep(where, _mount_value, value)
            if own is None:
                continue
            ours = shared | self.section(where, own, MOUNT_KEYS)
            ours["env"] = {**shared.get("env", {}), **ours.get("env", {})}
            if "app" not in ours and "app" not in own and "app" not in defaults:
                self.wrong(where, 'expected the key app, found none; write app = "module:attribute"')
            app = ours.get("app") or AppSpec("", "")
            mounts.append(
                MountConfig(
                    key=key,
                    app=app,
                    root=self.root(
                        f"{where}.root" if "root" in own else "defaults.root",
                        ours.get("root", ""),
                        f"{where}.app" if "app" in own else "defaults.app",
                        app,
                    ),
                    **{name: value for name, value in ours.items() if name not in ("app", "root")},
                )
            )
        return self.normalised(mounts)

    def section(self, where: str, table: dict[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
        """Return what *rules* make of the keys of *table*, without those that are wrong or unknown."""
        kept = {}
        for name, value in table.items():
            key = f"{where}.{quoted(name)}"
            if name not in keys:
                self.unknown(key, name, keys)
            elif (valid := self.keep(key, keys[name].validator, value)) is not None:
                kept[name] = valid
        return kept

    def root(self, key: str, text: str, key_of_app: str, app: AppSpec) -> Path:
        """Return the folder for the import path: *text*, relative to the file, and below it the app's own folder."""
        root = self.folder / text
        if text and not self.is_folder(key, root):
            return root
        if app.folder:
            root /= app.folder
            self.is_folder(key_of_app, root)
        return root

    def is_folder(self, key: str, folder: Path) -> bool:
        try:
            if folder.is_dir():
                return True
            found = "a file" if folder.exists() else "nothing"
        except (OSError, ValueError) as error:  # no permission on the way to it; a null character
            found = f"{getattr(error, 'strerror', None) or error},"
        problem = Problem(key, f'expected a folder, found {found} at "{folder}"')
        if problem not in self.missing:  # one root of [defaults] is looked at for every mount
            self.missing.add(problem)
            self.problems.append(problem)
        return False

    def normalised(self, mounts: list[MountConfig]) -> tuple[MountConfig, ...]:
        """Give each mount the key that the dispatcher will know it by; the table itself says which keys are wrong."""
        try:
            table = MountTable(Mount(mount.key, _not_loaded_yet) for mount in mounts) if mounts else ()
        except ConfigError as error:
            for problem in error.problems:
                self.wrong(f"mounts.{quoted(problem.key)}", problem.message)
            return ()
        return tuple(replace(ours, key=mount.key) for ours, mount in zip(mounts, table, strict=True))

    def server(self, table: dict[str, Any]) -> ServerConfig:
        ours: dict[str, Any] = {}
        adjustments = dict(WAITRESS_DEFAULTS)
        listen: tuple[Address, ...] = ()
        table = {"listen": DEFAULT_LISTEN, **table, **self.overrides}
        for name, value in table.items():
            key = f"--{name.replace('_', '-')}" if name in self.overrides else f"server.{quoted(name)}"
            if name == "listen":
                listen = self.listen(key, value, Path.cwd() if name in self.overrides else self.folder)
            elif name in REPLACED:
                self.wrong(key, f"is not taken from here; {REPLACED[name]}")
            elif name in SERVER_KEYS:
                ours[name] = self.keep(key, SERVER_KEYS[name].validator, value)
            elif name in WAITRESS_KEYS:
                adjustments[name] = self.keep(key, WAITRESS_KEYS[name].validator, value)
            else:
                self.unknown(key, name, [*SERVER_KEYS, *WAITRESS_KEYS])
        ours.setdefault("connection_limit", min(1000, connection_ceiling()))
        return ServerConfig(listen=listen, adjustments=adjustments, **ours)

    def with_room(
        self, mounts: tuple[MountConfig, ...], server: ServerConfig, table: Mapping[str, object]
    ) -> ServerConfig:
        """Return *server* with room for the largest body that a mount allows, unless its *table* says how large."""
        name = "max_request_body_size"
        most = server.adjustments[name]
        largest = max((mount.max_body or 0 for mount in mounts), default=0)
        if not isinstance(most, int) or largest <= most:  # what is no number has its problem already
            return server
        for mount in mounts if name in table else ():
            if (mount.max_body or 0) > most:
                self.wrong(
                    f"mounts.{quoted(mount.key)}.max_body",
                    f"expected at most the server.{name} ({most}), found {mount.max_body}; write more there, or less",
                )
        return replace(server, adjustments={**server.adjustments, name: largest})

    def listen(self, key: str, value: Any, folder: Path) -> tuple[Address, ...]:
        values = value if isinstance(value, list) else [value]
        addresses = [self.keep(key, SERVER_KEYS["listen"].validator, item) for item in values]
        if not values:
            self.wrong(key, f'expected at least one address, found an empty array; write "{DEFAULT_LISTEN}"')
        if None in addresses:
            return ()
        if len({address.unix is None for address in addresses}) > 1:
            self.wrong(key, "expected all TCP or all unix sockets, found both; run one process for each kind")
        if len(set(addresses)) < len(addresses):
            self.wrong(key, "expected each address once, found one twice")
        return tuple(Address(unix=folder / address.unix) if address.unix else address for address in addresses)

    def proxy(self, table: dict[str, Any]) -> ProxySettings:
        ours = self.section("proxy", table, PROXY_KEYS)
        trust = ProxySettings(**ours)
        # What a value contradicts that was not taken is not known.
        problems = trust.problems() if len(ours) == len(table) else trust.wrong_values()
        self.problems += [Problem(f"proxy.{problem.key}", problem.message) for problem in problems]
        return trust


def _misplaced(key: str, value: Any) -> str:
    """Return what is to be said of a key that TOML has put under ``[mounts]``, and that was meant for another place."""
    if key in SERVER_KEYS or key in WAITRESS_KEYS:
        return "is a key of [server]; write it under that, which ends where [mounts] begins"
    names = [key]
    while isinstance(value, dict) and len(value) == 1 and not value.keys() & MOUNT_KEYS.keys():
        [(name, value)] = value.items()
        names.append(name)
    if len(names) > 1 and not any("/" in name for name in names):
        dotted = ".".join(names)
        return f'a key with a dot is written in quotes, "{dotted}"'
    return ""


def _mount_value(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f'expected "module:attribute" or a table with the key app, found {toml_text(value)}')
    return value


def _not_loaded_yet(environ: Any, start_response: Any) -> Any:
    raise NotImplementedError  # stands for an app while only the keys are looked at


def quoted(name: str) -> str:
    """Return *name* as a key of TOML is written."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
