"""The benchmarks: their commands start, and wrk's output, tables and charts are read and written as intended."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
from support.pages import MANUAL, ROOT

BENCHMARKS = ROOT / "tests" / "benchmarks"
OUTPUT = """\
Running 1s test @ http://127.0.0.1:8080/app/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    21.90ms    9.76ms 117.05ms   89.17%
    Req/Sec     2.96k   316.77     3.37k    60.00%
  Latency Distribution
     50%   20.59ms
     75%   23.66ms
     90%   28.45ms
     99%   62.80ms
  2959 requests in 1.01s, 424.85KB read
Requests/sec:   2940.12
Transfer/sec:    422.14KB
"""


@pytest.fixture
def module(monkeypatch):
    """Return a function that imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.mark.parametrize("name", ["all", "load", "connections", "memory", "status", "counting"])
def test_a_benchmark_prints_its_help(name):
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: ")


@pytest.mark.parametrize(("text", "seconds"), [("62.80ms", 0.0628), ("870.00us", 0.00087), ("1.20s", 1.2)])
def test_the_figures_of_wrk_are_read_in_seconds(module, text, seconds):
    report = module("wrk").parse(OUTPUT.replace("62.80ms", text))
    assert (report.requests, report.rate) == (2959, 2940.12)
    assert report.p99 == pytest.approx(seconds)


@pytest.mark.parametrize(
    "line",
    ["  Non-2xx or 3xx responses: 12", "  Socket errors: connect 0, read 3, write 0, timeout 0"],
)
def test_failed_requests_void_the_output_of_wrk(module, line):
    wrk = module("wrk")
    with pytest.raises(wrk.WrkError, match="wrk reports errors"):
        wrk.parse(OUTPUT + line)


def test_output_without_figures_is_an_error(module):
    wrk = module("wrk")
    with pytest.raises(wrk.WrkError, match="has no"):
        wrk.parse("unable to connect")


def test_the_ratio_is_the_median_over_the_pairs_of_both_servers(module):
    load, wrk = module("load"), module("wrk")
    bare, ours = (
        {number: wrk.Turn(cpu, 100, 0.1) for number, cpu in enumerate(all_cpu)} for all_cpu in ([2, 4, 8], [1, 1, 8])
    )
    result = load.Result(load.ROWS[0], {load.BARE.name: bare, load.OURS.name: ours, "cheroot": {2: wrk.Turn(4, 1, 1)}})
    assert result.ratio(load.OURS.name) == (0.5, 0.25, 1.0)
    assert result.ratio("cheroot")[0] == 0.5
    assert result.median(load.OURS.name, "cpu") == 1
    assert result.median("granian", "cpu") is None
    first, *_ = load.ratio_table([result]).rows
    assert first[:4] == ["1 connection", "0.50", "0.25 to 1.00", "at most 1.00: reached"]


def test_a_peer_that_is_not_installed_is_named_with_its_extra(module):
    load, servers = module("load"), module("load_servers")
    peer = servers.Server("nothing", "no_such_package", lambda port, logs: [], extra="benchmark")
    assert load.missing([], [peer]) == ["nothing is not installed: pip install -e '.[benchmark]'"]
    results = [load.Result(load.ROWS[0], {load.BARE.name: {}}, {})]
    assert load.peer_tables(results, [peer])[0].rows == [["1 connection", *["not installed"] * 3]]


def test_a_table_replaces_the_one_with_its_title(module):
    tables = module("tables")
    page = "Before\n\n| Load | CPU |\n|---|---|\n| 1 | 2 |\n\nAfter\n| Other | x |\n"
    table = tables.Table(["Load", "CPU", "p99"], [["1", "a|b", "4"]])
    expected = "Before\n\n| Load | CPU | p99 |\n| --- | --- | --- |\n| 1 | a&#124;b | 4 |\n\nAfter\n| Other | x |\n"
    assert tables.replace_tables(page, [table]) == expected
    assert tables.replace_tables(expected, [table]) == expected


@pytest.mark.parametrize("page", ["no table\n", "| Load |\n|---|\n\n| Load |\n|---|\n"])
def test_a_title_that_is_not_once_in_the_page_is_an_error(module, page):
    tables = module("tables")
    with pytest.raises(ValueError, match="tables with the title 'Load', expected one"):
        tables.replace_tables(page, [tables.Table(["Load"], [])])


def test_each_table_of_the_run_has_its_place_in_the_pages(module):
    titles = [
        title for file in BENCHMARKS.glob("*.py") for title in re.findall(r'Table\(\s*\["([^"]+)"', file.read_text())
    ]
    titles += ["Load", "Fast app in"]
    titles += module("load").PEER_TITLES.values()
    pages = "".join(page.read_text(encoding="utf-8") for page in [*MANUAL.glob("*.md"), ROOT / "README.md"])
    assert {title: pages.count(f"| {title} |") for title in titles} == dict.fromkeys(titles, 1)


def test_the_chart_is_well_formed_and_names_each_figure(module):
    chart = module("load_chart")
    bound = chart.Entry("granian", 0.0001, 4_000.0, is_bound=True)
    entries = [chart.Entry("a < b", 0.0001, 2_000.0, True), chart.Entry("peer", None, None), bound]
    root = ET.fromstring(chart.draw_load([("64 connections", entries)], "note"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"64 connections", "a < b", "100 µs", "2,000", "peer", "not measured", "4,000"} <= set(texts)
    assert texts[-1] == "note A bar with a gap is longer than it is drawn."
    assert len(root.findall("{http://www.w3.org/2000/svg}path")) == 1
