"""The apps of a whole table are loaded, and one that fails does not stop the others."""

import logging
import sys

import pytest
from support.tables import imports_undone, write

import mountpoint
from mountpoint.config.reader import load_config
from mountpoint.errors import ConfigError, LoadError
from mountpoint.loading.loader import load_mounts
from mountpoint.loading.sys_path import SysPath

APP = """
def app(environ, start_response):
    body = f"{__name__} {environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
"""


@pytest.fixture
def loaded(tmp_path):
    """Load the mounts of a table: ``loaded(toml, {"tv.py": "..."})``."""

    def loaded(toml, files):
        write(tmp_path, {"mounts.toml": toml, **files})
        return list(load_mounts(load_config(tmp_path / "mounts.toml")))

    with imports_undone(tmp_path):
        yield loaded


@pytest.fixture
def site(tmp_path):
    """Load a table with `mountpoint.load`: ``site(toml, files)``."""

    def site(toml, files, **options):
        write(tmp_path, {"mounts.toml": toml, **files})
        return mountpoint.load(tmp_path / "mounts.toml", **options)

    with imports_undone(tmp_path):
        yield site


# --------------------------------------------------------------------------------------------------------- sys.path


def test_the_roots_are_first_on_sys_path_in_table_order(loaded, tmp_path):
    loaded(
        """
        [mounts]
        "/c" = "c/one.py:app"
        "/a" = "a/two.py:app"
        "/d" = "three:app"
        "/b" = { app = "four:app", root = "b" }
        "/again" = "c/five.py:app"
        """,
        {"c/one.py": APP, "a/two.py": APP, "three.py": APP, "b/four.py": APP, "c/five.py": APP},
    )
    assert sys.path[:4] == [str(tmp_path / name) for name in ("c", "a", "", "b")]
    assert not any(name.startswith(str(tmp_path)) for name in sys.path[4:])


def test_a_root_that_is_on_sys_path_already_moves_to_the_front(tmp_path):
    with imports_undone(tmp_path):
        sys.path.append(str(tmp_path))
        SysPath().set_roots([tmp_path])
        assert sys.path[0] == str(tmp_path)
        assert sys.path.count(str(tmp_path)) == 1


def test_a_root_stays_on_sys_path_for_imports_in_requests(loaded):
    code = "def app(environ, start_response):\n    import late\n    return late.value\n"
    [mount] = loaded('[mounts]\n"/" = "tv/web.py:app"\n', {"tv/web.py": code, "tv/late.py": "value = [b'late']\n"})
    assert mount.app({}, print) == [b"late"]


@pytest.mark.parametrize("mangle", ["sys.path.insert(0, 'lib')", "sys.path = []", "sys.path.reverse()"])
def test_an_app_cannot_change_sys_path_for_the_others(loaded, tmp_path, monkeypatch, mangle):
    monkeypatch.setattr(sys, "path", sys.path)  # restores a list that the app replaces
    toml = '[mounts]\n"/a" = "a/web.py:app"\n"/b" = "b/blog.py:app"\n'
    helped = f"import helper\nassert helper.mine\n{APP}"
    mangle = mangle.replace("'lib'", repr(str(tmp_path / "lib")))
    files = {"a/web.py": f"import sys\n{mangle}\n{APP}", "b/blog.py": helped, "b/helper.py": "mine = True\n"}
    a, b = loaded(toml, {**files, "lib/helper.py": "mine = False\n"})
    assert (a.state, b.state) == ("ready", "ready")
    assert sys.path[:2] == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_two_paths_to_one_folder_are_one_root(loaded, tmp_path):
    one, other = loaded(
        '[mounts]\n"/a" = { app = "web:app", root = "tv" }\n"/b" = { app = "web:app", root = "./x/../tv" }\n',
        {"tv/web.py": APP, "x/readme.txt": ""},
    )
    assert one.app is other.app
    assert sum(name.startswith(str(tmp_path)) for name in sys.path) == 1


# ------------------------------------------------------------------------------------------- shared apps and factories


def test_mounts_with_the_same_root_and_attribute_share_the_app(loaded):
    one, other, third = loaded(
        '[mounts]\n"/a" = "web:app"\n"/b" = "web:app"\n"/c" = "web"\n', {"web.py": f"{APP}\nprint('imported')\n"}
    )
    assert one.app is other.app is third.app


def test_a_factory_is_called_once_for_each_mount(loaded):
    code = """
        made = []
        def make(name="x"):
            app = lambda environ, start_response: []
            made.append((name, app))
            return app
        """
    one, other, third = loaded(
        """
        [mounts]
        "/a" = "web:make('one')"
        "/b" = "web:make('one')"
        "/c" = "web:make('two')"
        """,
        {"web.py": code},
    )
    assert sys.modules["web"].made == [("one", one.app), ("one", other.app), ("two", third.app)]
    assert one.app is not other.app


# ------------------------------------------------------------------------------------------------------------- load()


TWO = '[mounts]\n"/good" = "good:app"\n"/bad" = "bad:app"\n'
FILES = {"good.py": APP, "bad.py": "1 / 0\n"}


def test_load_returns_a_wsgi_app_with_every_mount(site, call):
    app = site('[mounts]\n"/a" = "one:app"\n"/b" = "two:app"\n', {"one.py": APP, "two.py": APP})
    assert call(app, "/a/x").body == b"one /a|/x"
    assert call(app, "/b/").body == b"two /b|/"
    assert call(app, "/c").status == 404
    assert call(app, "/a")["Location"] == "/a/"


def test_load_applies_the_proxy_section(site, call):
    code = """
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [(environ["SCRIPT_NAME"] + str(environ.get("HTTP_X_FORWARDED_PREFIX"))).encode()]
        """
    app = site('[mounts]\n"/a" = "one:app"\n[proxy]\nstrips = "/apps"\n', {"one.py": code})
    assert call(app, "/a/x", HTTP_X_FORWARDED_PREFIX="/evil").body == b"/apps/aNone"


def test_one_broken_app_answers_503_and_the_rest_serve(site, call):
    app = site(TWO, FILES)
    answer = call(app, "/bad/x")
    assert (answer.status, answer["Retry-After"]) == (503, "60")
    assert b"Zero" not in answer.body
    assert call(app, "/good/x").body == b"good /good|/x"


def test_a_broken_app_is_logged_with_its_traceback(site, caplog, tmp_path):
    with caplog.at_level(logging.ERROR, "mountpoint"):
        site(TWO, FILES)
    [record] = caplog.records
    text = record.getMessage()
    assert text.startswith('/bad is broken: "bad:app" could not be imported: ZeroDivisionError: division by zero\n')
    assert f'File "{tmp_path / "bad.py"}", line 1' in text
    assert "importlib" not in text
    assert "importing.py" not in text


def test_strict_raises_and_names_the_broken_mounts(site):
    with pytest.raises(LoadError, match="1 of 2 mounts failed to load: /bad"):
        site(TWO, FILES, strict=True)


def test_strict_returns_the_app_if_every_mount_loads(site, call):
    app = site('[mounts]\n"/good" = "good:app"\n', FILES, strict=True)
    assert call(app, "/good/x").status == 200


def test_strict_in_the_file_does_not_apply_to_load(site, call):
    app = site(f"{TWO}[server]\nstrict = true\n", FILES)
    assert call(app, "/bad/").status == 503


def test_load_raises_config_error_for_a_wrong_table(site):
    with pytest.raises(ConfigError, match="unknown key"):
        site('[mounts."/a"]\napp = "good:app"\nslahs = 1\n', FILES)


def test_load_configures_no_logging_and_opens_no_sockets(site, tmp_path):
    site(f'{TWO}[logging.root]\nhandlers = ["nowhere"]\n[server]\nlisten = "unix:{tmp_path}/x.sock"\n', FILES)
    assert not (tmp_path / "x.sock").exists()


def test_load_reads_mounts_toml_in_the_working_directory(tmp_path, monkeypatch, call):
    write(tmp_path, {"mounts.toml": '[mounts]\n"/a" = "one:app"\n', "one.py": APP})
    monkeypatch.chdir(tmp_path)
    with imports_undone(tmp_path):
        assert call(mountpoint.load(), "/a/x").body == b"one /a|/x"


def test_a_root_that_vanishes_breaks_only_its_mount(tmp_path):
    write(
        tmp_path,
        {"mounts.toml": '[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n', "a/one.py": APP, "b/two.py": APP},
    )
    config = load_config(tmp_path / "mounts.toml")
    (tmp_path / "b" / "two.py").unlink()
    (tmp_path / "b").rmdir()
    with imports_undone(tmp_path):
        a, b = load_mounts(config)
    assert (a.error, b.app) == (None, None)
    assert str(tmp_path / "b") in str(b.error)
