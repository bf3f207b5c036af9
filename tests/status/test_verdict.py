"""The verdict: one sentence, about the mount with the worst trouble."""

import pytest
from support.finishing import CountedSite

from mountpoint.status.verdict import KINDS, trouble_of, verdict


class Mounts:
    """The entries of mounts as in a snapshot, from real counts."""

    def __init__(self):
        self.entries = []

    def add(self, key, state="serving", reason=None, oldest=0.0, slow_after=10.0, **finished):
        site = CountedSite(key, slow_after=slow_after)
        for name, count in finished.items():
            self.finish(site, key, name, count)
        entry = site.read(key) | {"mount": key, "state": state, "reason": reason}
        entry["trouble"] = trouble_of(entry, slow_after, oldest)
        self.entries.append(entry)
        return self

    def finish(self, site, key, name, count):
        if name == "rejected":
            site.finish(key, 503, count, rejection="queue")
        elif name == "too_large":
            site.finish(key, 413, count, rejection="body")
        elif name == "slow":
            site.finish(key, 200, count, app=11.0)
        else:
            site.finish(key, int(name[1:]), count)

    @property
    def verdict(self):
        return verdict(self.entries)


def test_all_is_well_with_the_number_of_mounts():
    mounts = Mounts().add("/a", s200=100, s404=50, too_large=3).add("/b")
    assert mounts.verdict == {"ok": True, "text": "all is well: 2 mounts", "mounts": []}


@pytest.mark.parametrize(
    ("facts", "kind", "text"),
    [
        ({"state": "broken", "reason": "No module\nmore"}, "broken", "/x is broken: No module"),
        ({"state": "broken", "reason": ""}, "broken", "/x is broken: "),
        (
            {"s200": 28, "s500": 12},
            "failing",
            "/x fails: 12 of 40 requests in the last minute got a 5xx status",
        ),
        ({"s200": 19, "s502": 1}, "failing", "/x fails: 1 of 20 requests in the last minute got a 5xx status"),
        ({"s503": 1}, "failing", "/x fails: 1 of 1 request in the last minute got a 5xx status"),
        ({"oldest": 10.1}, "slow", "/x is slow: a request has run for 10.1 s"),
        (
            {"s200": 3, "slow": 2},
            "slow",
            "/x is slow: 2 of 5 requests in the last minute took longer than 10 s",
        ),
        (
            {"s200": 7, "rejected": 3},
            "rejecting",
            "/x rejects requests: 3 of 10 in the last minute got 503, because its queue was full",
        ),
        ({"state": "loading"}, "loading", "/x is still loading"),
        ({"state": "starting", "s503": 5}, "loading", "/x is still loading"),
    ],
)
def test_each_trouble_names_the_mount_and_the_reason(facts, kind, text):
    mounts = Mounts().add("/well", s200=5).add("/x", **facts)
    assert mounts.verdict == {"ok": False, "text": text, "mounts": ["/x"]}
    assert mounts.entries[1]["trouble"]["kind"] == kind


@pytest.mark.parametrize(
    "facts",
    [{"s200": 20, "s500": 1}, {"oldest": 10.0}, {"oldest": 1000.0, "slow_after": 0}, {"slow": 3, "slow_after": 0}],
)
def test_a_mount_below_each_threshold_is_not_in_trouble(facts):
    assert Mounts().add("/x", **facts).verdict["ok"]


def test_the_worst_trouble_comes_first_then_the_order_of_the_table():
    mounts = Mounts().add("/loads", state="loading").add("/rejects", rejected=1).add("/slow", slow=1)
    mounts.add("/fails-2", s500=1).add("/fails-1", s500=1).add("/broken", state="broken", reason="no")
    expected = ["/broken", "/fails-2", "/fails-1", "/slow", "/rejects", "/loads"]
    assert mounts.verdict["mounts"] == expected
    assert mounts.verdict["text"] == "/broken is broken: no; 5 other mounts are in trouble too"
    assert [*dict.fromkeys(one["trouble"]["kind"] for one in mounts.entries)][::-1] == [*KINDS]


def test_requests_that_no_mount_owns_are_not_trouble():
    assert Mounts().add(None, s404=5, s500=5).verdict["ok"]
