"""The private protocol between the server and a worker process: frames of a kind, a length and a payload.

Each serving thread of a worker has one connection, a unix stream socket, and serves one request after the other on it.
Only the server sends requests. Both ends come from the same release.

    server -> worker   REQUEST  environ, the facts of the record, and the start of the body, by `marshal`
                       BODY     the next piece of the body, as the answer to WANT; empty at the end of the body
    worker -> server   WHOLE    a complete response: the length of its head (4 bytes, big-endian), the head, the body
                       HEAD     the head of any other response: the status, and name and value of each header, as
                                lines in latin-1
                       SINGLE   the head of a response whose body is one item
                       DATA     a piece of the response
                       END      the response is complete
                       DONE     its ``close()`` has run, and the connection is free
                       ERROR    the app raised; the payload is the traceback as UTF-8
                       WANT     the app reads: send at most this many bytes of the body (4 bytes, big-endian)

A response without END is incomplete. ERROR may stand for each of HEAD, DATA, END and DONE. The connection is free after
WHOLE, DONE and ERROR. The server sends the body only on WANT, because an app that writes before it reads, and a server
that sends before it reads, would wait for each other for ever.

The worker trusts the server, so `marshal` may read what comes from there. It is several times as fast as `json`, and
version 2 of its format is the same on every Python. The server reads nothing but bytes, lengths and text.

A second socket, the control socket, has messages about the worker itself. The server sends `MESSAGE` structs:

    CONNECT  a new connection; its descriptor comes with the message
    STACK    report the stack of the thread that serves the connection; with 0, that of the main thread
    FILES    report the files of the modules that were imported since the last report
    STOP     end the process in order

The worker sends frames with JSON: READY, FAILED (the app did not load), STACK and FILES. Either end of the control
socket closes when its process ends, so each process learns of the end of the other.

This module runs in the worker too: standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import struct

FRAME = struct.Struct("!cI")  # kind, and length of the payload in bytes
LENGTH = struct.Struct("!I")
MESSAGE = struct.Struct("!cI")  # kind, and number of the connection

REQUEST = b"R"
BODY = b"B"
WHOLE = b"A"
HEAD = b"H"
SINGLE = b"S"
DATA = b"D"
END = b"E"
DONE = b"O"
ERROR = b"X"
WANT = b"W"

CONNECT = b"C"
STACK = b"K"
FILES = b"L"
STOP = b"Q"
READY = b"Y"
FAILED = b"F"

FORMAT = 2  # of `marshal`
EAGER_BODY = 65_536  # bytes of a body that the server sends with the request
MAX_PIECE = 262_144  # bytes in a BODY or DATA frame
MAX_HEAD = 1 << 20  # bytes of a head
MAX_TEXT = 100_000  # characters of a traceback or stack
MAX_FILES = 500  # names in one FILES frame
MAX_CONTROL = 1 << 20  # bytes in a frame on the control socket
