"""The exact prefix of a mount: rule 13."""

import pytest
from support.wsgi_calls import never_called

from mountpoint import Dispatcher, Mount, TrustedProxies

SITE = Dispatcher({"/tv_ws": never_called, "example.com/tv_ws": never_called})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_exact_prefix_is_redirected_to_its_slash_form(call, method):
    response = call(SITE, "/tv_ws", method)
    assert (response.status, response["Location"]) == (308, "/tv_ws/")
    assert response["Content-Length"] == "23"
    assert response.body == (b"" if method == "HEAD" else b"308 Permanent Redirect\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_reach_the_app_with_an_empty_path(call, echo, method):
    seen = call(Dispatcher({"/tv_ws": echo("tv")}), "/tv_ws", method).seen
    assert (seen["script_name"], seen["path_info"]) == ("/tv_ws", "")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_slash_pass_passes_get_and_head_to_the_app(call, make_environ, echo, method):
    dispatcher = Dispatcher([Mount("/tv_ws", echo("tv"), slash="pass")])
    response = call(dispatcher, "/tv_ws", method)
    assert response.status == 200
    if method != "HEAD":
        assert (response.seen["script_name"], response.seen["path_info"]) == ("/tv_ws", "")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("outer", ["", "/apps"])
def test_slash_serve_gives_the_app_its_root_for_every_method(call, echo, method, outer):
    dispatcher = Dispatcher([Mount("/tv_ws", echo("tv"), slash="serve")])
    response = call(dispatcher, "/tv_ws", method, SCRIPT_NAME=outer)
    assert response.status == 200
    if method != "HEAD":
        assert (response.seen["script_name"], response.seen["path_info"]) == (f"{outer}/tv_ws", "/")


@pytest.mark.parametrize("path", ["/tv_ws/", "/tv_ws//", "/tv_ws/x", "/tv_ws/tv_ws"])
def test_slash_serve_changes_no_other_path(call, echo, path):
    dispatcher = Dispatcher([Mount("/tv_ws", echo("tv"), slash="serve")])
    seen = call(dispatcher, path, "POST").seen
    assert seen["script_name"] + seen["path_info"] == path


@pytest.mark.parametrize("slash", ["redirect", "pass", "serve"])
def test_the_root_mount_ignores_slash(call, echo, slash):
    seen = call(Dispatcher([Mount("/", echo("home"), slash=slash)]), "", "POST", SCRIPT_NAME="/apps").seen
    assert (seen["script_name"], seen["path_info"]) == ("/apps", "")


@pytest.mark.parametrize("path", ["/tv_ws/", "/tv_ws//", "/tv_ws/x"])
def test_only_the_exact_prefix_is_redirected(call, echo, path):
    assert call(Dispatcher({"/tv_ws": echo("tv")}), path).status == 200


@pytest.mark.parametrize("path", ["", "/"])
def test_the_root_is_never_redirected(call, echo, path):
    assert call(Dispatcher({"/": echo("home")}), path).status == 200
    assert call(Dispatcher({"localhost/": echo("home")}), path).status == 200


def test_the_longer_mount_redirects_within_the_shorter(call, echo):
    dispatcher = Dispatcher({"/shop": echo("shop"), "/shop/admin": never_called})
    assert call(dispatcher, "/shop/admin")["Location"] == "/shop/admin/"


@pytest.mark.parametrize(
    ("outer", "location"),
    [
        ("", "/tv_ws/"),
        ("/", "/tv_ws/"),
        ("//", "/tv_ws/"),
        ("/apps", "/apps/tv_ws/"),
        ("/apps/", "/apps/tv_ws/"),
        ("//evil.example", "/evil.example/tv_ws/"),
        ("///evil.example", "/evil.example/tv_ws/"),
        ("evil.example", "/evil.example/tv_ws/"),
        ("/\\evil.example", "/%5Cevil.example/tv_ws/"),
        ("\\\\evil.example", "/%5C%5Cevil.example/tv_ws/"),
        ("/\t/evil.example", "/%09/evil.example/tv_ws/"),
        ("/a\r\nSet-Cookie: x=1", "/a%0D%0ASet-Cookie:%20x=1/tv_ws/"),
    ],
)
def test_the_outer_script_name_comes_first_and_never_names_a_host(call, outer, location):
    assert call(SITE, "/tv_ws", SCRIPT_NAME=outer)["Location"] == location


def test_a_stripped_prefix_comes_first(call):
    assert call(TrustedProxies(SITE, strips="/apps"), "/tv_ws")["Location"] == "/apps/tv_ws/"


def test_the_location_names_neither_scheme_nor_host(call):
    response = call(SITE, "/tv_ws", HTTP_HOST="example.com:8080", **{"wsgi.url_scheme": "https"})
    assert response["Location"] == "/tv_ws/"


@pytest.mark.parametrize(
    ("key", "location"),
    [
        ("/café", "/caf%C3%A9/"),
        ("/cafe\u0301", "/cafe%CC%81/"),
        ("/名前", "/%E5%90%8D%E5%89%8D/"),
        ("/a&b=c;d,e", "/a&b=c;d,e/"),
        ("/~a!$()+:@-._", "/~a!$()+:@-._/"),
        ("/a|b^c{d}[e]", "/a%7Cb%5Ec%7Bd%7D%5Be%5D/"),
    ],
)
def test_the_location_is_percent_encoded_from_the_bytes_of_the_path(call, key, location):
    assert call(Dispatcher({key: never_called}), key.encode().decode("latin-1"))["Location"] == location


def test_bytes_in_script_name_that_are_not_utf_8_are_encoded_too(call):
    assert call(SITE, "/tv_ws", SCRIPT_NAME="/\xff%")["Location"] == "/%FF%25/tv_ws/"


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("stn=Lund&year=2026", "stn=Lund&year=2026"),
        ("q=%20%C3%A9+x", "q=%20%C3%A9+x"),
        ("next=/a?b:c@d", "next=/a?b:c@d"),
        ("100%", "100%"),
        ("a[]=1|2", "a%5B%5D=1%7C2"),
        ("q=caf\xc3\xa9", "q=caf%C3%A9"),
        ("\xff", "%FF"),
        ('"<>\\^`{}# ', "%22%3C%3E%5C%5E%60%7B%7D%23%20"),
        ("a\r\nSet-Cookie: x=1", "a%0D%0ASet-Cookie:%20x=1"),
    ],
)
def test_only_bytes_that_a_query_may_not_hold_are_encoded(call, query, sent):
    assert call(SITE, "/tv_ws", QUERY_STRING=query)["Location"] == f"/tv_ws/?{sent}"


def test_a_missing_query_counts_as_empty(call):
    assert call(SITE, "/tv_ws", QUERY_STRING=None)["Location"] == "/tv_ws/"
