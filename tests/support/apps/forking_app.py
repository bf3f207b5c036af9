"""The app of serving/test_forking.py: children, by the first segment of the path and the module of multiprocessing."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from io import BytesIO

warnings.simplefilter("ignore")  # Python warns of a fork beside threads

TEXT = [("Content-Type", "text/plain")]
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
REPORT = f"""
import json, os, signal
from contextlib import suppress
descriptors = []
for number in range(64):
    with suppress(OSError):
        descriptors.append(os.readlink(f"/proc/self/fd/{{number}}"))
mask = [number.name for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
handlers = [repr(signal.getsignal(getattr(signal, name))) for name in {SIGNALS}]
report = json.dumps([descriptors, mask, handlers])
"""


def report():
    """Return the descriptors, the blocked signals and the signal handlers of this process, as JSON."""
    names = {}
    exec(REPORT, names)
    return names["report"]


def send_report(pipe):
    os.write(pipe, report().encode())


def sleep():
    time.sleep(600)


def square(number):
    return number * number


def read(pipe):
    with open(pipe, "rb") as file:  # noqa: PTH123 - a descriptor
        return file.read()


# ------------------------------------------------------------------------------------------------ routes that report


def by_fork():
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        send_report(writer)
        os._exit(0)
    os.close(writer)
    text = read(reader)
    os.waitpid(pid, 0)
    return text


def by_process():
    reader, writer = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=send_report, args=(writer,))
    process.start()
    os.close(writer)
    text = read(reader)
    process.join()
    return text


def by_subprocess():
    return subprocess.check_output([sys.executable, "-c", f"{REPORT}print(report)"])


def by_preexec():
    return subprocess.check_output(
        [sys.executable, "-c", f"{REPORT}print(report)"], preexec_fn=os.getpid, close_fds=False
    )


def by_posix_spawn():
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
    pid = os.posix_spawn(
        sys.executable, [sys.executable, "-c", f"{REPORT}print(report)"], os.environ, file_actions=actions
    )
    os.close(writer)
    text = read(reader)
    os.waitpid(pid, 0)
    return text


# -------------------------------------------------------------------------------------------- routes that end a process


def terminated(method):
    """Return the exit code of a process that `Process.terminate` has ended."""
    process = multiprocessing.get_context(method).Process(target=sleep)
    process.start()
    process.terminate()
    process.join(30)
    return str(process.exitcode).encode()


def pooled(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return str(pool.map(square, [1, 2, 3])).encode()


def kept():
    """Start a process that outlives the request."""
    process = multiprocessing.get_context("fork").Process(target=sleep)
    process.start()
    return str(process.pid).encode()


def kept_by_fork():
    pid = os.fork()
    if not pid:
        os.close(1)
        os.close(2)
        sleep()
    return str(pid).encode()


TOLD = {
    "fork": by_fork,
    "process": by_process,
    "subprocess": by_subprocess,
    "preexec": by_preexec,
    "posix-spawn": by_posix_spawn,
    "kept": kept,
    "kept-by-fork": kept_by_fork,
    **{f"terminated-{method}": lambda method=method: terminated(method) for method in ("fork", "spawn", "forkserver")},
    **{f"pooled-{method}": lambda method=method: pooled(method) for method in ("fork", "spawn", "forkserver")},
}


# ----------------------------------------------------------------------------------- children that leave the app's code


def fork_and(in_child):
    """Fork. Return in the parent the exit code of the child as the body; call *in_child* in the child."""
    pid = os.fork()
    if not pid:
        return in_child()
    return [str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()]


def leaves_in_call(action):
    def route(environ, start_response):
        write = start_response("200 OK", TEXT)
        return fork_and(lambda: action(write))

    return route


def leaves_before_start(environ, start_response):
    body = fork_and(lambda: [b"child"])
    start_response("200 OK", TEXT)
    return body


def leaves_in_iteration(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun "
    yield from fork_and(lambda: [b"child"])
    yield b" done"


def leaves_in_iteration_by_error(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun "
    yield from fork_and(lambda: os.execvp("/missing", ["missing"]))


def leaves_in_iteration_at_its_end(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun "
    yield from fork_and(list)


def leaves_by_endless_iteration(environ, start_response):
    start_response("200 OK", TEXT)
    return fork_and(lambda: iter(lambda: b"", 0))


class ForkingClose(list):
    def close(self):
        fork_and(lambda: None)


def leaves_in_close(environ, start_response):
    start_response("200 OK", TEXT)
    return ForkingClose([b"closed"])


def leaves_in_close_by_error(environ, start_response):
    class Failing(list):
        def close(self):
            fork_and(lambda: 1 / 0)

    start_response("200 OK", TEXT)
    return Failing([b"closed"])


LEFT = {
    "returns": leaves_in_call(lambda write: [b"child"]),
    "raises": leaves_in_call(lambda write: 1 / 0),
    "exits": leaves_in_call(lambda write: sys.exit(3)),
    "interrupts": leaves_in_call(lambda write: os.kill(os.getpid(), signal.SIGINT)),
    "execs": leaves_in_call(lambda write: os.execvp("/missing", ["missing"])),
    "writes": leaves_in_call(lambda write: write(b"child")),
    "returns-file": leaves_in_call(lambda write: BytesIO(b"child")),
    "before-start": leaves_before_start,
    "iterates": leaves_in_iteration,
    "iterates-and-execs": leaves_in_iteration_by_error,
    "iterates-to-end": leaves_in_iteration_at_its_end,
    "iterates-for-ever": leaves_by_endless_iteration,
    "closes": leaves_in_close,
    "closes-and-raises": leaves_in_close_by_error,
}


def app(environ, start_response):
    name = environ["PATH_INFO"].lstrip("/")
    if name in LEFT:
        return LEFT[name](environ, start_response)
    body = TOLD[name]()
    start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    return [body]
