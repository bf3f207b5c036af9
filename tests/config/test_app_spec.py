import re
import sys

import pytest

from mountpoint.config.app_spec import parse_spec


def test_a_module_and_an_attribute():
    spec = parse_spec("tv_ws.app:app")
    assert (spec.module, spec.attribute, spec.folder, spec.is_factory) == ("tv_ws.app", "app", "", False)


def test_an_attribute_may_be_dotted():
    assert parse_spec("tv:server.wsgi_app").attribute == "server.wsgi_app"


def test_a_module_alone():
    spec = parse_spec("tv_ws.wsgi")
    assert (spec.module, spec.attribute, spec.is_factory) == ("tv_ws.wsgi", "", False)


def test_a_factory_without_arguments():
    spec = parse_spec("tv:make()")
    assert (spec.attribute, spec.is_factory, spec.args, dict(spec.kwargs)) == ("make", True, (), {})


def test_the_arguments_of_a_factory_are_literals_of_any_kind():
    spec = parse_spec("""tv:make('a:b', "c(", -1, 2.5, None, [1, {'k': (2,)}], debug=True, name='x')""")
    assert spec.args == ("a:b", "c(", -1, 2.5, None, [1, {"k": (2,)}])
    assert spec.kwargs == {"debug": True, "name": "x"}


def test_a_factory_may_be_dotted():
    spec = parse_spec("tv:site.make('x')")
    assert (spec.attribute, spec.args) == ("site.make", ("x",))


@pytest.mark.parametrize(
    ("text", "folder", "module", "attribute"),
    [
        ("tv.py:app", ".", "tv", "app"),
        ("apps/tv.py:app", "apps", "tv", "app"),
        ("../apps/tv/web.py:app", "../apps/tv", "web", "app"),
        ("/srv/tv.py:app", "/srv", "tv", "app"),
        ("apps/tv.py", "apps", "tv", ""),
        ("my-apps v1.0/tv.py:site.app", "my-apps v1.0", "tv", "site.app"),
    ],
)
def test_a_file_is_a_folder_and_a_module(text, folder, module, attribute):
    spec = parse_spec(text)
    assert (spec.folder, spec.module, spec.attribute) == (folder, module, attribute)


def test_a_file_may_hold_a_factory():
    spec = parse_spec("apps/tv.py:make('x.py:y')")
    assert (spec.folder, spec.module, spec.attribute, spec.args) == ("apps", "tv", "make", ("x.py:y",))


@pytest.mark.skipif(sys.platform != "win32", reason="a backslash is an ordinary character elsewhere")
def test_a_windows_path_is_accepted():
    assert parse_spec(r"C:\apps\tv.py:app").folder == "C:/apps"


def test_parsing_runs_no_code():
    with pytest.raises(ValueError, match="expected a literal argument"):
        parse_spec("tv:make(__import__('sys').exit(3))")


@pytest.mark.parametrize(
    "text",
    ["", ":", "tv:", ":app", "tv ws:app", "tv-ws:app", ".tv:app", "tv.:app", "tv..ws:app", "tv:make(", "tv:make())",
     "tv:app app", "tv.make()", "1tv:app", "tv:app; import os", "tv:a = 1", "tv:\0"],
)  # fmt: skip
def test_text_that_names_no_app_is_rejected_with_the_accepted_forms(text):
    forms = 'expected "module:attribute", "module:factory()", "dir/file.py:attribute" or "module", found '
    with pytest.raises(ValueError, match=re.escape(f'{forms}"{text}"')):
        parse_spec(text)


@pytest.mark.parametrize(
    "text",
    ["tv:apps[0]", "tv:make()()", "tv:make().app", "tv:lambda e, s: []", "tv:a or b", "tv:'app'", "tv:3", "tv:(a, b)"],
)
def test_an_expression_other_than_an_attribute_is_rejected(text):
    with pytest.raises(ValueError, match='expected an attribute, or one call of it, after ":", found '):
        parse_spec(text)


@pytest.mark.parametrize("argument", ["DEBUG", "f('x')", "os.environ", "*['x']", "f'{x}'", "1 if x else 2", "-x"])
def test_the_message_names_an_argument_that_is_not_a_literal(argument):
    message = f'expected a literal argument (a string, a number, a list ...), found "{argument}"'
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_spec(f"tv:make({argument})")


def test_unpacked_keywords_are_rejected():
    with pytest.raises(ValueError, match="write each as key=value"):
        parse_spec("tv:make(**{'debug': True})")


def test_a_keyword_that_is_given_twice_is_rejected():
    with pytest.raises(ValueError, match="debug"):
        parse_spec("tv:make(debug=True, debug=False)")


def test_the_message_about_a_path_without_py_suggests_the_file():
    with pytest.raises(ValueError, match=re.escape('write "./apps/tv.py:app"')):
        parse_spec("./apps/tv:app")


@pytest.mark.parametrize(
    ("name", "suggested"), [("tv-ws", "tv_ws"), ("1tv", "_1tv"), ("tv.ws", "tv_ws"), ("tv ws", "tv_ws")]
)
def test_a_file_that_python_cannot_import_gets_a_suggested_name(name, suggested):
    message = f'expected a file with a name that Python can import, found "{name}.py"; rename it to "{suggested}.py"'
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_spec(f"apps/{name}.py:app")


@pytest.mark.parametrize(
    "text",
    ["tv:make(" + "[" * 5000 + "]" * 5000 + ")", "tv:" + "(" * 5000, "tv:a" + ".a" * 50_000],
    ids=["brackets", "parentheses", "dots"],
)
def test_nesting_that_is_too_deep_to_parse_is_rejected(text):
    with pytest.raises(ValueError, match="expected"):
        parse_spec(text)


@pytest.mark.parametrize("text", ["apps\tv.py:app", "apps\new:app", "apps\blog.wsgi"])
def test_a_backslash_that_toml_has_read_as_an_escape_is_explained(text):
    with pytest.raises(ValueError, match='TOML reads a backslash in double quotes as an escape: write "/"'):
        parse_spec(text)


@pytest.mark.skipif(sys.platform == "win32", reason="a backslash separates folders there")
def test_a_path_with_backslashes_gets_slashes():
    with pytest.raises(
        ValueError, match=re.escape('expected a path with slashes, found "apps\\tv.py:app"; write "apps/')
    ):
        parse_spec("apps\\tv.py:app")


@pytest.mark.parametrize(
    ("command", "spec"),
    [
        ("gunicorn tv:app", "tv:app"),
        ("gunicorn -w 4 tv:app", "tv:app"),
        ("python tv.py", "tv.py"),
        ("python3.12 apps/tv.py", "apps/tv.py"),
        ("waitress-serve --listen=*:80 tv:app", "tv:app"),
    ],
)
def test_a_command_is_rejected_with_the_app_in_it(command, spec):
    with pytest.raises(ValueError, match=re.escape(f'found the command "{command}"; write "{spec}"')):
        parse_spec(command)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "apps/site.wsgi:application",
            'rename "site.wsgi" to "site_wsgi.py", and write "apps/site_wsgi.py:application"',
        ),
        ("apps/tv.cgi", 'rename "tv.cgi" to "tv_cgi.py", and write "apps/tv_cgi.py"'),
        ("apps/tv.pyc:app", 'write "apps/tv.py:app"'),
        ("apps/:app", 'name a file in the folder, as in "apps/web.py:app"'),
        ("apps/tv:app", 'write "apps/tv.py:app", or "apps.tv:app" if it is a package'),
        ("apps/tv.web:app", 'write "apps/tv/web.py:app", or "apps.tv.web:app" if it is a package'),
        ("my apps/tv:app", 'write "my apps/tv.py:app"'),
        ("apps/tv.py app", 'write "apps/tv.py:app"'),
        ("apps/tv.py::app", 'write "apps/tv.py:app"'),
        ("apps/tv.py.app", 'write "apps/tv.py:app"'),
        ("apps.my-tv:app", 'Python cannot import "my-tv": rename it to "my_tv", and write "apps.my_tv:app"'),
        ("1tv", 'Python cannot import "1tv": rename it to "_1tv", and write "_1tv"'),
    ],
)
def test_a_name_that_is_almost_right_gets_the_name_to_write(text, advice):
    with pytest.raises(ValueError, match=re.escape(f'found "{text}"; ') + ".*" + re.escape(advice) + "$"):
        parse_spec(text)
