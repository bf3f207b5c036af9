"""The dispatcher: rules 8, 10 to 12 and 14 to 19. (The redirect of rule 13 is in test_redirects.py.)"""

import json
from wsgiref.util import FileWrapper

import pytest
from support.wsgi_calls import never_called

from mountpoint import ConfigError, Dispatcher, Mount, MountTable
from mountpoint.wsgi.record import RequestRecord
from mountpoint.wsgi.responses import unavailable

# --------------------------------------------------------------------------------------------------------- construction


@pytest.mark.parametrize(
    "make",
    [
        lambda tv, home: Dispatcher({"/tv_ws": tv}, default=home),
        lambda tv, home: Dispatcher({"/tv_ws": tv, "/": home}),
        lambda tv, home: Dispatcher([Mount("/tv_ws", tv)], default=home),
        lambda tv, home: Dispatcher(iter([Mount("/", home), Mount("/tv_ws", tv)])),
        lambda tv, home: Dispatcher(MountTable([Mount("/tv_ws", tv), Mount("/", home)])),
        lambda tv, home: Dispatcher(MountTable([Mount("/tv_ws", tv)]), default=home),
        lambda tv, home: Dispatcher({}, default=Dispatcher({"/tv_ws": tv, "/": home})),
    ],
)
def test_a_dispatcher_accepts_a_mapping_a_list_or_a_table_and_a_default(call, echo, make):
    dispatcher = make(echo("tv"), echo("home"))
    assert call(dispatcher, "/tv_ws/x").seen["app"] == "tv"
    assert call(dispatcher, "/x").seen["app"] == "home"


@pytest.mark.parametrize(
    "mounts",
    [{"/": never_called}, {"": never_called}, [Mount("/", never_called)], MountTable([Mount("", never_called)])],
)
def test_a_root_together_with_a_default_is_rejected(mounts):
    with pytest.raises(ConfigError) as caught:
        Dispatcher(mounts, default=never_called)
    assert str(caught.value) == "/: expected one app for the root, found a mount and default; remove one of them"


def test_a_default_is_not_the_root_of_a_named_host(call, echo):
    dispatcher = Dispatcher({"example.com/": echo("there")}, default=echo("home"))
    assert call(dispatcher, "/", HTTP_HOST="example.com").seen["app"] == "there"
    assert call(dispatcher, "/").seen["app"] == "home"


def test_a_bad_table_names_every_bad_mount_beside_the_default():
    with pytest.raises(ConfigError) as caught:
        Dispatcher({"/": never_called, "shop": never_called, "/none": None}, default=never_called)
    assert str(caught.value).splitlines() == [
        "/: expected one app for the root, found a mount and default; remove one of them",
        'shop: expected a path that starts with a slash, found "shop"; write "/shop"',
        "/none: expected a WSGI application (a callable), found None",
    ]


# ----------------------------------------------------------------------------------------------------------- the shift


@pytest.mark.parametrize(
    "tail",
    ["/", "//", "//x", "/x/", "/%2F", "/%2e%2e/x", "/a\\b", "/tv_ws", "/a\x01b", "/\xc3\xa9", "/\xff", "/;v=1", "/..x"],
)
def test_the_tail_reaches_the_app_byte_for_byte(call, echo, tail):
    seen = call(Dispatcher({"/tv_ws": echo("tv")}), "/tv_ws" + tail).seen
    assert (seen["script_name"], seen["path_info"]) == ("/tv_ws", tail)


@pytest.mark.parametrize("path", ["//tv_ws/x", "/TV_WS/x", "/tv_ws;v=1/x", "/tv_wsx", "/tv_ws\\x", "/\ttv_ws/x"])
def test_a_path_that_only_resembles_the_mount_goes_to_the_root_unchanged(call, echo, path):
    seen = call(Dispatcher({"/tv_ws": never_called}, default=echo("home")), path).seen
    assert (seen["script_name"], seen["path_info"]) == ("", path)


def test_the_prefix_moves_from_path_info_to_script_name(call, echo):
    seen = call(Dispatcher({"/café/menü": echo("menu")}), "/caf\xc3\xa9/men\xc3\xbc/x").seen
    assert (seen["script_name"], seen["path_info"]) == ("/caf\xc3\xa9/men\xc3\xbc", "/x")


def test_the_app_gets_a_copy_of_its_own(make_environ):
    given = []

    def app(environ, start_response):
        given.append(environ)
        environ.clear()
        start_response("200 OK", [])
        return []

    environ = make_environ("/tv_ws/x")
    before = dict(environ)
    Dispatcher({"/tv_ws": app})(environ, lambda status, headers: None)
    assert given[0] is not environ
    assert environ == before


def test_a_generator_sees_its_own_environ_after_the_call_has_returned(make_environ):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield environ["SCRIPT_NAME"], environ["PATH_INFO"]

    dispatcher = Dispatcher({"/a": app, "/b": app})
    environ = make_environ("/a/1")
    first = dispatcher(environ, lambda status, headers: None)
    environ["PATH_INFO"] = "/b/2"  # a server may use its environ again
    second = dispatcher(environ, lambda status, headers: None)
    assert [next(second), next(first)] == [("/b", "/2"), ("/a", "/1")]


@pytest.mark.parametrize(
    ("outer", "script_name"),
    [("", "/tv_ws"), ("/apps", "/apps/tv_ws"), ("/apps/", "/apps/tv_ws"), ("/", "/tv_ws"), ("/a/b", "/a/b/tv_ws")],
)
def test_an_incoming_script_name_is_prepended_to(call, echo, outer, script_name):
    seen = call(Dispatcher({"/tv_ws": echo("tv")}), "/tv_ws/x", SCRIPT_NAME=outer).seen
    assert (seen["script_name"], seen["path_info"]) == (script_name, "/x")


@pytest.mark.parametrize(
    ("outer", "path", "script_name", "path_info"),
    [
        ("", "/x", "", "/x"),
        ("", "//x", "", "//x"),
        ("", "", "", "/"),
        ("/", "", "", "/"),
        ("/", "/x", "", "/x"),
        ("/apps", "", "/apps", ""),
        ("/apps", "/x", "/apps", "/x"),
        ("/apps/", "/x", "/apps", "/x"),
        ("", None, "", "/"),
        (None, "/x", "", "/x"),
        (None, None, "", "/"),
        (None, "", "", "/"),
        ("/apps", None, "/apps", ""),
    ],
)
def test_the_root_changes_nothing_except_for_an_empty_path(call, echo, outer, path, script_name, path_info):
    seen = call(Dispatcher({"/": echo("home")}), path, SCRIPT_NAME=outer).seen
    assert (seen["script_name"], seen["path_info"]) == (script_name, path_info)


def test_a_missing_script_name_counts_as_empty(call, echo):
    seen = call(Dispatcher({"/tv_ws": echo("tv")}), "/tv_ws/x", SCRIPT_NAME=None).seen
    assert (seen["script_name"], seen["path_info"]) == ("/tv_ws", "/x")


@pytest.mark.parametrize("path", ["", None])
def test_an_empty_path_without_a_root_gets_404(call, path):
    assert call(Dispatcher({"/tv_ws": never_called}), path).status == 404


# ------------------------------------------------------------------------------------------------------ the environ


def test_the_rest_of_environ_does_not_change(call, echo):
    sent = {
        "REQUEST_URI": "/tv_ws//x?stn=Lund",
        "RAW_URI": "/tv_ws//x?stn=Lund",
        "QUERY_STRING": "stn=Lund",
        "HTTP_X_CUSTOM": "1",
        "CONTENT_TYPE": "text/plain",
    }
    seen = call(Dispatcher({"/tv_ws": echo("tv")}), "/tv_ws//x", **sent).seen["environ"]
    assert sent.items() <= seen.items()


def test_environ_names_the_mount_as_written_and_normalised(call, echo):
    dispatcher = Dispatcher([Mount("Example.com/Café/", echo("here"))])
    seen = call(dispatcher, "/Caf\xc3\xa9/x", HTTP_HOST="example.com").seen
    assert seen["mount"] == "example.com/Café"


def test_the_record_of_the_server_is_shared_and_names_the_mount(make_environ):
    given = []

    def app(environ, start_response):
        given.append(environ["mountpoint.request"])
        start_response("200 OK", [])
        return []

    record = RequestRecord("192.0.2.9")
    Dispatcher({"/tv_ws": app})(
        make_environ("/tv_ws/x", **{"mountpoint.request": record}), lambda status, headers: None
    )
    assert given == [record]
    assert (record.mount, record.remote_addr, record.reason) == ("/tv_ws", "192.0.2.9", None)


def test_without_a_record_from_the_server_the_dispatcher_makes_one(make_environ):
    given = []

    def app(environ, start_response):
        given.append(environ["mountpoint.request"])
        start_response("200 OK", [])
        return []

    Dispatcher({"/tv_ws": app})(make_environ("/tv_ws/x"), lambda status, headers: None)
    assert (given[0].mount, given[0].remote_addr) == ("/tv_ws", "192.0.2.7")


@pytest.mark.parametrize(
    ("path", "mount", "reason"),
    [
        ("/tv_ws", "/tv_ws", "the mount's prefix without its slash"),
        ("/nowhere", None, "no mount owns the path"),
        ("/tv_ws/../x", None, "the path has a dot segment"),
        ("tv_ws", None, "the path does not start with a slash"),
    ],
)
def test_the_record_has_the_reason_of_our_own_response(call, path, mount, reason):
    record = RequestRecord()
    call(Dispatcher({"/tv_ws": never_called}), path, **{"mountpoint.request": record})
    assert (record.mount, record.reason) == (mount, reason)


def test_start_response_and_the_response_pass_through_unwrapped(make_environ, tmp_path):
    file = (tmp_path / "big").open("wb+")
    with file:
        for response in ([b"one item"], FileWrapper(file), iter([b"a", b"b"])):
            given = []

            def app(environ, start_response, response=response, given=given):
                given.append(start_response)
                return response

            def start_response(status, headers, exc_info=None):
                raise AssertionError

            assert Dispatcher({"/tv_ws": app})(make_environ("/tv_ws/x"), start_response) is response
            assert given == [start_response]


# ------------------------------------------------------------------------------------------------- nested dispatchers


def test_dispatchers_nest(call, echo):
    record = RequestRecord()
    inner = Dispatcher({"/users": echo("users")}, default=echo("home"))
    outer = Dispatcher({"/admin": inner})
    seen = call(outer, "/admin/users/7", SCRIPT_NAME="/apps", **{"mountpoint.request": record}).seen
    assert (seen["app"], seen["script_name"], seen["path_info"]) == ("users", "/apps/admin/users", "/7")
    assert seen["mount"] == "/users"
    assert record.mount == "/admin", "the record keeps the outermost"
    assert call(outer, "/admin/users")["Location"] == "/admin/users/"
    assert call(outer, "/admin/").seen["path_info"] == "/"
    assert call(Dispatcher({"/admin": Dispatcher({"/users": never_called})}), "/admin/x").status == 404


def test_an_inner_dispatcher_may_get_an_empty_path(call, echo):
    outer = Dispatcher([Mount("/admin", Dispatcher({}, default=echo("home")), slash="pass")])
    seen = call(outer, "/admin").seen
    assert (seen["script_name"], seen["path_info"]) == ("/admin", "")


# -------------------------------------------------------------------------------------------------- replacing the table


def test_a_request_finishes_on_the_table_that_it_started_with(call, echo):
    def app(environ, start_response):
        dispatcher.table = MountTable([Mount("/", echo("new"))])
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield json.dumps([environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["mountpoint.mount"]]).encode()

    dispatcher = Dispatcher({"/old": app})
    assert call(dispatcher, "/old/x").seen == ["/old", "/x", "/old"]
    assert call(dispatcher, "/old/x").seen["app"] == "new"


def test_the_table_is_read_once_in_a_request(call, echo):
    tables = [MountTable([Mount("/a", echo("a"))]), MountTable([Mount("example.com/", never_called)])]

    class Replaced(Dispatcher):
        table = property(lambda self: tables.pop(0), lambda self, table: None)

    assert call(Replaced({"/a": never_called}), "/a/x").seen["app"] == "a"


# ------------------------------------------------------------------------------------- requests that never reach an app


@pytest.mark.parametrize(
    "path", ["x", "*", "tv_ws/x", "http://example.com/", "example.com:443", "\\x", " /x", "\0", "?"]
)
def test_a_path_without_a_leading_slash_gets_400(call, path):
    assert call(Dispatcher({}, default=never_called), path).status == 400


def test_options_of_the_whole_server_gets_204(call):
    response = call(Dispatcher({}, default=never_called), "*", "OPTIONS")
    assert (response.status, response.headers.items(), response.body) == (204, [], b"")


DOT_SEGMENTS = ["/.", "/..", "/./x", "/../x", "/tv_ws/.", "/tv_ws/..", "/tv_ws/./x", "/tv_ws/x/../y", "/tv_ws//..//x"]


@pytest.mark.parametrize("path", [*DOT_SEGMENTS, "/admin/../tv_ws/x", "/x/..", "/.\0/../x", "/x\n/.."])
def test_a_dot_segment_gets_400_for_any_mount_and_for_none(call, path):
    for dispatcher in (
        Dispatcher({"/tv_ws": never_called}),
        Dispatcher({"/tv_ws": never_called}, default=never_called),
    ):
        assert call(dispatcher, path).status == 400


@pytest.mark.parametrize(
    "path", ["/...", "/.x", "/x.", "/..x", "/x..", "/a.b/c", "/..;/x", "/.\\x", "/..\\x", "/..%2f", "/..\n"]
)
def test_a_segment_that_contains_dots_is_not_a_dot_segment(call, echo, path):
    assert call(Dispatcher({}, default=echo("home")), path).seen["path_info"] == path


def test_a_mount_may_allow_dot_segments_in_its_own_paths_only(call, echo):
    dispatcher = Dispatcher([Mount("/files", echo("files"), dot_segments="pass"), Mount("/tv_ws", never_called)])
    assert call(dispatcher, "/files/../tv_ws/x").seen["path_info"] == "/../tv_ws/x"
    assert call(dispatcher, "/files/.").seen["path_info"] == "/."
    assert call(dispatcher, "/tv_ws/../files/x").status == 400
    assert call(dispatcher, "/x/../files/x").status == 400
    assert call(dispatcher, "/..").status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
def test_a_path_without_a_mount_gets_404_and_nothing_is_echoed(call, method):
    response = call(Dispatcher({"/secret_mount": never_called}), "/<script>x", method, QUERY_STRING="q=<script>")
    assert (response.status, response["Content-Type"]) == (404, "text/plain")
    assert response.body == (b"" if method == "HEAD" else b"404 Not Found\n")


OURS = {"/tv_ws": 308, "/tv_ws/..": 400, "x": 400, "/nowhere": 404, "/broken/x": 503}


@pytest.mark.parametrize(("path", "status"), OURS.items(), ids=OURS)
def test_our_own_responses_have_a_length_and_no_body_for_head(call, path, status):
    dispatcher = Dispatcher({"/tv_ws": never_called, "/broken": unavailable(60, "the app could not be loaded")})
    get, head = call(dispatcher, path), call(dispatcher, path, "HEAD")
    assert get.status == head.status == status
    assert get.headers.items() == head.headers.items()
    assert get["Content-Length"] == str(len(get.body))
    assert head.body == b""


def test_a_broken_app_gets_503_with_retry_after(call):
    record = RequestRecord()
    dispatcher = Dispatcher({"/broken": unavailable(60, "the app could not be loaded")})
    response = call(dispatcher, "/broken/x", **{"mountpoint.request": record})
    assert (response.status, response["Retry-After"], response.body) == (503, "60", b"503 Service Unavailable\n")
    assert (record.mount, record.reason) == ("/broken", "the app could not be loaded")
