"""Apps whose loads are slow, hang or use signals, and a server that counts loads as slow after a short time."""

from __future__ import annotations

#: The end of a module with an `app` that responds with 200.
RESPOND = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"""
#: A first mount that shortens the times of the loads after it.
HURRY = (
    """
from mountpoint.lifecycle import reload, start
from mountpoint.loading import slow_loads
slow_loads.SLOW_SECONDS = slow_loads.REPEAT_SECONDS = 0.2
start.READY_SECONDS = 0.5
reload.HANG_SECONDS = 0.5
"""
    + RESPOND
)
#: Waits until the file "go" exists, and then loads.
WAITS = (
    """
import os, time
while not os.path.exists("go"):
    time.sleep(0.01)
"""
    + RESPOND
)
#: Catches each exception with which a load can be ended.
STUBBORN = """
import time
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""
#: Waits for a mutex in C, so that no Python code runs in this thread any more, not even a signal handler.
IN_C = """
import ctypes
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
libc.pthread_mutex_init(mutex, None)
libc.pthread_mutex_lock(mutex)
libc.pthread_mutex_lock(mutex)
"""
#: Needs the main thread: it sets a handler, and gives the event loop a handler too.
MAIN_ONLY = (
    """
import asyncio, signal
signal.signal(signal.SIGALRM, lambda *_: None)
loop = asyncio.new_event_loop()
loop.add_signal_handler(signal.SIGTERM, lambda: None)
loop.run_until_complete(asyncio.sleep(0))
"""
    + RESPOND
)
#: Python 3.11 loops for ever in a traced thread while the main thread cannot handle a signal. So coverage is off.
UNTRACED = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}
