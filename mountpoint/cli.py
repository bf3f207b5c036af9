"""The command line: parse, call, print, exit code.

Answers go to stdout, everything else to stderr. Exit codes: 0 done; 1 the answer is no (problems, a status instead of
an app, an address that is taken, requests cut off); 2 wrong usage, or a file that cannot be read.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from .config.address import listen_address
from .config.reader import DEFAULT_FILE, load_config
from .config.schema import LOG_LEVELS, SERVER_KEYS
from .config.validators import Validator
from .errors import MountpointError, UnreadableError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (by default that of the process) asks for, and return its exit code."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a path is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    stdout = sys.stdout  # an app may put another in its place
    try:
        try:
            options = _parser().parse_args(argv)
            code: int = options.command(options)
            return code
        finally:
            if not stdout.closed:  # by an app
                stdout.flush()  # here, where a closed pipe can still be told
    except MountpointError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UnreadableError | UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the answer has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mountpoint", description="Serve several WSGI apps in one process, each rightly under its prefix."
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Command)

    serve = _command(commands, "serve", _serve, "serve the apps of a mount table")
    serve.add_argument(
        "--listen",
        action="append",
        type=_as_in_the_file(listen_address),
        metavar="ADDRESS",
        help='"host:port" or "unix:/path"; may be repeated',
    )
    serve.add_argument(
        "--threads",
        type=_as_in_the_file(SERVER_KEYS["threads"].validator, int),
        metavar="N",
        help="how many requests run at once",
    )
    serve.add_argument("--strict", action="store_true", default=None, help="do not start if an app fails to load")
    serve.add_argument("--no-access-log", dest="access_log", action="store_false", default=None, help="log no requests")
    serve.add_argument("--log-level", choices=LOG_LEVELS, metavar="LEVEL", help=", ".join(LOG_LEVELS))
    serve.add_argument("--reload", action="store_true", help="start again when the code or the table changes")

    check = _command(commands, "check", _check, "say what is wrong with a mount table and its apps")
    check.add_argument("--json", action="store_true", help="print JSON")

    resolve = _command(commands, "resolve", _resolve, "say which mount gets a URL, without importing an app")
    resolve.add_argument("url", metavar="URL", help="a public path or URL")
    resolve.add_argument("--host", help="the Host header; by default that of URL")
    resolve.add_argument("--method", default="GET", help="the request method (GET)")
    resolve.add_argument("--json", action="store_true", help="print JSON")

    proxy = _add(commands, "proxy-config", _proxy_config, "print a proxy's configuration for a mount table")
    proxy.add_argument("proxy", metavar="PROXY", help="nginx, apache, caddy, haproxy or traefik")
    _add_file(proxy)
    proxy.add_argument("--server-name", default="", metavar="NAME", help="the site's host; by default, any")
    proxy.add_argument("--shape", choices=("keep", "strip"), default="keep", help="what becomes of the prefixes (keep)")
    proxy.add_argument(
        "--tls", nargs=2, metavar=("CERT", "KEY"), help="serve HTTPS, with the certificate in these files"
    )
    proxy.add_argument(
        "--upstream",
        action="append",
        type=_as_in_the_file(listen_address),
        metavar="ADDR",
        help='where mountpoint serves, "host:port" or "unix:/path" (the file\'s listen); may be repeated',
    )
    proxy.add_argument("--standalone", action="store_true", help="print a complete file")

    doctor = _command(
        commands, "doctor", _doctor, "say what is wrong between the proxy and the apps, and what mends it"
    )
    doctor.set_defaults(file=None)
    doctor.add_argument("--url", metavar="URL", help="where it is served; without FILE, a mount of anybody's site")
    doctor.add_argument(
        "--requests", type=_count, default=200, metavar="N", help="how many requests are made at most (200)"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")

    docs = _add(commands, "docs", _docs, "list the pages of the manual, or print one")
    docs.add_argument("page", nargs="?", metavar="PAGE", help="the page to print, as Markdown; without it, the list")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f'expected a number of at least 1, found "{text}"')
    return int(text)


def _command(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser = _add(commands, name, function, text)
    _add_file(parser)
    return parser


def _add(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=function)
    return parser


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", default=DEFAULT_FILE, metavar="FILE", help=f"the mount table ({DEFAULT_FILE})"
    )


def _as_in_the_file(rule: Validator, convert: Callable[[str], object] = str) -> Callable[[str], object]:
    """Return a type for argparse that takes what *rule* takes, and of the rest says what *rule* says."""

    def checked(text: str) -> object:
        try:
            value = convert(text)
        except ValueError:
            value = text
        try:
            rule(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return value

    return checked


class _Command(argparse.ArgumentParser):
    """The parser of one command: its options may stand between FILE and URL too."""

    _intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._intermixed:  # which calls this again
            return super().parse_known_args(args, namespace)
        self._intermixed = True
        try:
            found, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixed = False
        if unknown:  # said here, with the usage of this command
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


class _Version(argparse.Action):
    """Prints the version; it is looked up only then, since that costs as much as starting does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"mountpoint {version('mountpoint')}")
        parser.exit()


def _serve(options: argparse.Namespace) -> NoReturn:
    given = ("listen", "threads", "strict", "access_log", "log_level")
    overrides = {name: value for name in given if (value := getattr(options, name)) is not None}
    if options.reload:
        from .lifecycle.autoreload import serve_reloading

        serve_reloading(options.file, overrides)
    config = load_config(options.file, overrides)
    from .lifecycle.serve import end_process, serve

    try:
        end_process(serve(config), config.server.drain_timeout)
    # While apps were loaded, or after the drain: what they have started is not waited for.
    except KeyboardInterrupt:
        end_process(130, 0)
    except MountpointError as error:
        print(error, file=sys.stderr, flush=True)
        end_process(1, 0)


@contextmanager
def _answer() -> Iterator[TextIO]:
    """Yield what an answer is printed to. What apps and their children write to stdout meanwhile goes to stderr."""
    stdout: TextIO = sys.stdout
    if stdout is not sys.__stdout__:  # somebody has redirected it already
        yield stdout
        return
    stdout.flush()
    with open(os.dup(1), "w", encoding=stdout.encoding, errors="backslashreplace") as answer:  # noqa: PTH123
        os.dup2(2, 1)
        yield answer


def _check(options: argparse.Namespace) -> int:
    from .check import check

    with _answer() as answer:
        report = check(options.file)
        print(report.as_json() if options.json else report.as_text(), file=answer)
    if any(not thread.daemon and thread is not threading.current_thread() for thread in threading.enumerate()):
        sys.stderr.flush()
        os._exit(report.exit_code)  # Python would wait for what an app has started, perhaps for ever
    return report.exit_code


def _resolve(options: argparse.Namespace) -> int:
    from .resolve import resolve

    answer = resolve(load_config(options.file), options.url, host=options.host, method=options.method)
    print(answer.as_json() if options.json else answer.as_text())
    return 0 if answer.status is None and answer.mount is not None else 1


def _proxy_config(options: argparse.Namespace) -> int:
    from .proxyconf import RenderOptions, proxy_config

    wish = RenderOptions(
        server_name=options.server_name,
        shape=options.shape,
        tls=tuple(options.tls) if options.tls else None,
        upstreams=[listen_address(text) for text in options.upstream or ()],
        standalone=options.standalone,
    )
    answer = proxy_config(load_config(options.file), options.proxy, wish)
    print(answer.text, end="")
    if answer.advice:
        print(answer.advice, end="", file=sys.stderr)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .doctor.ask import doctor

    file = options.file if options.file or options.url else DEFAULT_FILE
    with _answer() as answer:
        try:
            report = doctor(file, options.url, options.requests, _progress if sys.stderr.isatty() else None)
        except MountpointError as error:  # whatever is wrong: nothing was looked at
            print(error, file=sys.stderr)
            return 2
        finally:
            if sys.stderr.isatty():
                print("\r\x1b[K", end="", file=sys.stderr)
        print(report.as_json() if options.json else report.as_text(), file=answer)
    return report.exit_code


def _docs(options: argparse.Namespace) -> int:
    from .docs import PAGES, read_page

    if options.page is not None:
        print(read_page(options.page), end="")
        return 0
    width = max(map(len, PAGES))
    for name, line in PAGES.items():
        print(f"{name:<{width}}  {line}")
    return 0


def _progress(made: int, limit: int, url: str) -> None:
    """Show on a terminal, in one line, how far it is."""
    print(f"\r\x1b[K{made}/{limit} {url[:100]}", end="", file=sys.stderr, flush=True)
