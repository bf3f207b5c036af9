"""The streams that apps print to: they behave like Python's own, and Python's own come back."""

import io
import os
import sys
from contextlib import suppress

import pytest

from mountpoint.loading.standard_streams import detached_standard_streams, errors_stream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server does not detach streams on Windows")


@pytest.fixture
def pipe(monkeypatch):
    """Return ``pipe()``, which lets sys.stdout and sys.stderr write to one pipe, and returns a function that reads it.

    A fixture cannot do that itself: pytest sets the streams once more before it calls the test.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    streams = [os.fdopen(os.dup(writer), "w", encoding="utf-8") for _ in range(2)]

    def pipe():
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        return lambda: os.read(reader, 65536)

    yield pipe
    for stream in streams:
        stream.close()
    os.close(reader)
    os.close(writer)


def test_text_arrives_line_by_line_in_order(pipe):
    read = pipe()
    with detached_standard_streams():
        print("one", "two")
        print("three", file=sys.stderr)
        print("four", file=errors_stream())
        print("half", end="")
        assert read() == b"one two\nthree\nfour\n"
    assert read() == b"half"


def test_the_streams_have_what_apps_ask_streams_for(pipe):
    read = pipe()
    before = sys.stdout.fileno(), sys.stderr.fileno()
    with detached_standard_streams():
        assert (sys.stdout.fileno(), sys.stderr.fileno()) == before
        assert (sys.stdout.encoding, sys.stdout.errors, sys.stdout.isatty()) == ("utf-8", "strict", False)
        assert sys.stdout.writable()
        assert not sys.stdout.readable()
        sys.stdout.buffer.write(b"bytes\n")
        sys.stderr.reconfigure(encoding="latin-1")
        sys.stderr.writelines(["\xe4\n", "b\n"])
        assert read() == b"bytes\n\xe4\nb\n"


def test_wsgi_errors_survives_a_closed_stderr(pipe):
    read = pipe()
    with detached_standard_streams():
        sys.stderr.close()
        with pytest.raises(ValueError, match="closed"):
            print("lost", file=sys.stderr)
        print("kept", file=errors_stream())
        assert read() == b"kept\n"


def test_the_previous_streams_come_back(pipe):
    pipe()
    before = sys.stdout, sys.stderr
    with suppress(KeyError), detached_standard_streams():
        assert sys.stdout is not before[0]
        assert errors_stream() is not before[1]
        raise KeyError
    assert (sys.stdout, sys.stderr) == before
    assert errors_stream() is before[1]


def test_a_stream_that_an_app_has_replaced_stays(pipe):
    pipe()
    with detached_standard_streams():
        sys.stdout = own = io.StringIO()
    assert sys.stdout is own


@pytest.mark.parametrize("make", [lambda path: path.open("w"), lambda path: io.StringIO(), lambda path: None])
def test_a_stream_that_cannot_hang_is_left_alone(monkeypatch, tmp_path, make):
    stream = make(tmp_path / "file")
    monkeypatch.setattr(sys, "stderr", stream)
    with detached_standard_streams():
        assert sys.stderr is stream
        assert errors_stream() is stream
    if stream:
        stream.close()
