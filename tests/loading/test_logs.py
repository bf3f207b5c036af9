"""The set-up of logging: a logger that a section [logging] does not configure stays as it is without one."""

import io
import logging

import pytest

from mountpoint.errors import ConfigError
from mountpoint.loading.json_log import JsonFormatter
from mountpoint.loading.logs import StderrHandler, configure_logging

NAMES = ("mountpoint", "mountpoint.access", "waitress", "")


@pytest.fixture(autouse=True)
def stream():
    """Start without handlers, and restore the loggers after the test. Return the stream that stands for stderr."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(one, one.handlers[:], one.level, one.propagate, one.disabled) for one in loggers]
    for one in loggers:
        one.handlers[:], one.propagate, one.disabled = [], True, False
        one.setLevel(logging.NOTSET)
    yield io.StringIO()
    for one, handlers, level, propagate, disabled in before:
        one.handlers[:], one.propagate, one.disabled = handlers, propagate, disabled
        one.setLevel(level)  # forgets which levels were enabled


def section(loggers=None, **more):
    """Return a section whose handler "file" writes to a string."""
    return {"handlers": {"file": {"class": "logging.StreamHandler", "stream": FILE}}, "loggers": loggers or {}, **more}


FILE = io.StringIO()


@pytest.fixture
def written(stream):
    """Return ``written(name, level)``, which logs a line, and returns whether stderr and the file get it."""

    def written(name, level="INFO"):
        FILE.seek(0)
        FILE.truncate()
        before = stream.tell()
        logging.getLogger(name).log(getattr(logging, level), "a line")
        return stream.getvalue()[before:].count("a line"), FILE.getvalue().count("a line")

    return written


@pytest.fixture
def configure(stream, monkeypatch):
    """Return ``configure(level=None, ...)``, which configures logging to the stream, as in a process of its own."""

    def configure(level=None, **options):
        logging.root.handlers[:] = []  # those of pytest: a root logger with handlers is left alone
        monkeypatch.setattr("sys.stderr", stream)
        configure_logging(level, **options)

    return configure


STDERR, IN_FILE, NOWHERE = (1, 0), (0, 1), (0, 0)


def test_without_a_section_every_logger_writes_to_stderr(configure, written):
    configure()
    assert [written(name) for name in NAMES] == [STDERR] * 4


@pytest.mark.parametrize("propagate", [{}, {"propagate": False}])
def test_a_handler_for_the_access_log_leaves_the_others_on_stderr(configure, written, propagate):
    configure(dictionary=section({"mountpoint.access": {"handlers": ["file"], **propagate}}))
    assert [written(name) for name in NAMES] == [STDERR, IN_FILE, STDERR, STDERR]


def test_an_access_log_that_propagates_is_on_stderr_too(configure, written):
    configure(dictionary=section({"mountpoint.access": {"handlers": ["file"], "propagate": True}}))
    assert written("mountpoint.access") == (1, 1)


def test_a_handler_for_mountpoint_takes_the_access_log_too(configure, written):
    configure(dictionary=section({"mountpoint": {"handlers": ["file"]}}))
    assert [written(name) for name in NAMES] == [IN_FILE, IN_FILE, STDERR, STDERR]


def test_a_handler_of_the_root_logger_takes_all(configure, written):
    configure(dictionary=section(root={"handlers": ["file"], "level": "INFO"}))
    assert [written(name) for name in NAMES] == [IN_FILE] * 4


def test_a_logger_of_the_section_with_a_level_alone_writes_to_stderr(configure, written):
    configure(dictionary=section({"mountpoint": {"level": "ERROR"}}))
    assert [written(name) for name in NAMES] == [NOWHERE, STDERR, STDERR, STDERR]
    assert written("mountpoint", "ERROR") == STDERR


def test_the_root_logger_may_have_a_level_alone(configure, written):
    configure(dictionary=section(root={"level": "ERROR"}))
    assert [written(name) for name in NAMES] == [STDERR, STDERR, STDERR, NOWHERE]
    assert written("", "ERROR") == STDERR


def test_a_logger_of_another_program_changes_nothing(configure, written):
    configure(dictionary=section({"sqlalchemy": {"handlers": ["file"]}}))
    assert [written(name) for name in NAMES] == [STDERR] * 4


def test_an_incremental_section_changes_levels_only(configure, written):
    configure(dictionary={"incremental": True, "loggers": {"mountpoint": {"level": "ERROR", "handlers": ["x"]}}})
    assert [written(name) for name in NAMES] == [NOWHERE, STDERR, STDERR, STDERR]
    assert written("mountpoint", "ERROR") == STDERR


def test_a_level_of_the_option_wins_over_the_section(configure, written):
    configure("error", dictionary=section({"mountpoint": {"handlers": ["file"], "level": "DEBUG"}}))
    assert written("mountpoint", "WARNING") == NOWHERE
    assert written("mountpoint", "ERROR") == IN_FILE


def test_a_section_may_disable_the_existing_loggers(configure, written):
    dictionary = section({"mountpoint.access": {"handlers": ["file"]}}, disable_existing_loggers=True)
    configure(dictionary=dictionary)
    assert [written(name) for name in ("mountpoint", "mountpoint.access")] == [NOWHERE, IN_FILE]


def test_json_logs_leave_the_lines_of_the_access_log_bare(configure):
    configure(is_json=True)
    formatters = [type(logging.getLogger(name).handlers[0].formatter) for name in NAMES]
    assert formatters == [JsonFormatter, logging.Formatter, JsonFormatter, JsonFormatter]
    [handler] = logging.getLogger("mountpoint.access").handlers
    assert type(handler) is StderrHandler
    assert handler.writes_bare_lines


def test_a_root_logger_with_handlers_is_left_alone():
    logging.root.handlers[:] = [handler] = [logging.NullHandler()]
    configure_logging(None)
    assert logging.root.handlers == [handler]


# ----------------------------------------------------------------------------------------------- the fields of a format


def formatted(line_format, logger, **more):
    """Return a section in which a handler of *logger* has *line_format*."""
    handler = {"class": "logging.StreamHandler", "stream": FILE, "formatter": "own"}
    own = {"format": line_format} if isinstance(line_format, str) else line_format
    return {
        "formatters": {"own": own},
        "handlers": {"own": handler},
        "loggers": {logger: {"handlers": ["own"]}},
        **more,
    }


@pytest.mark.parametrize(
    ("logger", "line_format", "end"),
    [
        (
            "mountpoint.access",
            "%(cleint)s",
            'has the unknown field %(cleint)s; did you mean "client"?',
        ),
        ("mountpoint.access", "%(nothing_like_it)s", "has the unknown field %(nothing_like_it)s"),
        (
            "mountpoint",
            "%(levelnam)s",
            'has the unknown field %(levelnam)s; did you mean "levelname"?',
        ),
        (
            "mountpoint",
            "%(request_id)s %(message)s",
            "%(request_id)s; use this format for the logger mountpoint.access alone, whose records have it",
        ),
    ],
)
def test_a_format_with_an_unknown_field_is_an_error(logger, line_format, end):
    with pytest.raises(ConfigError) as caught:
        configure_logging(None, dictionary=formatted(line_format, logger))
    assert str(caught.value).endswith(end)


class Adds(logging.Filter):
    def filter(self, record):
        record.nothing_like_it = "x"
        return True


class Demanding(logging.Formatter):
    def format(self, record):
        return record.args["own"]


@pytest.mark.parametrize(
    ("line_format", "more"),
    [
        ("%(client)s %(status)d %(queue_ms).1f", {}),
        ("%(nothing_like_it)s", {"filters": {"adds": {"()": Adds}}}),
        ({"()": Demanding}, {}),
        ({"()": JsonFormatter}, {}),
    ],
    ids=["fields of ours", "a filter adds the field", "a formatter that expects more", "JSON"],
)
def test_a_format_whose_fields_may_exist_is_accepted(line_format, more):
    section = formatted(line_format, "mountpoint.access", **more)
    section["handlers"]["own"]["filters"] = [*more.get("filters", ())]
    configure_logging(None, dictionary=section)
