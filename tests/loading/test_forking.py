"""The state of a forked child of a serving process, from scripts that fork and report in processes of their own."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

START = """
import multiprocessing, os, signal, sys, time
from mountpoint.loading import forking

class Owner:
    def __init__(self, name):
        self.name = name
    def close_in_child(self):
        print("closing", self.name, flush=True)
        if self.name == "raising":
            raise OSError("closed already")

def ours(number, frame):
    print("handled", flush=True)
ours.__module__ = "mountpoint.lifecycle"

def theirs(number, frame):
    pass

def blocked():
    return sorted(number.name for number in signal.pthread_sigmask(signal.SIG_BLOCK, []))

def in_child(function):
    pid = os.fork()
    if not pid:
        function()
        sys.exit()
    print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def run(tmp_path, script):
    """Return the output of *script*, line by line. It must end with 0."""
    (tmp_path / "script.py").write_text(START + textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_child_closes_each_owner_that_still_exists_and_a_grandchild_none(tmp_path):
    lines = run(
        tmp_path,
        """
        one, two, gone = Owner("raising"), Owner("two"), Owner("gone")
        for owner in (one, two, gone):
            forking.close_in_children(owner)
        del owner, gone
        in_child(lambda: in_child(lambda: print("grandchild", forking.generation, flush=True)))
        print("parent", forking.generation)
        """,
    )
    assert lines == ["closing raising", "closing two", "grandchild 2", "exit 0", "exit 0", "parent 0"]


def test_a_child_has_default_actions_for_the_signals_of_the_server(tmp_path):
    lines = run(
        tmp_path,
        """
        owner = Owner("one")
        forking.close_in_children(owner)
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"):
            signal.signal(getattr(signal, name), ours)
        signal.signal(signal.SIGUSR2, theirs)
        signal.signal(signal.SIGALRM, ours)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGWINCH])

        def report():
            for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"):
                print(name, getattr(signal.getsignal(getattr(signal, name)), "name", "raises"), flush=True)
            print(signal.getsignal(signal.SIGUSR2) is theirs, signal.getsignal(signal.SIGALRM) is ours, flush=True)
            print(*blocked(), flush=True)

        in_child(report)
        in_child(lambda: os.kill(os.getpid(), signal.SIGTERM))
        print(*blocked(), signal.getsignal(signal.SIGTERM) is ours)
        """,
    )
    assert lines[1:5] == ["SIGTERM SIG_DFL", "SIGINT raises", "SIGHUP SIG_DFL", "SIGUSR1 SIG_DFL"]
    assert lines[5:] == ["True True", "SIGWINCH", "exit 0", "closing one", "exit -15", "SIGTERM SIGWINCH True"]


def test_a_signal_between_the_fork_and_the_reset_ends_the_child(tmp_path):
    lines = run(
        tmp_path,
        """
        class Slow(Owner):
            def close_in_child(self):
                os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGTERM, ours)
        owner = Slow("one")
        forking.close_in_children(owner)
        in_child(lambda: print("still there", flush=True))
        """,
    )
    assert lines == ["exit -15"]


def test_a_process_without_a_server_is_forked_as_it_is(tmp_path):
    lines = run(
        tmp_path,
        """
        signal.signal(signal.SIGTERM, ours)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        in_child(lambda: print(signal.getsignal(signal.SIGTERM) is ours, *blocked(), flush=True))
        """,
    )
    assert lines == ["True SIGHUP", "exit 0"]


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        ("pass", False),
        ("sys.exit(3)", False),
        ("raise ValueError('on purpose')", True),
        ("raise KeyboardInterrupt", True),
        ("raise ValueError from SystemExit(3)", False),
    ],
)
def test_a_child_ends_where_it_leaves_the_code_of_the_app(tmp_path, body, logged):
    lines = run(
        tmp_path,
        f"""
        import logging
        logging.basicConfig(stream=sys.stdout)
        with forking.ending_forked_children():
            pid = os.fork()
            if not pid:
                {body}
        print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
    )
    assert lines[-1] == "exit 1"
    assert ("a child process that an app has forked ends" in "\n".join(lines)) == logged
    assert ("Traceback (most recent call last):" in lines) == logged


def test_the_log_line_of_a_child_cannot_keep_it_alive(tmp_path):
    lines = run(
        tmp_path,
        """
        import logging
        forking._LOG_SECONDS = 1
        class Hanging(logging.Handler):
            def emit(self, record):
                time.sleep(600)
        logging.getLogger().addHandler(Hanging())
        signal.signal(signal.SIGALRM, theirs)
        with forking.ending_forked_children():
            pid = os.fork()
            if not pid:
                raise ValueError("on purpose")
        print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
    )
    assert lines == ["exit -14"]


def test_processes_get_sigterm_and_then_sigkill(tmp_path):
    lines = run(
        tmp_path,
        """
        def ignore(pipe):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            pipe.send("ready")
            time.sleep(600)

        context = multiprocessing.get_context("fork")
        forking.end_processes(5)
        reader, writer = context.Pipe()
        processes = [context.Process(target=time.sleep, args=(600,)) for _ in range(2)]
        processes += [context.Process(target=ignore, args=(writer,))]
        processes += [context.Process(target=time.sleep, args=(600,), daemon=True)]
        for process in processes:
            process.start()
        reader.recv()
        forking.end_processes(0.5)
        for process in processes[:3]:
            process.join()
        print(*[process.exitcode for process in processes])
        """,
    )
    assert lines == ["-15 -15 -9 None"]


def test_ending_processes_imports_no_multiprocessing():
    code = "import sys; from mountpoint.loading.forking import end_processes; before = {*sys.modules}; end_processes(5)"
    command = [sys.executable, "-c", f"{code}; print({{*sys.modules}} - before)"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "set()\n"


def test_the_log_of_a_child_keeps_no_descriptor_of_the_parent():
    from mountpoint.loading.log_stream import DetachedStream

    reader, writer = os.pipe()
    with open(reader, "rb") as log, open(writer, "w", encoding="utf-8") as original:  # noqa: PTH123 - descriptors
        stream = DetachedStream(original)
        stream.write("parent\n")
        stream.leave_to_parent()  # as in a child
        stream.write("child\n")
        original.close()
        assert log.read() == b"parent\nchild\n"  # the end of the file: no descriptor is left
