"""An app that does to its process what its arguments say, and has the pages of own_app.py beside a few of its own."""

import os
import signal
import stat
import struct
import sys
import threading

DEED = sys.argv[1] if len(sys.argv) > 1 else ""

if DEED == "gevent":
    import gevent
    from gevent import monkey

    monkey.patch_all()
elif DEED == "eventlet":
    import warnings

    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()

import socket  # noqa: E402 - patched by now
import time  # noqa: E402

import own_app  # noqa: E402

TEXT = own_app.TEXT
TICKS = []


def tick():
    while True:
        time.sleep(0.01)
        TICKS.append(0)


def sockets():
    """Return the descriptors of the sockets to the server."""
    found = []
    for descriptor in range(3, 50):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                found.append(descriptor)
        except OSError:
            continue
    return found


CONTROL = sockets()  # the other ones come with the first requests

if DEED == "gevent":
    gevent.spawn(tick)
elif DEED == "eventlet":
    eventlet.spawn(tick)
elif DEED == "asyncio":
    import asyncio

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    threading.Thread(target=loop.run_forever, daemon=True).start()
    loop.call_soon_threadsafe(lambda: threading.Thread(target=tick, daemon=True).start())
elif DEED == "state":
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    os.umask(0)
    sys.stdin.close()
    sys.stdout = sys.stderr = None
    sys.argv.clear()
    os.environ.clear()
    socket.setdefaulttimeout(0.05)
    sys.setrecursionlimit(90)
    threading.stack_size(65_536)
    TICKS.append(0)
elif DEED == "close":
    os.closerange(0, 50)
elif DEED == "rubbish":
    for descriptor in CONTROL:
        os.write(descriptor, b"rubbish" * 10)
elif DEED == "daemon":
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
elif DEED == "two-reports":
    import json

    payload = json.dumps({"python": [3, 8, "1\nforged"], "pid": 1}).encode()
    os.write(CONTROL[0], struct.pack("!cI", b"Y", len(payload)) + payload)


def app(environ, start_response):
    page = environ["PATH_INFO"].strip("/")
    if page == "ticks":
        start_response("200 OK", TEXT)
        return [str(len(TICKS)).encode()]
    if page == "coroutine":
        import asyncio

        async def respond():
            await asyncio.sleep(0.001)
            return b"from a coroutine"

        start_response("200 OK", TEXT)
        return [asyncio.run(respond())]
    if page == "talk":  # through sockets that may be patched
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=lambda: theirs.sendall(theirs.recv(10)[::-1]))
        thread.start()
        ours.sendall(b"abc")
        found = ours.recv(10)
        thread.join()
        start_response("200 OK", TEXT)
        return [found]
    if page in ("frames", "stacks"):
        for descriptor in {*sockets()} - {*CONTROL} if page == "frames" else CONTROL:
            os.write(descriptor, struct.pack("!cI", b"K", 2) + b"{}")
        start_response("200 OK", TEXT)
        return [b"after frames"]
    if page == "late-write":
        write = start_response("200 OK", TEXT)
        threading.Timer(0.05, write, [b"late"]).start()
        return [b"in time"]
    return own_app.app(environ, start_response)
