"""Figures keep to their columns, whatever the number, and text cannot control the terminal."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from mountpoint.console import figures
from mountpoint.errors import printable


def test_the_examples_hold():
    assert doctest.testmod(figures).failed == 0


@given(st.floats(0, 8.6e8))
def test_a_duration_takes_five_columns_at_most(seconds):
    assert len(figures.duration(seconds)) <= 5


@given(st.floats(0, 9e14))
def test_a_count_takes_four_columns_at_most(number):
    assert len(figures.count(number)) <= 4


@given(st.integers(0, 2**53))
def test_a_size_takes_five_columns_at_most(number):
    assert len(figures.size(number)) <= 5


@given(st.text(), st.integers(0, 40))
def test_fitted_text_keeps_to_its_width_and_printable_text_is_safe(text, width):
    shown = figures.fit(printable(text), width)
    assert figures.cells(shown) <= width
    assert shown.isprintable()


def test_the_work_for_a_long_text_grows_with_its_length_only(monkeypatch):
    measured = []
    cells = figures.cells
    monkeypatch.setattr(figures, "cells", lambda text: measured.append(len(text)) or cells(text))
    assert figures.fit("x" * 2000, 80) == "x" * 77 + "..."
    assert sum(measured) < 3 * 2000


def test_wide_characters_take_two_columns():
    assert figures.pad("/日本", 8) == "/日本   "
    assert figures.fit("/日本", 4) == "/日"
