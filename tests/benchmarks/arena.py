"""The contenders of the dispatcher's benchmark, and the timing of one call of each."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paste.urlmap
import werkzeug.middleware.dispatcher
from cheroot.wsgi import PathInfoDispatcher
from measure import fastest, no_garbage_collection

from mountpoint import Dispatcher
from mountpoint.wsgi.record import RECORD_KEY, RequestRecord

App = Callable[[dict[str, Any], Any], Iterable[bytes]]

OURS = "mountpoint"
WERKZEUG = "werkzeug"
CALLS = 64  # in one turn


def _paste(mounts: Mapping[str, App], default: App) -> App:
    urlmap = paste.urlmap.URLMap(not_found_app=default)
    # All at once, because URLMap.__setitem__ sorts and searches the whole map for each mount.
    urlmap.applications = [(urlmap.normalize_url(key), app) for key, app in mounts.items()]
    urlmap.sort_apps()
    return urlmap


@dataclass(frozen=True)
class Contender:
    name: str
    build: Callable[[Mapping[str, App], App], App]
    copies: bool = False  # whether each call gets a copy of environ


CONTENDERS = (
    Contender(OURS, lambda mounts, default: Dispatcher(mounts, default=default)),
    Contender(
        f"{WERKZEUG}, as it is",
        lambda mounts, default: werkzeug.middleware.dispatcher.DispatcherMiddleware(default, mounts),
    ),
    Contender(
        f"{WERKZEUG}, with a copy",
        lambda mounts, default: werkzeug.middleware.dispatcher.DispatcherMiddleware(default, mounts),
        copies=True,
    ),
    Contender("Paste, as it is", _paste),
    Contender("Paste, with a copy", _paste, copies=True),
    Contender("cheroot", lambda mounts, default: PathInfoDispatcher({**mounts, "": default})),
)
NAMES = [contender.name for contender in CONTENDERS]
AS_IT_IS = f"{WERKZEUG}, as it is"
LIKE_FOR_LIKE = [f"{WERKZEUG}, with a copy", "Paste, with a copy", "cheroot"]


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return [b"Hello"]


def environ_of_a_browser() -> tuple[dict[str, Any], RequestRecord]:
    """Return the environ, as waitress builds it behind nginx, of a page that Firefox requests, and its record."""
    record = RequestRecord("192.0.2.7")
    environ = {
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_HOST": "127.0.0.1",
        "REMOTE_PORT": "41234",
        "REQUEST_METHOD": "GET",
        "SERVER_PORT": "8080",
        "SERVER_NAME": "waitress.invalid",
        "SERVER_SOFTWARE": "waitress",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "REQUEST_URI": "/tv_ws/?stn=Lund",
        "QUERY_STRING": "stn=Lund",
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input": io.BytesIO(),
        "wsgi.file_wrapper": io.BytesIO,
        "wsgi.input_terminated": True,
        "waitress.client_disconnected": bool,
        "HTTP_HOST": "www.viltstigen.se",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "HTTP_ACCEPT_LANGUAGE": "sv-SE,sv;q=0.8,en;q=0.5",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
        "HTTP_REFERER": "https://www.viltstigen.se/",
        "HTTP_COOKIE": "session=eyJ1c2VyIjoxfQ.Z1",
        "HTTP_SEC_FETCH_MODE": "navigate",
        "HTTP_CONNECTION": "close",
        RECORD_KEY: record,
    }
    return environ, record


# ------------------------------------------------------------------------------------------------------------- timing


@dataclass(frozen=True)
class Effort:
    """The limits of one cell: *rounds* of turns, and *patience* seconds for each contender."""

    rounds: int
    patience: float


class Arena:
    """The contenders, each with the same mounts."""

    def __init__(self, keys: Sequence[str], contenders: Iterable[Contender] = CONTENDERS) -> None:
        mounts = dict.fromkeys(keys, app)
        self._apps = {one.name: (one.build(mounts, app), one.copies) for one in contenders}
        self._best: dict[object, dict[str, float]] = {}  # by paths: the least times of all calls of `seconds`

    def seconds(self, paths: str | Callable[[], list[str]], effort: Effort) -> dict[str, float]:
        """Return the seconds of a call for each contender. *paths* is one path, or returns the paths of a turn.

        Another call with the same *paths* may improve the result: another program may have disturbed the first one.
        """
        make = paths if callable(paths) else lambda: [paths] * CALLS
        with no_garbage_collection():
            runs = {name: _runner(app, copies, make) for name, (app, copies) in self._apps.items()}
            best = fastest({"": _runner(None, False, make), **runs}, effort.rounds, effort.patience)
        known = self._best.setdefault(paths, best)
        known.update({name: min(time, best[name]) for name, time in known.items()})
        return {name: time - known[""] for name, time in known.items() if name}


def _runner(app: App | None, copies: bool, make: Callable[[], list[str]]) -> Callable[[], float]:
    """Return a function that takes one turn and returns the seconds of a call, including the loop.

    If *app* is None, the loop makes no call.
    """
    longest = 1e-3  # seconds in one turn, unless a single call takes longer
    calls = 1

    def turn() -> float:
        nonlocal calls
        paths = [(path + "/")[:-1] for path in make()[:calls]]  # new strings, whose hash is not computed yet
        environ, record = environ_of_a_browser()
        taken = _loop(paths, environ, record, app, copies) / len(paths)
        calls = max(1, min(len(make()), int(longest / taken)))
        return taken

    return turn


def _loop(paths: Sequence[str], environ: dict[str, Any], record: RequestRecord, app: App | None, copies: bool) -> float:
    clock = time.perf_counter
    if app is None:
        start = clock()
        for path in paths:
            environ["SCRIPT_NAME"] = ""
            environ["PATH_INFO"] = path
            record.mount = None
        return clock() - start
    if copies:
        start = clock()
        for path in paths:
            environ["SCRIPT_NAME"] = ""
            environ["PATH_INFO"] = path
            record.mount = None
            app(environ.copy(), _start_response)
        return clock() - start
    start = clock()
    for path in paths:
        environ["SCRIPT_NAME"] = ""
        environ["PATH_INFO"] = path
        record.mount = None
        app(environ, _start_response)
    return clock() - start


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
    return lambda data: None
