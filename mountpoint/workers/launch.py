"""Start a worker process under any interpreter, with the sources that it runs.

The interpreter of a mount has no mountpoint, and nothing of the server may appear on its ``sys.path``. So the server
hands the sources of a few modules over, in an unnamed file, and `STUB` makes a package of them.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # `processes` imports this module elsewhere only

import marshal
import os
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

from ..config.own_process import OwnProcess
from ..config.reader import MountConfig
from ..errors import LoadError
from . import frames

_PACKAGE = "mountpoint_worker"  # its name in the worker; an app may have a module named mountpoint
_FOLDER = Path(__file__).parent.parent

#: The modules that run in a worker, each after those that it imports. Folders are packages.
SOURCES = (
    "errors",
    "wsgi",
    "wsgi/app_header",
    "wsgi/app_body",
    "config",
    "config/app_spec",
    "loading",
    "loading/forking",
    "loading/module_files",
    "loading/import_advice",
    "loading/app_kinds",
    "loading/signatures",
    "loading/app_check",
    "loading/proxy_fix",
    "wsgi/keys",
    "loading/own_prefix",
    "loading/app_facts",
    "loading/missing_imports",
    "loading/importing",
    "workers",
    "workers/frames",
    "workers/child_connection",
    "workers/child_requests",
    "workers/child_main",
)

# Its first lines run on every Python, so that an old one is reported. "" on sys.path is the working folder: a json.py
# of the app must not stand in for Python's own.
STUB = """import sys
if sys.path[:1] == [""]: del sys.path[0]
if sys.version_info < (3, 8): sys.exit("this worker needs Python 3.8 or later, and runs under " + sys.version)
import marshal, os, types
from _frozen_importlib_external import MAGIC_NUMBER
with os.fdopen(int(sys.argv[1]), "rb") as file: settings, modules, magic_number = marshal.loads(file.read())
for name, path, source, code in modules:
    module = sys.modules[name] = types.ModuleType(name)
    module.__package__ = name.rpartition(".")[0]
    module.__file__ = path
    if source is None: module.__package__, module.__path__ = name, []
    else: exec(marshal.loads(code) if magic_number == MAGIC_NUMBER else compile(source, path, "exec"), vars(module))
sys.modules["mountpoint_worker.workers.child_main"].main(settings)
"""

#: Variables that are addressed to the server's own process.
_SERVER_VARIABLES = (
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "MOUNTPOINT_TAKEOVER",
)


@dataclass(slots=True)
class Launched:
    """A process that was started, and the server's ends of its control socket and of its output."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    output: tuple[int, int]  # descriptors that do not block: stdout, stderr

    def abandon(self) -> None:
        """End the process, and close the descriptors."""
        self.process.kill()
        self.process.wait()
        self.control.close()
        for descriptor in self.output:
            os.close(descriptor)


def without_server_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ*, that of the server, without the variables that are addressed to its process."""
    return {name: value for name, value in environ.items() if name not in _SERVER_VARIABLES}


def launch(mount: MountConfig, environ: Mapping[str, str]) -> Launched:
    """Start a worker of *mount*. *environ* is that of the server, from before apps could change it.

    Raises `LoadError` if the process cannot be started. The kernel may end the process with the thread that calls this.
    """
    own = mount.own
    assert own is not None
    if (own.user or own.group) and os.geteuid() != 0:
        raise LoadError(
            f"user and group need a server that runs as root, and this one runs as user {os.geteuid()}; remove them, "
            "or start the server as root"
        )
    identity = _identity(own)
    ours: list[int] = []  # the ends that this process keeps
    theirs: list[int] = []
    try:
        for pair in (_socket_pair, os.pipe, os.pipe):
            end, other = pair()
            ours.append(end)
            theirs.append(other)
        control, out_end, error_end = theirs
        source = _memory_file(_handover(mount, control))
        theirs.append(source)
        for descriptor in ours[1:]:
            os.set_blocking(descriptor, False)
        process = subprocess.Popen(  # noqa: S603 - the operator names the interpreter
            [own.python or sys.executable, "-c", STUB, str(source), mount.key],
            stdin=subprocess.DEVNULL,
            stdout=out_end,
            stderr=error_end,
            env=_environ(mount, environ),
            cwd=own.cwd or mount.root,
            pass_fds=[control, source],
            start_new_session=True,  # Ctrl-C reaches the server, which then drains
            **identity,
        )
    except OSError as failure:
        for descriptor in ours:
            os.close(descriptor)
        raise LoadError(f'its worker "{own.python or sys.executable}" cannot be started: {failure}') from None
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    return Launched(process, socket.socket(fileno=ours[0]), (ours[1], ours[2]))


def _socket_pair() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def _handover(mount: MountConfig, control: int) -> bytes:
    assert mount.own is not None
    settings = {
        "app": mount.app.text,
        "module": mount.app.module,
        "attribute": mount.app.attribute,
        "args": mount.app.args,
        "kwargs": dict(mount.app.kwargs),
        "root": str(mount.root),
        "prefixes": (mount.path, mount.public),
        "argv": mount.own.argv,
        "threads": mount.own.threads,
        "flags": {"wsgi.multithread": mount.own.threads > 1, "wsgi.multiprocess": mount.own.workers > 1},
        "control": control,
        "parent": os.getpid(),
    }
    return marshal.dumps((settings, modules(), MAGIC_NUMBER), frames.FORMAT)


@cache
def modules() -> list[tuple[str, str, str | None, bytes | None]]:
    """Return name, path, source and code of each module of the worker. A package has neither source nor code.

    An interpreter like the server's runs the code, which saves it the time to compile the source.
    """
    modules: list[tuple[str, str, str | None, bytes | None]] = [(_PACKAGE, str(_FOLDER), None, None)]
    for name in SOURCES:
        path = _FOLDER / f"{name}.py"
        module = f"{_PACKAGE}.{name.replace('/', '.')}"
        if path.exists():
            code = SourceFileLoader(module, str(path)).get_code(module)  # from __pycache__, if it can be
            modules.append((module, str(path), path.read_text("utf-8"), marshal.dumps(code)))
        else:
            modules.append((module, str(path), None, None))
    return modules


def _environ(mount: MountConfig, environ: Mapping[str, str]) -> dict[str, str]:
    variables = {**environ, **mount.env}
    if mount.own and mount.own.python and "PYTHONHOME" not in mount.env:  # it belongs to the server's interpreter
        variables.pop("PYTHONHOME", None)
    return variables


def _identity(own: OwnProcess) -> dict[str, Any]:
    """Return the options of `subprocess.Popen` for the user and the group in *own*."""
    import grp
    import pwd

    user, group = own.user, own.group
    if not user and not group:
        return {}
    try:
        entry = pwd.getpwnam(user) if user else None
        group_id = grp.getgrnam(group).gr_gid if group else entry.pw_gid if entry else os.getegid()
    except KeyError as error:
        raise LoadError(f"expected a user and a group of this system: {error.args[0]}") from None
    options: dict[str, Any] = {"group": group_id, "extra_groups": [group_id]}
    if entry is not None:
        options["user"] = entry.pw_uid
        options["extra_groups"] = os.getgrouplist(entry.pw_name, group_id)
    return options


def _memory_file(data: bytes) -> int:
    """Return a descriptor of an unnamed file with *data*, at its start."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mountpoint-worker")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
