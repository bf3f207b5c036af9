"""What one value of ``mounts.toml`` may be.

A rule takes what the file says and returns what we keep; it raises ValueError, "expected ..., found ...". A key is
known by standing in one of the tables of rules at the end, and by nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from ..errors import did_you_mean
from ..wsgi.proxy_settings import COUNTED
from ..wsgi.table import DotSegments, Slash
from .app_spec import AppSpec, parse_spec

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

Validator = Callable[[Any], Any]


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


def connection_ceiling() -> int:
    """Return how many connections one process can serve: each takes up to three descriptors, and 64 are for the rest.

    Past its descriptors waitress spins; Windows has no poll(), and its select() ends at 512.
    """
    if sys.platform == "win32":
        return 400
    return max((hard_file_limit() - 64) // 3, 1)


def hard_file_limit() -> int:
    """Return how many files one process can have open, once it has raised its soft limit."""
    if sys.platform == "win32":
        return 512
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says that there is no limit, and refuses to set more than its OPEN_MAX.
    return max(soft, 10_240) if hard == resource.RLIM_INFINITY else hard


def in_toml(value: object) -> str:
    """Return *value* as it stands in the file, or its kind if that is long."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case dict():
            return "a table"
        case list():
            return "an array"
        case int() if abs(value) >= 10**20:  # past some thousand digits str() would raise
            return "a huge integer"
        case _:
            return str(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {in_toml(value)}")
    return value


def _integer(low: int, high: int | None = None) -> Validator:
    expected = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"
    most = 2**63 - 1 if high is None else high

    def rule(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= most:
            raise ValueError(f"expected {expected}, found {in_toml(value)}")
        return value

    return rule


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise ValueError(f"expected seconds, a number of at least 0, found {in_toml(value)}")
    return float(value)


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, found {in_toml(value)}")
    return value


def _choice(*choices: str) -> Validator:
    def rule(value: Any) -> str:
        if value not in choices:
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ValueError(f"expected {' or '.join(map(in_toml, choices))}, found {in_toml(value)}{hint}")
        return cast("str", value)

    return rule


def any_table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {in_toml(value)}")
    return value


def _permissions(value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?o?[0-7]{3}", value):
        raise ValueError(f'expected an octal string such as "660", found {in_toml(value)}')
    return int(value.lstrip("0o") or "0", 8)


def _app(value: Any) -> AppSpec:
    return parse_spec(string(value))


def _connection_limit(value: Any) -> int:
    ceiling = connection_ceiling()
    limit: int = _integer(1)(value)
    if limit > ceiling:
        raise ValueError(
            f"expected at most {ceiling}, which is what this machine's limit of open files allows, found {limit}; "
            "raise the limit (ulimit -n, LimitNOFILE=) or write less"
        )
    return limit


def listen_address(value: Any) -> Address:
    forms = 'expected "host:port", "[ipv6]:port", "*:port" or "unix:/path"'
    if not isinstance(value, str):
        near = f'; write "127.0.0.1:{value}"' if type(value) is int and 0 <= value <= 65535 else ""
        raise ValueError(f"{forms}, found {in_toml(value)}{near}")
    text = value
    if text.startswith("unix:"):
        if sys.platform == "win32":
            raise ValueError(f'expected "host:port", found "{text}"; Windows has no unix sockets for servers')
        if not (path := text.removeprefix("unix:")):
            raise ValueError(f'{forms}, found "{text}" without a path')
        return Address(unix=Path(path))
    match = re.fullmatch(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]+)", text)
    if match is None:
        right = None
        if re.fullmatch(r":?[0-9]+", text):
            right = f"127.0.0.1:{text.lstrip(':')}"
        elif text.startswith("/"):
            right = f"unix:{text}"
        elif re.fullmatch(r"[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]", text):
            right = f"{text}:8080"
        elif scheme := re.match(r"https?://([^/]+)", text):
            right = scheme[1] if re.search(r":[0-9]+$", scheme[1]) else f"{scheme[1]}:8080"
        hint = f'; write "{right}"' if right else ""
        raise ValueError(f'{forms}, found "{text}"{hint}')
    if len(match["port"]) > 5 or int(match["port"]) > 65535:
        raise ValueError(f'expected a port from 0 to 65535, found "{text}"')
    host = match["ipv6"] or match["host"]
    return Address("" if host == "*" else host, int(match["port"]))


def _strings(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise ValueError(f"expected a string, or an array of strings, found {in_toml(value)}")
    return values


def _array_of_strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected an array of strings, found {in_toml(value)}")
    return tuple(value)


def _environment(value: Any) -> dict[str, str]:
    expected = 'expected a table of strings such as { KEY = "value" }'
    if not isinstance(value, dict):
        raise ValueError(f"{expected}, found {in_toml(value)}")
    for name, text in value.items():
        if not isinstance(text, str):
            near = f'; write "{in_toml(text)}"' if isinstance(text, int | float) else ""
            raise ValueError(f"{expected}, found {in_toml(text)} for {name}{near}")
        if not name or "=" in name or "\0" in name + text:
            raise ValueError(f"{expected}, found a name or a value that no variable can have: {name!r}")
    return value


def _echo_key(value: Any) -> str:
    """Take at least 128 bits, in hex or base64. What was found is not shown: it may be a key all the same."""
    text = string(value)
    fewest = 32 if re.fullmatch(r"[0-9A-Fa-f]+", text) else 22
    if not re.fullmatch(rf"[A-Za-z0-9+/_=-]{{{fewest},}}", text):
        raise ValueError(
            f"expected at least 128 random bits, 32 hex digits or 22 characters of base64, found {len(text)} "
            'characters; make one: python3 -c "import secrets; print(secrets.token_hex())"'
        )
    return text


MOUNT_KEYS: Mapping[str, Validator] = {
    "app": _app,
    "root": string,
    "slash": _choice(*get_args(Slash)),
    "dot_segments": _choice(*get_args(DotSegments)),
    "cookies": _choice("pass", "scoped"),
    "limit": _integer(1, 10_000),
    "queue": _integer(0),
    "max_body": _integer(0),
    "slow_after": _seconds,
    "env": _environment,
}

PROXY_KEYS: Mapping[str, Validator] = {
    "strips": string,
    "trusted": _strings,
    **dict.fromkeys(COUNTED, _integer(0)),
    "restore_prefix": _boolean,
}

DOCTOR_KEYS: Mapping[str, Validator] = {
    "key": _echo_key,
    "allow": _array_of_strings,
}

SERVER_KEYS: Mapping[str, Validator] = {
    "threads": _integer(1, 10_000),
    "drain_timeout": _seconds,
    "header_timeout": _seconds,
    "strict": _boolean,
    "access_log": _boolean,
    "log_level": _choice(*LOG_LEVELS),
    "unix_socket_perms": _permissions,
    "connection_limit": _connection_limit,
}

# https://docs.pylonsproject.org/projects/waitress/en/stable/arguments.html; the ranges are ours, waitress has none.
WAITRESS_KEYS: Mapping[str, Validator] = {
    "ipv4": _boolean,
    "ipv6": _boolean,
    "url_scheme": _choice("http", "https"),
    "backlog": _integer(1, 65_535),
    "recv_bytes": _integer(1, 2**24),
    "outbuf_overflow": _integer(1),
    "outbuf_high_watermark": _integer(1),
    "inbuf_overflow": _integer(1),
    "cleanup_interval": _integer(1),
    "channel_timeout": _integer(1),
    "log_socket_errors": _boolean,
    "max_request_header_size": _integer(256),
    "max_request_body_size": _integer(1),
    "expose_tracebacks": _boolean,
    "ident": string,
    "asyncore_loop_timeout": _integer(1, 3600),
    "channel_request_lookahead": _integer(0),
    "server_name": string,
}

# What of waitress's is another by default: it allows bodies of 1 GiB, and runs what its clients wait for no longer.
WAITRESS_DEFAULTS: Mapping[str, object] = {"max_request_body_size": 16 * 2**20, "channel_request_lookahead": 1}

REPLACED = {
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
