"""Helpers that several folders of tests share, each of them once."""
