"""A line of the access log goes to mountpoint's own handler without a record, unless something may look at one.

A record has the facts about its request as fields, for every formatter.
"""

import io
import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.finished import FACTS, finished

from mountpoint.loading.json_log import JsonFormatter
from mountpoint.loading.log_fields import FIELDS
from mountpoint.loading.logs import StderrHandler, configure_logging
from mountpoint.server.access_log import AccessLog, access_logger, request_fields


@pytest.fixture
def stream(monkeypatch):
    """Configure logging as the server does, to a text stream. Restore it after the test."""
    loggers = [logging.getLogger(name) for name in ("", "mountpoint", "waitress", "mountpoint.access")]
    before = [(one, one.handlers[:], one.level, one.propagate, one.disabled, one.filters[:]) for one in loggers]
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging("info")
    yield stream
    for one, handlers, level, propagate, disabled, filters in before:
        one.handlers[:], one.propagate, one.disabled = handlers, propagate, disabled
        one.setLevel(level)  # forgets which levels were enabled
        one.filters[:] = filters


@pytest.fixture
def records(monkeypatch):
    """Return a list that grows by the message of each record that the logger makes."""
    records = []

    def handle(record):
        records.append(record.getMessage())
        logging.Logger.handle(access_logger, record)

    monkeypatch.setattr(access_logger, "handle", handle)
    return records


def remove_the_handlers_of_pytest():
    access_logger.handlers[:] = [one for one in access_logger.handlers if type(one) is StderrHandler]


LINE = re.compile(r'192\.0\.2\.7 - - \[[^]]+\] "GET /tv_ws/\?stn=Lund HTTP/1\.1" 200 512 "-" "curl/8\.5" /tv_ws 3\.5')


def test_the_own_handler_gets_the_line_without_a_record(stream, records):
    remove_the_handlers_of_pytest()
    AccessLog().log_request(finished())
    AccessLog().log_request(finished(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"))
    first, second = stream.getvalue().splitlines()
    assert LINE.fullmatch(first)
    assert '"GET /%s HTTP/1.1"' in second
    assert records == []


def add_a_handler():
    access_logger.addHandler(logging.NullHandler())


def add_a_filter_to_the_logger():
    access_logger.addFilter(lambda record: True)


def add_a_filter_to_the_handler():
    access_logger.handlers[0].addFilter(lambda record: True)


def format_the_lines():
    access_logger.handlers[0].setFormatter(logging.Formatter("access: %(message)s"))


def raise_the_level_of_the_handler():
    access_logger.handlers[0].setLevel("ERROR")


def propagate():
    access_logger.propagate = True


def replace_the_handler():
    access_logger.handlers[:] = [logging.StreamHandler()]


def subclass_the_handler():
    access_logger.handlers[:] = [type("Ours", (StderrHandler,), {})()]


@pytest.mark.parametrize(
    "change",
    [
        *(add_a_handler, add_a_filter_to_the_logger, add_a_filter_to_the_handler, format_the_lines),
        *(raise_the_level_of_the_handler, propagate, replace_the_handler, subclass_the_handler),
    ],
    ids=lambda change: change.__name__,
)
def test_a_record_is_made_when_an_operator_may_look_at_it(stream, records, change):
    remove_the_handlers_of_pytest()
    change()
    AccessLog().log_request(finished())
    [line] = records
    assert LINE.fullmatch(line)


def test_a_record_is_made_by_the_factory_of_an_operator(stream):
    remove_the_handlers_of_pytest()
    made = []

    def factory(*args, **options):
        made.append(logging.LogRecord(*args, **options))
        return made[-1]

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        AccessLog().log_request(finished())
    finally:
        logging.setLogRecordFactory(before)
    [record] = made
    assert LINE.fullmatch(record.getMessage())


def test_a_stream_that_fails_is_reported_as_logging_does(stream, monkeypatch):
    remove_the_handlers_of_pytest()
    reported = []
    monkeypatch.setattr(access_logger.handlers[0], "handleError", lambda record: reported.append(record.getMessage()))
    stream.close()
    AccessLog().log_request(finished())
    [line] = reported
    assert LINE.fullmatch(line)


# ----------------------------------------------------------------------------------------------------------- the fields


def record_of(request, form="combined"):
    """Return the record that a handler of the operator gets."""
    found = []
    handler = logging.NullHandler()
    handler.handle = found.append
    before = access_logger.level, access_logger.disabled
    access_logger.setLevel(logging.INFO)
    access_logger.disabled = False
    access_logger.addHandler(handler)
    try:
        AccessLog(form).log_request(request)
    finally:
        access_logger.removeHandler(handler)
        access_logger.setLevel(before[0])  # not an assignment: loggers remember whether a level is enabled
        access_logger.disabled = before[1]
    [record] = found
    return record


def test_a_record_has_the_facts_about_its_request(stream):
    record = record_of(finished(request_id="4bf92f"))
    assert {name: getattr(record, name) for name in FIELDS} == {
        **FACTS,
        "request_id": "4bf92f",
        "referer": "-",
        "reason": "-",
    }
    assert LINE.match(record.getMessage())


def test_text_that_is_not_known_is_a_dash():
    fields = request_fields(finished(b"GARBAGE\r\n\r\n", status=400))
    unknown = {name for name, value in fields.items() if value == "-"}
    assert unknown == {"mount", "method", "path", "host", "request_id", "user_agent", "referer"}
    assert (fields["request_line"], fields["reason"]) == ("GARBAGE", "Start line is invalid")


def test_a_record_factory_with_fields_of_its_own_harms_no_request(stream):
    def factory(*args, **options):
        record = logging.LogRecord(*args, **options)
        record.request_id = record.path = "of the app"
        return record

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        assert record_of(finished(request_id="ours")).request_id == "ours"
    finally:
        logging.setLogRecordFactory(before)


EVERY_FIELD = logging.Formatter(" | ".join(f"%({name})s" for name in sorted(FIELDS)))
header = st.sampled_from(["User-Agent", "Referer", "Host", "X-Request-ID"])
value = st.binary(max_size=40) | st.sampled_from(
    [b"", b'"', b"\x85", b"\xe2\x80\xa8", b"\\x0a", b'a" 200 1', b"\xff\xfe"]
)
target = st.binary(min_size=1, max_size=40) | st.sampled_from([b"/%0a%0d", b"/\xe2\x80\xa8", b"*", b"http://a/\x0b"])


@st.composite
def requests(draw):
    """Return bytes that may be a request."""
    lines = [b"GET " + draw(target) + b" HTTP/1.1", b"Host: a"]
    lines += [name.encode() + b": " + text for name, text in draw(st.lists(st.tuples(header, value), max_size=4))]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@given(requests() | st.binary(max_size=80))
def test_no_client_can_forge_a_line_in_any_form(sent):
    request = finished(sent)
    line = AccessLog("json")._line_of(request, 1795334707.0)
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert set(found) == FIELDS | {"time", "level", "logger"}
    record = record_of(request)
    text = EVERY_FIELD.format(record)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(JsonFormatter().format(record))["message"] == record.getMessage()
    assert JsonFormatter().format(record_of(request, "json")).isprintable()
