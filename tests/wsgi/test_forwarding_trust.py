"""Rules 21 and 22: which peers and headers are trusted, and which headers are removed."""

import pytest

from mountpoint.wsgi.forwarding_headers import variable
from mountpoint.wsgi.proxy_settings import COUNTED

CLIENT = "203.0.113.9"


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.255"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("192.0.2.7", "::FFFF:C000:207"),
        ("192.0.2.0/24", "::ffff:192.0.2.9"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.2.9"),
        ("::ffff:192.0.2.0/120", "192.0.2.255"),
        ("::ffff:0:0/96", "198.51.100.1"),
        ("2001:db8::/32", "2001:db8:1::1"),
        ("2001:DB8::1", "2001:db8:0:0::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("unix", "localhost"),
        ("unix", ""),
    ],
)
def test_the_headers_of_a_trusted_peer_are_used(seen_environ, trusted, peer):
    seen = seen_environ(trusted=[trusted], x_for=1, REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=CLIENT)
    assert seen["REMOTE_ADDR"] == CLIENT


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("192.0.2.7", "192.0.2.8"),
        ("192.0.2.0/24", "192.0.3.7"),
        ("192.0.2.7", "::ffff:192.0.2.8"),
        ("192.0.2.7", "::192.0.2.7"),
        ("::ffff:192.0.2.0/120", "192.0.3.0"),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.3.0"),
        ("::ffff:0:0/96", "2001:db8::1"),
        ("192.0.2.7", "2002:c000:207::"),
        ("0.0.0.0/0", "2001:db8::1"),
        ("::1", "127.0.0.1"),
        ("0.0.0.0/0", ""),
        ("0.0.0.0/0", "localhost"),
        ("127.0.0.1", "localhost"),
        ("unix", "127.0.0.1"),
        ("unix", "Localhost"),
        ("unix", None),
        ("0.0.0.0/0", None),
        ("192.0.2.7", "192.0.2.7, 192.0.2.7"),
        ("192.0.2.7", "192.0.2.7:80"),
        ("192.0.2.7", "unix"),
    ],
)
def test_the_headers_of_another_peer_are_not_used(ask, trusted, peer):
    without = ask(trusted=[trusted], x_for=1, x_prefix=1, REMOTE_ADDR=peer)
    headers = {"HTTP_X_FORWARDED_FOR": CLIENT, "HTTP_X_FORWARDED_PREFIX": "//evil.example"}
    assert ask(trusted=[trusted], x_for=1, x_prefix=1, REMOTE_ADDR=peer, **headers).body == without.body


VALUES = {
    "x_for": (CLIENT, {"REMOTE_ADDR": CLIENT}),
    "x_proto": ("https", {"wsgi.url_scheme": "https"}),
    "x_host": ("a.example", {"HTTP_HOST": "a.example", "SERVER_NAME": "a.example"}),
    "x_port": ("8443", {"HTTP_HOST": "localhost:8443", "SERVER_PORT": "8443"}),
    "x_prefix": ("/apps", {"SCRIPT_NAME": "/apps/tv_ws"}),
    "forwarded": (
        f"for={CLIENT};proto=https;host=a.example",
        {
            "REMOTE_ADDR": CLIENT,
            "wsgi.url_scheme": "https",
            "HTTP_HOST": "a.example",
            "SERVER_NAME": "a.example",
            "SERVER_PORT": "443",
        },
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_each_count_applies_its_own_header_and_nothing_else(seen_environ, name):
    headers = {header: VALUES[other][0] for other, header in COUNTED.items()}
    before = seen_environ()
    after = seen_environ(**{name: 1}, **headers)
    after.pop(COUNTED[name], None)
    assert dict(after.items() - before.items()) == VALUES[name][1]
    assert after.keys() == before.keys()


@pytest.mark.parametrize("name", ["port", "prefix", "PREFIX", "server", "script_name"])
def test_only_the_names_that_rfc_7239_defines_are_used(seen_environ, name):
    """RFC 7239 allows extensions. A prefix has its own count, which excludes `forwarded`."""
    plain = seen_environ(forwarded=1, HTTP_FORWARDED=f"for={CLIENT}")
    more = seen_environ(forwarded=1, HTTP_FORWARDED=f"for={CLIENT};{name}=/evil;x={name}")
    del plain["HTTP_FORWARDED"], more["HTTP_FORWARDED"]
    assert more == plain


@pytest.mark.parametrize("name", COUNTED)
def test_headers_without_a_count_are_removed_even_from_a_trusted_peer(seen_environ, name):
    headers = {header: VALUES[other][0] for other, header in COUNTED.items()}
    others = {"HTTP_X_REAL_IP": CLIENT, "HTTP_X_SCRIPT_NAME": "/evil", "HTTP_X_FORWARDED_SERVER": "evil.example"}
    seen = seen_environ(**{name: 1}, **headers, **others, HTTP_X_FORWARDED_BY=CLIENT)
    left = {header for header in seen if header.startswith(("HTTP_X_FORWARDED", "HTTP_FORWARDED", "HTTP_X_"))}
    assert left == {COUNTED[name]} - {"HTTP_X_FORWARDED_PREFIX"}


# Headers that clients send, by the software that believes them. `mountpoint.wsgi.forwarding_headers` has the sources.
BELIEVED = [
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-Protocol",
    "X-Forwarded-Proto-Version",
    "X-Forwarded-Path",
    "X-Forwarded-Uri",
    "X-Forwarded-Url-Scheme",
    "X-Forwarded-Server-Name",
    "X-Forwarded-User",
    "X-Forwarded-Groups",
    "X-Forwarded-Email",
    "X-Forwarded",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Anything",
    "Forwarded-For",
    "Front-End-Https",
    "X-Url-Scheme",
    "X-Scheme",
    "X-ARR-SSL",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Script-Name",
    "Script-Name",
    "Path-Info",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "Remote-User",
    "Remote-Groups",
    "Remote-Addr",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Auth-Request-User",
    "X-Authenticated-User",
    "X-Authentik-Username",
    "X-WebAuth-User",
    "X-Amzn-Oidc-Identity",
    "X-Goog-Authenticated-User-Email",
    "X-MS-Client-Principal-Name",
    "Cf-Access-Authenticated-User-Email",
    "Tailscale-User-Login",
    "X-SSL-Client-S-DN",
    "SSL-Client-Verify",
    "X-Client-Cert",
]


@pytest.mark.parametrize("header", BELIEVED)
def test_a_header_that_some_software_believes_is_removed(seen_environ, header):
    plain = seen_environ()
    assert seen_environ(**{variable(header): "evil"}) == plain
    assert seen_environ(x_for=1, x_proto=1, REMOTE_ADDR=CLIENT, **{variable(header): "evil"}) == seen_environ(
        REMOTE_ADDR=CLIENT
    )


@pytest.mark.parametrize(
    "header",
    [
        "X-HTTP-Method-Override",
        "X-Request-ID",
        "X-Requested-With",
        "X-Auth-Token",
        "X-Api-Key",
        "X-Client-Version",
        "X-User",
        "X-Schema",
        "X-CSRFToken",
        "Via",
        "Origin",
        "Referer",
        "Authorization",
        "Cookie",
        "Accept",
        "Sec-Fetch-Site",
        "X-Sslmode",
        "Remote",
    ],
)
def test_a_header_of_the_client_itself_is_kept(seen_environ, header):
    assert seen_environ(**{variable(header): "value"})[variable(header)] == "value"


# ------------------------------------------------------------------------------------ headers that are passed on, users

PASSES = {"pass_headers": ["X-Forwarded-Groups", "X-Shop-Role"], "user_header": "X-Forwarded-User"}
SENT = {"HTTP_X_FORWARDED_GROUPS": "a,b", "HTTP_X_SHOP_ROLE": "editor", "HTTP_X_FORWARDED_USER": "ada"}


def test_a_trusted_peer_s_own_headers_are_passed_on(seen_environ):
    seen = seen_environ(**PASSES, **SENT, HTTP_X_FORWARDED_EMAIL="ada@example.com")
    assert seen == seen_environ() | SENT | {"REMOTE_USER": "ada"}


@pytest.mark.parametrize("peer", [CLIENT, "", "localhost", None])
def test_the_same_headers_of_another_peer_are_removed(seen_environ, peer):
    plain = seen_environ(REMOTE_ADDR=peer)
    assert seen_environ(**PASSES, **SENT, REMOTE_ADDR=peer) == plain
    assert "REMOTE_USER" not in plain


def test_only_the_user_header_sets_the_user(seen_environ):
    assert "REMOTE_USER" not in seen_environ(**PASSES, HTTP_REMOTE_USER="eve", HTTP_X_REMOTE_USER="eve")
    assert "REMOTE_USER" not in seen_environ(pass_headers=["X-Forwarded-User"], **SENT)


@pytest.mark.parametrize("value", ["", " ", "\t"])
def test_an_empty_user_header_sets_no_user(seen_environ, value):
    assert "REMOTE_USER" not in seen_environ(user_header="X-Forwarded-User", HTTP_X_FORWARDED_USER=value)


@pytest.mark.parametrize("value", ["eve, ada", "eve,ada", ",ada", "ada,"])
def test_two_users_get_400(ask, value):
    """Servers join two headers with a comma, and one of them could be the client's."""
    assert ask(user_header="X-Forwarded-User", HTTP_X_FORWARDED_USER=value).status == 400


@pytest.mark.parametrize("value", ["ada", "ada@example.com", "Ada Lovelace", "EXAMPLE\\ada", "\xc3\xa9va"])
def test_a_user_reaches_the_app_as_it_was_sent(seen_environ, value):
    seen = seen_environ(user_header="X-Forwarded-User", HTTP_X_FORWARDED_USER=f" {value} ")
    assert seen["REMOTE_USER"] == value


def test_the_user_that_the_server_itself_has_authenticated_stays(seen_environ):
    assert seen_environ(REMOTE_USER="ada")["REMOTE_USER"] == "ada"
    assert seen_environ(**PASSES, REMOTE_USER="ada", REMOTE_ADDR=CLIENT, **SENT)["REMOTE_USER"] == "ada"


def test_a_passed_header_can_be_an_uncounted_forwarding_header(seen_environ):
    seen = seen_environ(pass_headers=["X-Forwarded-For"], HTTP_X_FORWARDED_FOR=f"x, {CLIENT}")
    assert (seen["HTTP_X_FORWARDED_FOR"], seen["REMOTE_ADDR"]) == (f"x, {CLIENT}", "192.0.2.7")
