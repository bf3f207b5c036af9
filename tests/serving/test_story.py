"""The problem that the program solves, with a real nginx and a real browser.

A Flask app was reached at https://www.viltstigen.se/tv_ws?stn=Lund, emitted ``<script src="/static/ws.js">``, and the
browser got a 404, because the app did not know that it lives under /tv_ws.
"""

from __future__ import annotations

import http.client
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.nginx, pytest.mark.browser]

EXAMPLES = Path(__file__).parents[2] / "examples"
LUND_NOW = "2.1 °C"  # the last row of readings.csv


@dataclass(frozen=True)
class Site:
    """The examples behind the nginx ``front``, which strips ``prefix``."""

    front: Any
    prefix: str

    def at(self, path: str) -> str:
        return self.front.url + self.prefix + path


@pytest.fixture(params=["keep", "strip"])
def any_site(request, tmp_path: Path, serve, nginx) -> Site:
    """The examples behind each shape of a proxy."""
    table = shutil.copytree(EXAMPLES, tmp_path / "examples") / "mounts.toml"
    prefix = ""
    if request.param == "strip":
        prefix = "/apps"
        replace(table, '# [proxy]\n# strips = "/apps"', '[proxy]\nstrips = "/apps"')
    return Site(nginx(configuration(request.param, serve(table).port)), prefix)


@pytest.fixture
def site(any_site) -> Iterator[Site]:
    """Each shape. Fails if nginx answered with an error, or received a path outside the mounts."""
    yield any_site
    any_site.front.stop()
    assert any_site.front.requests
    for status, _, target in any_site.front.requests:
        assert status < 400
        assert target.startswith((f"{any_site.prefix}/tv_ws", f"{any_site.prefix}/notes"))


def configuration(shape: str, backend: int) -> str:
    """Return the example of a *shape*, changed for a browser that uses an IP address and another port."""
    text = (EXAMPLES / "nginx" / f"{shape}.conf").read_text()
    for old, new in (
        ("127.0.0.1:8080", f"127.0.0.1:{backend}"),
        ("server_name www.example.com;", "server_name 127.0.0.1;"),
        ("Host $host;", "Host $host:$server_port;"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def wait_for_numbers(browser) -> str:
    """Wait until the script has drawn its curve. Return the temperature on the page."""
    WebDriverWait(browser, 20).until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#curve polyline"))
    return browser.find_element(By.ID, "now").text


def click(browser, by: str, value: str) -> None:
    """Click, and wait until the next page is loaded."""
    browser.execute_script("document.isOldPage = true")
    browser.find_element(by, value).click()
    is_loaded = "return !document.isOldPage && document.readyState === 'complete'"
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script(is_loaded))


def failed(browser) -> list[str]:
    """Return the URLs of the requests of the browser that failed since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    answers = [event["params"]["response"] for event in events if event["method"] == "Network.responseReceived"]
    assert answers  # without any, the check would be empty
    return [answer["url"] for answer in answers if answer["status"] >= 400] + [
        event["params"]["errorText"] for event in events if event["method"] == "Network.loadingFailed"
    ]


def test_the_script_draws_the_numbers_that_it_fetches(site, browser, tmp_path):
    browser.get(site.at("/tv_ws/?stn=Lund"))
    assert wait_for_numbers(browser) == LUND_NOW
    points = browser.find_element(By.CSS_SELECTOR, "#curve polyline").get_attribute("points").split()
    assert len(points) == 24
    browser.save_screenshot(str(tmp_path / "lund.png"))
    assert failed(browser) == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_everything_that_the_page_loads_is_below_its_mount(site, browser):
    browser.get(site.at("/tv_ws/?stn=Lund"))
    wait_for_numbers(browser)
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert {site.at("/tv_ws/static/ws.js"), site.at("/tv_ws/readings/Lund")} <= set(loaded)
    assert [url for url in loaded if not url.startswith(site.at("/tv_ws/"))] == []


def test_the_address_without_its_slash_works_with_its_query(site, browser):
    browser.get(site.at("/tv_ws?stn=Lund"))
    assert browser.current_url == site.at("/tv_ws/?stn=Lund")
    assert wait_for_numbers(browser) == LUND_NOW


def test_links_stay_under_the_mount(site, browser, tmp_path):
    browser.get(site.at("/tv_ws/?stn=Lund"))
    click(browser, By.LINK_TEXT, "All stations")
    assert browser.current_url == site.at("/tv_ws/stations")
    browser.save_screenshot(str(tmp_path / "stations.png"))
    click(browser, By.LINK_TEXT, "Kiruna")
    assert browser.current_url == site.at("/tv_ws/?stn=Kiruna")
    assert wait_for_numbers(browser) == "\N{MINUS SIGN}14.8 °C"
    assert failed(browser) == []


def test_a_redirect_after_a_form_and_its_cookie_stay_under_the_mount(site, browser, tmp_path):
    browser.get(site.at("/tv_ws/?stn=Kiruna"))
    click(browser, By.TAG_NAME, "button")
    assert browser.current_url == site.at("/tv_ws/")
    assert "Kiruna is your station" in browser.find_element(By.TAG_NAME, "main").text
    (cookie,) = browser.get_cookies()
    assert (cookie["name"], cookie["value"], cookie["path"]) == ("station", "Kiruna", f"{site.prefix}/tv_ws/")
    wait_for_numbers(browser)
    browser.save_screenshot(str(tmp_path / "mine.png"))
    browser.get(site.at("/notes/"))
    assert browser.get_cookies() == []


def test_an_app_of_another_framework_is_mounted_beside_it(site, browser, tmp_path):
    browser.get(site.at("/notes"))
    assert browser.current_url == site.at("/notes/")
    browser.find_element(By.NAME, "text").send_keys("Räksmörgås <3")
    click(browser, By.TAG_NAME, "button")
    assert browser.current_url == site.at("/notes/")
    assert browser.find_element(By.TAG_NAME, "li").text == "Räksmörgås <3"
    colour = "return getComputedStyle(document.querySelector('li')).backgroundColor"
    assert browser.execute_script(colour) == "rgb(255, 245, 207)"  # from its stylesheet
    browser.save_screenshot(str(tmp_path / "notes.png"))
    browser.get(site.at("/tv_ws/?stn=Lund"))
    assert wait_for_numbers(browser) == LUND_NOW


def test_a_longer_word_and_another_host_reach_no_app(any_site):
    request = any_site.front.request
    assert request(f"{any_site.prefix}/tv_ws/stations").status == 200
    assert request(f"{any_site.prefix}/tv_wsstations").status == 404  # Flask would serve /stations
    with pytest.raises(http.client.RemoteDisconnected):  # nginx's 444
        request(f"{any_site.prefix}/tv_ws/stations", headers={"Host": "elsewhere.example"})


def test_control_without_mountpoint_the_page_is_broken(start, nginx, browser, tmp_path):
    """The same app behind the same proxy, which strips the prefix and does not send it to the app."""
    command = [sys.executable, "-m", "waitress", "--listen=127.0.0.1:0", "tv_ws:app"]
    bare = start(command, cwd=EXAMPLES / "apps" / "tv_ws")
    backend = int(bare.wait_for("http://127.0.0.1:").rpartition(":")[2])
    front = nginx(configuration("strip", backend).replace("/apps/", "/tv_ws/"))

    browser.get(f"{front.url}/tv_ws/?stn=Lund")
    assert browser.find_element(By.TAG_NAME, "h1").text == "Lund"
    assert f"{front.url}/static/ws.js" in failed(browser)
    assert browser.find_element(By.ID, "now").text == "\N{EN DASH}"
    browser.save_screenshot(str(tmp_path / "broken.png"))

    click(browser, By.TAG_NAME, "button")
    assert browser.current_url == f"{front.url}/remember"
    front.stop()
    assert (404, "GET", "/static/ws.js") in front.requests
    assert (404, "POST", "/remember") in front.requests
