"""The commands and their options."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from ..config.address import listen_address
from ..config.schema import LOG_LEVELS, SERVER_KEYS
from ..config.toml_file import DEFAULT_FILE
from ..config.validators import Validator
from ..errors import did_you_mean
from . import commands as run
from . import control

#: Options of other servers, by the advice for `mountpoint serve`.
_FOREIGN_OPTIONS = {
    "--listen": ("--port", "-p", "--bind", "-b", "--host", "--address", "--http", "--socket"),
    "--threads": ("--workers", "-w", "--processes"),
    "the file without an option": ("--config", "-c", "--file", "-f"),
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options in *arguments*. Exits for ``--help``, ``--version`` and wrong usage.

    Options may stand between two positional arguments, as in ``resolve mounts.toml --json /x``. argparse accepts that
    only in `parse_intermixed_args`, which a main parser does not use for its subparsers. So the parser of the command
    is called here.
    """
    parser, commands = parsers()
    if arguments and arguments[0] in commands:
        return commands[arguments[0]].parse_intermixed_args(arguments[1:])
    return parser.parse_args(arguments)


def parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Return the main parser, and the parser of each command by its name."""
    parser = _Parser(
        prog="mountpoint", description="Serve several WSGI apps in one process, each under its own URL prefix."
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _add_with_file(commands, "serve", run.serve, "serve the apps of a mount table")
    serve.add_argument(
        "--listen",
        action="append",
        type=_checked_by(listen_address),
        metavar="ADDRESS",
        help='listen on "host:port" or "unix:/path" instead of the addresses in the file; may be repeated',
    )
    serve.add_argument(
        "--threads",
        type=_checked_by(SERVER_KEYS["threads"].validator, int),
        metavar="N",
        help="run at most N requests at once",
    )
    serve.add_argument("--strict", action="store_true", default=None, help="do not start if an app fails to load")
    serve.add_argument(
        "--no-access-log", dest="access_log", action="store_false", default=None, help="write no access log"
    )
    serve.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        metavar="LEVEL",
        help=f"log messages of this level and above: {', '.join(LOG_LEVELS)}",
    )
    _add_control(serve, "make the control socket here")
    serve.add_argument(
        "--reload", action="store_true", help="restart when the code or the table changes; for development"
    )

    check = _add_with_file(commands, "check", run.check, "load every app of a mount table and list the problems")
    _add_timeout(check)
    check.add_argument("--json", action="store_true", help="print JSON")

    resolve = _add_with_file(commands, "resolve", run.resolve, "show which mount gets a URL, without importing an app")
    resolve.add_argument("url", metavar="URL", help="a public path or URL")
    resolve.add_argument("--host", help="the Host header (default: the host of URL)")
    resolve.add_argument("--method", default="GET", help="the request method (default: GET)")
    resolve.add_argument("--json", action="store_true", help="print JSON")

    proxy = _add_command(commands, "proxy-config", run.proxy_config, "print a proxy configuration for a mount table")
    proxy.add_argument("proxy", metavar="PROXY", help="nginx, apache, caddy, haproxy or traefik")
    _add_file(proxy)
    proxy.add_argument("--server-name", default="", metavar="NAME", help="the host name of the site (default: any)")
    proxy.add_argument(
        "--shape",
        choices=("keep", "strip"),
        default="keep",
        help="whether the proxy keeps the prefixes of the mounts in the path, or strips them (default: keep)",
    )
    proxy.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve HTTPS with these certificate files")
    proxy.add_argument(
        "--upstream",
        action="append",
        type=_checked_by(listen_address),
        metavar="ADDRESS",
        help='the address where the proxy reaches mountpoint, "host:port" or "unix:/path" '
        "(default: listen in the file); may be repeated",
    )
    proxy.add_argument("--standalone", action="store_true", help="print a complete configuration file")
    proxy.add_argument(
        "--proxy-version",
        default="",
        metavar="VERSION",
        help="the version of Caddy, whose language has changed (default: 2.6.4 or later)",
    )

    doctor = _add_with_file(
        commands, "doctor", run.doctor, "find faults between the proxy and the apps, and show the fixes"
    )
    doctor.set_defaults(file=None)
    doctor.add_argument(
        "--url", metavar="URL", help="the public URL of the table; or, without FILE, the URL of one app on any site"
    )
    doctor.add_argument(
        "--requests", type=_request_limit, default=200, metavar="N", help="make at most N requests (default: 200)"
    )
    _add_timeout(doctor)
    doctor.add_argument("--json", action="store_true", help="print JSON")

    reload = _add_with_file(
        commands, "reload", control.reload, "have the running server read its table again, as SIGHUP does"
    )
    _add_client_options(reload)

    restart = _add_with_file(
        commands, "restart", control.restart, "replace the processes of one mount, to run new code or a new environment"
    )
    restart.add_argument("mount", metavar="MOUNT", help="the key of a mount with processes of its own")
    _add_client_options(restart)

    status = _add_with_file(commands, "status", run.status, "show what a running server does, and whether all is well")
    _add_control(status, "ask the server at this control socket")
    status.add_argument("--json", action="store_true", help="print JSON")

    top = _add_with_file(commands, "top", run.top, "show what a running server does, live in a terminal")
    _add_control(top, "ask the server at this control socket")

    docs = _add_command(commands, "docs", run.docs, "list the pages of the manual, or print one")
    docs.add_argument("page", nargs="?", metavar="PAGE", help="print this page, as Markdown (default: print the list)")
    return parser, commands.choices


class _Parser(argparse.ArgumentParser):
    """Adds advice to the messages of argparse for the mistakes that have one."""

    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each argument. Without a width, each one imports shutil and asks the terminal.
        super().__init__(formatter_class=partial(argparse.HelpFormatter, width=_columns() - 2), **options)

    def error(self, message: str) -> NoReturn:
        if unknown := re.match(r"unrecognized arguments: (\S+)", message):
            message += self._advice_for_unknown(unknown[1])
        elif command := re.match(r"argument COMMAND: invalid choice: '(.*?)'", message):
            if command[1].endswith(".toml"):
                message += f'; write "mountpoint serve {command[1]}"'
            else:
                message += did_you_mean(command[1], self._commands())
        super().error(message)

    def _commands(self) -> Iterable[str]:
        return [name for action in self._actions for name in action.choices or ()]

    def _advice_for_unknown(self, argument: str) -> str:
        if "://" in argument and "--url" in self._option_string_actions:
            return f'; write "--url {argument}"'
        name = argument.partition("=")[0]
        for right, foreign in _FOREIGN_OPTIONS.items():
            if name in foreign and (right[0] != "-" or right in self._option_string_actions):
                return f"; write {right}"
        return did_you_mean(name, self._option_string_actions) if name.startswith("--") else ""


def _columns() -> int:
    """Return the width of the terminal, as `shutil.get_terminal_size` does."""
    with suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with suppress(OSError, ValueError):  # stdout is not a terminal, or is closed
        if sys.__stdout__ is not None and (columns := os.get_terminal_size(sys.__stdout__.fileno()).columns):
            return columns
    return 80


def _add_with_file(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser = _add_command(commands, name, function, text)
    _add_file(parser)
    return parser


def _add_command(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=function)
    return parser


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", default=DEFAULT_FILE, metavar="FILE", help=f"the mount table (default: {DEFAULT_FILE})"
    )


def _add_control(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--control",
        type=_checked_by(SERVER_KEYS["control"].validator),
        metavar="PATH",
        help=f"{text} (default: the path in the file, or one that follows from the file)",
    )


def _add_client_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that asks a running server."""
    _add_control(parser, "the control socket of the server")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=120.0,
        metavar="S",
        help="wait at most S seconds for the outcome (default: 120)",
    )


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="give up on an app that loads for over S seconds (default: 30)",
    )


def _request_limit(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f'expected a number from 1 to 999999, found "{text}"')
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 10**6:
        raise argparse.ArgumentTypeError(f'expected seconds, a number above 0 and below 1000000, found "{text}"')
    return seconds


def _checked_by(validator: Validator, convert: Callable[[str], object] = str) -> Callable[[str], object]:
    """Return an argparse type that accepts the values that *validator* accepts in the file, with the same messages."""

    def checked(text: str) -> object:
        try:
            value = convert(text)
        except ValueError:
            value = text
        try:
            validator(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return value

    return checked


class _Version(argparse.Action):
    """Prints the version. It is looked up only on demand, because that takes as long as the rest of the start."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"mountpoint {version('mountpoint')}")
        parser.exit()
