"""The page on logs has the formats of the access log, and its examples of [logging] do what it says."""

from __future__ import annotations

import json
import re

from support.client import Client, table
from support.finished import SENT, finished
from support.pages import MANUAL
from support.running import serving

from mountpoint.loading.log_fields import FIELDS
from mountpoint.server.access_json import json_line
from mountpoint.server.access_log import access_line

PAGE = (MANUAL / "logs.md").read_text(encoding="utf-8")


def test_the_line_of_the_access_log_is_the_one_that_is_written():
    shown = next(line for line in PAGE.splitlines() if line.startswith("192.0.2.7 "))
    line = access_line(
        remote_addr="192.0.2.7",
        request_line="GET /tv_ws/?stn=Lund HTTP/1.1",
        status="200",
        size=512,
        referer=None,
        user_agent="curl/8.5",
        mount="/tv_ws",
        started=0.0,
        finished=0.0032,
    )
    assert re.sub(r"\[.*?\]", "[]", line) == re.sub(r"\[.*?\]", "[]", shown)


def test_the_object_of_a_request_is_the_one_that_is_written():
    [shown] = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    request = finished(SENT.replace(b"example.com", b"www.example.com"), request_id="1")
    written = json.loads(json_line(request, 0.0))
    by_chance = ("time", "queue_ms", "app_ms", "request_id")
    shown = json.loads(shown)
    assert list(shown) == list(written)
    assert {name: value for name, value in shown.items() if name not in by_chance} == {
        name: value for name, value in written.items() if name not in by_chance
    }


def test_the_attributes_of_a_record_are_listed():
    listed = PAGE[PAGE.index("has these attributes") : PAGE.index("Unknown text is `-`")]
    assert set(re.findall(r"`(\w+)`", listed)) == FIELDS


def test_the_examples_write_their_files_and_keep_the_rest_on_stderr(tmp_path):
    examples = re.findall(r"^```toml\n(\[logging\..*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    section = "\n".join(examples).replace("/var/log/mountpoint/", "")
    with serving(table(request_id=True) + section, tmp_path) as server:  # waits for "serving on" on stderr
        with Client(server.url) as client:
            assert client.get("/app/sized/5").status == 200
            assert client.get("/app/boom").status == 500
        assert server.stop() == 0
    first, second = (tmp_path / "access.log").read_text().splitlines()
    assert re.fullmatch(r"\S+ \S+ 127\.0\.0\.1 [0-9a-f]{32} GET /app/sized/5 200 \d+\.\d", first)
    assert " GET /app/boom 500 " in second
    error = json.loads((tmp_path / "errors.log").read_text())
    assert (error["mount"], error["path"]) == ("/app", "/app/boom")
    assert error["request_id"] in second
    assert error["traceback"].endswith("RuntimeError: boom")
    assert "draining" in server.log()
    assert "HTTP/1.1" not in server.log()
    assert "Traceback" not in server.log()
