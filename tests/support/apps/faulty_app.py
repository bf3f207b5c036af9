"""The app of serving/test_app_faults.py: each mistake that an app can make, by the first segment of the path."""

import sys
from pathlib import Path

TEXT = [("Content-Type", "text/plain")]


class Faulty(list):
    """A body that raises in `__iter__`, in `__next__`, or when it is closed."""

    def __init__(self, where, pieces=()):
        super().__init__(pieces)
        self.where = where

    def __iter__(self):
        if self.where == "iter":
            raise ValueError("on purpose")
        return super().__iter__()

    def __len__(self):
        if self.where == "len":
            raise ValueError("on purpose")
        return super().__len__()

    def close(self):
        if self.where == "close":
            raise ValueError("on purpose")


class NoCall(list):
    close = "not a method"


class NoRepr:
    def __repr__(self):
        raise ValueError("on purpose")


class NoItems:
    def __iter__(self):
        return 7


def started(body):
    """Return a route that calls start_response and returns *body*."""

    def route(environ, start_response):
        start_response("200 OK", TEXT)
        return body() if callable(body) else body

    return route


def starting(*arguments):
    """Return a route that calls start_response with *arguments*."""

    def route(environ, start_response):
        start_response(*arguments)
        return [b"body"]

    return route


def writing(piece):
    def route(environ, start_response):
        start_response("200 OK", TEXT)(piece)
        return []

    return route


def generating(*pieces):
    def generator():
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return started(generator)


def late_generator(*calls):
    """Return a route whose generator calls start_response with each of *calls*, and then yields."""

    def route(environ, start_response):
        for call in calls:
            start_response(*call)
        yield b"body"

    return route


async def coroutine():
    pass


async def async_generator():
    yield b"body"


def raising(environ, start_response):
    raise ValueError("on purpose")


def raising_after_start(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    raise ValueError("on purpose")


def raising_os_error(environ, start_response):
    start_response("200 OK", TEXT)
    raise BrokenPipeError("on purpose")


def twice(environ, start_response):
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"body"]


def late_exc_info(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    try:
        raise ValueError("on purpose")
    except ValueError:
        start_response("500 Sorry", TEXT, sys.exc_info())
    yield b"never"


def short(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    return [b"begun"]


def file_without_start(environ, start_response):
    return environ["wsgi.file_wrapper"](Path(__file__).open("rb"))


OK = ("200 OK", TEXT)
#: The client gets 500. The log names the mount, and has the text.
BEFORE = {
    "returns-str": (started("abc"), "the app returned 'abc' (str); expected an iterable of bytes"),
    "returns-empty-str": (started(""), "the app returned '' (str); expected an iterable of bytes"),
    "returns-bytes": (started(b"abc"), "return the bytes in a list"),
    "returns-bytearray": (started(bytearray(b"abc")), "return the bytes in a list"),
    "returns-none": (started(None), "the app returned None; expected an iterable of bytes"),
    "returns-int": (started(5), "the app returned 5 (int); expected an iterable of bytes"),
    "returns-dict": (started({b"a": 1}), "(dict); expected an iterable of bytes"),
    "returns-empty-dict": (started({}), "(dict); expected an iterable of bytes"),
    "returns-app": (started(lambda: raising), "(function); expected an iterable of bytes"),
    "returns-no-repr": (started(NoRepr()), "the app returned ... (NoRepr); expected an iterable of bytes"),
    "returns-coroutine": (started(coroutine), "an async function is an ASGI app"),
    "returns-async-generator": (started(async_generator), "an async function is an ASGI app"),
    "returns-no-iterator": (started(NoItems), "iter() returned non-iterator"),
    "list-of-str": (started(["abc"]), "the body of the app has 'abc' (str); expected bytes; encode the text"),
    "list-of-empty-str": (started([""]), "the body of the app has '' (str); expected bytes"),
    "list-of-none": (started([None]), "the body of the app has None; expected bytes"),
    "list-of-int": (started([7, b"abc"]), "the body of the app has 7 (int); expected bytes"),
    "list-of-list": (started([[b"abc"]]), "the body of the app has [b'abc'] (list); expected bytes"),
    "tuple-of-str": (started(("abc", "def")), "the body of the app has 'abc' (str); expected bytes"),
    "empty-then-str": (generating(b"", "abc"), "the body of the app has 'abc' (str); expected bytes"),
    "empty-then-raise": (generating(b"", ValueError("on purpose")), "ValueError: on purpose"),
    "write-str": (writing("abc"), "the app called write() with 'abc' (str); expected bytes"),
    "write-none": (writing(None), "the app called write() with None; expected bytes"),
    "raises": (raising, "ValueError: on purpose"),
    "raises-after-start": (raising_after_start, "ValueError: on purpose"),
    "raises-os-error": (raising_os_error, "BrokenPipeError: on purpose"),
    "raises-in-iter": (started(Faulty("iter")), "ValueError: on purpose"),
    "raises-in-len": (started(Faulty("len", [b"abc"])), "ValueError: on purpose"),
    "raises-at-first": (generating(ValueError("on purpose")), "ValueError: on purpose"),
    "raises-in-close": (started(Faulty("close")), "ValueError: on purpose"),
    "close-no-method": (started(NoCall([b"abc"])), "the close of the body is 'not a method' (str); expected a method"),
    "no-start": (lambda environ, start_response: [b"abc"], "start_response was not called"),
    "no-start-empty": (lambda environ, start_response: [], "start_response was not called"),
    "no-start-file": (file_without_start, "start_response was not called"),
    "twice": (twice, "start_response was called a second time"),
    "late-generator-twice": (late_generator(OK, OK), "start_response was called a second time"),
    "late-generator-status": (late_generator((200, TEXT)), "status 200 is not a string"),
    "no-arguments": (starting(), "missing 2 required positional arguments"),
    "status-int": (starting(200, TEXT), "status 200 is not a string"),
    "status-bytes": (starting(b"200 OK", TEXT), "status b'200 OK' is not a string"),
    "headers-none": (starting("200 OK", None), "the headers are None; expected a list of tuples"),
    "headers-dict": (starting("200 OK", {"ab": "c"}), "the headers are {'ab': 'c'} (dict); expected a list"),
    "headers-str": (starting("200 OK", "ab"), "the headers are 'ab' (str); expected a list"),
    "headers-int": (starting("200 OK", 7), "the headers are 7 (int); expected a list"),
    "headers-of-str": (starting("200 OK", ["ab"]), "the headers have 'ab' (str); expected a list"),
    "headers-of-one": (starting("200 OK", [("A",)]), "the headers have ('A',) (tuple); expected a list"),
    "headers-of-three": (starting("200 OK", [("A", "b", "c")]), "the headers have ('A', 'b', 'c') (tuple)"),
    "headers-of-none": (starting("200 OK", [None]), "the headers have None; expected a list"),
    "header-name-int": (starting("200 OK", [(1, "a")]), "header name 1 is not a string"),
    "header-name-list": (starting("200 OK", [([], "a")]), "header name [] is not a string"),
    "header-value-bytes": (starting("200 OK", [("A", b"b")]), "header value b'b' is not a string"),
}
#: The client gets the start of the body, and the connection ends.
AFTER = {
    "begun-then-raise": generating(b"begun", ValueError("on purpose")),
    "begun-then-str": generating(b"begun", "more"),
    "begun-then-none": generating(b"begun", None),
    "begun-then-exc-info": late_exc_info,
    "short": short,
}
#: The response is whole.
GOOD = {
    "late-generator": late_generator(OK),
    "bytearray": started([bytearray(b"body")]),
    "memoryview": started([memoryview(b"body")]),
    "write-bytearray": writing(bytearray(b"body")),
    "iterator-of-headers": starting("200 OK", iter(TEXT)),
    "lists-for-tuples": starting("200 OK", [["Content-Type", "text/plain"]]),
    "close-none": started(type("CloseNone", (list,), {"close": None})([b"body"])),
    "close-raises-after-body": started(Faulty("close", [b"body"])),
    "close-raises-after-chunks": started(Faulty("close", [b"bo", b"dy"])),
}
ROUTES = {name: route for name, (route, _) in BEFORE.items()} | AFTER | GOOD


def app(environ, start_response):
    return ROUTES[environ["PATH_INFO"].lstrip("/")](environ, start_response)
