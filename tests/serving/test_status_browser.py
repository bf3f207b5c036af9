"""The status page in a real browser: with 3 and with 300 mounts, of which one fails, one is slow and one is broken."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

import pytest
from selenium.webdriver.common.by import By
from support.status_snapshot import Process, mount_row, snapshot_of, troubled
from support.waiting import TIMEOUT

from mountpoint.status.app import StatusApp
from mountpoint.status.listener import StatusListener

pytestmark = pytest.mark.browser

SCREENS = {"desk": (1280, 900, False), "phone": (390, 844, True)}
SCHEMES = ("light", "dark")


@pytest.fixture
def show(browser):
    """Return ``show(snapshot, screen, scheme)``, which opens the page of *snapshot*."""
    with ExitStack() as stack:

        def show(snapshot, screen="desk", scheme="light", media=""):
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener = StatusListener([sock], StatusApp(Process(snapshot)))
            listener.start()
            stack.callback(listener.join, TIMEOUT)
            stack.callback(listener.stop)
            width, height, is_mobile = SCREENS[screen]
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_mobile}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
            browser.get(f"http://127.0.0.1:{sock.getsockname()[1]}/?refresh=0")

        yield show
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def style(browser, selector, name):
    return browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property(name)


@pytest.mark.parametrize("count", [3, 300])
@pytest.mark.parametrize("screen", SCREENS)
def test_each_mount_in_trouble_is_in_the_first_screen(show, browser, screen, count):
    snapshot = troubled(count)
    show(snapshot, screen)
    height = SCREENS[screen][1]
    for mount, kind in zip(snapshot["verdict"]["mounts"], ["broken", "failing", "slow"], strict=True):
        [item] = [one for one in browser.find_elements(By.CSS_SELECTOR, ".troubles li") if mount in one.text]
        assert item.text.split()[:2] == [kind, mount]
        assert item.rect["y"] + item.rect["height"] < height
    assert snapshot["verdict"]["mounts"][0] in browser.find_element(By.TAG_NAME, "h1").text
    # A table may be wider than the screen, and then scrolls by itself; the page does not.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= SCREENS[screen][0]


def test_a_link_leads_to_the_row_of_the_mount(show, browser):
    show(snapshot := troubled(60))
    _, mount, _ = snapshot["verdict"]["mounts"]
    browser.find_element(By.LINK_TEXT, mount).click()
    row = browser.find_element(By.CSS_SELECTOR, "tr:target")
    assert row.text.split()[0] == mount
    assert browser.execute_script("return arguments[0].getBoundingClientRect().top < innerHeight", row)


def test_the_policy_admits_the_style_and_the_browser_loads_nothing_else(show, browser):
    show(troubled())
    assert style(browser, "h1", "border-left-width") != "0px"
    assert style(browser, "path.errors", "fill") == "rgb(194, 24, 46)"
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"}
    assert {url for url in urls if url != "about:blank"} == {browser.current_url}


def test_light_and_dark_follow_the_setting_of_the_browser(show, browser):
    found = {}
    for scheme in SCHEMES:
        show(snapshot_of(mount_row("/shop")), scheme=scheme)
        found[scheme] = style(browser, "body", "background-color"), style(browser, "body", "color")
    assert found == {
        "light": ("rgba(255, 255, 255, 1)", "rgba(28, 35, 41, 1)"),
        "dark": ("rgba(15, 20, 25, 1)", "rgba(232, 237, 242, 1)"),
    }


def test_a_print_has_whole_tables_and_no_links_for_the_screen(show, browser):
    show(troubled(), media="print")
    assert not browser.find_element(By.TAG_NAME, "nav").is_displayed()
    assert style(browser, ".wide", "overflow") == "visible"


def test_hostile_text_is_text_in_the_browser(show, browser):
    hostile = "</td></bdi><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    row = mount_row("/shop", last_exceptions=[{"type": hostile, "place": hostile, "count": 1, "last_at": 0}])
    snapshot = snapshot_of(row)
    snapshot["in_flight"] = [{"mount": "/shop", "method": "GET", "path": hostile, "age": 1.0, "request_id": hostile}]
    show(snapshot)
    assert browser.title.startswith("OK: ")
    assert [hostile] * 4 == [one.text.removeprefix("GET ") for one in browser.find_elements(By.CSS_SELECTOR, "td.mono")]
