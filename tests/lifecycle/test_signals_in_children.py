"""A child that an app forks ends at its own signals, and does not report them to the server."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

SCRIPT = """
import os, signal, sys, threading
sys.stdout.reconfigure(line_buffering=True)  # a child would write the lines of its parent again
from mountpoint.lifecycle.signals import SignalReceiver

received = []
receiver = SignalReceiver(("SIGTERM", "SIGINT", "SIGHUP"), received.append)
receiver.install()
descriptors = [sock.fileno() for sock in receiver._sockets]

def in_child(function):
    pid = os.fork()
    if not pid:
        function()
        sys.exit()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def report():
    before = signal.set_wakeup_fd(-1)
    open_ones = []
    for descriptor in descriptors:
        try:
            open_ones.append(os.fstat(descriptor))
        except OSError:
            pass
    print(before, open_ones)

print(in_child(report))
print(in_child(lambda: os.kill(os.getpid(), signal.SIGTERM)), in_child(lambda: os.kill(os.getpid(), signal.SIGHUP)))
print(received)
receiver.close()
for thread in threading.enumerate():
    if thread.name == "mountpoint-signals":
        thread.join()  # it closes the reader
print(in_child(report))
"""


def test_a_child_gives_up_the_receiver_of_signals():
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT],  # a fork beside a thread
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (["-1 []", "0", "-15 -1", "[]", "-1 []", "0"], "")
