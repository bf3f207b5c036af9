"""`mountpoint doctor FILE --url URL`: the table at hand, a real nginx between, and the echo to say what arrives."""

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
KEEP = f"location / {{ proxy_pass <app>; {HOST} <headers> }}"


@pytest.fixture
def behind(folder, serve, nginx, examine):
    """Return ``behind(table, locations, headers)``, which looks at a table through nginx; ``behind.front`` is nginx."""

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
        (TABLE, "location /a/ { proxy_pass <app>/a; }", "loop-slash"),
        (TABLE, "location /a/ { proxy_pass <app>/a/a/; }", "prefix-doubled"),
        (f'[proxy]\nstrips = "/apps"\n{TABLE}', "location /apps/a/ { proxy_pass <app>; }", "proxy-keeps"),
    ],
)
def test_the_echo_says_what_arrives(behind, table, locations, symptom):
    done = behind(ECHO + table, locations)
    mount = "/apps/a" if "strips" in table else "/a"
    assert {name for where, name, certainty in done.named if where == mount and certainty == "sure"} == {symptom}
    assert done.code == 1


def test_another_app_in_the_place_of_the_mount_is_noticed_without_the_key(behind):
    done = behind(
        f"{TABLE}\"/\" = \"site_app:make('root', 'root', cookie='roots')\"\n", "location /a/ { proxy_pass <app>/; }"
    )
    assert ("/a", "proxy-strips", "sure") in done.named


def test_a_loop_is_sure_with_the_table(behind):
    done = behind(TABLE, "location /a/ { proxy_pass <app>/a; }")
    assert ("/a", "loop-slash", "sure") in done.named


def test_files_that_another_location_takes_are_sure_with_the_table(behind):
    done = behind(TABLE, KEEP + "location ~ \\.js$ { root /nonexistent; }")
    assert done.named == {("/a", "assets-stolen", "sure"), ("/b", "assets-stolen", "sure")}


def test_a_header_of_the_client_that_is_believed_is_named(behind):
    done = behind(ECHO + TRUST + TABLE, headers="")
    assert done.named == {("/a", "spoofed-header", "sure")}
    [found] = [found for found in done.report["findings"] if found["certainty"] == "sure"]
    assert found["evidence"] == ["X-Forwarded-Proto: gopher is believed; without it the app is told otherwise"]
    assert found["fix"] == 'proxy_set_header X-Forwarded-Proto "";'


def test_a_header_of_the_client_that_nobody_believes_is_a_note(behind):
    done = behind(ECHO + TABLE, headers="")
    assert (done.code, done.named) == (0, set())
    assert {found["symptom"] for found in done.report["findings"]} == {"spoofed-header"}


def test_what_the_proxy_itself_sends_is_no_header_of_the_client(behind):
    done = behind(ECHO + TABLE, headers=CLEARED.replace('X-Forwarded-Port ""', "X-Forwarded-Port 8070"))
    assert done.report["findings"] == []  # and a client's own would be 7


LIMITED = f"[server]\nmax_request_body_size = 65536\n{ECHO}{TABLE}"


@pytest.fixture
def large_body(folder, serve, nginx, examine):
    """Return ``large_body(served, limit)``, how sure it is of large bodies when the table behind nginx is *served*."""

    def large_body(served, limit=""):
        locations = KEEP.replace("<app>", serve(served).url).replace("<headers>", CLEARED)
        front = nginx(f"server {{ listen 80; server_name localhost; {locations} {limit} }}")
        (folder / "mounts.toml").write_text(LIMITED)
        done = examine("mounts.toml", "--url", f"http://localhost:{front.port}/")
        assert {found["symptom"] for found in done.report["findings"]} <= {"large-body"}
        return [found["certainty"] for found in done.report["findings"]]

    return large_body


def test_bodies_over_the_limit_that_are_taken_are_named(large_body):
    assert large_body(ECHO + TABLE) == ["sure"]  # by a server that was started without the limit


def test_bodies_over_the_limit_that_only_the_server_refuses_are_a_note(large_body):
    assert large_body(LIMITED) == ["note"]


def test_bodies_over_the_limit_that_the_proxy_refuses_are_right(large_body):
    assert large_body(ECHO + TABLE, "client_max_body_size 64k;") == []


def test_each_probe_has_a_query_string_of_its_own(behind):
    behind(ECHO + TABLE)
    behind.front.stop()
    probes = [target for _, _, target in behind.front.requests if "mountpoint-doctor=" in target]
    assert len(probes) >= 8
    assert len(set(probes)) == len(probes)


def test_without_the_key_nothing_is_spoofed_and_that_is_said(behind):
    done = behind(TRUST + TABLE, headers="")
    behind.front.stop()
    assert (done.code, done.named) == (0, set())
    assert "spoofed forwarding headers, bodies over the limit" in done.skipped
    assert not [target for _, method, target in behind.front.requests if "?" in target or method != "GET"]


def test_the_key_is_in_no_log(behind, serve, nginx, folder):
    done = behind(ECHO + TABLE)
    behind.front.stop()
    assert KEY not in done.log + str(done.report) + behind.front.log() + behind.front.access_log.read_text()


def test_a_mount_alone_is_looked_at_by_its_address(folder, serve, nginx, examine):
    locations = KEEP.replace("<app>", serve(TABLE).url).replace("<headers>", CLEARED)
    front = nginx(f"server {{ listen 80; server_name localhost; {locations} }}")
    done = examine("mounts.toml", "--url", f"http://localhost:{front.port}/b/")
    front.stop()
    assert done.report["mounts"] == ["/b"]
    assert not [target for _, _, target in front.requests if re.match(r"/a/.", target)]
