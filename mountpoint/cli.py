"""The command line: parse, call, print, exit code.

Answers go to stdout, everything else to stderr. Exit codes: 0 done; 1 the answer is no (problems, a status instead of
an app, an address that is taken, requests cut off); 2 wrong usage, or a file that cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .config import DEFAULT_FILE, load_config
from .errors import MountpointError, UnreadableError
from .values import LOG_LEVELS, SERVER_RULES, Rule, listen_address


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (by default that of the process) asks for, and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        code: int = options.command(options)
        return code
    except MountpointError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UnreadableError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the answer has seen enough
        sys.stderr.close()
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mountpoint", description="Serve several WSGI apps in one process, each rightly under its prefix."
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

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
        type=_as_in_the_file(SERVER_RULES["threads"], int),
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
    return parser


def _command(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument(
        "file", nargs="?", default=DEFAULT_FILE, metavar="FILE", help=f"the mount table ({DEFAULT_FILE})"
    )
    parser.set_defaults(command=function)
    return parser


def _as_in_the_file(rule: Rule, convert: Callable[[str], object] = str) -> Callable[[str], object]:
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


class _Version(argparse.Action):
    """Prints the version; it is looked up only then, since that costs as much as starting does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"mountpoint {version('mountpoint')}")
        parser.exit()


def _serve(options: argparse.Namespace) -> int:
    given = ("listen", "threads", "strict", "access_log", "log_level")
    overrides = {name: value for name in given if (value := getattr(options, name)) is not None}
    if options.reload:
        from .reload import serve_reloading

        return serve_reloading(options.file, overrides)
    config = load_config(options.file, overrides)
    from .server import serve

    return serve(config)


def _check(options: argparse.Namespace) -> int:
    from .check import check

    report = check(options.file)
    print(report.as_json() if options.json else report.as_text())
    return report.exit_code


def _resolve(options: argparse.Namespace) -> int:
    from .resolve import resolve

    answer = resolve(load_config(options.file), options.url, host=options.host, method=options.method)
    print(answer.as_json() if options.json else answer.as_text())
    return 0 if answer.status is None and answer.mount is not None else 1
