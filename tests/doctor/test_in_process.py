"""`mountpoint doctor FILE`: the apps, in process, with no proxy and no network."""

from __future__ import annotations

import pytest


@pytest.fixture
def table(folder):
    """Return a function that writes the table."""

    def write(text: str) -> None:
        (folder / "mounts.toml").write_text(text, encoding="utf-8")

    return write


def test_apps_that_build_their_links_are_healthy(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "site_app:make(\'b\', cookie=\'other\')"\n')
    done = examine()
    assert (done.code, done.named, done.report["mounts"], done.report["healthy"]) == (0, set(), ["/a", "/b"], True)
    assert "the proxy: this needs --url" in done.skipped


def test_a_prefix_keeps_the_punctuation_that_frameworks_leave_in_links(table, examine):
    table("""[mounts]\n"/a,b" = "site_app:make('a')"\n""")
    assert examine().report["mounts"] == ["/a,b"]


def test_a_hard_coded_link_is_named_with_page_and_line(table, examine):
    table("""[mounts]\n"/a" = "site_app:make('a', '<a href=/history>x</a>')"\n""")
    done = examine()
    assert (done.code, done.named) == (1, {("/a", "prefix-hard-coded", "sure")})
    assert done.report["findings"][0]["evidence"] == [
        "http://localhost/a/, line 2: link /history: 404 text/plain; /a/history: 200 text/html"
    ]


@pytest.mark.parametrize("link", ["/b/", "/b/nothing", "/b", "http://localhost/b/nothing"])
def test_a_link_to_a_sibling_is_no_fault(table, examine, link):
    table(f"""[mounts]
"/a" = "site_app:make('a', '<a href={link}>x</a>')"
"/b" = "site_app:make('b', cookie='other')"
""")
    done = examine()
    assert (done.code, done.report["findings"]) == (0, [])


def test_a_mount_at_the_root_is_a_sibling_of_none(table, examine):
    """What the root owns and does not have is still looked for below the mount."""
    table("""[mounts]
"/" = "site_app:make('root', cookie='other')"
"/a" = "site_app:make('a', '<a href=/a/a/history>x</a>')"
""")
    assert examine().named == {("/a", "prefix-doubled", "sure")}


@pytest.mark.parametrize("allow", ["/history", "http://localhost/history"])
def test_an_address_that_is_allowed_is_no_fault(table, examine, allow):
    table(f"""[mounts]\n"/a" = "site_app:make('a', '<a href=/history>x</a>')"\n[doctor]\nallow = ["{allow}"]\n""")
    done = examine()
    assert (done.code, done.report["findings"]) == (0, [])


def test_to_allow_the_root_allows_nothing_below_it(table, examine):
    table("""[mounts]\n"/a" = "site_app:make('a', '<a href=/history>x</a>')"\n[doctor]\nallow = ["/"]\n""")
    assert examine().named == {("/a", "prefix-hard-coded", "sure")}


def test_sessions_that_overwrite_each_other_are_named(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "site_app:make(\'b\')"\n')
    assert examine().named == {("/b", "cookie-collision", "likely")}


def test_scoped_cookies_do_not_collide(table, examine):
    table('[defaults]\ncookies = "scoped"\n[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "site_app:make(\'b\')"\n')
    assert examine().named == set()


def test_a_broken_mount_is_a_finding_and_the_others_are_looked_at(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "nothing_of_that_name:app"\n')
    done = examine()
    assert (done.code, done.named, done.report["mounts"]) == (1, {("/b", "broken-mount", "sure")}, ["/a"])


@pytest.mark.parametrize(
    ("app", "code", "found"),
    [
        ("lambda e, s: [s('404 Not Found', [])][:0]", 0, "note"),  # not every app has a page at its root
        ("lambda e, s: 1 / 0", 1, "likely"),
    ],
)
def test_an_app_whose_root_fails_is_said_to_and_no_proxy_is_blamed(folder, table, examine, app, code, found):
    (folder / "rootless.py").write_text(f"app = {app}\n")
    table('[mounts]\n"/a" = "rootless:app"\n')
    done = examine()
    assert done.code == code
    assert [(each["symptom"], each["certainty"]) for each in done.report["findings"]] == [("failing", found)]


def test_an_app_that_answers_anything_with_one_page_proves_nothing(folder, table, examine):
    (folder / "anything.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/html')])\n"
        "    return [b'<title>One page</title><a href=/history>x</a>']\n"
    )
    table('[mounts]\n"/a" = "anything:app"\n')
    assert examine().named == set()


def test_a_prefix_that_is_not_ascii(table, examine):
    table("""[mounts]\n"/caf\u00e9" = "site_app:make('a', '<a href=/history>x</a>')"\n""")
    assert examine().named == {("/caf%C3%A9", "prefix-hard-coded", "sure")}


def test_an_app_that_forces_https_is_looked_at_over_https(folder, table, examine):
    (folder / "secure.py").write_text(
        "import site_app\n"
        "inner = site_app.make('a', '<a href=/history>x</a>')\n"
        "def app(environ, start_response):\n"
        "    if environ['wsgi.url_scheme'] == 'https':\n"
        "        return inner(environ, start_response)\n"
        "    start_response('301 Moved', [('Location', 'https://localhost/a/')])\n"
        "    return []\n"
    )
    table('[mounts]\n"/a" = "secure:app"\n')
    assert examine().named == {("/a", "prefix-hard-coded", "sure")}


def test_the_stated_number_of_requests_is_that_of_all_mounts(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "site_app:make(\'b\', cookie=\'other\')"\n')
    done = examine("--requests", "9")
    assert done.report["requests"] == 9
    assert "what would have taken more than 9 requests" in done.skipped


def test_a_prefix_that_is_stripped_is_in_front_of_every_mount(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n[proxy]\nstrips = "/apps"\n')
    done = examine()
    assert (done.code, done.report["mounts"], done.report["findings"]) == (0, ["/apps/a"], [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[mounts]\n"/a" = 1\n', 'expected "module:attribute"'),
        ("[mounts", "not TOML"),
        ('[mounts]\n"/a" = "app"\n[doctor]\nkey = "short"\n', "doctor.key: expected at least 128 random bits"),
    ],
)
def test_a_table_that_is_wrong_cannot_be_looked_at(table, examine, text, said):
    table(text)
    done = examine()
    assert (done.code, done.report) == (2, {})
    assert said in done.log


def test_without_a_file_there_is_nothing_to_look_at(examine):
    done = examine("nowhere.toml")
    assert (done.code, done.report) == (2, {})
    assert "nowhere.toml: expected a mount table, found no such file" in done.log
