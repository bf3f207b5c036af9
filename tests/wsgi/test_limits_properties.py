"""Permits in threads, and in any order of events."""

import contextlib
import gc
import io
import sys
import threading
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from support.waiting import TIMEOUT

from mountpoint.wsgi.limits import ConcurrencyLimit

HEADERS = [("Content-Type", "text/plain")]


def in_threads(count, function):
    threads = [threading.Thread(target=function) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_of_ten_threads_three_run_and_seven_are_rejected_at_once(make_environ):
    inside, done, go_on = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
    statuses = []

    def app(_, start_response):
        inside.release()
        assert go_on.wait(TIMEOUT)
        start_response("200 OK", HEADERS)
        return [b"x"]

    limit = ConcurrencyLimit(app, 3)

    def client():
        response = limit(make_environ(), lambda status, _: statuses.append(status))
        getattr(response, "close", list)()
        done.release()

    threads = in_threads(10, client)
    for _ in range(3):
        assert inside.acquire(timeout=TIMEOUT)
    for _ in range(7):
        assert done.acquire(timeout=TIMEOUT)
    assert Counter(statuses) == {"503 Service Unavailable": 7}
    assert limit.running == 3
    go_on.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert Counter(statuses) == {"503 Service Unavailable": 7, "200 OK": 3}
    assert limit.running == 0


def test_racing_threads_neither_lose_nor_add_a_permit(begin):
    lock, running, seen = threading.Lock(), Counter(), Counter()

    def count(by):
        with lock:
            running["now"] += by
            seen[running["now"]] += 1

    class Counted(list):
        def close(self):
            count(-1)

    def app(_, start_response):
        count(+1)
        return Counted([b"x"])

    limit = ConcurrencyLimit(app, 2)
    shared = [None]

    def client():
        for _ in range(300):
            response = begin(limit)
            if type(response) is list:  # the 503
                continue
            shared.append(response)
            shared[-1].close()  # may belong to another thread, and may be closed already
            response.close()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in in_threads(6, client):
            thread.join(TIMEOUT)
    finally:
        sys.setswitchinterval(interval)
    assert 1 <= max(seen) <= 2
    assert min(seen) == 0
    assert limit.running == 0


def test_the_garbage_collector_may_release_a_permit_while_others_are_taken(begin):
    class Cyclic:
        def __init__(self):
            self.cycle = self

        def __iter__(self):
            return iter([])

    limit = ConcurrencyLimit(lambda *_: Cyclic(), 3)
    thresholds = gc.get_threshold()
    gc.set_threshold(1)  # collect at every chance, also inside the limit's own code
    try:
        accepted = sum(type(begin(limit)) is not list for _ in range(3000))
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert limit.running == 0
    assert accepted > 0


# ------------------------------------------------------------------------------------------------ any order


class Response:
    """A response whose close raises *error*, if there is one."""

    def __init__(self, error=None):
        self.error = error

    def __iter__(self):
        return iter([b"x", b"y"])

    def close(self):
        if self.error:
            raise self.error


class Buffer(Response):
    """A file wrapper whose class has a close, as in waitress."""

    def __init__(self, file):
        super().__init__()


def returning(response):
    return lambda *_: response()


def raising(error):
    def app(_, start_response):
        raise error

    return app


def broken_generator():
    yield b"one"
    raise RuntimeError("oh")


APPS = {
    "list": returning(lambda: [b"x"]),
    "empty": returning(list),
    "generator": returning(lambda: (b"x" for _ in range(3))),
    "broken": returning(broken_generator),
    "closing": returning(Response),
    "unclosable": returning(lambda: Response(OSError("oh"))),
    "nothing": returning(lambda: None),
    "file": lambda environ, _: environ["wsgi.file_wrapper"](io.BytesIO(b"x")),
    "raises": raising(RuntimeError("oh")),
    "leaves": raising(SystemExit(1)),
}
OURS = (RuntimeError, SystemExit, OSError, TypeError)  # the errors of APPS, and that of iterating None
STEPS = ("begin", "begin", "peek", "read", "close", "close again")


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(sorted(APPS)), st.integers(0, 9)), max_size=40),
)
def test_in_any_order_of_events_each_open_response_holds_one_permit(begin, most, steps):
    limit = ConcurrencyLimit(lambda environ, start: APPS[environ["PATH_INFO"]](environ, start), most)
    opened, closed = [], []
    for step, app, index in steps:
        if step == "begin":
            try:
                response = begin(limit, app, **{"wsgi.file_wrapper": Buffer})
            except OURS:
                assert len(opened) < most
            else:
                refused = type(response) is list
                assert refused == (len(opened) == most)
                if not refused:
                    opened.append(response)
            response = None
        elif step == "close again":
            for response in closed:
                with contextlib.suppress(*OURS):
                    response.close()
        elif opened:
            response = opened[index % len(opened)]
            with contextlib.suppress(*OURS):
                if step == "read":
                    list(response)
                elif step == "peek":
                    next(iter(response), None)
                elif step == "close":
                    closed.append(opened.pop(index % len(opened)))
                    response.close()
        assert limit.running == len(opened)
    for response in opened:
        with contextlib.suppress(*OURS):
            response.close()
    assert limit.running == 0
