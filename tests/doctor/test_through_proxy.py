"""`mountpoint doctor FILE --url URL`: a table behind a real nginx, and the echo that reports how requests arrive."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.nginx

KEY = "0123456789abcdef0123456789abcdef"
TABLE = """
[mounts]
"/a" = "site_app:make('a')"
"/b" = "site_app:make('b', '<a href=/a/>sibling</a>', cookie='other')"
"""
ECHO = f'[doctor]\nkey = "{KEY}"\n'
TRUST = '[proxy]\ntrusted = ["127.0.0.1"]\nx_proto = 1\n'
CLEARED = "".join(
    f'proxy_set_header {name} "";'
    for name in ("X-Forwarded-Prefix", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Port")
)
HOST = 'proxy_set_header Host $host:$server_port; proxy_set_header Forwarded "";'
HOST += 'proxy_set_header X-Forwarded-Ssl ""; proxy_set_header X-Original-URL "";'
KEEP = f"location / {{ proxy_pass <app>; {HOST} <headers> }}"


@pytest.fixture
def behind(folder, serve, nginx, examine):
    """Return ``behind(table, locations, headers)``: it examines a table through nginx, which is ``behind.front``."""

    def behind(table, locations=KEEP, headers=CLEARED):
        app = serve(table)
        text = locations.replace("<app>", app.url).replace("<headers>", headers)
        behind.front = nginx(f"server {{ listen 80; server_name localhost; {text} }}")
        return examine("mounts.toml", "--url", f"http://localhost:{behind.front.port}/")

    return behind


def test_a_right_proxy_has_no_finding(behind):
    done = behind(ECHO + TABLE)
    assert (done.code, done.report["findings"], done.report["mounts"]) == (0, [], ["/a", "/b"])
    assert done.report["server"].startswith("nginx")


def test_a_right_proxy_that_strips_has_no_finding(behind):
    done = behind(
        f'{ECHO}[proxy]\nstrips = "/apps"\n{TABLE}',
        KEEP.replace("/ { proxy_pass <app>;", "/apps/ { proxy_pass <app>/;"),
    )
    assert (done.code, done.named, done.report["mounts"]) == (0, set(), ["/apps/a", "/apps/b"])


@pytest.mark.parametrize(
    ("table", "locations", "symptom"),
    [
        (TABLE, "location /a/ { proxy_pass <app>/; }", "proxy-strips"),
        (TABLE, "location /a { proxy_pass <app>/; }", "proxy-strips"),
        (TABLE, "location /a/ { proxy_pass <app>/a; }", "loop-slash"),
        (TABLE, "location /a { proxy_pass <app>/a/; }", "path-changed"),
        (TABLE, "location /a/ { proxy_pass <app>/b/; }", "path-changed"),
        (TABLE, "location /a/ { proxy_pass <app>/a/a/; }", "prefix-doubled"),
        (f'[proxy]\nstrips = "/apps"\n{TABLE}', "location /apps/a/ { proxy_pass <app>; }", "proxy-keeps"),
    ],
)
def test_a_path_that_arrives_wrong_names_the_fault_of_the_proxy(behind, table, locations, symptom):
    done = behind(ECHO + table, locations)
    mount = "/apps/a" if "strips" in table else "/a"
    assert {name for where, name, certainty in done.named if where == mount and certainty == "sure"} == {symptom}
    assert done.code == 1


LOGIN = """
def app(environ, start_response):
    is_login = environ["PATH_INFO"] == "/login"
    start_response("200 OK" if is_login else "302 Found", [] if is_login else [("Location", "/a/login?next=/")])
    return [b"login"]
"""
ROOT_404 = "location = /a/ { return 404; } location / { proxy_pass <app>; <headers> }"


@pytest.mark.parametrize(
    ("locations", "symptom", "certainty"),
    [
        ("location /a/ { proxy_pass <app>/; }", "proxy-strips", "sure"),
        ("location /a { proxy_pass <app>/; }", "proxy-strips", "sure"),
        ("location /a/ { proxy_pass <app>/b/; }", "path-changed", "sure"),
        ("location /a/ { proxy_pass <app>/x/; }", "path-changed", "likely"),
        ("location /a/ { proxy_pass <app>/a/a/; }", "path-changed", "likely"),
        ("rewrite ^/(.*)/$ /$1 permanent; location / { proxy_pass <app>; }", "loop-bare-prefix", "sure"),
        (ROOT_404, "path-changed", "likely"),
    ],
)
def test_a_changed_path_is_named_without_a_key(behind, locations, symptom, certainty):
    done = behind(TABLE, locations)
    assert {found[1:] for found in done.named if found[0] == "/a"} == {(symptom, certainty)}


def test_a_login_wall_is_not_taken_for_a_proxy_that_strips(behind, folder):
    """Every path redirects to the login, so the path that a stripping proxy would need does so too."""
    (folder / "wall.py").write_text(LOGIN)
    done = behind('[mounts]\n"/a" = "wall:app"\n', ROOT_404)
    assert [found for found in done.named if found[2] == "sure"] == []


def test_another_app_that_answers_for_the_mount_is_seen_without_a_key(behind):
    done = behind(
        f"{TABLE}\"/\" = \"site_app:make('root', 'root', cookie='roots')\"\n", "location /a/ { proxy_pass <app>/; }"
    )
    assert ("/a", "proxy-strips", "sure") in done.named


def test_a_redirect_loop_is_sure_if_the_app_alone_has_a_page(behind):
    done = behind(TABLE, "location /a/ { proxy_pass <app>/a; }")
    assert ("/a", "loop-slash", "sure") in done.named


def test_stolen_files_are_sure_if_the_app_alone_has_them(behind):
    done = behind(TABLE, KEEP + "location ~ \\.js$ { root /nonexistent; }")
    assert done.named == {("/a", "assets-stolen", "sure"), ("/b", "assets-stolen", "sure")}


def test_a_spoofed_header_that_mountpoint_trusts_is_sure(behind):
    done = behind(ECHO + TRUST + TABLE, headers="")
    assert done.named == {("/a", "spoofed-header", "sure")}
    [found] = [found for found in done.report["findings"] if found["certainty"] == "sure"]
    assert found["evidence"] == ["a client's X-Forwarded-Proto: gopher reaches mountpoint, which trusts it"]
    assert found["fix"] == 'proxy_set_header X-Forwarded-Proto "";'


def test_a_spoofed_header_that_mountpoint_ignores_is_a_note(behind):
    done = behind(ECHO + TABLE, headers="")
    assert (done.code, done.named) == (0, set())
    assert {found["symptom"] for found in done.report["findings"]} == {"spoofed-header"}


def test_a_spoofed_user_that_mountpoint_passes_on_is_sure(behind):
    trust = '[proxy]\ntrusted = ["127.0.0.1"]\nuser = "X-Forwarded-User"\n'
    done = behind(ECHO + trust + TABLE)
    assert done.named == {("/a", "spoofed-header", "sure")}
    [found] = done.report["findings"]
    assert found["fix"] == 'proxy_set_header X-Forwarded-User "";'


def test_a_header_that_the_proxy_sets_is_not_spoofed(behind):
    done = behind(ECHO + TABLE, headers=CLEARED.replace('X-Forwarded-Port ""', "X-Forwarded-Port 8070"))
    assert done.report["findings"] == []  # the doctor sends 7


LIMITED = f"[server]\nmax_request_body_size = 65536\n{ECHO}{TABLE}"


@pytest.fixture
def large_body(folder, serve, nginx, examine):
    """Return ``large_body(served, limit)``: the certainties of the findings.

    The server behind nginx runs with the table *served*, and the doctor reads one that has a limit.
    """

    def large_body(served, limit=""):
        locations = KEEP.replace("<app>", serve(served).url).replace("<headers>", CLEARED)
        front = nginx(f"server {{ listen 80; server_name localhost; {locations} {limit} }}")
        (folder / "mounts.toml").write_text(LIMITED)
        done = examine("mounts.toml", "--url", f"http://localhost:{front.port}/")
        assert {found["symptom"] for found in done.report["findings"]} <= {"large-body"}
        return [found["certainty"] for found in done.report["findings"]]

    return large_body


def test_a_body_over_the_limit_that_the_server_accepts_is_sure(large_body):
    assert large_body(ECHO + TABLE) == ["sure"]  # the server runs without the limit


def test_a_body_over_the_limit_that_only_mountpoint_rejects_is_a_note(large_body):
    assert large_body(LIMITED) == ["note"]


def test_a_body_over_the_limit_that_the_proxy_rejects_is_no_finding(large_body):
    assert large_body(ECHO + TABLE, "client_max_body_size 64k;") == []


def test_a_limit_of_more_than_16_mib_is_not_probed(behind):
    done = behind(f"[server]\nmax_request_body_size = {16 * 2**20 + 1}\n{ECHO}{TABLE}")
    assert done.code == 0
    assert "bodies over the limit: [server] max_request_body_size is more than 16 MiB" in done.skipped


def test_a_header_of_the_proxy_that_mountpoint_rejects_is_reported(behind):
    done = behind(ECHO + TRUST + TABLE, headers="proxy_set_header X-Forwarded-Proto gopher;")
    assert ("/a", "failing", "likely") in done.named
    [evidence] = next(found["evidence"] for found in done.report["findings"] if found["mount"] == "/a")
    assert evidence == "mountpoint rejects a header of the proxy: 'gopher' is neither http nor https"


def test_each_probe_has_its_own_query_string(behind):
    behind(ECHO + TABLE)
    behind.front.stop()
    probes = [target for _, _, target in behind.front.requests if "mountpoint-doctor=" in target]
    assert len(probes) >= 8
    assert len(set(probes)) == len(probes)


def test_without_a_key_no_spoofed_header_is_sent(behind):
    done = behind(TRUST + TABLE, headers="")
    behind.front.stop()
    assert (done.code, done.named) == (0, set())
    assert "spoofed forwarding headers, bodies over the limit" in done.skipped
    assert not [target for _, method, target in behind.front.requests if "?" in target or method != "GET"]


def test_the_key_is_not_in_any_log(behind, serve, nginx, folder):
    done = behind(ECHO + TABLE)
    behind.front.stop()
    assert KEY not in done.log + str(done.report) + behind.front.log() + behind.front.access_log.read_text()


def test_the_url_of_one_mount_limits_the_examination_to_it(folder, serve, nginx, examine):
    locations = KEEP.replace("<app>", serve(TABLE).url).replace("<headers>", CLEARED)
    front = nginx(f"server {{ listen 80; server_name localhost; {locations} }}")
    done = examine("mounts.toml", "--url", f"http://localhost:{front.port}/b/")
    front.stop()
    assert done.report["mounts"] == ["/b"]
    assert not [target for _, _, target in front.requests if re.match(r"/a/.", target)]


def test_mounts_behind_a_proxy_share_the_requests(folder, serve, nginx, examine):
    table = f"{ECHO}{TABLE}"
    locations = KEEP.replace("<app>", serve(table).url).replace("<headers>", "")
    front = nginx(f"server {{ listen 80; server_name localhost; {locations} }}")
    done = examine("mounts.toml", "--url", f"http://localhost:{front.port}/", "--requests", "12")
    assert done.report["requests"] == 12
    assert "everything that needs more than 12 requests: at /a, /b" in done.skipped


def test_some_requests_are_kept_for_the_checks_with_the_key(folder, serve, nginx, examine):
    links = "".join(f"<a href=/a/{n}>x</a>" for n in range(60))
    table = f"""{ECHO}[mounts]\n"/a" = "site_app:make('a', '{links}')"\n"""
    locations = KEEP.replace("<app>", serve(table).url).replace("<headers>", "")
    front = nginx(f"server {{ listen 80; server_name localhost; {locations} }}")
    done = examine("mounts.toml", "--url", f"http://localhost:{front.port}/", "--requests", "50")
    assert "everything that needs more than 50 requests: at /a" in done.skipped
    assert "spoofed-header" in {found["symptom"] for found in done.report["findings"]}


def test_a_link_to_the_listen_address_is_a_fault_behind_a_proxy_only(folder, serve, nginx, examine):
    table = """[mounts]\n"/a" = "site_app:make('a', '<a href=http://127.0.0.1:8080/a/history>x</a>')"\n"""
    app = serve(table)
    front = nginx(f"server {{ listen 80; server_name localhost; location / {{ proxy_pass {app.url}; {HOST} }} }}")
    assert ("/a", "private-host", "sure") in examine("mounts.toml", "--url", f"http://localhost:{front.port}/").named
