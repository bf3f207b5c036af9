"""A concurrency limit releases each permit exactly once, however the request ends."""

import gc
import io
import sys
import weakref
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper

import pytest

from mountpoint import ConfigError, Dispatcher
from mountpoint.wsgi.limits import ConcurrencyLimit
from mountpoint.wsgi.record import RECORD_KEY, RequestRecord

HEADERS = [("Content-Type", "text/plain")]


def returning(response):
    """Return an app that returns *response*, or the result of *response* if it is a function."""

    def app(_, start_response):
        start_response("200 OK", HEADERS)
        return response() if callable(response) else response

    return app


def raising(error):
    def app(_, start_response):
        raise error

    return app


class Response:
    """A response that counts its calls of close. The iteration raises *error*, and close raises *at_close*."""

    def __init__(self, *chunks, error=None, at_close=None):
        self.chunks, self.error, self.at_close = chunks, error, at_close
        self.closed = 0

    def __iter__(self):
        yield from self.chunks
        if self.error:
            raise self.error

    def close(self):
        self.closed += 1
        if self.at_close:
            raise self.at_close


# --------------------------------------------------------------------------------------- accepted and rejected requests


def test_a_response_passes_through_unchanged(call, echo):
    limit = ConcurrencyLimit(echo("app"), 1)
    site = Dispatcher({"/": limit})
    for _ in range(3):
        response = call(site, "/x")
        assert (response.status, response.seen["path_info"]) == (200, "/x")
        assert response["Content-Type"] == "application/json"
        assert limit.running == 0
    assert call(site, "/x", "HEAD").status == 200
    assert limit.running == 0


def test_a_request_over_the_limit_is_rejected_without_calling_the_app(call, begin):
    called = []

    def app(environ, start_response):
        called.append(environ["PATH_INFO"])
        start_response("200 OK", HEADERS)
        return [b"x"]

    limit = ConcurrencyLimit(app, 2, retry_after=7)
    held = [begin(limit, path) for path in ("/1", "/2")]
    assert limit.running == 2
    refused = call(limit, "/3")
    assert (refused.status, refused["Retry-After"], refused.body) == (503, "7", b"503 Service Unavailable\n")
    assert call(limit, "/3", "HEAD").body == b""
    assert limit.running == 2
    held[0].close()
    assert call(limit, "/4").status == 200
    assert called == ["/1", "/2", "/4"]


def test_the_record_has_the_reason_of_a_rejection(begin):
    limit = ConcurrencyLimit(returning([b"x"]), 1)
    held = begin(limit)
    record = RequestRecord()
    begin(limit, **{RECORD_KEY: record})
    assert record.reason == "the mount's limit is reached"
    held.close()


def test_each_limit_counts_its_own(call, begin):
    slow, fast = (ConcurrencyLimit(returning([b"x"]), 1) for _ in range(2))
    site = Dispatcher({"/slow": slow, "/fast": fast})
    held = begin(site, "/slow/")
    assert call(site, "/slow/").status == 503
    assert call(site, "/fast/").status == 200
    held.close()
    assert call(site, "/slow/").status == 200


# ------------------------------------------------------------------------------------ every way in which a request ends


def test_a_permit_lives_until_the_response_is_closed(begin):
    inner = Response(b"one", b"two")
    limit = ConcurrencyLimit(returning(inner), 1)
    response = begin(limit)
    assert list(response) == [b"one", b"two"]
    assert (limit.running, inner.closed) == (1, 0)
    response.close()
    assert (limit.running, inner.closed) == (0, 1)


def test_a_permit_is_released_after_the_app_s_own_close(begin):
    class Watching(Response):
        def close(self):
            seen.append(limit.running)

    seen, limit = [], ConcurrencyLimit(returning(Watching()), 1)
    begin(limit).close()
    assert seen == [1]


@pytest.mark.parametrize("response", [[b"x"], Response(b"x"), iter([b"x"])], ids=lambda value: type(value).__name__)
def test_a_response_that_is_closed_twice_releases_once(response, begin):
    limit = ConcurrencyLimit(returning(response), 2)
    first, second = (begin(limit) for _ in range(2))
    for _ in range(3):
        first.close()
        assert limit.running == 1
    second.close()
    assert limit.running == 0


@pytest.mark.parametrize("error", [RuntimeError("oh"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_an_error_in_the_call_releases_and_propagates(error, begin):
    limit = ConcurrencyLimit(raising(error), 1)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            begin(limit)
        assert caught.value is error
        assert limit.running == 0


def test_an_error_in_the_iteration_leaves_the_permit_until_the_close(begin):
    error = RuntimeError("oh")
    inner = Response(b"one", error=error)
    limit = ConcurrencyLimit(returning(inner), 1)
    response = begin(limit)
    chunks = iter(response)
    assert next(chunks) == b"one"
    with pytest.raises(RuntimeError) as caught:
        next(chunks)
    assert caught.value is error
    assert limit.running == 1
    response.close()
    assert (limit.running, inner.closed) == (0, 1)


@pytest.mark.parametrize("error", [RuntimeError("oh"), SystemExit(1)])
def test_a_close_that_raises_still_releases(error, begin):
    limit = ConcurrencyLimit(returning(Response(b"x", at_close=error)), 1)
    response = begin(limit)
    with pytest.raises(type(error)) as caught:
        response.close()
    assert caught.value is error
    assert limit.running == 0


def test_a_client_that_disconnects_closes_the_generator_of_the_app(begin):
    ended = []

    def generator():
        try:
            yield b"one"
            yield b"two"
        finally:
            ended.append(True)

    limit = ConcurrencyLimit(returning(generator), 1)
    response = begin(limit)
    assert next(iter(response)) == b"one"
    assert (limit.running, ended) == (1, [])
    response.close()
    assert (limit.running, ended) == (0, [True])


def test_an_iterator_that_is_abandoned_halfway_is_closed_once(begin):
    class Iterator(Response):
        def __iter__(self):
            return self

        def __next__(self):
            return b"x"

    inner = Iterator()
    limit = ConcurrencyLimit(returning(inner), 1)
    response = begin(limit)
    assert next(iter(response)) == b"x"  # the iterator is dropped at once
    assert inner.closed == 0
    response.close()
    assert inner.closed == 1


def test_write_is_the_server_s_own(make_environ):
    def app(_, start_response):
        start_response("200 OK", HEADERS)(b"written")
        return []

    written = []
    limit = ConcurrencyLimit(app, 1)
    response = limit(make_environ(), lambda *_: written.append)
    assert (written, list(response), limit.running) == ([b"written"], [], 1)
    response.close()
    assert limit.running == 0


@pytest.mark.parametrize("iterated", [True, False])
def test_a_response_that_is_not_closed_releases_when_it_is_collected(iterated, begin):
    limit = ConcurrencyLimit(returning(lambda: iter([b"one", b"two"])), 1)
    chunks = begin(limit)
    if iterated:
        chunks = iter(chunks)  # the server keeps only the iterator
        assert next(chunks) == b"one"
        gc.collect()
        assert limit.running == 1
    del chunks
    gc.collect()
    assert limit.running == 0


def test_a_response_whose_close_attribute_raises_releases(begin):
    class Odd(Response):
        close = property(lambda self: 1 / 0)

    limit = ConcurrencyLimit(returning(Odd()), 1)
    with pytest.raises(ZeroDivisionError):
        begin(limit)
    assert limit.running == 0


def test_a_response_that_is_not_iterable_fails_later_and_releases(begin):
    limit = ConcurrencyLimit(returning(None), 1)
    response = begin(limit)
    with pytest.raises(TypeError, match="NoneType"):
        list(response)
    response.close()
    assert limit.running == 0


# ----------------------------------------------------------------------------- properties of the response that are kept


@pytest.mark.parametrize("chunks", [[], [b"x"], (b"x", b"y")])
def test_a_response_with_a_length_keeps_it(chunks, begin):
    response = begin(ConcurrencyLimit(returning(chunks), 1))
    assert len(response) == len(chunks)
    assert list(response) == list(response) == list(chunks)
    response.close()


def test_a_response_without_a_length_gets_no_length(begin):
    response = begin(ConcurrencyLimit(returning(iter([b"x"])), 1))
    assert not hasattr(response, "__len__")
    response.close()


def test_wsgiref_finds_the_content_length_of_a_list_of_one_item(make_environ):
    out = io.BytesIO()
    limit = ConcurrencyLimit(returning([b"four"]), 1)
    SimpleHandler(io.BytesIO(), out, sys.stderr, make_environ()).run(limit)
    assert b"Content-Length: 4\r\n" in out.getvalue()
    assert limit.running == 0


class Closed(io.BytesIO):
    """A file that counts its calls of close."""

    times = 0

    def close(self):
        self.times += 1
        super().close()


class Buffer:
    """A file wrapper whose class has a close, as in waitress. wsgiref and gunicorn use the close of the file."""

    def __init__(self, file):
        self.file = file

    def __iter__(self):
        return iter(lambda: self.file.read(4), b"")

    def close(self):
        self.file.close()


@pytest.mark.parametrize("wrapper", [FileWrapper, Buffer, lambda file: file], ids=["wsgiref", "class", "function"])
def test_a_file_is_returned_as_the_same_object_and_releases_at_its_close(wrapper, begin):
    file = Closed(b"content")
    handed = []

    def app(environ, start_response):
        start_response("200 OK", HEADERS)
        handed.append(environ["wsgi.file_wrapper"](file))
        return handed[0]

    inner = ConcurrencyLimit(app, 1)
    outer = ConcurrencyLimit(inner, 1)
    response = begin(outer, **{"wsgi.file_wrapper": wrapper})
    assert response is handed[0]
    assert (inner.running, outer.running, file.times) == (1, 1, 0)
    for _ in range(2):
        response.close()
        assert (inner.running, outer.running, file.times) == (0, 0, 1)


def test_a_file_leaves_no_reference_cycle_behind(begin):
    limit = ConcurrencyLimit(lambda environ, _: environ["wsgi.file_wrapper"](io.BytesIO(b"x")), 1)
    response = begin(limit, **{"wsgi.file_wrapper": Buffer})
    gone = weakref.ref(response)
    response.close()
    gc.disable()
    del response
    gc.enable()
    assert gone() is None


def test_a_file_that_is_not_closed_releases_when_it_is_collected(begin):
    limit = ConcurrencyLimit(lambda environ, _: environ["wsgi.file_wrapper"](io.BytesIO(b"x")), 1)
    response = begin(limit, **{"wsgi.file_wrapper": Buffer})
    assert limit.running == 1
    del response
    gc.collect()
    assert limit.running == 0


def test_a_file_wrapper_that_accepts_no_attributes_is_wrapped(begin):
    class Slotted(Buffer):
        __slots__ = ()

        def __setattr__(self, name, value):
            raise AttributeError(name)

        file = Closed(b"content")
        __init__ = object.__init__

    limit = ConcurrencyLimit(lambda environ, _: environ["wsgi.file_wrapper"](), 1)
    response = begin(limit, **{"wsgi.file_wrapper": Slotted})
    assert not isinstance(response, Slotted)
    assert b"".join(response) == b"content"
    response.close()
    assert (limit.running, Slotted.file.times) == (0, 1)


# ----------------------------------------------------------------------------------------------------- invalid settings


@pytest.mark.parametrize("found", [0, -1, 1_000_001, 1.5, True, "4", None])
def test_an_invalid_limit_is_rejected(found):
    with pytest.raises(ConfigError) as caught:
        ConcurrencyLimit(returning([]), found)
    assert str(caught.value) == f"limit: expected an integer from 1 to 1000000, found {found!r}"


@pytest.mark.parametrize("found", [-1, 1.5, True, "4", None])
def test_an_invalid_retry_after_is_rejected(found):
    with pytest.raises(ConfigError) as caught:
        ConcurrencyLimit(returning([]), 1, retry_after=found)
    assert str(caught.value) == f"retry_after: expected an integer of at least 0, found {found!r}"


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        ConcurrencyLimit(returning([]), 0, retry_after=-1)
    assert [problem.key for problem in caught.value.problems] == ["limit", "retry_after"]
