"""The type and the place of an app's exception, in this process and in the text of a worker."""

import json
from pathlib import Path

import pytest
from support.finishing import CountedSite

from mountpoint.status.exceptions import describe
from mountpoint.workers.child_requests import describe as describe_in_worker
from mountpoint.workers.report import AppFailed

HERE = Path(__file__).parent


class Custom(Exception):
    pass


class Long(Exception):
    __qualname__ = "x" * 5000


def raise_here():
    raise Custom('a message\nwith  File "lines", line 1, in it\nKeyError: not this one')


def raise_in_library():
    json.loads("{")


def raise_from():
    try:
        raise_in_library()
    except ValueError as error:
        raise KeyError("outer") from error


def leave():
    raise SystemExit(3)


def caught(function):
    try:
        function()
    except BaseException as error:
        return error


@pytest.mark.parametrize(
    ("function", "kind", "place"),
    [
        (raise_here, f"{__name__}.Custom", "in raise_here"),
        (raise_in_library, "json.decoder.JSONDecodeError", "in raise_in_library"),
        (raise_from, "KeyError", "in raise_from"),
        (leave, "SystemExit", "in leave"),
    ],
)
def test_type_and_innermost_line_of_the_app_are_the_same_in_a_worker(function, kind, place):
    error = caught(function)
    found = describe(error, HERE)
    assert found[0] == kind
    assert found[1].startswith("test_exceptions.py:")
    assert found[1].endswith(place)
    assert describe(AppFailed(describe_in_worker(error, error.__traceback__)), HERE) == found


def test_an_exit_that_the_server_has_wrapped_is_named_itself():
    def wrap():
        try:
            leave()
        except SystemExit as error:
            raise RuntimeError("the app raised SystemExit(3)") from error

    kind, place = describe(caught(wrap), HERE)
    assert kind == "SystemExit"
    assert place.endswith(" in leave")


def test_without_code_of_the_app_the_innermost_line_of_a_library_counts():
    kind, place = describe(caught(raise_in_library), HERE / "elsewhere")
    assert kind == "json.decoder.JSONDecodeError"
    assert "decoder.py:" in place


@pytest.mark.parametrize("text", ["", "no traceback at all\n", "...cut off", "\0\n\n:\n"])
def test_a_worker_may_send_any_text(text):
    kind, place = describe(AppFailed(text), HERE)
    assert kind
    assert place is None


def test_an_exception_without_a_traceback_has_no_place():
    assert describe(ValueError(), HERE) == ("ValueError", None)


def test_names_are_cut_to_a_bounded_length():
    assert len(describe(Long(), HERE)[0]) == 200


def test_equal_exceptions_are_counted_together_and_the_latest_is_first():
    site = CountedSite("/app")
    for function in (raise_here, raise_in_library, raise_here):
        site.counters.app_raised("/app", caught(function))
        site.clock.now += 1
    found = dict(site.counters.read().mounts["/app"].exceptions)
    assert [(kind, count, at) for (kind, _), (count, at) in found.items()] == [
        ("json.decoder.JSONDecodeError", 1, 1001.0),
        (f"{__name__}.Custom", 2, 1002.0),
    ]


def test_the_oldest_kind_makes_room_for_a_new_one():
    site = CountedSite("/app")
    for number in [*range(10), 0, 10]:
        site.counters.app_raised("/app", type(f"Error{number}", (Exception,), {"__module__": "builtins"})())
    kinds = [kind for (kind, _), _ in site.counters.read().mounts["/app"].exceptions]
    assert kinds == [*(f"Error{number}" for number in range(2, 10)), "Error0", "Error10"]
    assert site.read()["exceptions"] == 12
