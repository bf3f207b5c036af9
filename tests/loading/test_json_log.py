"""The error log in JSON: one object a line, whatever a program logs."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint import JsonFormatter
from mountpoint.loading.log_fields import log_with_fields


def line_of(message="text", *args, name="mountpoint", level=logging.INFO, exc_info=None, **attributes):
    record = logging.LogRecord(name, level, __file__, 1, message, args, exc_info)
    record.created = 1795334707.25
    vars(record).update(attributes)
    return JsonFormatter().format(record)


def found(*args, **options):
    return json.loads(line_of(*args, **options))


def test_a_record_is_an_object_with_time_level_logger_and_message():
    assert found("%d mounts\nserving", 3, level=logging.WARNING) == {
        "time": "2026-11-22T08:05:07.250Z",
        "level": "WARNING",
        "logger": "mountpoint",
        "message": "3 mounts\nserving",
    }


def test_a_traceback_is_a_string():
    try:
        raise ValueError("on purpose")
    except ValueError:
        line = line_of("failed", exc_info=sys.exc_info())
    assert line.count("\n") == 0
    assert json.loads(line)["traceback"].startswith("Traceback (most recent call last):\n")
    assert json.loads(line)["traceback"].endswith("ValueError: on purpose")


def test_a_stack_is_part_of_the_traceback():
    assert found(stack_info="Stack (most recent call last):\n  here")["traceback"].endswith("  here")


def test_attributes_of_a_record_are_keys():
    record = found(mount="/shop", user_id=7, tags=["a"])
    assert (record["mount"], record["user_id"], record["tags"]) == ("/shop", 7, ["a"])


def test_a_field_without_a_value_is_null():
    record = found(request_id="-", mount="-", sign="-")
    assert (record["request_id"], record["mount"], record["sign"]) == (None, None, "-")


def test_an_attribute_does_not_replace_a_key_of_ours():
    record = logging.makeLogRecord({"time": "never", "level": "high", "logger": "x", "traceback": "y", "msg": "text"})
    line = json.loads(JsonFormatter().format(record))
    assert (line["logger"], line["message"]) == (record.name, "text")
    assert not {"never", "high", "x", "y"} & set(line.values())


def test_a_line_of_the_access_log_stays_as_it_is():
    assert line_of('{"a": 1}', json_line='{"a": 1}') == '{"a": 1}'


CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ({1, 2}, "{1, 2}"),
        (b"x", "b'x'"),
        (CIRCLE, "[[...]]"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ("\ud800", "\\ud800"),
    ],
    ids=repr,
)
def test_a_value_that_json_does_not_have_is_written_as_text(value, written):
    assert found(value=value)["value"] in (written, "\ud800")
    json.loads(line_of(value=value), parse_constant=pytest.fail)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)


@given(st.text(st.characters()), st.dictionaries(st.text(max_size=5), anything, max_size=3))
def test_any_message_and_any_attributes_are_one_line_of_ascii(message, attributes):
    names = {name: value for name, value in attributes.items() if name not in vars(logging.makeLogRecord({}))}
    record = logging.makeLogRecord({"name": "app", "msg": "%s", "args": (message,), **names})
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line, parse_constant=pytest.fail)
    assert found["message"] == message.encode("utf-8", "backslashreplace").decode()


# ----------------------------------------------------------------------------------------------------- log_with_fields


def test_fields_are_attributes_of_the_record_and_the_caller_is_its_place(caplog):
    log_with_fields(logging.getLogger("mountpoint"), logging.ERROR, "%s failed", "it", fields={"mount": "/shop"})
    [record] = caplog.records
    assert (record.getMessage(), record.mount, record.exc_info) == ("it failed", "/shop", None)
    assert (record.pathname, record.funcName) == (
        __file__,
        "test_fields_are_attributes_of_the_record_and_the_caller_is_its_place",
    )


def test_a_record_has_the_traceback_of_the_given_error_only(caplog):
    logger = logging.getLogger("mountpoint")
    error = ValueError("on purpose")
    try:
        raise error
    except ValueError:
        log_with_fields(logger, logging.ERROR, "failed", fields={}, error=error)
        log_with_fields(logger, logging.WARNING, "its response was sent", fields={})
    assert [record.exc_info for record in caplog.records] == [(ValueError, error, error.__traceback__), None]


def test_nothing_is_logged_below_the_level_of_the_logger(caplog):
    caplog.set_level(logging.CRITICAL, "mountpoint")
    log_with_fields(logging.getLogger("mountpoint"), logging.ERROR, "failed", fields={})
    assert caplog.records == []
