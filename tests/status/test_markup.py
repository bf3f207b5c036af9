"""HTML in which no text becomes markup."""

from __future__ import annotations

import doctest

from hypothesis import given, settings
from support.html_reader import HOSTILE, Reader

from mountpoint.status import charts, markup, words
from mountpoint.status.markup import Html, element, escape, join


def printable(text):
    return "".join("\ufffd" if char in "\0\ud800\uffff\x7f\x9f" else char for char in text)


def test_the_examples_in_the_docstrings_hold():
    for module in (markup, words, charts):
        assert doctest.testmod(module).failed == 0


@settings(max_examples=80)
@given(HOSTILE)
def test_text_stays_text_in_an_element(text):
    read = Reader(element("p", text))
    assert read.found == [("p", {})]
    assert read.data == printable(text)


@settings(max_examples=80)
@given(HOSTILE)
def test_text_stays_the_value_of_its_attribute(text):
    read = Reader(element("p", "x", title=text, id="a"))
    assert read.found == [("p", {"title": printable(text), "id": "a"})]


@settings(max_examples=80)
@given(HOSTILE)
def test_only_html_is_taken_as_html(text):
    assert escape(Html(text)) == text
    assert join([text, Html("<br>")]) == f"{escape(text)}<br>"
    assert type(escape(text + "<")) is str
