"""How long events wait for the loop."""

import time

from support.site_in_thread import running_site
from support.waiting import wait_until

from mountpoint.server.loop_delay import LoopDelay


def test_the_longest_delay_of_a_minute_is_forgotten_after_it():
    delays = LoopDelay()
    assert delays.longest(1000.0) == 0.0
    delays.record(0.5, 1000.0)
    delays.record(0.2, 1000.9)
    delays.record(0.1, 1001.0)
    assert delays.longest(1001.0) == 0.5
    assert delays.longest(1059.9) == 0.5
    assert delays.longest(1060.0) == 0.1
    delays.record(0.3, 1060.0)
    assert delays.longest(1060.5) == 0.3
    assert delays.longest(5000.0) == 0.0


def test_a_callback_that_blocks_the_loop_is_a_delay(tmp_path):
    with running_site(tmp_path) as site:
        site.server.call_soon_threadsafe(lambda: time.sleep(0.2))
        wait_until(lambda: site.server.loop_delay.longest(time.monotonic()) >= 0.2)


def test_the_time_for_which_the_loop_waits_is_not_a_delay(tmp_path):
    delays = []
    with running_site(tmp_path) as site:
        record = site.server.loop_delay.record
        site.server.loop_delay.record = lambda delay, now: (delays.append(delay), record(delay, now))
        wait_until(lambda: any(delay < 0.5 for delay in delays))  # and not the second for which it waits
