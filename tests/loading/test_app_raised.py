"""An exception from the app's own code breaks only its mount, and the traceback starts in the app."""

import os
import re
import subprocess
import sys

import pytest
from support.tables import APP, write

from mountpoint.errors import AppRaised


def frames(details):
    return re.findall(r'^  File "(.+?)", line', details, re.MULTILINE)


def test_the_traceback_starts_at_the_first_frame_of_the_app(failure, tmp_path):
    files = {"tv.py": "def f():\n    return 1 / 0\nf()\n"}
    error = failure(AppRaised, "tv:app", files)
    assert str(error) == '"tv:app" could not be imported: ZeroDivisionError: division by zero'
    assert error.details.startswith("Traceback (most recent call last):\n")
    assert frames(error.details) == [str(tmp_path / "tv.py")] * 2
    assert str(tmp_path / "tv.py") in error.files


def test_a_missing_import_of_the_app_is_not_a_missing_app(failure, tmp_path):
    error = failure(AppRaised, "tv:app", {"tv.py": "import nowhere_to_be_found\n"})
    assert str(error) == (
        "\"tv:app\" could not be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'; "
        f'install the package that contains "nowhere_to_be_found": {sys.executable} -m pip install PACKAGE'
    )
    assert frames(error.details) == [str(tmp_path / "tv.py")]


@pytest.mark.parametrize("line", ["import tv.missing", "from tv import missing", "from .missing import x"])
def test_a_missing_submodule_of_the_app_is_not_a_missing_app(failure, tmp_path, line):
    error = failure(AppRaised, "tv.web:app", {"tv/__init__.py": "", "tv/web.py": f"{line}\n"})
    assert frames(error.details) == [str(tmp_path / "tv" / "web.py")]


def test_a_package_that_imports_its_missing_app_shows_where(failure, tmp_path):
    error = failure(AppRaised, "tv.web:app", {"tv/__init__.py": "from tv.web import app\n"})
    assert frames(error.details) == [str(tmp_path / "tv" / "__init__.py")]


def test_the_traceback_has_the_files_of_the_app_and_no_import_system(failure, tmp_path):
    error = failure(AppRaised, "tv:app", {"tv.py": "import helper\n", "helper.py": "raise OSError('no disk')\n"})
    assert frames(error.details) == [str(tmp_path / "tv.py"), str(tmp_path / "helper.py")]
    assert {str(tmp_path / "tv.py"), str(tmp_path / "helper.py")} <= set(error.files)


def test_the_cause_of_an_exception_keeps_its_frames(failure, tmp_path):
    code = "try:\n    import nowhere\nexcept ImportError as error:\n    raise RuntimeError('install it') from error\n"
    error = failure(AppRaised, "tv:app", {"tv.py": code})
    assert "No module named 'nowhere'" in error.details
    assert frames(error.details) == [str(tmp_path / "tv.py")] * 2


def test_a_syntax_error_shows_the_line_and_no_import_system(failure, tmp_path):
    error = failure(AppRaised, "tv:app", {"tv.py": "x = 1\ndef app(:\n"})
    assert str(error) == '"tv:app" could not be imported: SyntaxError: invalid syntax'
    assert frames(error.details) == [str(tmp_path / "tv.py")]
    assert "def app(:" in error.details
    assert str(tmp_path / "tv.py") in error.files


def test_null_bytes_in_a_module_are_reported_as_app_raised(failure):
    assert "null bytes" in str(failure(AppRaised, "tv:app", {"tv.py": "x = '\0'\n"}))


@pytest.mark.parametrize(
    ("line", "summary"),
    [
        ("import sys; sys.exit('no database')", "SystemExit: no database"),
        ("import sys; sys.exit()", "SystemExit"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import asyncio; raise asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        ("class Stop(BaseException): pass\nraise Stop('now')", "tv.Stop: now"),
    ],
)
def test_a_module_that_exits_breaks_only_its_mount(failure, tmp_path, line, summary):
    error = failure(AppRaised, "tv:app", {"tv.py": f"{line}\n"})
    assert str(error) == f'"tv:app" could not be imported: {summary}'
    assert frames(error.details) == [str(tmp_path / "tv.py")]


@pytest.mark.parametrize("code", ["raise KeyboardInterrupt\n", "def make():\n    raise KeyboardInterrupt\n"])
def test_ctrl_c_during_a_load_propagates(load, code):
    with pytest.raises(KeyboardInterrupt):
        load("tv:make()", {"tv.py": code})


def test_a_module_that_raised_is_imported_again_at_the_next_load(failure, load):
    failure(AppRaised, "tv:app", {"tv.py": "1 / 0\n"})
    assert "tv" not in sys.modules
    assert callable(load("tv:app", {"tv.py": f"# fixed\n{APP}"}))


@pytest.mark.parametrize(
    ("code", "summary"),
    [
        ("raise ValueError('one\\ntwo')\n", "ValueError: one"),
        ("error = ValueError('one')\nerror.add_note('a note')\nraise error\n", "ValueError: one"),
    ],
    ids=["lines", "note"],
)
def test_the_reason_is_the_first_line_of_the_exception(failure, code, summary):
    error = failure(AppRaised, "tv:app", {"tv.py": code})
    assert str(error) == f'"tv:app" could not be imported: {summary}'


@pytest.mark.parametrize("decorator", ["", "import functools\n@functools.cache\n"], ids=["plain", "cached"])
def test_the_traceback_of_a_factory_starts_at_its_own_frame(failure, tmp_path, decorator):
    error = failure(AppRaised, "tv:make()", {"tv.py": f"{decorator}def make():\n    raise RuntimeError('boom')\n"})
    assert str(error) == '"tv:make()" raised when it was called: RuntimeError: boom'
    assert frames(error.details) == [str(tmp_path / "tv.py")]


@pytest.mark.parametrize(
    "code",
    [
        "import functools\nmake = functools.partial(int, 'x')\n",
        "make = int\n",
        "class Make:\n    def __call__(self, *a): return 1 / 0\nmake = Make()\n",
    ],
    ids=["partial", "builtin", "instance"],
)
def test_a_factory_without_a_source_file_is_reported_too(failure, code):
    error = failure(AppRaised, "tv:make('x')", {"tv.py": code})
    assert "raised when it was called: " in str(error)


def test_a_factory_that_exits_breaks_only_its_mount(failure):
    error = failure(AppRaised, "tv:make()", {"tv.py": "def make():\n    raise SystemExit('no key')\n"})
    assert str(error) == '"tv:make()" raised when it was called: SystemExit: no key'


def test_wrong_arguments_for_a_factory_are_reported(failure):
    error = failure(AppRaised, "tv:make('x')", {"tv.py": "def make():\n    return None\n"})
    assert str(error).startswith("\"tv:make('x')\" raised when it was called: TypeError: make() takes 0 positional")


# ---------------------------------------------------------------------------------------------- forked child processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork()")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("tv:app", f"if os.fork() == 0: sys.exit()\n{APP}"),
        ("tv:make()", f"{APP}\ndef make():\n    if os.fork() == 0: sys.exit()\n    return app\n"),
    ],
    ids=["module", "factory"],
)
def test_a_child_that_the_app_forks_ends_at_its_exception(tmp_path, text, code):
    script = f"""
        import os
        from pathlib import Path
        from mountpoint.config.app_spec import parse_spec
        from mountpoint.errors import LoadError
        from mountpoint.loading.importing import load_app

        process = os.getpid()
        try:
            load_app(parse_spec({text!r}), Path())
        except LoadError:
            pass
        if os.getpid() != process:
            print("the child goes on", flush=True)
            os._exit(0)
        os.wait()
        print("the parent goes on")
        """
    write(tmp_path, {"tv.py": f"import os, sys\n{code}", "load.py": script})
    done = subprocess.run(
        [sys.executable, "load.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("the parent goes on\n", "")
