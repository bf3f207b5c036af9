"""Fixtures of every test: call an app inside two linters, and apps that answer with the request that they saw."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from support.response import Response
from support.signals import let_children_have_default_signals
from support.wsgi_calls import begin_app, call_app, echo_generator, echo_list, make_environ

let_children_have_default_signals()

hypothesis.settings.register_profile("here", max_examples=200, deadline=None)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("here"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def call() -> Callable[..., Response]:
    """Return ``call(app, path, method, **environ)``, which calls an app inside the linters."""
    return call_app


@pytest.fixture(scope="session")
def begin() -> Callable[..., Any]:
    """Return ``begin(app, path, method, **environ)``, which leaves the response neither iterated nor closed."""
    return begin_app


@pytest.fixture(scope="session", name="make_environ")
def _make_environ() -> Callable[..., dict[str, Any]]:
    """Return ``make_environ(path, method, **environ)``."""
    return make_environ


@pytest.fixture(scope="session", params=[echo_list, echo_generator], ids=["list", "generator"])
def echo(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Return ``echo(name)``, which makes an app that answers with its name and the request, as list and generator."""
    return request.param
