"""A line of the access log goes to mountpoint's own handler without a record, unless something may look at one."""

import io
import logging

import pytest

from mountpoint.loading.logs import StderrHandler, configure_logging
from mountpoint.server.access_log import access_logger, log_access


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
        one.handlers[:], one.level, one.propagate, one.disabled = handlers, level, propagate, disabled
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


def test_the_own_handler_gets_the_line_without_a_record(stream, records):
    remove_the_handlers_of_pytest()
    log_access("a line")
    log_access("100 %s")
    assert (stream.getvalue(), records) == ("a line\n100 %s\n", [])


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
    log_access("a line")
    assert records == ["a line"]


def test_a_record_is_made_by_the_factory_of_an_operator(stream):
    remove_the_handlers_of_pytest()
    made = []

    def factory(*args, **options):
        made.append(logging.LogRecord(*args, **options))
        return made[-1]

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        log_access("a line")
    finally:
        logging.setLogRecordFactory(before)
    assert [record.getMessage() for record in made] == ["a line"]


def test_a_stream_that_fails_is_reported_as_logging_does(stream, monkeypatch):
    remove_the_handlers_of_pytest()
    reported = []
    monkeypatch.setattr(access_logger.handlers[0], "handleError", lambda record: reported.append(record.getMessage()))
    stream.close()
    log_access("a line")
    assert reported == ["a line"]
