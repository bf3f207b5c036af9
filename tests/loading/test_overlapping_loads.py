"""Loads that overlap: the second begins during the first, and ends after it. Both restore the state of the process."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.tables import imports_undone

from mountpoint.loading.blocking import refuse_to_block
from mountpoint.loading.environment import EnvironmentUse, record_environment
from mountpoint.loading.isolation import preserve_process_state
from mountpoint.loading.overlap import Overlap
from mountpoint.loading.sys_path import SysPath


@pytest.fixture
def overlap() -> Iterator[Callable[..., None]]:
    """Run two loads that overlap: ``overlap(change)`` makes the change of the first one before the second begins."""
    first, second = ExitStack(), ExitStack()

    def overlap(change: Callable[[], object] = lambda: None, end_first: bool = True) -> None:
        first.enter_context(preserve_process_state({"OVERLAP": "first"}, "first.py"))
        first.enter_context(refuse_to_block())
        change()
        second.enter_context(preserve_process_state({"OVERLAP": "second"}, "second.py"))
        second.enter_context(refuse_to_block())
        if end_first:
            first.close()
            second.close()
        else:
            second.close()

    with first, second:
        yield overlap


def test_the_working_folder_is_that_of_before_both(overlap, tmp_path):
    before = Path.cwd()
    overlap(lambda: os.chdir(tmp_path))
    assert Path.cwd() == before


def test_a_handler_of_the_first_does_not_stay_on_the_root(overlap):
    before = logging.root.handlers[:]
    overlap(lambda: logging.root.addHandler(logging.NullHandler()))
    assert logging.root.handlers == before


def test_logging_disabled_by_the_first_is_enabled(overlap):
    overlap(lambda: logging.disable(logging.CRITICAL))
    assert logging.root.manager.disable == logging.NOTSET


def test_a_logger_of_the_first_keeps_its_configuration(overlap):
    logger = logging.getLogger("app_of_the_first_load")
    overlap(lambda: logger.setLevel(logging.ERROR))
    assert logger.level == logging.ERROR
    logger.setLevel(logging.NOTSET)


def test_handlers_can_be_closed_again(overlap):
    closed = []

    class Handler(logging.Handler):
        def close(self):
            closed.append(self)
            super().close()

    handler = Handler()
    overlap()
    handler.close()
    assert closed == [handler]


def test_a_variable_of_both_is_removed(overlap):
    overlap()
    assert "OVERLAP" not in os.environ


def test_the_arguments_are_those_of_before_both(overlap):
    before = sys.argv
    overlap()
    assert sys.argv is before


def test_stdin_is_that_of_before_both(overlap):
    before = sys.stdin
    overlap()
    assert sys.stdin is before


def test_sockets_listen_as_before_both(overlap):
    overlap()
    assert "listen" not in vars(socket.socket)


def test_the_first_keeps_its_state_when_the_second_ends_first(overlap, tmp_path):
    overlap(lambda: os.chdir(tmp_path), end_first=False)
    assert Path.cwd() == tmp_path.resolve()
    assert (os.environ["OVERLAP"], sys.argv) == ("first", ["first.py"])


def test_importlib_is_as_before_two_overlapping_records():
    from mountpoint.loading.module_origins import _recorded_calls

    before = importlib._bootstrap._gcd_import  # type: ignore[attr-defined]
    first, second = ExitStack(), ExitStack()
    with first, second:
        first.enter_context(_recorded_calls(set()))
        second.enter_context(_recorded_calls(set()))
        first.close()
    assert importlib._bootstrap._gcd_import is before  # type: ignore[attr-defined]


def test_the_state_of_the_earliest_load_that_has_ended_comes_first():
    overlap = Overlap[str]()
    one, two, three = overlap.begin("one"), overlap.begin("two"), overlap.begin("three")
    assert overlap.end(two) == ["two"]
    assert overlap.end(three) == ["two", "three"]
    assert overlap.end(one) == ["one"]
    assert overlap.end(overlap.begin("four")) == ["four"]


def test_a_variable_that_another_thread_sets_is_not_of_this_load(monkeypatch):
    use = EnvironmentUse()
    monkeypatch.delenv("OVERLAP", raising=False)
    with record_environment({}, use):
        thread = threading.Thread(target=os.environ.__setitem__, args=("OVERLAP", "theirs"))
        thread.start()
        thread.join()
        os.environ["OVERLAP_OWN"] = "ours"
    monkeypatch.delenv("OVERLAP_OWN")
    monkeypatch.delenv("OVERLAP")
    assert use.changed == {"OVERLAP_OWN": "ours"}


# ----------------------------------------------------------------------------------------------------------- sys.path


@pytest.fixture
def paths(tmp_path):
    """Return a `SysPath` with the roots ``a`` and ``b``, and the folders ``a``, ``b``, ``a/lib`` and ``b/lib``."""
    folders = [tmp_path / name for name in ("a", "b", "a/lib", "b/lib")]
    for folder in folders:
        folder.mkdir()
    paths = SysPath()
    with imports_undone(tmp_path):
        paths.set_roots(folders[:2])
        yield paths, *map(str, folders)


@pytest.mark.parametrize("first_ends", ["first", "last"])
def test_folders_that_the_first_adds_are_in_front_for_it_alone(paths, first_ends):
    paths, a, b, a_lib, b_lib = paths
    first, second = ExitStack(), ExitStack()
    with first, second:
        first.enter_context(paths.during_load(Path(a)))
        sys.path.insert(0, a_lib)
        second.enter_context(paths.during_load(Path(b)))
        assert sys.path.index(b) == 0
        assert a_lib in sys.path  # the first load goes on, and may import from it
        sys.path.insert(0, b_lib)
        if first_ends == "last":
            second.close()
            assert sys.path[:2] == [a_lib, a]
            first.close()
        else:
            first.close()
            assert sys.path[:2] == [b_lib, b]
            second.close()
    assert sys.path[:2] == [a, b]
    assert {a_lib, b_lib} == {*sys.path[-2:]}
    assert (paths.path_of(Path(a)).front, paths.path_of(Path(b)).front) == ([a_lib], [b_lib])
    assert (paths.path_of(Path(a)).behind, paths.path_of(Path(b)).behind) == ([], [])


def test_a_load_that_was_given_up_no_longer_changes_the_path(paths):
    paths, a, b, a_lib, _ = paths
    with paths.during_load(Path(a)):
        sys.path.insert(0, a_lib)
        paths.set_roots([Path(b)])
        assert sys.path[0] == b
        assert sys.path[-1] == a_lib
    assert sys.path[0] == b


def test_a_request_finds_modules_as_between_loads(paths):
    paths, a, b, a_lib, _ = paths
    for folder in (a_lib, b):
        (Path(folder) / "found_between_loads.py").touch()
    with paths.during_load(Path(a)):
        sys.path.insert(0, a_lib)
        found = paths.find("found_between_loads")
    assert found is not None
    assert found.file == Path(b) / "found_between_loads.py"
