"""The life of a worker process: load the app, serve connections, end with the server.

Standard library only, on Python 3.8 and later. `mountpoint.workers.launch` hands the sources over, so the interpreter
needs no mountpoint, and its ``sys.path`` stays as it is.

The main thread loads the app and then waits. A control thread reads the messages of the server. It ends the process
within a second if the server has gone, even while the app loads. The threads that serve are made before the app is
imported, because an app may replace the functions that make them. They are made by `_thread`, so `threading` does not
know them during the load: if gevent's ``monkey.patch_all()`` sees a second thread, it breaks the lock of the import.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import faulthandler
import json
import os
import signal
import time
import traceback
from _queue import SimpleQueue
from _thread import allocate_lock, get_ident, start_new_thread
from contextlib import suppress
from pathlib import Path
from select import POLLIN, poll
from socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET, socket
from threading import current_thread, main_thread
from typing import Any, NoReturn

from ..config.app_spec import AppSpec
from ..errors import LoadError
from ..loading.app_facts import facts_of
from ..loading.importing import load_app
from ..loading.own_prefix import Prefixes
from . import frames
from .child_connection import Connection
from .child_requests import RequestServer

_GREEN_SECONDS = 0.2  # between two checks whether the process should end, in an app with gevent or eventlet
_MODULE = type(sys)
_POLL_MILLISECONDS = 1000  # between two looks at whether the server lives
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FAILED_CODE = 3  # the exit code of a worker whose app does not load


def main(settings: dict[str, Any]) -> NoReturn:
    """Run the worker that *settings* describe until the server ends it."""
    worker = _Worker(settings)
    worker.end_with_server()
    worker.reset_signals()
    worker.start_threads()
    code = worker.load()
    if code is None:
        worker.wait_for_stop()
        code = 0
    sys.exit(code)


class _Worker:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._parent: int = settings["parent"]
        self._control = socket(fileno=settings["control"])
        self._control.set_inheritable(False)
        self._control_lock = allocate_lock()
        self._idle = 0  # threads that wait for a connection
        self._idle_lock = allocate_lock()
        self._waiting: SimpleQueue[Connection] = SimpleQueue()
        self._connections: dict[int, Connection] = {}
        self._masks: dict[int, set[signal.Signals | int]] = {}  # of signals, by thread, during a fork
        self._server: RequestServer | None = None
        self._reported_files: set[str] = set()
        self._stopped = allocate_lock()  # released when the process should end
        self._stopped.acquire()

    def end_with_server(self) -> None:
        """Have the kernel end this process with the server, where it can. The control thread does so everywhere."""
        with suppress(Exception):
            faulthandler.enable(all_threads=False)
        with suppress(Exception):  # an interpreter may lack ctypes
            if sys.platform == "linux":
                from ctypes import CDLL

                CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != self._parent:
            os._exit(1)

    def reset_signals(self) -> None:
        """Leave the decision to stop to the server, which gets SIGTERM and SIGINT too: from a terminal, or systemd.

        The handler is a function and not SIG_IGN, which programs that the app starts would inherit. A child that the
        app forks gets the default actions.
        """
        for number in _SIGNALS:
            signal.signal(number, _ignore)
        os.register_at_fork(before=self._block, after_in_parent=self._unblock, after_in_child=self._after_fork)

    def _block(self) -> None:
        """Keep signals pending during a fork: the child may get one before it has its default handlers."""
        self._masks[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def _unblock(self) -> None:
        mask = self._masks.pop(get_ident(), None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _after_fork(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is _ignore:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self._unblock()
        # The server takes an open connection for a request that is still served.
        self._control.close()
        for connection in list(self._connections.values()):
            connection.close()

    def start_threads(self) -> None:
        start_new_thread(self._run_control, ())
        self._idle = self._settings["threads"]
        for number in range(self._idle):
            start_new_thread(self._run_requests, (f"mountpoint-{number}",))

    # ------------------------------------------------------------------------------------------------------- the app

    def load(self) -> int | None:
        """Load the app and report to the server; return the exit code if it failed."""
        settings = self._settings
        root: str = settings["root"]
        names = ("app", "module", "attribute", "args", "kwargs")
        spec = AppSpec(*(settings[name] for name in names))
        sys.argv = [spec.text, *settings["argv"]]
        sys.path[:] = [root, *(entry for entry in sys.path if entry != root)]
        with suppress(AttributeError, ValueError, OSError):
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        try:
            app = load_app(spec, Path(root))
        except LoadError as error:
            self._report(
                frames.FAILED,
                {
                    "kind": type(error).__name__,
                    "message": str(error)[: frames.MAX_TEXT],
                    "details": error.details[-frames.MAX_TEXT :],
                    "files": list(error.files)[:100],
                },
            )
            return _FAILED_CODE
        except OSError as error:
            message = f"{error.filename} cannot be read: {error.strerror}"
            self._report(frames.FAILED, {"kind": "LoadError", "message": message, "details": "", "files": []})
            return _FAILED_CODE
        self._server = RequestServer(app, settings["flags"])
        fields: dict[str, object] = {"pid": os.getpid(), "python": sys.version_info[:3]}
        with suppress(Exception):  # they read attributes of any app, and serving does not need them
            fields["facts"] = facts_of(app, Path(root), Prefixes(*settings["prefixes"])).as_fields()
        self._report(frames.READY, fields)
        return None

    def wait_for_stop(self) -> None:
        """Wait until the server ends this process.

        The greenlets that an app has started in this thread run only while a function of gevent or eventlet waits here.
        """
        while time.sleep.__module__.partition(".")[0] in ("gevent", "eventlet"):
            if self._stopped.acquire(False):
                return
            try:
                time.sleep(_GREEN_SECONDS)
            except BaseException:  # of a task of the app, which runs now
                traceback.print_exc()
                break
        self._stopped.acquire()

    def _run_requests(self, name: str) -> None:
        connection = self._waiting.get()
        with suppress(Exception):  # an app may have replaced the function
            current_thread().name = name  # for the app's log; not before the load, see above
        while True:
            self._serve(connection)
            with self._idle_lock:
                self._idle += 1
            connection = self._waiting.get()

    def _serve(self, connection: Connection) -> None:
        assert self._server is not None  # the server connects to a worker that is ready
        try:
            self._server.serve(connection)
        except BaseException:  # such as MemoryError: the thread serves on
            traceback.print_exc()
        finally:
            self._connections.pop(connection.number, None)

    def _dispatch(self, connection: Connection) -> None:
        """Hand *connection* to an idle thread.

        The server has no more requests in flight than there are threads. But a thread may still be in the iteration of
        a response whose client has left. Then a thread more is started: by this function, which gevent cannot replace.
        """
        with self._idle_lock:
            is_idle = self._idle > 0
            self._idle -= is_idle
        if is_idle:
            self._waiting.put(connection)
            return
        try:
            start_new_thread(self._serve, (connection,))
        except RuntimeError:  # the system or the container allows no more threads
            del self._connections[connection.number]
            connection.close()
            raise

    # ---------------------------------------------------------------------------------------------- the control socket

    def _run_control(self) -> None:
        poller = poll()
        poller.register(self._control, POLLIN)
        message = b""
        descriptors = []
        while True:
            try:
                if not poller.poll(_POLL_MILLISECONDS):
                    if os.getppid() != self._parent:
                        os._exit(1)
                    continue
                data, ancillary, _, _ = self._control.recvmsg(frames.MESSAGE.size - len(message), CMSG_SPACE(4))
            except OSError:
                os._exit(1)
            if not data:
                os._exit(1)
            for level, kind, content in ancillary:
                if level == SOL_SOCKET and kind == SCM_RIGHTS:
                    descriptors.append(int.from_bytes(content[:4], sys.byteorder))
            message += data
            if len(message) == frames.MESSAGE.size:
                try:
                    self._handle(message, descriptors)
                except Exception:  # such as no further thread: this one must see the end of the server
                    traceback.print_exc()
                message = b""

    def _handle(self, message: bytes, descriptors: list[int]) -> None:
        kind, number = frames.MESSAGE.unpack(message)
        if kind == frames.CONNECT and descriptors:
            descriptor = descriptors.pop()
            os.set_inheritable(descriptor, False)
            connection = self._connections[number] = Connection(socket(fileno=descriptor), number)
            self._dispatch(connection)
        elif kind == frames.STACK:
            self._report(frames.STACK, {"number": number, "stack": self._stack(number)})
        elif kind == frames.FILES:
            self._report(frames.FILES, {"files": self._new_files()})
        elif kind == frames.STOP:
            with suppress(RuntimeError):  # released already
                self._stopped.release()

    def _new_files(self) -> list[str]:
        """Return the files of modules that were not reported yet, as many as fit."""
        found = [vars(module).get("__file__") for module in list(sys.modules.values()) if isinstance(module, _MODULE)]
        new = [file for file in found if isinstance(file, str) and file not in self._reported_files]
        new = new[: frames.MAX_FILES]
        self._reported_files.update(new)
        return new

    def _stack(self, number: int) -> str:
        """Return the stack of the thread that serves connection *number*, with 0 that of the main thread."""
        connection = self._connections.get(number)
        thread = connection.thread if connection else 0 if number else main_thread().ident or 0
        frame = sys._current_frames().get(thread)
        own = {__file__, RequestServer.serve.__code__.co_filename, "<string>"}
        try:
            summary = traceback.extract_stack(frame) if frame else []
            del frame  # it would keep the app's local variables alive
            first = next((index for index, line in enumerate(summary) if line.filename not in own), 0)
            return "".join(traceback.format_list(summary[first:])).rstrip()[-frames.MAX_TEXT :]
        except Exception as error:  # the code has the name of a file that no file can have, such as one with a NUL
            return f"(a stack that cannot be formatted: {error!r})"

    def _report(self, kind: bytes, fields: dict[str, object]) -> None:
        payload = json.dumps(fields).encode("ascii")
        with self._control_lock, suppress(OSError):  # the server has gone, and the control thread ends the process
            self._control.sendall(frames.FRAME.pack(kind, len(payload)) + payload)


def _ignore(number: int, frame: object) -> None:
    """Take a signal that the server handles."""
