"""``cookies = "scoped"`` in a real browser: two Flask apps under one host, which both call their cookie ``session``."""

import textwrap

import pytest
from selenium.webdriver.common.by import By

CODE = """
from flask import Flask, redirect, request, session, url_for

def make(key, name="session"):
    app = Flask(__name__)
    app.config.update(SECRET_KEY=key, SESSION_COOKIE_NAME=name)

    @app.get("/")
    def page():
        sent = request.headers.get("Cookie", "")
        return f"<p id=user>{session.get('user', 'guest')}</p><p id=cookies>{sent}</p>"

    @app.get("/login/<user>")
    def login(user):
        session["user"] = user
        return redirect(url_for("page"))

    @app.get("/logout")
    def logout():
        session.clear()
        return redirect(url_for("page"))

    return app
"""
KEYS = {"one key": ("same", "same"), "two keys": ("one", "two")}

pytestmark = pytest.mark.browser


@pytest.fixture(params=KEYS.values(), ids=KEYS)
def sites(request, serve, tmp_path):
    """Return ``sites(cookies)``, which serves both apps with that setting and returns their URLs."""
    (tmp_path / "site_app.py").write_text(textwrap.dedent(CODE))

    def sites(cookies, places=("/shop", "/wiki")):
        mounts = (
            f'"{place}" = {{ app = "site_app:make(\'{key}\')", cookies = "{cookies}" }}'
            for place, key in zip(places, request.param, strict=True)
        )
        url = serve("\n".join(["[mounts]", *mounts, ""])).url
        return [url + place for place in places]

    return sites


@pytest.fixture
def user_at(browser):
    """Return ``user_at(site, path)``, which fetches a page and returns the user that it names."""

    def user_at(site, path=""):
        browser.get(f"{site}/{path}")
        assert browser.current_url == f"{site}/"
        return browser.find_element(By.ID, "user").text

    return user_at


def names_sent(browser):
    """Return the names of the cookies in the request for the current page."""
    sent = browser.find_element(By.ID, "cookies").text
    return [pair.partition("=")[0] for pair in sent.split("; ") if pair]


def test_neither_of_two_scoped_apps_logs_the_other_out(sites, user_at):
    shop, wiki = sites("scoped")
    assert user_at(shop, "login/Ann") == "Ann"
    assert user_at(wiki, "login/Bob") == "Bob"
    assert user_at(shop) == "Ann"
    assert user_at(wiki, "logout") == "guest"
    assert user_at(shop) == "Ann"
    assert user_at(shop, "login/Eve") == "Eve"
    assert user_at(wiki) == "guest"


def test_a_session_of_one_scoped_app_is_not_sent_to_the_other(sites, user_at, browser):
    shop, wiki = sites("scoped")
    user_at(shop, "login/Ann")
    assert names_sent(browser) == ["session"]
    assert [cookie["path"] for cookie in browser.get_cookies()] == ["/shop"]
    assert user_at(wiki) == "guest"
    assert names_sent(browser) == []


def test_a_scoped_cookie_is_not_sent_to_a_longer_word(sites, user_at, browser):
    shop, shopping = sites("scoped", places=("/shop", "/shopping"))
    user_at(shop, "login/Ann")
    assert user_at(shopping) == "guest"
    assert names_sent(browser) == []


def test_a_scoped_cookie_works_at_a_mount_outside_ascii(sites, user_at, browser):
    cafe, wiki = sites("scoped", places=("/caf\u00e9", "/wiki"))
    cafe = cafe.replace("\u00e9", "%C3%A9")
    assert user_at(cafe, "login/Ann") == "Ann"
    assert user_at(wiki) == "guest"
    assert names_sent(browser) == []


def test_control_unscoped_apps_log_each_other_out(sites, user_at, browser, request):
    shop, wiki = sites("pass")
    assert user_at(shop, "login/Ann") == "Ann"
    user_at_wiki = user_at(wiki)
    assert names_sent(browser) == ["session"]
    # With one key, the session of one app is even valid in the other.
    assert user_at_wiki == ("Ann" if "one key" in request.node.name else "guest")
    assert user_at(wiki, "login/Bob") == "Bob"
    assert user_at(shop) == ("Bob" if "one key" in request.node.name else "guest")
