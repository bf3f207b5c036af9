"""Fixtures for the server's parts."""

import logging

import pytest
from support.queues import Pool


@pytest.fixture(autouse=True)
def _no_access_log():
    """Keep the access log out of `caplog`: a test before may have configured logging."""
    logger = logging.getLogger("mountpoint.access")
    before = logger.level
    logger.setLevel(logging.WARNING)
    yield
    logger.setLevel(before)


@pytest.fixture
def make_pool():
    """Return ``make_pool(threads, mount=QueueLimits(), ...)``, which makes a `Pool` and closes it after the test."""
    pools = []

    def make_pool(threads, **arguments):
        pools.append(Pool(threads, **arguments))
        return pools[-1]

    yield make_pool
    for each in pools:
        each.close()
