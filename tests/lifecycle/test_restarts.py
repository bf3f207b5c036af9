"""The name of a mount that is to restart, and a restart that fails in an unknown way."""

import re
import threading
from types import SimpleNamespace

import pytest

from mountpoint.errors import LoadError
from mountpoint.lifecycle.restarts import MountRestarts, find_mount


def mounts(*keys):
    return [SimpleNamespace(config=SimpleNamespace(key=key, own=True)) for key in keys]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("/own", "/own"),
        ("/own/", "/own"),
        ("own", "/own"),
        ("/", "/"),
        ("example.com/own", "example.com/own"),
        ("example.com/", "example.com/"),
        ("example.com", "example.com/"),
    ],
)
def test_a_mount_is_found_with_its_host_and_without_its_last_slash(name, key):
    table = mounts("/", "/own", "example.com/own", "example.com/", "/other")
    assert find_mount(table, name).config.key == key


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("/tv", 'did you mean "example.com/tv"?'),
        ("/notse", 'did you mean "/notes"?'),
        ("xyzzy", "it has /notes, example.com/tv"),
        ("", "it has /notes, example.com/tv"),
    ],
)
def test_an_unknown_name_gets_advice(name, advice):
    expected = f'expected a mount of the served table, found "{name}"; {advice}'
    with pytest.raises(LoadError, match=re.escape(expected)):
        find_mount(mounts("/notes", "example.com/tv"), name)


class FailingReloader:
    mounts = mounts("/own")

    def replace_app(self, before, after):
        raise RuntimeError("no table")


class Replacement:
    app = None
    is_abandoned = False

    def have_all_started(self):
        return True

    def abandon(self):
        self.is_abandoned = True


class LastReply:
    def __init__(self):
        self.has_ended = threading.Event()

    def end(self, message, *, ok=True):
        self.outcome = message, ok
        self.has_ended.set()


def test_the_new_workers_end_with_a_restart_that_fails_in_an_unknown_way():
    replacement, reply = Replacement(), LastReply()
    workers = SimpleNamespace(start_replacement=lambda mount: replacement)
    MountRestarts(FailingReloader(), workers, lambda call: call()).start("/own", reply)
    assert reply.has_ended.wait(30)
    assert replacement.is_abandoned
    message = "/own: not restarted: RuntimeError('no table'); the log of the server has the details"
    assert reply.outcome == (message, False)
