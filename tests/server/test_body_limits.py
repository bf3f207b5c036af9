"""The pace of a body, the budget of all bodies, and a parser that keeps to both."""

import gc
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waitress.adjustments import Adjustments

from mountpoint.server.body_limits import BodyBudget, BodyPace, BodyShare
from mountpoint.server.parser import Parser

HEAD = "POST /app HTTP/1.1\r\nHost: a\r\n"


def parser(sent, **options):
    request = Parser(Adjustments(), **options)
    request.received(sent.encode())
    return request


# --------------------------------------------------------------------------------------------------------------- pace


def test_a_body_that_stops_lags_by_the_time_that_passes():
    pace = BodyPace(100.0)
    assert pace.lag(101.0, 1_000_000, 500) == 0
    assert pace.lag(102.0, 1_000_000, 500) == 1  # the large piece before it counts for nothing
    assert pace.lag(131.5, 1_000_000, 500) == 30.5


@given(st.lists(st.tuples(st.floats(0.01, 5), st.integers(500, 10_000)), max_size=50))
def test_a_body_at_the_minimum_rate_never_lags(steps):
    pace, now, length = BodyPace(0.0), 0.0, 0
    for seconds, rate in steps:
        now += seconds
        length += int(rate * seconds) + 1
        assert pace.lag(now, length, 500) < 1e-6


@pytest.mark.parametrize(("rate", "expected"), [(0, 60), (250, 30), (499, 0.12), (500, 0), (5000, 0)])
def test_a_body_below_the_rate_lags_by_what_is_missing(rate, expected):
    pace = BodyPace(0.0)
    for second in range(1, 61):
        lag = pace.lag(float(second), second * rate, 500)
    assert lag == pytest.approx(expected)


def test_a_body_that_the_server_did_not_read_does_not_lag():
    pace = BodyPace(0.0)
    pace.lag(10.0, 0, 500)
    pace.restart(60.0, 0)
    assert pace.lag(61.0, 0, 500) == 1


# ------------------------------------------------------------------------------------------------------------- budget


def test_a_share_is_released_once():
    budget = BodyBudget(10)
    share, other = BodyShare(budget), BodyShare(budget)
    assert share.grow(6)
    assert other.grow(4)
    assert not other.grow(1)
    share.release()
    share.release()
    assert budget.used == 4
    assert not share.grow(1)


def test_a_share_that_is_only_dropped_is_released():
    budget = BodyBudget(10)
    share = BodyShare(budget)
    share.grow(6)
    del share
    gc.collect()
    assert budget.used == 0


def test_a_budget_of_0_has_no_limit():
    share = BodyShare(BodyBudget(0))
    assert share.grow(10**12)


@given(st.randoms(use_true_random=False))
def test_the_budget_is_the_sum_of_its_shares(chance: random.Random):
    budget, sizes = BodyBudget(100), {}
    for _ in range(60):
        share = chance.choice([*sizes, BodyShare(budget)])
        if chance.random() < 0.3:
            share.release()
            sizes.pop(share, None)
        elif share.grow(size := chance.randrange(40)):
            sizes[share] = sizes.get(share, 0) + size
        assert budget.used == sum(sizes.values()) <= 100


@pytest.mark.parametrize("limit", [0, 10])
def test_released_sizes_are_not_kept(limit):
    budget = BodyBudget(limit)
    for _ in range(10):
        share = BodyShare(budget)
        share.grow(1)
        share.release()
    assert len(budget._released) <= 1


class YieldingDeque(deque):
    """A deque that lets another thread run before each release is subtracted."""

    def popleft(self):
        size = super().popleft()
        time.sleep(1e-6)
        return size


def test_shares_of_several_threads_leave_nothing_behind():
    """The loop reads bodies, and so does a worker thread that reads the next request of its connection."""
    budget = BodyBudget(1000)
    budget._released = YieldingDeque()

    def read_bodies():
        for _ in range(200):
            share = BodyShare(budget)
            share.grow(3)
            share.grow(4)
            share.release()

    with ThreadPoolExecutor(3) as pool:
        for each in [pool.submit(read_bodies) for _ in range(3)]:
            each.result()
    assert budget.used == 0


# ------------------------------------------------------------------------------------------------------------- parser


def test_a_body_counts_until_its_request_is_closed():
    budget = BodyBudget(10)
    request = parser(HEAD + "Content-Length: 8\r\n\r\n12345678", budget=budget)
    request.received(b"12345678")
    assert request.completed
    assert budget.used == 8
    request.close()
    request.close()
    assert budget.used == 0


@pytest.mark.parametrize("framing", ["Content-Length: 6\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n"])
def test_a_body_that_does_not_fit_gets_503(framing):
    budget = BodyBudget(10)
    first = parser(HEAD + "Content-Length: 6\r\n\r\n", budget=budget)
    first.received(b"12345")
    second = parser(HEAD + framing, budget=budget)
    second.received(b"6\r\n123456\r\n")
    status, headers, _ = second.error.to_response()
    assert (status, dict(headers)["Retry-After"]) == ("503 Service Unavailable", "5")
    assert budget.used == 5  # nothing of the second
    first.received(b"6")
    assert first.completed
    assert not first.error


def test_a_closed_request_takes_no_more_of_its_body():
    budget = BodyBudget(10)
    request = parser(HEAD + "Content-Length: 8\r\n\r\n", budget=budget)
    request.received(b"1234")
    request.close()
    assert request.received(b"5678") == 4
    assert not request.completed
    assert budget.used == 0


@pytest.mark.parametrize("framing", ["Content-Length: 6\r\nExpect: 100-continue", "Transfer-Encoding: chunked"])
def test_a_request_answered_early_is_complete_without_its_body(framing):
    request = Parser(Adjustments(), None, lambda request: request.command == "POST")
    data = f"{HEAD}{framing}\r\n\r\n123".encode()
    assert request.received(data) == len(data)  # the rest is not the next request
    assert request.completed
    assert request.is_last
    assert not request.keeps_alive
    assert not request.expect_continue
    assert request.get_body_stream().read() == b""


def test_a_body_that_has_arrived_with_its_header_is_read():
    asked = []
    request = Parser(Adjustments(), None, asked.append)
    request.received(f"{HEAD}Content-Length: 3\r\n\r\n".encode() + b"123")
    assert asked == []
    assert not request.is_last
