"""`mountpoint doctor FILE`: it examines the apps in its own process, without a proxy or the network."""

from __future__ import annotations

import pytest


@pytest.fixture
def table(folder):
    """Return ``write(text)``: it writes the mount table."""

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


def test_a_hard_coded_link_is_reported_with_page_and_line(table, examine):
    table("""[mounts]\n"/a" = "site_app:make('a', '<a href=/history>x</a>')"\n""")
    done = examine()
    assert (done.code, done.named) == (1, {("/a", "prefix-hard-coded", "sure")})
    assert done.report["findings"][0]["evidence"] == [
        "http://localhost/a/, line 2: link /history: 404 text/plain; /a/history: 200 text/html"
    ]


@pytest.mark.parametrize("link", ["/b/", "/b/nothing", "/b", "http://localhost/b/nothing"])
def test_a_link_to_a_sibling_is_not_a_fault(table, examine, link):
    table(f"""[mounts]
"/a" = "site_app:make('a', '<a href={link}>x</a>')"
"/b" = "site_app:make('b', cookie='other')"
""")
    done = examine()
    assert (done.code, done.report["findings"]) == (0, [])


def test_the_root_mount_does_not_count_as_a_sibling(table, examine):
    """The root mount owns every path, so it would excuse every wrong link of the other mounts."""
    table("""[mounts]
"/" = "site_app:make('root', cookie='other')"
"/a" = "site_app:make('a', '<a href=/a/a/history>x</a>')"
""")
    assert examine().named == {("/a", "prefix-doubled", "sure")}


@pytest.mark.parametrize("allow", ["/history", "http://localhost/history"])
def test_a_link_to_an_allowed_url_is_not_a_fault(table, examine, allow):
    table(f"""[mounts]\n"/a" = "site_app:make('a', '<a href=/history>x</a>')"\n[doctor]\nallow = ["{allow}"]\n""")
    done = examine()
    assert (done.code, done.report["findings"]) == (0, [])


def test_allowing_the_root_does_not_allow_the_paths_below_it(table, examine):
    table("""[mounts]\n"/a" = "site_app:make('a', '<a href=/history>x</a>')"\n[doctor]\nallow = ["/"]\n""")
    assert examine().named == {("/a", "prefix-hard-coded", "sure")}


def test_cookies_with_one_name_and_path_collide(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "site_app:make(\'b\')"\n')
    assert examine().named == {("/b", "cookie-collision", "likely")}


def test_scoped_cookies_do_not_collide(table, examine):
    table('[defaults]\ncookies = "scoped"\n[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "site_app:make(\'b\')"\n')
    assert examine().named == set()


def test_a_broken_mount_is_a_finding_and_the_others_are_examined(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "nothing_of_that_name:app"\n')
    done = examine()
    assert (done.code, done.named, done.report["mounts"]) == (1, {("/b", "broken-mount", "sure")}, ["/a"])


@pytest.mark.parametrize(
    ("app", "code", "found"),
    [
        ("lambda e, s: [s('404 Not Found', [])][:0]", 0, "note"),  # an app need not have a page at its root
        ("lambda e, s: 1 / 0", 1, "likely"),
    ],
)
def test_a_failing_root_is_a_fault_of_the_app_and_not_of_a_proxy(folder, table, examine, app, code, found):
    (folder / "rootless.py").write_text(f"app = {app}\n")
    table('[mounts]\n"/a" = "rootless:app"\n')
    done = examine()
    assert done.code == code
    assert [(each["symptom"], each["certainty"]) for each in done.report["findings"]] == [("failing", found)]


def test_an_app_with_one_page_for_every_path_has_no_finding(folder, table, examine):
    (folder / "anything.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/html')])\n"
        "    return [b'<title>One page</title><a href=/history>x</a>']\n"
    )
    table('[mounts]\n"/a" = "anything:app"\n')
    assert examine().named == set()


def test_a_prefix_with_non_ascii_characters_is_examined(table, examine):
    table("""[mounts]\n"/caf\u00e9" = "site_app:make('a', '<a href=/history>x</a>')"\n""")
    assert examine().named == {("/caf%C3%A9", "prefix-hard-coded", "sure")}


def test_an_app_that_requires_https_is_examined_over_https(folder, table, examine):
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


def test_the_limit_of_requests_is_for_all_mounts_together(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n"/b" = "site_app:make(\'b\', cookie=\'other\')"\n')
    done = examine("--requests", "9")
    assert done.report["requests"] == 9
    assert "everything that needs more than 9 requests" in done.skipped


def test_the_stripped_prefix_is_part_of_every_public_prefix(table, examine):
    table('[mounts]\n"/a" = "site_app:make(\'a\')"\n[proxy]\nstrips = "/apps"\n')
    done = examine()
    assert (done.code, done.report["mounts"], done.report["findings"]) == (0, ["/apps/a"], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[mounts]\n"/a" = 1\n', 'expected "module:attribute"'),
        ("[mounts", "not TOML"),
        ('[mounts]\n"/a" = "app"\n[doctor]\nkey = "short"\n', "doctor.key: expected at least 128 random bits"),
    ],
)
def test_a_wrong_table_exits_2_with_the_error_on_stderr(table, examine, text, expected):
    table(text)
    done = examine()
    assert (done.code, done.report) == (2, {})
    assert expected in done.log


def test_a_missing_table_exits_2_with_the_error_on_stderr(examine):
    done = examine("nowhere.toml")
    assert (done.code, done.report) == (2, {})
    assert "nowhere.toml: expected a mount table, found no such file" in done.log


SIX = "".join(f"\"/m{n}\" = \"site_app:make('m{n}', '<a href=/history>x</a>', cookie='c{n}')\"\n" for n in range(6))


def test_each_mount_has_an_equal_share_of_the_requests(table, examine):
    """A mount needs 8 requests. The share of a mount that needs fewer goes to the ones behind it."""
    table(f"[mounts]\n{SIX}")
    done = examine("--requests", "36")
    assert done.report["mounts"] == [f"/m{n}" for n in range(6)]
    assert {mount for mount, symptom, _ in done.named if symptom == "prefix-hard-coded"} == {f"/m{n}" for n in range(6)}
    assert done.report["requests"] == 36
    assert "everything that needs more than 36 requests: at /m0, /m1, /m2, /m3, /m4, /m5" in done.skipped


def test_a_mount_without_any_request_left_is_named(table, examine):
    table(f"[mounts]\n{SIX}")
    done = examine("--requests", "3")
    assert done.report["requests"] <= 3
    assert "everything that needs more than 3 requests: at /m0, /m1, /m2, /m3, /m4, /m5" in done.skipped


@pytest.mark.parametrize(
    "link", ["http://127.0.0.1:8080/a/history", "http://localhost:8080/history", "http://[::1]:8080/"]
)
def test_a_link_to_the_address_that_the_server_listens_on_is_a_fault(table, examine, link):
    table(f"""[mounts]\n"/a" = "site_app:make('a', '<a href={link}>x</a>')"\n""")
    done = examine()
    assert ("/a", "private-host", "sure") in done.named
    [found] = [found for found in done.report["findings"] if found["symptom"] == "private-host"]
    assert f"link {link}: mountpoint listens there, and clients use the proxy" in found["evidence"][0]


def test_an_app_that_has_pages_only_for_browsers_is_crawled(folder, table, examine):
    (folder / "picky.py").write_text(
        "import site_app\n"
        "inner = site_app.make('a', '<a href=/history>x</a>')\n"
        "def app(environ, start_response):\n"
        "    if environ.get('HTTP_ACCEPT', '').startswith('text/html'):\n"
        "        return inner(environ, start_response)\n"
        "    start_response('200 OK', [('Content-Type', 'application/json')])\n"
        "    return [b'{}']\n"
    )
    table('[mounts]\n"/a" = "picky:app"\n')
    assert examine().named == {("/a", "prefix-hard-coded", "sure")}
