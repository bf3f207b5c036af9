"""Spans of time: since the start, the last minute by seconds, and the last hour by minutes."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.finishing import CountedSite

from mountpoint.status.histogram import BOUNDS, quantile
from mountpoint.status.tally import MountCounts


def spans(site):
    found = site.read()
    total = sum(found["requests"].values())
    return total, found["last_minute"]["requests"], found["last_hour"]["requests"]


def test_a_request_leaves_the_minute_and_then_the_hour():
    site = CountedSite("/app")
    site.clock.now = 3600.0
    site.finish()
    assert spans(site) == (1, 1, 1)
    site.clock.now = 3659.9
    assert spans(site) == (1, 1, 1)
    site.clock.now = 3660.0
    assert spans(site) == (1, 0, 1)
    site.clock.now = 7199.0
    assert spans(site) == (1, 0, 1)
    site.clock.now = 7200.0
    assert spans(site) == (1, 0, 0)


def test_rows_are_oldest_first_and_end_with_the_present_second():
    site = CountedSite("/app")
    site.finish(count=3, app=0.5)
    site.clock.now += 10
    site.finish(status=500, count=2)
    found = site.read()
    assert len(found["seconds"]) == len(found["minutes"]) == 60
    assert found["seconds"][-1] == (2, 2, 0.0)
    assert found["seconds"][-11] == (3, 0, pytest.approx(1.5))
    assert sum(row[0] for row in found["seconds"]) == 5
    assert found["minutes"][-1] == (5, 2, pytest.approx(1.5))


def test_a_clock_that_stood_still_for_days_empties_the_windows_alone():
    site = CountedSite("/app")
    site.finish(count=5)
    site.clock.now += 10 * 86400
    assert spans(site) == (5, 0, 0)
    site.finish()
    assert spans(site) == (6, 1, 1)


def test_a_request_that_is_counted_late_belongs_to_the_present_second():
    site = CountedSite("/app")
    site.clock.now += 5
    site.finish()
    site.read()
    site.clock.now -= 2
    site.finish()  # another thread has read the clock before, and appends after
    site.clock.now += 2
    assert site.read()["seconds"][-1][0] == 2


class NaiveSite:
    """All requests in a list, with the second of each."""

    def __init__(self):
        self.requests = []

    def within(self, span, unit, now):
        return [one for one in self.requests if one[0] // unit > int(now) // unit - span]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(0, 3), st.floats(0, 100), st.floats(0, 5000)),  # seconds that pass
            st.lists(st.tuples(st.sampled_from([200, 302, 404, 500, 0]), st.floats(0, 100)), max_size=5),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_windows_equal_those_of_a_list_of_all_requests(steps):
    site, naive = CountedSite("/app"), NaiveSite()
    for passed, ended, reads in steps:
        site.clock.now += passed
        for status, seconds in ended:
            site.finish(status=status, app=seconds)
            naive.requests.append((int(site.clock.now), status, seconds))
        if reads:
            site.read()
    found = site.read()
    minute, hour = naive.within(60, 1, site.clock.now), naive.within(60, 60, site.clock.now)
    for name, expected in (("last_minute", minute), ("last_hour", hour)):
        assert found[name]["requests"] == len(expected)
        assert found[name]["errors"] == sum(status == 500 for _, status, _ in expected)
        assert found[name]["slow"] == sum(seconds > 10 for _, _, seconds in expected)
    for rows, expected in (("seconds", minute), ("minutes", hour)):
        assert sum(row[0] for row in found[rows]) == len(expected)
        assert sum(row[2] for row in found[rows]) == pytest.approx(sum(one[2] for one in expected), abs=1e-6)
    classes = Counter(f"{status // 100}xx" if status else "none" for _, status, _ in naive.requests)
    assert {name: count for name, count in found["requests"].items() if count} == classes
    assert found["app_seconds"]["sum"] == pytest.approx(sum(one[2] for one in naive.requests))
    assert sum(found["app_seconds"]["counts"]) == len(naive.requests)


# --------------------------------------------------------------------------------------------------------- histograms


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.001, 0), (0.0010001, 1), (0.5, 8), (60.0, 14), (60.1, 15), (86400.0, 15)],
)
def test_a_bound_belongs_to_the_bucket_below_it(seconds, bucket):
    counts = MountCounts(slow_after=0)
    counts.count(("/app", 200, 1000.0, seconds, seconds, 0, 0))
    found = counts.read(1000).as_dict()
    for name in ("queue_seconds", "app_seconds"):
        assert [number for number, count in enumerate(found[name]["counts"]) if count] == [bucket]


def test_quantiles_lie_in_the_bucket_of_the_true_one():
    chance = random.Random(1)
    values = sorted(chance.expovariate(2) for _ in range(1000))
    counts = [0] * (len(BOUNDS) + 1)
    for value in values:
        counts[next((number for number, bound in enumerate(BOUNDS) if value <= bound), len(BOUNDS))] += 1
    for share in (0.5, 0.95, 0.99):
        true, found = values[int(share * 1000) - 1], quantile(share, counts)
        above = next(bound for bound in BOUNDS if true <= bound)
        assert ([0.0, *BOUNDS][BOUNDS.index(above)]) <= found <= above


def test_without_requests_there_is_no_quantile():
    assert quantile(0.5, [0] * 16) is None


def test_a_duration_above_the_last_bound_counts_as_that_bound():
    assert quantile(0.99, [0] * 15 + [7]) == 60.0
