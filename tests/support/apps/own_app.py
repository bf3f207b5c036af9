"""An app whose responses show how a server runs it. It needs no package, and runs on Python 3.8."""

import io
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import unquote

TEXT = [("Content-Type", "text/plain")]
CLOSED = []  # the paths whose response was closed


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/").replace("/", "_") or "hello"
    respond = globals().get("respond_" + name)
    if respond is None:
        start_response("404 Not Found", TEXT)
        return [b"no such page"]
    return respond(environ, start_response)


class Closing:
    """An iterable that records its close()."""

    def __init__(self, name, items, raises=False):
        self.name, self.items, self.raises = name, items, raises

    def __iter__(self):
        return iter(self.items)

    def close(self):
        CLOSED.append(self.name)
        if self.raises:
            raise ValueError("raised in close()")


def respond_hello(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"hello"]


def respond_pid(environ, start_response):
    start_response("200 OK", TEXT)
    return [str(os.getpid()).encode()]


def respond_environ(environ, start_response):
    start_response("200 OK", TEXT)
    plain = {name: value for name, value in environ.items() if isinstance(value, (str, bool, int, tuple))}
    record = environ["mountpoint.request"]
    plain["record"] = [record.mount, record.remote_addr, record.reason]
    return [json.dumps(plain, sort_keys=True).encode()]


def respond_process(environ, start_response):
    start_response("200 OK", TEXT)
    found = {
        "argv": sys.argv,
        "cwd": str(Path.cwd()),
        "path": sys.path,
        "version": list(sys.version_info[:2]),
        "env": dict(os.environ),
        "modules": sorted(name for name in sys.modules if name.partition(".")[0] in ("mountpoint", "waitress")),
        "ids": [os.getuid(), os.getgid(), os.getgroups()],
    }
    return [json.dumps(found).encode()]


def respond_closed(environ, start_response):
    start_response("200 OK", TEXT)
    return [",".join(CLOSED).encode()]


# ------------------------------------------------------------------------------------------------- shapes of a response


def respond_empty_list(environ, start_response):
    start_response("200 OK", TEXT)
    return []


def respond_empty_item(environ, start_response):
    start_response("200 OK", TEXT)
    return [b""]


def respond_tuple(environ, start_response):
    start_response("200 OK", TEXT)
    return (b"one", b"", b"two")


def respond_list(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one", b"", b"two"]


def respond_generator(environ, start_response):
    start_response("200 OK", TEXT)
    yield b""
    yield b"one"
    yield b"two"


def respond_late_start(environ, start_response):
    def generate():
        start_response("201 Created", TEXT)
        yield b"late"

    return generate()


def respond_empty_before_start(environ, start_response):
    yield b""
    start_response("200 OK", TEXT)
    yield b"late"


def respond_late_empty(environ, start_response):
    def generate():
        start_response("204 No Content", [])
        return
        yield

    return generate()


def respond_single_closing(environ, start_response):
    class Sized(Closing):
        def __len__(self):
            return 1

    start_response("200 OK", TEXT)
    return Sized("single", [b"sized"])


def respond_closing(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "6")])
    return Closing("closing", [b"abc", b"def"])


def respond_slow_close(environ, start_response, headers=()):
    """Respond, and in close() wait for one file and make another one, whose names the query has."""
    name = environ["QUERY_STRING"]

    class Slow(Closing):
        def close(self):
            while not Path(name + ".go").exists():
                time.sleep(0.01)
            _touch(name)

    start_response("200 OK", [*TEXT, *headers])
    return Slow("slow", [b"abc", b"def"])


def respond_slow_close_length(environ, start_response):
    return respond_slow_close(environ, start_response, [("Content-Length", "6")])


def respond_big(environ, start_response):
    start_response("200 OK", TEXT)
    return [bytes(range(256)) * 4096]


def respond_big_pieces(environ, start_response):
    start_response("200 OK", TEXT)
    return (bytes([number]) * 70_000 for number in range(20))


def respond_huge_piece(environ, start_response):
    start_response("200 OK", TEXT)
    return iter([b"a" * 3_000_001, b"b"])


def respond_bytearray(environ, start_response):
    start_response("200 OK", TEXT)
    return iter([bytearray(b"bytes"), bytearray(b"array")])


def respond_write(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"written, ")
    write(b"")
    write(b"twice, ")
    return [b"and returned"]


def respond_write_only(environ, start_response):
    start_response("200 OK", TEXT)(b"written")
    return []


def respond_write_endless(environ, start_response):
    """Write more than a client of HEAD needs."""
    write = start_response("200 OK", TEXT)
    while True:
        write(b"written")


def respond_body_of_304(environ, start_response):
    """Yield more than a client of 304 needs."""
    start_response("304 Not Modified", TEXT)
    while True:
        yield b"body"


def respond_file(environ, start_response):
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(b"0123456789" * 50_000)
    file.seek(7)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](file)


def respond_file_length(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "20")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"0123456789" * 100), 100)


def respond_file_short(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "2000")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"0123456789" * 100))


def respond_file_empty(environ, start_response):
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b""))


def respond_file_like(environ, start_response):
    pieces = [b"one", b"two"]

    class Reads:
        def read(self, size):
            return pieces.pop(0) if pieces else b""

        def close(self):
            CLOSED.append("file_like")

    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](Reads())


# --------------------------------------------------------------------------------------------------- status and headers


def respond_duplicates(environ, start_response):
    start_response("200 OK", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Bytes", "\xe9\xff\t!"), *TEXT])
    return [b"x"]


def respond_pairs(environ, start_response):
    start_response("200 OK", iter([["X-List", "a"], ("Content-Type", "text/plain")]))
    return [b"x"]


def respond_not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []


def respond_no_content(environ, start_response):
    start_response("204 No Content", [])
    return [b""]


def respond_reason(environ, start_response):
    start_response("299 Gr\xfc\xdfe", TEXT)
    return [b"x"]


def respond_server(environ, start_response):
    start_response("200 OK", [("Server", "mine"), ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), *TEXT])
    return [b"x"]


def respond_too_few(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "10")])
    return [b"short"]


def respond_too_many(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "3")])
    return [b"longer"]


# ------------------------------------------------------------------------------------------------------------- mistakes


def respond_raise(environ, start_response):
    raise ValueError("raised by the app")


def respond_raise_started(environ, start_response):
    start_response("200 OK", TEXT)
    raise ValueError("raised after start_response")


def respond_raise_later(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    raise ValueError("raised in the body")


def respond_raise_close(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing("raise_close", [b"x"], raises=True)


def respond_raise_close_length(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "1")])
    return Closing("raise_close", [b"x"], raises=True)


def respond_exit(environ, start_response):
    sys.exit(3)


def respond_interrupt(environ, start_response):
    raise KeyboardInterrupt


def respond_not_started(environ, start_response):
    return [b"x"]


def respond_started_twice(environ, start_response):
    start_response("200 OK", TEXT)
    start_response("201 Created", TEXT)
    return [b"x"]


def respond_exc_info(environ, start_response):
    start_response("200 OK", [*TEXT, ("X-First", "1")])
    try:
        raise ValueError("replaced")
    except ValueError:
        start_response("418 Teapot", TEXT, sys.exc_info())
    return [b"replaced"]


def respond_exc_info_late(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"begun")
    try:
        raise ValueError("too late")
    except ValueError:
        start_response("500 Late", TEXT, sys.exc_info())
    return [b"never"]


def respond_none(environ, start_response):
    start_response("200 OK", TEXT)
    return


def respond_item_none(environ, start_response):
    start_response("200 OK", TEXT)
    return [None]


def respond_string(environ, start_response):
    start_response("200 OK", TEXT)
    return ["text"]


def respond_bad_status(environ, start_response):
    start_response("2000 OK", TEXT)
    return [b"x"]


def respond_bad_header(environ, start_response):
    start_response("200 OK", [("X-Split", "a\r\nb: c")])
    return [b"x"]


def respond_bad_header_handled(environ, start_response):
    try:
        start_response("200 OK", [("Transfer-Encoding", "chunked")])
    except Exception:
        start_response("200 OK", TEXT)
    return [b"handled"]


def respond_bad_length(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "+5")])
    return [b"12345"]


def respond_bad_length_handled(environ, start_response):
    try:
        start_response("200 OK", [*TEXT, ("Content-Length", "5"), ("content-length", "5")])
    except ValueError as error:
        start_response("200 OK", TEXT)
        return [str(error).encode()]


def respond_mapping(environ, start_response):
    start_response("200 OK", {"Content-Type": "text/plain"})
    return [b"x"]


def respond_no_pair(environ, start_response):
    start_response("200 OK", ["Content-Type: text/plain"])
    return [b"x"]


def respond_text(environ, start_response):
    start_response("200 OK", TEXT)
    return "text"


def respond_number(environ, start_response):
    start_response("200 OK", TEXT)
    return iter([b"", 5])


def respond_close_text(environ, start_response):
    class Body(list):
        close = "close"

    start_response("200 OK", TEXT)
    return Body([b"x"])


def respond_wide_header(environ, start_response):
    start_response("200 OK", [*TEXT, ("X-Wide", "\u20ac")])
    return [b"x"]


# ------------------------------------------------------------------------------------------------ the body of a request


def respond_read_all(environ, start_response):
    return _digest(start_response, environ["wsgi.input"].read())


def respond_read_pieces(environ, start_response):
    data = b"".join(iter(lambda: environ["wsgi.input"].read(1000), b""))
    return _digest(start_response, data)


def respond_read_lines(environ, start_response):
    return _digest(start_response, b"|".join(environ["wsgi.input"]))


def respond_read_mixed(environ, start_response):
    body = environ["wsgi.input"]
    parts = [body.readline(), body.read(5), body.readline(3), *body.readlines(), body.read(), body.read(1)]
    return _digest(start_response, b"|".join(parts))


def respond_read_late(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"a" * 300_000  # before the body is read
    yield str(len(environ["wsgi.input"].read())).encode()


def respond_read_some(environ, start_response):
    return _digest(start_response, environ["wsgi.input"].read(10))


def respond_echo(environ, start_response):
    start_response("200 OK", TEXT)
    return iter(lambda: environ["wsgi.input"].read(10_000), b"")


def _digest(start_response, data):
    start_response("200 OK", TEXT)
    return [f"{len(data)} {sum(data)}".encode()]


# ------------------------------------------------------------------------------------------------------- life and death


def respond_stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])

    def events():
        try:
            number = 0
            while True:
                yield b"data: %d\n\n" % number
                number += 1
                _wait(environ, 0.02)
        finally:
            CLOSED.append("stream")

    return events()


def respond_pauses(environ, start_response):
    """Send a piece, pause, and send another one, for which the client has left."""
    start_response("200 OK", TEXT)
    for pause in (0.2, 60):
        yield b"x" * 1000
        time.sleep(pause)
    yield b"never"


def respond_die(environ, start_response):
    os._exit(7)


def respond_die_later(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    os._exit(7)


def respond_die_reading(environ, start_response):
    environ["wsgi.input"].read(100_000)
    os.kill(os.getpid(), 9)


def respond_die_in_close(environ, start_response):
    class Dying(Closing):
        def close(self):
            os.kill(os.getpid(), 9)

    start_response("200 OK", TEXT)
    return Dying("dying", [b"whole ", b"response"])


def respond_crash(environ, start_response):
    import ctypes

    sys.stderr.write("about to crash\n")
    ctypes.string_at(0)


def respond_sleep(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 60))
    start_response("200 OK", TEXT)
    return [b"slept"]


def respond_sleep_later(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    time.sleep(float(environ["QUERY_STRING"] or 60))
    yield b"never"


def respond_hold(environ, start_response):
    """Wait until the file in the query exists."""
    _touch(environ["QUERY_STRING"] + ".began")
    while not Path(environ["QUERY_STRING"]).exists():
        _wait(environ, 0.01)
    start_response("200 OK", TEXT)
    return [b"held"]


def respond_print(environ, start_response):
    text = unquote(environ["QUERY_STRING"])
    print("to stdout: " + text)
    sys.stderr.write("to stderr: " + text + "\n")
    print("to wsgi.errors", file=environ["wsgi.errors"])
    start_response("200 OK", TEXT)
    return [b"printed"]


def respond_flood(environ, start_response):
    def flood():
        while True:
            os.write(2, b"flood " * 10_000 + b"\n")

    threading.Thread(target=flood, daemon=True).start()
    start_response("200 OK", TEXT)
    return [b"flooding"]


def respond_fork(environ, start_response):
    """Fork, and leave the child to the server's code."""
    pid = os.fork()
    if not pid:
        return [b"from the child"]
    os.waitpid(pid, 0)
    start_response("200 OK", TEXT)
    return [b"from the parent"]


def respond_orphan(environ, start_response):
    """Fork a child that outlives this process, and die."""
    pid = os.fork()
    if not pid:
        time.sleep(float(environ["QUERY_STRING"]))
        os._exit(0)
    _touch(f"orphan-{pid}")
    os._exit(7)


def respond_spawn(environ, start_response):
    import multiprocessing

    method = environ["QUERY_STRING"]
    with multiprocessing.get_context(method).Pool(1) as pool:
        result = pool.apply(abs, (-5,))
    child = multiprocessing.get_context(method).Process(target=time.sleep, args=(60,))
    child.start()
    while child.exitcode is None:
        child.terminate()
        child.join(0.5)
        if method == "fork":  # the others may lose a signal that comes before their exec
            break
    start_response("200 OK", TEXT)
    return [f"{result} {child.exitcode}".encode()]


def respond_close_descriptors(environ, start_response):
    os.closerange(3, 100)
    start_response("200 OK", TEXT)
    return [b"closed"]


def respond_grow(environ, start_response):
    CLOSED.append("x" * 100_000_000)
    CLOSED[-1] = CLOSED[-1].encode()
    start_response("200 OK", TEXT)
    return [b"grown"]


def _wait(environ, seconds):
    time.sleep(seconds)


def _touch(name):
    Path(name).touch()
