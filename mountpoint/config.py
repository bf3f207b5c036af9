"""``mounts.toml``: read, checked, and turned into a `Config` that cannot change.

Everything that is wrong is said at once, each with the path of its key, what was expected, what was found, and the
nearest right name. A key is known by standing in one of the tables of rules below, and by nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from .errors import ConfigError, Problem, UnreadableError, did_you_mean
from .spec import AppSpec, parse_spec
from .table import DotSegments, Mount, MountTable, Slash, path_of_key

DEFAULT_FILE = "mounts.toml"
DEFAULT_LISTEN = "127.0.0.1:8080"
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a *host* (empty for every interface) and a *port* (0 for any that is free), or a unix socket."""

    host: str = ""
    port: int = 0
    unix: Path | None = None

    def __str__(self) -> str:
        if self.unix:
            return f"unix:{self.unix}"
        return f"{f'[{self.host}]' if ':' in self.host else self.host or '*'}:{self.port}"


@dataclass(frozen=True, slots=True)
class MountConfig:
    """One mount of the file: its key, normalised, its app's name, and the folder that is on the import path for it."""

    key: str
    app: AppSpec
    root: Path
    slash: Slash = "redirect"
    dot_segments: DotSegments = "refuse"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The section ``[server]``: what is ours, and in ``adjustments`` what is waitress's, under waitress's names."""

    listen: tuple[Address, ...]
    threads: int = 8
    drain_timeout: float = 30.0  # seconds
    strict: bool = False
    access_log: bool = True
    log_level: str = "info"
    unix_socket_perms: int = 0o660
    connection_limit: int = 1000
    adjustments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole ``mounts.toml``, checked. ``logging`` a `logging.config` dictionary."""

    file: Path
    mounts: tuple[MountConfig, ...]
    server: ServerConfig
    strips: str = ""
    logging: Mapping[str, Any] | None = None


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


def connection_ceiling() -> int:
    """Return how many connections one process can serve: each takes up to three descriptors, and 64 are for the rest.

    Past its descriptors waitress spins; Windows has no poll(), and its select() ends at 512.
    """
    if sys.platform == "win32":
        return 400
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if hard == resource.RLIM_INFINITY else max((hard - 64) // 3, 1)


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
        message, _, place = str(error).rpartition(" (at ")
        numbers = re.findall(r"\d+", place) or [text.count("\n") + 1, len(text) - text.rfind("\n")]
        raise malformed(f"not TOML: {message or error}", *numbers[:2]) from None


# ------------------------------------------------------------------------------------------------ rules for one value
#
# A rule takes what the file says and returns what we keep; it raises ValueError, "expected ..., found ...".

Rule = Callable[[Any], Any]


def _found(value: object) -> str:
    """Say what stands in the file, as TOML has it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case dict():
            return "a table"
        case list():
            return "an array"
        case _:
            return str(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {_found(value)}")
    return value


def _integer(low: int, high: int | None = None) -> Rule:
    expected = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"

    def rule(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            raise ValueError(f"expected {expected}, found {_found(value)}")
        return value

    return rule


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"expected seconds, a number of at least 0, found {_found(value)}")
    return float(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, found {_found(value)}")
    return value


def _choice(*choices: str) -> Rule:
    def rule(value: Any) -> str:
        if value not in choices:
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ValueError(f"expected {' or '.join(map(_found, choices))}, found {_found(value)}{hint}")
        return cast("str", value)

    return rule


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {_found(value)}")
    return value


def _permissions(value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?o?[0-7]{3}", value):
        raise ValueError(f'expected an octal string such as "660", found {_found(value)}')
    return int(value.lstrip("0o") or "0", 8)


def _app(value: Any) -> AppSpec:
    return parse_spec(_string(value))


def _connection_limit(value: Any) -> int:
    ceiling = connection_ceiling()
    limit: int = _integer(1)(value)
    if limit > ceiling:
        raise ValueError(
            f"expected at most {ceiling}, which is what this machine's limit of open files allows, found {limit}; "
            "raise the limit (ulimit -n, LimitNOFILE=) or write less"
        )
    return limit


def _address(value: Any) -> Address:
    forms = 'expected "host:port", "[ipv6]:port", "*:port" or "unix:/path"'
    text = _string(value)
    if text.startswith("unix:"):
        if sys.platform == "win32":
            raise ValueError(f'expected "host:port", found "{text}"; Windows has no unix sockets for servers')
        if not (path := text.removeprefix("unix:")):
            raise ValueError(f'{forms}, found "{text}" without a path')
        return Address(unix=Path(path))
    match = re.fullmatch(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]+)", text)
    if match is None:
        hint = ""
        if re.fullmatch(r"[0-9]+", text):
            hint = f'; write "127.0.0.1:{text}"'
        elif text.startswith("/"):
            hint = f'; write "unix:{text}"'
        elif re.fullmatch(r"[^\s:/]+", text):
            hint = f'; write "{text}:8080"'
        elif scheme := re.match(r"https?://([^/]+)", text):
            hint = f'; write "{scheme[1]}"'
        raise ValueError(f'{forms}, found "{text}"{hint}')
    if int(match["port"]) > 65535:
        raise ValueError(f'expected a port from 0 to 65535, found "{text}"')
    host = match["ipv6"] or match["host"]
    return Address("" if host == "*" else host, int(match["port"]))


_MOUNT_RULES: Mapping[str, Rule] = {
    "app": _app,
    "root": _string,
    "slash": _choice(*get_args(Slash)),
    "dot_segments": _choice(*get_args(DotSegments)),
}

_OUR_SERVER_RULES: Mapping[str, Rule] = {
    "threads": _integer(1, 10_000),
    "drain_timeout": _seconds,
    "strict": _boolean,
    "access_log": _boolean,
    "log_level": _choice(*LOG_LEVELS),
    "unix_socket_perms": _permissions,
    "connection_limit": _connection_limit,
}

# https://docs.pylonsproject.org/projects/waitress/en/stable/arguments.html; the ranges are ours, waitress has none.
_WAITRESS_RULES: Mapping[str, Rule] = {
    "ipv4": _boolean,
    "ipv6": _boolean,
    "url_scheme": _choice("http", "https"),
    "backlog": _integer(1, 65_535),
    "recv_bytes": _integer(1),
    "outbuf_overflow": _integer(1),
    "outbuf_high_watermark": _integer(1),
    "inbuf_overflow": _integer(1),
    "cleanup_interval": _integer(1),
    "channel_timeout": _integer(1),
    "log_socket_errors": _boolean,
    "max_request_header_size": _integer(256),
    "max_request_body_size": _integer(1),
    "expose_tracebacks": _boolean,
    "ident": _string,
    "asyncore_loop_timeout": _integer(1),
    "channel_request_lookahead": _integer(0),
    "server_name": _string,
}

_REPLACED = {
    **dict.fromkeys(("host", "port", "unix_socket", "sockets"), 'write listen = "host:port" or "unix:/path"'),
    "url_prefix": 'write strips = "/prefix" under [proxy]',
    **dict.fromkeys(
        ("trusted_proxy", "trusted_proxy_count", "trusted_proxy_headers", "log_untrusted_proxy_headers"),
        "whom to trust belongs under [proxy]; forwarding headers that nobody is trusted for are removed",
    ),
    "clear_untrusted_proxy_headers": "forwarding headers that nobody is trusted for are always removed",
    "asyncore_use_poll": "poll() is used wherever there is one",
    "send_bytes": "waitress is about to remove it",
}


class _Reader:
    """Walks a document and collects its problems; what it returns is meant to be used only if there are none."""

    def __init__(self, file: Path, overrides: Mapping[str, object]) -> None:
        self.file = file
        self.folder = file.parent
        self.overrides = overrides
        self.problems: list[Problem] = []

    def config(self, document: dict[str, Any]) -> Config:
        sections = ("server", "defaults", "mounts", "proxy", "logging")
        if not document and not self.overrides:
            self.wrong("", 'expected a mount table, found an empty file; write [mounts] and "/path" = "module:app"')
        for name in document:
            if name not in sections:
                self.unknown(name, name, sections)
        tables = {name: self.keep(name, _table, document.get(name, {})) or {} for name in sections}
        return Config(
            file=self.file,
            mounts=self.mounts(tables["mounts"], tables["defaults"], given=bool(document)),
            server=self.server(tables["server"]),
            strips=self.strips(tables["proxy"]),
            logging=tables["logging"] or None,
        )

    # -------------------------------------------------------------------------------------------------- collecting

    def wrong(self, key: str, message: str) -> None:
        self.problems.append(Problem(key, message))

    def unknown(self, key: str, name: str, known: Any) -> None:
        hint = did_you_mean(name, known)
        self.wrong(key, f"unknown key{hint}" if hint else f"unknown key; expected one of {', '.join(known)}")

    def keep(self, key: str, rule: Rule, value: Any) -> Any:
        """Return what *rule* makes of *value*, or None and a problem at *key*."""
        try:
            return rule(value)
        except ValueError as error:
            self.wrong(key, str(error))
            return None

    # ---------------------------------------------------------------------------------------------------- sections

    def mounts(self, table: dict[str, Any], defaults: dict[str, Any], *, given: bool) -> tuple[MountConfig, ...]:
        shared = self.mount_keys("defaults", defaults)
        mounts: list[MountConfig] = []
        for key, value in table.items():
            where = f"mounts.{_quoted(key)}"
            own = {"app": value} if isinstance(value, str) else self.keep(where, _mount_value, value)
            if own is None:
                continue
            ours = shared | self.mount_keys(where, own)
            if "app" not in ours and "app" not in own and "app" not in defaults:
                self.wrong(where, 'expected the key app, found none; write app = "module:attribute"')
            app = ours.get("app") or AppSpec("", "")
            mounts.append(
                MountConfig(
                    key=key,
                    app=app,
                    root=self.root(
                        f"{where}.root" if "root" in own else "defaults.root", ours.get("root", ""), where, app
                    ),
                    slash=ours.get("slash", "redirect"),
                    dot_segments=ours.get("dot_segments", "refuse"),
                )
            )
        if not table and given:
            self.wrong("mounts", 'expected at least one mount, found none; write "/path" = "module:app" under [mounts]')
        return self.normalised(mounts)

    def mount_keys(self, where: str, table: dict[str, Any]) -> dict[str, Any]:
        kept = {}
        for name, value in table.items():
            if (rule := _MOUNT_RULES.get(name)) is None:
                self.unknown(f"{where}.{_quoted(name)}", name, _MOUNT_RULES)
            elif (right := self.keep(f"{where}.{name}", rule, value)) is not None:
                kept[name] = right
        return kept

    def root(self, key: str, text: str, where: str, app: AppSpec) -> Path:
        """Return the folder that goes on the import path: *text*, relative to the file, and the app's own folder in it."""
        root = self.folder / text
        if text and not self.is_folder(key, root):
            return root
        if app.folder:
            root /= app.folder
            self.is_folder(f"{where}.app", root)
        return root

    def is_folder(self, key: str, folder: Path) -> bool:
        if folder.is_dir():
            return True
        found = "a file" if folder.exists() else "nothing"
        problem = Problem(key, f'expected a folder, found {found} at "{folder}"')
        if problem not in self.problems:  # one root of [defaults] is looked at for every mount
            self.problems.append(problem)
        return False

    def normalised(self, mounts: list[MountConfig]) -> tuple[MountConfig, ...]:
        """Give each mount the key that the dispatcher will know it by; the table itself says which keys are wrong."""
        try:
            table = MountTable(Mount(mount.key, _not_loaded_yet) for mount in mounts) if mounts else ()
        except ConfigError as error:
            for problem in error.problems:
                self.wrong(f"mounts.{_quoted(problem.key)}", problem.message)
            return ()
        return tuple(replace(ours, key=mount.key) for ours, mount in zip(mounts, table, strict=True))

    def server(self, table: dict[str, Any]) -> ServerConfig:
        ours: dict[str, Any] = {}
        adjustments: dict[str, object] = {}
        listen: tuple[Address, ...] = ()
        table = {"listen": DEFAULT_LISTEN, **table, **self.overrides}
        for name, value in table.items():
            key = f"--{name.replace('_', '-')}" if name in self.overrides else f"server.{_quoted(name)}"
            if name == "listen":
                listen = self.listen(key, value, Path() if name in self.overrides else self.folder)
            elif name in _REPLACED:
                self.wrong(key, f"is not taken from here; {_REPLACED[name]}")
            elif rule := _OUR_SERVER_RULES.get(name):
                ours[name] = self.keep(key, rule, value)
            elif rule := _WAITRESS_RULES.get(name):
                adjustments[name] = self.keep(key, rule, value)
            else:
                self.unknown(key, name, ("listen", *_OUR_SERVER_RULES, *_WAITRESS_RULES))
        ours.setdefault("connection_limit", min(1000, connection_ceiling()))
        return ServerConfig(listen=listen, adjustments=adjustments, **ours)

    def listen(self, key: str, value: Any, folder: Path) -> tuple[Address, ...]:
        values = value if isinstance(value, list) else [value]
        addresses = [self.keep(key, _address, item) for item in values]
        if not values:
            self.wrong(key, f'expected at least one address, found an empty array; write "{DEFAULT_LISTEN}"')
        if None in addresses:
            return ()
        if len({address.unix is None for address in addresses}) > 1:
            self.wrong(key, "expected all TCP or all unix sockets, found both; run one process for each kind")
        if len(set(addresses)) < len(addresses):
            self.wrong(key, "expected each address once, found one twice")
        return tuple(Address(unix=folder / address.unix) if address.unix else address for address in addresses)

    def strips(self, table: dict[str, Any]) -> str:
        strips = ""
        for name, value in table.items():
            if name == "strips":
                strips = self.keep("proxy.strips", path_of_key, value) or ""
            else:
                self.unknown(f"proxy.{_quoted(name)}", name, ("strips",))
        return strips


def _mount_value(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f'expected "module:attribute" or a table with the key app, found {_found(value)}')
    return value


def _not_loaded_yet(environ: Any, start_response: Any) -> Any:
    raise NotImplementedError  # stands for an app while only the keys are looked at


def _quoted(name: str) -> str:
    """Return *name* as a key of TOML is written."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
