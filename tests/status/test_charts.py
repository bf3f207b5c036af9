"""The paths of the charts."""

from __future__ import annotations

import re

import pytest

from mountpoint.status.charts import large_chart, sparkline


def heights(path, height):
    """Return the height of the area at each step of *path*, as pairs of x and height."""
    return [(float(x), height - int(y)) for x, y in re.findall(r"H([\d.]+)V(\d+)", path)]


def paths(chart):
    return dict(re.findall(r'<path class="(\w+)"[^>]* d="(M0 [^"]+)"', chart))


def test_a_small_chart_has_a_step_where_the_value_changes():
    chart = sparkline([0, 10, 10, 5], [0, 0, 0, 1])
    assert heights(paths(chart)["requests"], 24) == [(2, 24), (6, 12), (8, 0)]
    assert heights(paths(chart)["errors"], 24) == [(6, 2), (8, 0)]


def test_a_single_error_among_many_requests_can_be_seen():
    assert heights(paths(sparkline([100_000, 0], [1, 0]))["errors"], 24)[0] == (0, 1)


def test_a_chart_without_requests_says_so_in_words():
    assert sparkline([0] * 60, [0] * 60) == '<span class="none">no requests</span>'
    assert sparkline([], []) == '<span class="none">no requests</span>'


@pytest.mark.parametrize(
    ("peak", "labels"), [(0, ["0", "0.5", "1"]), (7, ["0", "5", "10"]), (120, ["0", "100", "200"])]
)
def test_the_axis_of_a_large_chart_ends_at_a_round_number(peak, labels):
    chart = large_chart("Title", "Words.", [("requests", [0, peak])], "{:g}".format)
    assert re.findall(r'<text class="y"[^>]*>([^<]+)<', chart) == labels


def test_no_path_of_a_large_chart_leaves_its_plot():
    chart = large_chart("Title", "Words.", [("requests", list(range(60))), ("errors", [0.001] * 60)], str)
    for path in paths(chart).values():
        assert all(0 <= x <= 480 and 0 <= height <= 72 for x, height in heights(path, 72))
