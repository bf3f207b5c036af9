"""The status page as a document: its order, its headings, and text of clients and apps in it."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import example, given, settings
from support.html_reader import HOSTILE, Reader
from support.status_snapshot import NOW, mount_row, snapshot_of, troubled

from mountpoint.status.page import CONTENT_SECURITY_POLICY, MAX_TROUBLES, render_page
from mountpoint.status.style import COLOURS, STYLE


def tags(page):
    return [tag for tag, _ in Reader(page).found]


def text_of(page):
    return re.sub(r"\s+", " ", Reader(re.sub(r"(?s)<style>.*?</style>", "", page)).data)


def section(page, title):
    return page.partition(f"<h2>{title}</h2>")[2].partition("</section>")[0]


@pytest.mark.parametrize("count", [3, 300])
def test_the_first_heading_is_the_verdict_and_names_the_worst_mount(count):
    snapshot = troubled(count)
    page = render_page(snapshot)
    assert tags(page).count("h1") == 1
    before_the_facts = page.partition("<dl>")[0]
    for mount in snapshot["verdict"]["mounts"]:
        assert f"<bdi>{mount}</bdi></a>" in before_the_facts
    heading = re.search(r"<h1.*?</h1>", page)[0]
    assert snapshot["verdict"]["mounts"][0] in heading
    assert "<title>Trouble: " in page


def test_when_all_is_well_the_page_says_so_and_lists_no_trouble():
    page = render_page(snapshot_of(mount_row("/shop")))
    assert "All is well" in re.search(r"<h1 class=\"well\">.*?</h1>", page)[0]
    assert "in trouble" not in text_of(page)
    assert "<title>OK: All is well" in page


def test_each_trouble_links_to_the_row_of_its_mount():
    snapshot = troubled(30)
    page = render_page(snapshot)
    for mount in snapshot["verdict"]["mounts"]:
        target = re.search(rf'<a href="#([\w-]+)"><bdi>{mount}</bdi>', page)[1]
        row = re.search(rf'<tr id="{target}">.*?</tr>', page)[0]
        assert f"<bdi>{mount}</bdi>" in row


def test_a_long_list_of_troubles_is_cut_and_counted():
    trouble = {"kind": "broken", "text": "is broken: no module"}
    rows = [mount_row(f"/m{n}", state="broken", trouble=trouble) for n in range(MAX_TROUBLES + 5)]
    snapshot = snapshot_of(*rows, ok=False, text="/m0 is broken: no module")
    snapshot["verdict"]["mounts"] = [row["mount"] for row in rows]
    page = render_page(snapshot)
    assert "and 5 more, marked in the table" in page
    assert page.partition("<dl>")[0].count('class="word broken"') == MAX_TROUBLES
    assert f"{MAX_TROUBLES + 5} mounts are in trouble" in page


@pytest.mark.parametrize("kind", ["broken", "failing", "slow", "rejecting", "loading"])
def test_the_state_of_a_mount_is_a_word(kind):
    page = render_page(snapshot_of(mount_row("/shop", trouble={"kind": kind, "text": "x"})))
    assert f'<td><span class="word {kind}">{kind}</span></td>' in page


def test_each_section_of_the_page_has_a_heading_and_each_table_its_headers():
    page = render_page(troubled())
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert headings == [
        "3 mounts are in trouble",
        "Server",
        "Last hour",
        "Mounts",
        "Requests in flight",
        "Slowest requests",
        "Last exceptions",
        "Last reload",
        "Workers",
    ]
    tables = re.findall(r"<table>.*?</table>", page)
    assert len(tables) == 5
    for table in tables:
        assert table.count("<caption>") == 1
        columns = table.count('scope="col"')
        for row in re.findall(r"<tr.*?</tr>", table):
            assert len(re.findall(r"<t[hd]\b", row)) == columns


def test_a_table_without_rows_says_so_in_words():
    page = render_page(snapshot_of(mount_row("/shop")))
    assert "No request runs." in section(page, "Requests in flight")
    assert "No request has ended." in section(page, "Slowest requests")
    assert "No app has raised one." in section(page, "Last exceptions")
    assert "No mount has its own." in section(page, "Workers")
    assert "No reload since the start." in render_page(snapshot_of(last_reload=None))


def test_a_reload_shows_its_result_in_a_word():
    rejected = {"at": NOW - 90, "ok": False, "message": "not reloaded: errors in the file", "seconds": 0.1}
    text = text_of(section(render_page(snapshot_of(last_reload=rejected)), "Last reload"))
    assert "rejected not reloaded: errors in the file; 1 min 30 s ago, in 100 ms" in text


def test_unknown_facts_are_a_dash_or_named_so():
    row = mount_row("/shop", last_exceptions=[{"type": "E", "place": None, "count": 1, "last_at": NOW + 5}])
    page = render_page(snapshot_of(row, memory=None, waitress=None))
    assert "<dt>Memory</dt><dd>\u2013</dd>" in page
    assert "waitress of unknown version" in page
    assert "just now" in section(page, "Last exceptions")  # the clock was set back


def test_a_chart_has_its_numbers_in_words():
    page = render_page(troubled())
    charts = re.findall(r"<svg.*?</svg>", page)
    assert len(charts) == 5  # two large ones, and one for each mount with requests
    for chart in charts:
        assert 'role="img"' in chart
        assert re.search(r"<title>.+?</title>", chart)
    assert re.search(r"<title>2,\d+ requests, 180 errors", page)


def test_the_page_has_no_script_and_no_style_outside_the_hashed_one():
    page = render_page(troubled())
    found = Reader(page).found
    assert not {tag for tag, _ in found} & {"script", "iframe", "object", "img", "form", "base"}
    names = {name for _, attributes in found for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("style", "src", "srcset")]
    assert not re.search(r'href="[^"]*:', page)
    [style] = re.findall(r"(?s)<style>(.*?)</style>", page)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in CONTENT_SECURITY_POLICY
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def page_with(text):
    """Return a page with *text* in each field that a client, an app or an operator chooses."""
    row = mount_row(
        f"/{text}",
        app=text,
        state="broken",
        reason=text,
        trouble={"kind": "broken", "text": text},
        last_exceptions=[{"type": text, "place": text, "count": 1, "last_at": NOW}],
        workers=[{"pid": 1, "state": text, "started_at": NOW, "memory": 1, "requests": 1}],
    )
    reload = {"at": NOW, "ok": True, "message": text, "seconds": 1.0}
    snapshot = snapshot_of(row, ok=False, text=text, file=text, listen=[text], last_reload=reload, python=text or "x")
    snapshot["verdict"]["mounts"] = [f"/{text}"]
    request = {"mount": f"/{text}", "method": text, "path": text, "request_id": text or "x"}
    snapshot["in_flight"] = [{**request, "age": 1.0}]
    snapshot["slowest"] = [{**request, "status": 200, "seconds": 1.0, "at": NOW}]
    return render_page(snapshot)


HARMLESS = tags(page_with("harmless"))


@settings(max_examples=25)
@given(HOSTILE)
@example("<script>alert(1)</script>")
@example("</style><img src=x onerror=alert(1)>")
@example("\"><b>'--><![CDATA[")
def test_text_of_a_client_or_an_app_never_becomes_markup(text):
    page = page_with(text)
    assert tags(page) == HARMLESS
    page.encode("utf-8")


def test_a_long_text_is_cut():
    snapshot = snapshot_of(mount_row("/shop"))
    snapshot["in_flight"] = [{"mount": "/shop", "method": "GET", "path": "/" * 5000, "age": 1.0, "request_id": None}]
    assert len(render_page(snapshot)) < 20_000


# ---------------------------------------------------------------------------------------------------------- the colours


def luminance(colour):
    """Return the relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT_PAIRS = [
    *((text, back) for text in ("text", "quiet", "link") for back in ("page", "card", "warn-back")),
    ("well", "well-back"),
    ("trouble", "trouble-back"),
    ("warn", "warn-back"),
]
CHART_PAIRS = [("errors", "requests"), ("errors", "page"), ("seconds", "card"), ("requests", "card")]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("pair", TEXT_PAIRS, ids=" on ".join)
def test_text_has_a_contrast_of_4_5(pair, scheme):
    text, back = (COLOURS[name][scheme] for name in pair)
    assert contrast(text, back) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("pair", CHART_PAIRS, ids=" on ".join)
def test_areas_of_a_chart_can_be_told_apart(pair, scheme):
    one, other = (COLOURS[name][scheme] for name in pair)
    assert contrast(one, other) >= (1.8 if pair == ("errors", "requests") else 2.3)
