"""Rule 29: the path of a cookie that a scoped mount sets."""

import pytest
from support.tables import imports_undone, write
from support.wsgi_calls import linted

from mountpoint import Dispatcher, TrustedProxies
from mountpoint.loading.loader import load
from mountpoint.wsgi.cookies import ScopedCookies


def setting(*cookies, headers=()):
    """Return an app that sets *cookies*."""

    def app(environ, start_response):
        start_response(
            "200 OK", [("Content-Type", "text/plain"), *headers, *(("Set-Cookie", value) for value in cookies)]
        )
        return [b""]

    return linted(app)


@pytest.fixture
def cookies(call):
    """Return ``cookies(*values)``: the values of ``Set-Cookie`` after a scoped mount at ``/tv_ws``."""

    def cookies(*values, mount="/tv_ws", path="/x", **variables):
        site = Dispatcher({mount: ScopedCookies(setting(*values))})
        response = call(site, mount.encode().decode("latin-1").rstrip("/") + path, **variables)
        return response.headers.get_all("Set-Cookie", [])

    return cookies


@pytest.mark.parametrize(
    ("value", "scoped"),
    [
        ("a=1", "a=1; Path=/tv_ws"),
        ("a=1; Path=/", "a=1; Path=/tv_ws"),
        ("a=1; path=/; HttpOnly", "a=1; HttpOnly; Path=/tv_ws"),
        ("a=1; Secure; PATH = / ;SameSite=Lax", "a=1; Secure;SameSite=Lax; Path=/tv_ws"),
        ("a=1;Path=/", "a=1; Path=/tv_ws"),
        ("a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/", None),
        ("a=1; Path", "a=1; Path=/tv_ws"),
        ("a=1; Path=", "a=1; Path=/tv_ws"),
        ("a=1; Path=tv_ws", "a=1; Path=/tv_ws"),
        ('a=1; Path="/"', "a=1; Path=/tv_ws"),  # for browsers the quotes belong to the path, so it is invalid
        ("a=1; Path=/deep; Path=/", "a=1; Path=/tv_ws"),  # browsers use the last one
        ("a=1; Path=/deep; Path=x", "a=1; Path=/tv_ws"),
        ("a=Path=/deep", "a=Path=/deep; Path=/tv_ws"),
        ("Path=/deep", "Path=/deep; Path=/tv_ws"),  # a cookie whose name is "Path"
        ("a=1; XPath=/deep", "a=1; XPath=/deep; Path=/tv_ws"),
        ("a=1; Domain=example.com", "a=1; Domain=example.com; Path=/tv_ws"),
        ("__Secure-a=1; Secure; Path=/", "__Secure-a=1; Secure; Path=/tv_ws"),
        ("a__Host-b=1; Path=/", "a__Host-b=1; Path=/tv_ws"),
        ("a=\xe9; Path=/", "a=\xe9; Path=/tv_ws"),
        ("", "; Path=/tv_ws"),
    ],
)
def test_a_cookie_of_the_root_or_without_a_path_is_scoped(cookies, value, scoped):
    expected = scoped or value.replace("Path=/", "Path=/tv_ws")
    assert cookies(value) == [expected]


@pytest.mark.parametrize(
    "value",
    [
        "a=1; Path=/tv_ws",
        "a=1; Path=/tv_ws/",
        "a=1; path=/tv_ws/deep; HttpOnly",
        "a=1; Path=/other",
        "a=1; Path=/; Path=/deep",
        "a=1; Path=//",
        "__Host-a=1; Secure; Path=/",
        " __Host-a=1; Secure; Path=/",
        "__Host-a=1; Secure",
        # RFC 6265bis and browsers ignore the case of the prefix.
        "__host-a=1; Secure; Path=/",
        "__HOST-a=1; Secure; Path=/",
    ],
)
def test_a_cookie_with_its_own_path_or_a_host_prefix_does_not_change(cookies, value):
    assert cookies(value) == [value]


def test_each_of_several_cookies_is_scoped_by_itself_in_order(cookies):
    assert cookies("a=1", "b=2; Path=/b", "a=3; Path=/") == ["a=1; Path=/tv_ws", "b=2; Path=/b", "a=3; Path=/tv_ws"]


@pytest.mark.parametrize(
    ("mount", "path"),
    [
        ("/a/b", "/a/b"),
        ("/café", "/caf%C3%A9"),
        ("/a;b", "/a%3Bb"),
        ("/a,b", "/a,b"),
        ("/~a-b.c_d!$&()+=:@", "/~a-b.c_d!$&()+=:@"),
    ],
)
def test_the_path_is_the_mount_as_browsers_write_it(cookies, mount, path):
    assert cookies("a=1", mount=mount) == [f"a=1; Path={path}"]


def test_the_path_is_the_public_one(cookies):
    assert cookies("a=1", SCRIPT_NAME="/apps/") == ["a=1; Path=/apps/tv_ws"]


def test_the_path_includes_the_prefix_that_the_proxy_stripped(call):
    site = Dispatcher({"/tv_ws": ScopedCookies(setting("a=1; Path=/"))})
    assert call(TrustedProxies(site, strips="/apps"), "/tv_ws/")["Set-Cookie"] == "a=1; Path=/apps/tv_ws"
    forwarded = TrustedProxies(site, trusted=["192.0.2.7"], x_prefix=1)
    assert call(forwarded, "/tv_ws/", HTTP_X_FORWARDED_PREFIX="/a")["Set-Cookie"] == "a=1; Path=/a/tv_ws"


def test_a_prefix_that_a_client_forges_does_not_get_into_the_path(call):
    site = TrustedProxies(Dispatcher({"/tv_ws": ScopedCookies(setting("a=1"))}))
    response = call(site, "/tv_ws/", HTTP_X_FORWARDED_PREFIX="/a; Domain=evil.example")
    assert response["Set-Cookie"] == "a=1; Path=/tv_ws"


@pytest.mark.parametrize("value", ["a=1", "a=1; Path=/", "a=1; Path=/deep"])
def test_cookies_of_the_root_mount_do_not_change(cookies, value):
    assert cookies(value, mount="/") == [value]


def test_other_headers_do_not_change_and_case_does_not_matter(call):
    headers = [("X-Cookie", "a=1; Path=/"), ("set-cookie", "b=1"), ("SET-COOKIE", "c=1; path=/")]
    site = Dispatcher({"/tv_ws": ScopedCookies(setting(headers=headers))})
    assert call(site, "/tv_ws/").headers.items() == [
        ("Content-Type", "text/plain"),
        ("X-Cookie", "a=1; Path=/"),
        ("set-cookie", "b=1; Path=/tv_ws"),
        ("SET-COOKIE", "c=1; Path=/tv_ws"),
    ]


def test_start_response_is_wrapped_and_the_response_is_not(make_environ):
    response, seen = [b"one item"], []

    def app(environ, start_response):
        write = start_response("200 OK", [("Set-Cookie", "a=1")], None)
        assert write == "write"
        return response

    def start_response(*arguments):
        seen.append(arguments)
        return "write"

    assert ScopedCookies(app)(make_environ("/x", SCRIPT_NAME="/tv_ws"), start_response) is response
    assert seen == [("200 OK", [("Set-Cookie", "a=1; Path=/tv_ws")])]


def test_a_second_start_response_with_its_error_is_passed_on(make_environ):
    seen = []

    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("500 Oh", [("Set-Cookie", "a=1")], ("type", "value", "traceback"))
        return []

    ScopedCookies(app)(make_environ("/x", SCRIPT_NAME="/tv_ws"), lambda *arguments: seen.append(arguments))
    assert seen == [("200 OK", []), ("500 Oh", [("Set-Cookie", "a=1; Path=/tv_ws")], ("type", "value", "traceback"))]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('"/a" = "cookie_site:app"', "a=1; Path=/"),
        ('"/a" = { app = "cookie_site:app", cookies = "pass" }', "a=1; Path=/"),
        ('"/a" = { app = "cookie_site:app", cookies = "scoped" }', "a=1; Path=/a"),
    ],
)
def test_the_file_selects_the_mounts_that_are_scoped(tmp_path, call, line, expected):
    code = """
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1; Path=/")])
            return [b""]
        """
    write(tmp_path, {"mounts.toml": f"[mounts]\n{line}\n", "cookie_site.py": code})
    with imports_undone(tmp_path):
        app = load(tmp_path / "mounts.toml")
    assert call(app, "/a/")["Set-Cookie"] == expected


def test_defaults_scope_all_mounts(tmp_path, call):
    code = """
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1; Path=/")])
            return [b""]
        """
    table = '[defaults]\ncookies = "scoped"\n[mounts]\n"/a" = "cookie_site:app"\n"/" = "cookie_site:app"\n'
    write(tmp_path, {"mounts.toml": table, "cookie_site.py": code})
    with imports_undone(tmp_path):
        app = load(tmp_path / "mounts.toml")
    assert call(app, "/a/")["Set-Cookie"] == "a=1; Path=/a"
    assert call(app, "/b")["Set-Cookie"] == "a=1; Path=/"
