"""The commands that serve or examine a table. Each takes the options of its parser, and returns the exit code.

The modules that a command needs are imported when it runs, so that no command waits for those of another one.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

from ..config.address import listen_address
from ..config.toml_file import DEFAULT_FILE
from ..errors import MountpointError, Problem, UsageError
from .usage import swapped


def serve(options: argparse.Namespace) -> NoReturn:
    if os.getpid() == 1:  # as in a container: the kernel drops a signal for which process 1 has no handler
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))  # its default action, until it serves
    given = ("listen", "threads", "strict", "access_log", "log_level", "control")
    overrides = {name: value for name in given if (value := getattr(options, name)) is not None}
    if options.reload:
        from ..lifecycle.autoreload import serve_with_autoreload

        serve_with_autoreload(options.file, overrides)
    from ..config.reader import load_config

    config = load_config(options.file, overrides)
    from ..lifecycle.ending import MIN_SECONDS, end_process
    from ..lifecycle.serve import serve_and_end

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


def check(options: argparse.Namespace) -> int:
    from ..check import Report, check
    from ..lifecycle.commands import run_loading_command

    with _reserved_stdout() as output:

        def finish(report: Report) -> int:
            print(report.as_json() if options.json else report.as_text(), file=output, flush=True)
            return report.exit_code

        return run_loading_command(lambda thread: check(options.file, thread, options.timeout), finish)


def resolve(options: argparse.Namespace) -> int:
    from ..config.reader import load_config
    from ..resolve import resolve

    if options.url.endswith(".toml") and not os.path.exists(options.file):  # noqa: PTH110 - it may be a URL
        raise UsageError([swapped("resolve FILE URL", options.url, options.file)])
    resolution = resolve(load_config(options.file), options.url, host=options.host, method=options.method)
    print(resolution.as_json() if options.json else resolution.as_text())
    return 0 if resolution.is_app else 1


def proxy_config(options: argparse.Namespace) -> int:
    from ..config.reader import load_config
    from ..proxyconf import PROXIES, RenderOptions, proxy_config

    if options.file in PROXIES and options.proxy not in PROXIES:
        raise UsageError([swapped("proxy-config PROXY FILE", options.file, options.proxy)])
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


def doctor(options: argparse.Namespace) -> int:
    from ..doctor.findings import Report
    from ..doctor.main import doctor
    from ..lifecycle.commands import run_loading_command

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


def status(options: argparse.Namespace) -> int:
    from ..console.status import status

    return _shown(*status(options.file, options.control, sys.stdout, as_json=options.json))


def top(options: argparse.Namespace) -> int:
    from ..console.top import top

    return _shown(*top(options.file, options.control))


def _shown(code: int, message: str) -> int:
    """Print the *message*, if there is one, to stderr, and return the exit code *code*."""
    if message:
        print(message, file=sys.stderr)
    return code


def docs(options: argparse.Namespace) -> int:
    from ..docs import PAGES, read_page

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
