"""Published attacks on similar programs, by name, and attacks without an advisory. Attacks that need a socket are in
serving/test_advisories_serving.py.
"""

import pytest
from flask import Flask, redirect, url_for
from support.wsgi_calls import linted
from werkzeug.middleware.proxy_fix import ProxyFix

from mountpoint import ConfigError, Dispatcher, TrustedProxies

PROXY = "192.0.2.7"  # the peer of every request
EVERYTHING = {"trusted": [PROXY], "x_for": 1, "x_proto": 1, "x_host": 1, "x_port": 1, "x_prefix": 1}


@pytest.fixture(scope="module")
def unlinted_flask_app():
    app = Flask(__name__)

    @app.get("/page/")
    def page():
        return f"{url_for('page')} {url_for('page', _external=True)}"

    @app.get("/go")
    def go():
        return redirect(url_for("page"))

    @app.get("/go-far")
    def go_far():
        return redirect(url_for("page", _external=True))

    return app.wsgi_app


@pytest.fixture(scope="module")
def flask_app(unlinted_flask_app):
    return linted(unlinted_flask_app)


# ------------------------------------------------------------------------------------------------ headers from a client


def test_traefik_ghsa_6384_m2mw_rf54_a_prefix_that_the_proxy_passes(call, echo):
    """CVE-2026-35051: the proxy rebuilds For, Host and Proto, but passes a client's own X-Forwarded-Prefix."""
    site = TrustedProxies(Dispatcher({"/tv_ws": echo("tv")}), trusted=[PROXY], x_for=1, x_proto=1, x_host=1)
    rebuilt = {
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "www.example.com",
    }
    spoofed = call(site, "/tv_ws/x", HTTP_X_FORWARDED_PREFIX="/admin", **rebuilt)
    assert spoofed.body == call(site, "/tv_ws/x", **rebuilt).body


# Traefik GHSA-5m6w-wvh7-57vm (X_Forwarded_Proto bypasses a proxy that clears only X-Forwarded-Proto) and Django
# CVE-2015-0219 (X-Auth_User): environ has one name for both spellings, so only the server can distinguish them.
# See serving/test_advisories_serving.py.


@pytest.mark.parametrize("header", ["HTTP_FORWARDED", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PREFIX"])
def test_spring_cve_2023_34036_links_from_a_client_s_forwarding_headers(call, flask_app, header):
    """An app built its links from (X-)Forwarded headers, although no proxy had set them."""
    value = "host=evil.example;proto=https" if header == "HTTP_FORWARDED" else "evil.example"
    site = TrustedProxies(Dispatcher({"/tv_ws": flask_app}))
    response = call(site, "/tv_ws/page/", **{header: value})
    assert response.body == b"/tv_ws/page/ http://localhost/tv_ws/page/"


@pytest.mark.parametrize("variable", ["HTTP_SCRIPT_NAME", "HTTP_X_SCRIPT_NAME", "HTTP_PATH_INFO"])
def test_gunicorn_issue_2650_a_script_name_from_a_client(call, echo, variable):
    """``/REMOVED/admin`` with ``script_name: REMOVED/`` went past the rules of nginx and reached ``/admin``.

    gunicorn itself makes SCRIPT_NAME of that header, from its ``forwarded_allow_ips``, before we are asked. As
    `mountpoint serve` no header can.
    """
    site = TrustedProxies(Dispatcher({"/admin": echo("admin"), "/": echo("home")}), **EVERYTHING)
    seen = call(site, "/REMOVED/admin/x", **{variable: "REMOVED/"}).seen
    assert (seen["app"], seen["script_name"], seen["path_info"]) == ("home", "", "/REMOVED/admin/x")


@pytest.mark.parametrize("host", ["evil.example/", "example.com?x", "example.com#x", "user@example.com", "a/?x="])
def test_rack_cve_2026_34835_a_host_with_delimiters_in_it(call, echo, host):
    """The host passed a check of its beginning or its end, but links built from it led to another host."""
    site = Dispatcher({"example.com/": echo("site"), "/": echo("all")})
    assert call(site, "/", HTTP_HOST=host).status == 400
    assert call(TrustedProxies(site, **EVERYTHING), "/", HTTP_X_FORWARDED_HOST=host).status == 400
    forwarded = TrustedProxies(site, trusted=[PROXY], forwarded=1)
    assert call(forwarded, "/", HTTP_FORWARDED=f'host="{host}"').status == 400


def test_rack_cve_2026_32762_parameters_inside_the_quotes_of_forwarded(call, echo):
    """A similar attack: the header was split at semicolons inside quotes, so a ``for`` could set host and scheme."""
    site = TrustedProxies(Dispatcher({"/": echo("home")}), trusted=[PROXY], forwarded=1)
    assert call(site, "/", HTTP_FORWARDED='for="_x;host=evil.example;proto=https"').status == 400
    seen = call(site, "/", HTTP_FORWARDED='for=_x;by="_y;host=evil.example;proto=https"').seen["environ"]
    assert (seen["HTTP_HOST"], seen["wsgi.url_scheme"], seen["REMOTE_ADDR"]) == ("localhost", "http", PROXY)


@pytest.mark.parametrize("host", ["example.com/abc?bar=", "a/?x=", "example.com/public/..;#"])
def test_starlette_cve_2026_48710_a_host_that_becomes_part_of_the_path(call, echo, host):
    """``request.url`` was built with the Host, so a check of ``request.url.path`` saw another path than the router."""
    site = Dispatcher({"example.com/": echo("site"), "/admin": echo("admin")})
    assert call(site, "/admin/x", HTTP_HOST=host).status == 400


@pytest.mark.parametrize("path", ["@evil.example", "evil.example/", ".evil.example", "", "\tadmin"])
def test_starlette_pysec_2026_248_a_path_that_becomes_part_of_the_host(call, echo, path):
    """A similar attack: with the path ``@google.com``, the URL that the app built had another host."""
    response = call(Dispatcher({"/": echo("home")}), path)
    assert response.status == (400 if path else 200)
    assert path or response.seen["path_info"] == "/"


# --------------------------------------------------------------------------------------------- paths that bypass a rule


@pytest.mark.parametrize(
    "after", ["../admin", "/../admin", "/../internal/config", "/..", "/./../admin", "/x/../../admin"]
)
def test_traefik_cve_2026_48020_a_stripped_path_resolves_to_a_sibling(call, echo, after):
    """``/api../admin`` matched the public route of ``/api``, was stripped, and arrived as the protected ``/admin``.

    Its encoded form, ``%2e%2e``, is decoded by the server before we see it.
    """
    mounts = Dispatcher({"/api": echo("api"), "/admin": echo("admin"), "/internal": echo("internal")})
    assert call(mounts, "/api" + after).status in (400, 404)
    assert call(TrustedProxies(mounts, strips="/api"), after).status == 400
    restores = TrustedProxies(mounts, trusted=[PROXY], x_prefix=1, restore_prefix=True)
    assert call(restores, after, HTTP_X_FORWARDED_PREFIX="/api").status == 400


def test_starlette_cve_2023_29159_a_sibling_with_the_same_beginning(call, echo):
    """``/static/../static_disallow/`` passed as a path in ``/static``, because the check compared characters."""
    site = Dispatcher({"/static": echo("public"), "/static_disallow": echo("private")})
    assert call(site, "/static/../static_disallow/index.html").status == 400
    assert call(Dispatcher({"/static": echo("public")}), "/static_disallow/index.html").status == 404
    assert call(Dispatcher({"/static": echo("public")}), "/static1.txt").status == 404


# ---------------------------------------------------------------------------------------- redirects that leave the site


@pytest.mark.parametrize(
    "path", ["//evil.example/tv_ws", "//evil.example", "///evil.example/%2e%2e", "/\\evil.example"]
)
def test_django_cve_2018_14574_a_redirect_to_two_slashes(call, echo, path):
    """A server that adds a slash to ``//evil.example/x`` and redirects there sends the browser to another host."""
    assert call(Dispatcher({"/tv_ws": echo("tv")}), path).status == 404
    assert call(Dispatcher({"/": echo("home")}), path).seen["path_info"] == path  # whole, and not redirected


@pytest.mark.parametrize("outer", ["//evil.example", "//", "/", "///evil.example/"])
def test_the_slash_redirect_begins_with_one_slash_for_any_script_name(call, echo, outer):
    location = call(Dispatcher({"/tv_ws": echo("tv")}), "/tv_ws", SCRIPT_NAME=outer)["Location"]
    assert location.startswith("/")
    assert not location.startswith("//")


def test_a_mount_at_two_slashes_is_rejected(echo):
    with pytest.raises(ConfigError):
        Dispatcher({"//evil.example": echo("evil")})


# -------------------------------------------------------------------------------------------------- without an advisory

# A client's X-Forwarded-Prefix, the path that it requests, and where werkzeug's ProxyFix with x_prefix=1 redirects it.
PREFIXES = [
    ("//evil.example", "/go", "//evil.example/page/"),
    ("/\t/evil.example", "/go", "//evil.example/page/"),  # werkzeug drops the TAB, as browsers do
    ("@evil.example", "/go-far", "http://localhost@evil.example/page/"),
    (".evil.example", "/go-far", "http://localhost.evil.example/page/"),
]


@pytest.mark.parametrize(("prefix", "path", "elsewhere"), PREFIXES)
def test_control_werkzeug_s_proxy_fix_redirects_to_another_host(call, unlinted_flask_app, prefix, path, elsewhere):
    fixed = ProxyFix(unlinted_flask_app, x_prefix=1)  # the linter would reject its SCRIPT_NAME
    assert (
        call(lambda environ, start: fixed(dict(environ), start), path, HTTP_X_FORWARDED_PREFIX=prefix)["Location"]
        == elsewhere
    )


@pytest.mark.parametrize(("prefix", "path", "elsewhere"), PREFIXES)
def test_a_prefix_that_names_another_host_is_rejected_even_from_a_proxy(call, flask_app, prefix, path, elsewhere):
    site = TrustedProxies(Dispatcher({"/": flask_app}), **EVERYTHING)
    assert call(site, path, HTTP_X_FORWARDED_PREFIX=prefix).status == 400


@pytest.mark.parametrize(("prefix", "path", "elsewhere"), PREFIXES)
def test_a_prefix_that_names_another_host_is_removed_from_a_client(call, flask_app, prefix, path, elsewhere):
    fixed = ProxyFix(flask_app, x_prefix=1)
    site = TrustedProxies(Dispatcher({"/tv_ws": fixed}), **EVERYTHING)
    for peer in ("203.0.113.9", PROXY):
        response = call(site, "/tv_ws" + path, HTTP_X_FORWARDED_PREFIX=prefix, REMOTE_ADDR=peer)
        assert response["Location"] in ({None} if peer == PROXY else {"/tv_ws/page/", "http://localhost/tv_ws/page/"})


def test_control_a_mounted_app_s_own_proxy_fix_erases_its_mount(call, echo):
    site = Dispatcher({"/tv_ws": ProxyFix(echo("tv"), x_prefix=1)})
    assert call(site, "/tv_ws/x", HTTP_X_FORWARDED_PREFIX="/apps").seen["script_name"] == "/apps"


@pytest.mark.parametrize(
    ("settings", "script_name"),
    [({}, "/tv_ws"), (EVERYTHING, "/apps/tv_ws"), ({"strips": "/apps"}, "/apps/tv_ws")],
    ids=["no proxy is trusted", "the proxy is trusted", "the prefix is fixed"],
)
def test_a_mounted_app_s_own_proxy_fix_leaves_its_mount_alone(call, echo, settings, script_name):
    fixed = ProxyFix(echo("tv"), x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)
    site = TrustedProxies(Dispatcher({"/tv_ws": fixed}), **settings)
    seen = call(site, "/tv_ws/x", HTTP_X_FORWARDED_PREFIX="/apps").seen
    assert (seen["script_name"], seen["path_info"]) == (script_name, "/x")


@pytest.mark.parametrize("path", ["javascript:alert(1)", "javascript:alert(1)//tv_ws", "data:text/html,x", "tv_ws/x"])
def test_a_path_that_looks_like_a_url_with_a_scheme_reaches_no_app(call, echo, path):
    """``GET javascript%3Aalert(1)``: an app that links to the requested path would link to a script."""
    site = Dispatcher({"/": echo("home"), "/tv_ws": echo("tv")})
    assert call(site, path).status == 400
    restores = TrustedProxies(site, trusted=[PROXY], x_prefix=1, restore_prefix=True)
    assert call(restores, path, HTTP_X_FORWARDED_PREFIX="/tv_ws").status == 400
