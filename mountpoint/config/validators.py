"""Validators for the values of ``mounts.toml``.

A validator takes a value as `tomllib` reads it and returns the value that `Config` keeps. It raises ValueError with a
message of the form "expected ..., found ...". `mountpoint.config.schema` says which key has which validator.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, Literal, cast

from ..errors import did_you_mean
from ..wsgi.keys import path_of_key, wsgi_string
from .app_spec import AppSpec, parse_spec

Validator = Callable[[Any], Any]


def toml_text(value: object) -> str:
    """Return *value* as the file spells it, or only its kind if it is long.

    >>> toml_text(True), toml_text("on"), toml_text([1, 2])
    ('true', '"on"', 'an array')
    """
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case dict():
            return "a table"
        case list():
            return "an array"
        case int() if abs(value) >= 10**20:  # str() raises ValueError from 4,300 digits on
            return "a huge integer"
        case _:
            return str(value)


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {toml_text(value)}")
    return value


def integer(low: int, high: int | None = None) -> Validator:
    """Return a validator for integers from *low* to *high*, both included."""
    expected = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"
    largest = 2**63 - 1 if high is None else high

    def validate(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= largest:
            raise ValueError(f"expected {expected}, found {toml_text(value)}")
        return value

    return validate


def seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise ValueError(f"expected seconds, a number of at least 0, found {toml_text(value)}")
    return float(value)


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, found {toml_text(value)}")
    return value


def one_of(*choices: str) -> Validator:
    """Return a validator for strings that are one of *choices*, which are at least two."""
    *others, last = map(toml_text, choices)
    expected = f"{', '.join(others)} or {last}"

    def validate(value: Any) -> str:
        if value not in choices:
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ValueError(f"expected {expected}, found {toml_text(value)}{hint}")
        return cast("str", value)

    return validate


def any_table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {toml_text(value)}")
    return value


def access_log(value: Any) -> Literal["combined", "json", False]:
    """Accept a form of the access log, or a boolean: true is the combined form."""
    if isinstance(value, bool):
        return "combined" if value else False
    if value not in ("combined", "json"):
        hint = did_you_mean(value, ("combined", "json")) if isinstance(value, str) else ""
        if isinstance(value, str) and re.search(r"[./]", value):
            hint = '; for a file write a handler below [logging], as "mountpoint docs logs" shows'
        raise ValueError(f'expected "combined", "json", true or false, found {toml_text(value)}{hint}')
    return cast("Literal['combined', 'json']", value)


def exact_paths(value: Any) -> tuple[str, ...]:
    """Accept an array of paths, each without a host. Return them as WSGI strings, with the slash at their end."""
    for path in array_of_strings(value):
        if not path.startswith("/"):
            hint = f'; write "/{path}"' if re.fullmatch(r"[\w.-]+(?:/[\w.-]+)*", path) else ""
            raise ValueError(f'expected paths such as "/healthz", found {toml_text(path)}{hint}')
        if "*" in path:
            raise ValueError(f'expected exact paths such as "/healthz", found "*" in "{path}"; write each path')
        path_of_key(path)
    return tuple(map(wsgi_string, value))


def array_of_strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected an array of strings, found {toml_text(value)}")
    return tuple(value)


def string_or_array(value: Any) -> list[str]:
    """Accept an array of strings, or one string, which counts as an array of one."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise ValueError(f"expected a string, or an array of strings, found {toml_text(value)}")
    return values


def octal_permissions(value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?o?[0-7]{3}", value):
        raise ValueError(f'expected an octal string such as "660", found {toml_text(value)}')
    return int(value.lstrip("0o") or "0", 8)


def app_spec(value: Any) -> AppSpec:
    return parse_spec(string(value))


def environment(value: Any) -> dict[str, str]:
    """Accept a table of environment variables."""
    expected = 'expected a table of strings such as { KEY = "value" }'
    if not isinstance(value, dict):
        raise ValueError(f"{expected}, found {toml_text(value)}")
    for name, text in value.items():
        if not isinstance(text, str):
            hint = f'; write "{toml_text(text)}"' if isinstance(text, int | float) else ""
            raise ValueError(f"{expected}, found {toml_text(text)} for {name}{hint}")
        if not name or "=" in name or "\0" in name + text:
            raise ValueError(f"{expected}, found a name or a value that no environment variable can have: {name!r}")
    return value


def echo_key(value: Any) -> str:
    """Accept at least 128 random bits, in hex or base64.

    The message does not show the value: it may be a secret that is used elsewhere.
    """
    text = string(value)
    shortest = 32 if re.fullmatch(r"[0-9A-Fa-f]+", text) else 22  # hex has 4 bits for each digit, base64 has 6
    if not re.fullmatch(rf"[A-Za-z0-9+/_=-]{{{shortest},}}", text):
        raise ValueError(
            f"expected at least 128 random bits, 32 hex digits or 22 characters of base64, found {len(text)} "
            'characters; make a key with: python3 -c "import secrets; print(secrets.token_hex())"'
        )
    return text


def connection_limit(value: Any) -> int:
    ceiling = connection_ceiling()
    limit: int = integer(1)(value)
    if limit > ceiling:
        raise ValueError(
            f"expected at most {ceiling}, which the limit of open files of this process allows, found {limit}; "
            "raise the limit (ulimit -n, LimitNOFILE=) or write a smaller number"
        )
    return limit


def connection_ceiling() -> int:
    """Return how many connections this process can serve.

    A connection takes up to three file descriptors; 64 are kept for the rest of the process. When descriptors run out,
    waitress loops without pause. Windows has no ``poll()``, and its ``select()`` takes 512 descriptors.
    """
    if sys.platform == "win32":
        return 400
    return max((hard_file_limit() - 64) // 3, 1)


def hard_file_limit() -> int:
    """Return how many files this process can have open after it has raised its soft limit."""
    if sys.platform == "win32":
        return 512
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS reports no limit, but rejects a soft limit above its OPEN_MAX.
    return max(soft, 10_240) if hard == resource.RLIM_INFINITY else hard
