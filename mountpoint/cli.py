"""The command line: parse the arguments, call the command, print its output, return the exit code.

The output of a command goes to stdout, everything else to stderr. Exit codes:

- 0: done.
- 1: the command ran, and found a problem: errors in the table, a URL that no app gets, an address in use, requests that
  were cut off.
- 2: wrong usage, or a file that cannot be read.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NoReturn, TextIO

from .config.address import listen_address
from .config.reader import DEFAULT_FILE, load_config
from .config.schema import LOG_LEVELS, SERVER_KEYS
from .config.validators import Validator
from .errors import MountpointError, Problem, UnreadableError, UsageError, did_you_mean

#: Options of other servers, by the advice for `mountpoint serve`.
_FOREIGN_OPTIONS = {
    "--listen": ("--port", "-p", "--bind", "-b", "--host", "--address", "--http", "--socket"),
    "--threads": ("--workers", "-w", "--processes"),
    "the file without an option": ("--config", "-c", "--file", "-f"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (by default that of the process) asks for, and return its exit code."""
    if sys.stdout is None:  # the parent process has closed it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may have characters that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    stdout = sys.stdout  # an app may replace it
    try:
        try:
            options = _parse(sys.argv[1:] if argv is None else argv)
            code: int = options.command(options)
            return code
        finally:
            if not stdout.closed:  # an app may close it
                stdout.flush()  # here, because a BrokenPipeError at exit could not be handled
    except MountpointError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UnreadableError | UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python exits
        return 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options in *arguments*; exit for ``--help``, ``--version`` and wrong usage.

    Options may stand between two positional arguments, as in ``resolve mounts.toml --json /x``. argparse accepts that
    only in `parse_intermixed_args`, which a main parser does not use for its subparsers. So the parser of the command
    is called here.
    """
    parser, commands = _parsers()
    if arguments and arguments[0] in commands:
        return commands[arguments[0]].parse_intermixed_args(arguments[1:])
    return parser.parse_args(arguments)


def _parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Return the main parser, and the parser of each command by its name."""
    parser = _Parser(
        prog="mountpoint", description="Serve several WSGI apps in one process, each under its own URL prefix."
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _add_with_file(commands, "serve", _serve, "serve the apps of a mount table")
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
    serve.add_argument(
        "--reload", action="store_true", help="restart when the code or the table changes; for development"
    )

    check = _add_with_file(commands, "check", _check, "load every app of a mount table and list the problems")
    _add_timeout(check)
    check.add_argument("--json", action="store_true", help="print JSON")

    resolve = _add_with_file(commands, "resolve", _resolve, "show which mount gets a URL, without importing an app")
    resolve.add_argument("url", metavar="URL", help="a public path or URL")
    resolve.add_argument("--host", help="the Host header (default: the host of URL)")
    resolve.add_argument("--method", default="GET", help="the request method (default: GET)")
    resolve.add_argument("--json", action="store_true", help="print JSON")

    proxy = _add_command(commands, "proxy-config", _proxy_config, "print a proxy configuration for a mount table")
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
        commands, "doctor", _doctor, "find faults between the proxy and the apps, and show the fixes"
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

    docs = _add_command(commands, "docs", _docs, "list the pages of the manual, or print one")
    docs.add_argument("page", nargs="?", metavar="PAGE", help="print this page, as Markdown (default: print the list)")
    return parser, commands.choices


class _Parser(argparse.ArgumentParser):
    """Adds advice to the messages of argparse for the mistakes that have one."""

    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each argument. Without a width, each of them would ask for that of the terminal.
        super().__init__(formatter_class=partial(argparse.HelpFormatter, width=_columns() - 2), **options)

    def error(self, message: str) -> NoReturn:
        if unknown := re.match(r"unrecognized arguments: (\S+)", message):
            message += self._advice_for_unknown(unknown[1])
        elif command := re.match(r"argument COMMAND: invalid choice: '(.*?)'", message):
            if command[1].endswith(".toml"):
                message += f'; write "mountpoint serve {command[1]}"'
            else:
                message += did_you_mean(command[1], ("serve", "check", "resolve", "proxy-config", "doctor", "docs"))
        super().error(message)

    def _advice_for_unknown(self, argument: str) -> str:
        if "://" in argument and "--url" in self._option_string_actions:
            return f'; write "--url {argument}"'
        name = argument.partition("=")[0]
        for right, foreign in _FOREIGN_OPTIONS.items():
            if name in foreign and (right[0] != "-" or right in self._option_string_actions):
                return f"; write {right}"
        return did_you_mean(name, self._option_string_actions) if name.startswith("--") else ""


def _columns() -> int:
    """Return the width of the terminal, as `shutil.get_terminal_size` does. To import that module takes longer."""
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


def _serve(options: argparse.Namespace) -> NoReturn:
    if os.getpid() == 1:  # as in a container: the kernel drops a signal for which process 1 has no handler
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))  # its default action, until it serves
    given = ("listen", "threads", "strict", "access_log", "log_level")
    overrides = {name: value for name in given if (value := getattr(options, name)) is not None}
    if options.reload:
        from .lifecycle.autoreload import serve_with_autoreload

        serve_with_autoreload(options.file, overrides)
    config = load_config(options.file, overrides)
    gc.disable()  # modules that are imported are no garbage
    from .lifecycle.ending import MIN_SECONDS, end_process
    from .lifecycle.serve import serve_and_end

    gc.enable()

    try:
        serve_and_end(config)
    except KeyboardInterrupt:  # before the server handles signals
        end_process(130, 0)
    except MountpointError as error:
        print(error, file=sys.stderr, flush=True)
        end_process(1, MIN_SECONDS)


@contextmanager
def _reserved_stdout() -> Iterator[TextIO]:
    """Yield a stream to stdout for the output of the command, and send all other writes to stdout to stderr.

    An app that prints, or a child process of it, would corrupt the output. A ``sys.stdout`` that the caller has
    replaced is yielded as it is.
    """
    stdout: TextIO = sys.stdout
    if stdout is not sys.__stdout__:
        yield stdout
        return
    stdout.flush()
    with open(os.dup(1), "w", encoding=stdout.encoding, errors="backslashreplace") as output:  # noqa: PTH123
        os.dup2(2, 1)
        yield output


def _check(options: argparse.Namespace) -> int:
    from .check import Report, check
    from .lifecycle.commands import run_loading_command

    with _reserved_stdout() as output:

        def finish(report: Report) -> int:
            print(report.as_json() if options.json else report.as_text(), file=output, flush=True)
            return report.exit_code

        return run_loading_command(lambda thread: check(options.file, thread, options.timeout), finish)


def _resolve(options: argparse.Namespace) -> int:
    from .resolve import resolve

    if options.url.endswith(".toml") and not os.path.exists(options.file):  # noqa: PTH110 - it may be a URL
        raise UsageError([_swapped("resolve FILE URL", options.url, options.file)])
    resolution = resolve(load_config(options.file), options.url, host=options.host, method=options.method)
    print(resolution.as_json() if options.json else resolution.as_text())
    return 0 if resolution.is_app else 1


def _swapped(usage: str, first: str, second: str) -> Problem:
    """Return the problem of two arguments in the wrong order; *first* and *second* are in the right one."""
    command, *_ = usage.split()
    message = f'expected "{usage}", found the other order; write "mountpoint {command} {first} {second}"'
    return Problem("", message)


def _proxy_config(options: argparse.Namespace) -> int:
    from .proxyconf import PROXIES, RenderOptions, proxy_config

    if options.file in PROXIES and options.proxy not in PROXIES:
        raise UsageError([_swapped("proxy-config PROXY FILE", options.file, options.proxy)])
    if options.proxy.endswith(".toml"):
        message = f'expected the name of a proxy, found "{options.proxy}"; write "nginx {options.proxy}", for example'
        raise UsageError([Problem("PROXY", message)])
    render_options = RenderOptions(
        server_name=options.server_name,
        shape=options.shape,
        tls=tuple(options.tls) if options.tls else None,
        upstreams=[listen_address(text) for text in options.upstream or ()],
        standalone=options.standalone,
        proxy_version=options.proxy_version,
    )
    configuration = proxy_config(load_config(options.file), options.proxy, render_options)
    print(configuration.text, end="", flush=True)  # before the advice, where both go to one place
    if configuration.advice:
        print(configuration.advice, end="", file=sys.stderr)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .doctor.findings import Report
    from .doctor.main import doctor
    from .lifecycle.commands import run_loading_command

    if options.file and "://" in options.file and not options.url:
        message = f'expected the file of a table, found a URL; write "--url {options.file}"'
        raise UsageError([Problem("FILE", message)])
    file = options.file if options.file or options.url else DEFAULT_FILE
    progress = _show_progress if sys.stderr.isatty() else None
    with _reserved_stdout() as output:

        def finish(report: Report) -> int:
            if progress:
                print("\r\x1b[K", end="", file=sys.stderr)
            print(report.as_json() if options.json else report.as_text(), file=output, flush=True)
            return report.exit_code

        try:
            return run_loading_command(
                lambda thread: doctor(file, options.url, options.requests, progress, thread, timeout=options.timeout),
                finish,
            )
        except MountpointError as error:  # for the doctor, any error means that it could not examine the site
            if progress:
                print("\r\x1b[K", end="", file=sys.stderr)
            print(error, file=sys.stderr)
            return 2


def _docs(options: argparse.Namespace) -> int:
    from .docs import PAGES, read_page

    if options.page is not None:
        print(read_page(options.page), end="")
        return 0
    width = max(map(len, PAGES))
    for name, line in PAGES.items():
        print(f"{name:<{width}}  {line}")
    return 0


def _show_progress(made: int, limit: int, url: str) -> None:
    """Show on the terminal, in one line, how many of at most *limit* requests the doctor has made."""
    print(f"\r\x1b[K{made}/{limit} {url[:100]}", end="", file=sys.stderr, flush=True)
