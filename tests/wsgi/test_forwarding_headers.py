"""Which headers are forwarding headers, and that clients cannot fill the memory of the names that are not."""

import pytest

from mountpoint.wsgi import forwarding_headers
from mountpoint.wsgi.forwarding_headers import FAMILIES, NAMES, forwarding_variables


@pytest.fixture(autouse=True)
def harmless(monkeypatch):
    """Return the names that are remembered as harmless, none at first."""
    names: set[str] = set()
    monkeypatch.setattr(forwarding_headers, "_HARMLESS", names)
    return names


@pytest.mark.parametrize("name", sorted({*NAMES, *FAMILIES, *(f"{family}X" for family in FAMILIES)}))
def test_each_name_and_each_name_of_a_family_is_found(name):
    for _ in range(2):  # before and after the others are remembered
        assert forwarding_variables({"HTTP_HOST": "", name: "", "REMOTE_ADDR": "", "REMOTE_USER": ""}) == [name]


def test_a_variable_of_the_server_is_not_a_forwarding_header():
    assert forwarding_variables(dict.fromkeys(["REMOTE_USER", "SCRIPT_NAME", "PATH_INFO", "X_FORWARDED_FOR"])) == []


def test_many_and_long_names_are_not_remembered(harmless):
    for number in range(2000):
        assert forwarding_variables({f"HTTP_A_{number}": "", "HTTP_X_REAL_IP": ""}) == ["HTTP_X_REAL_IP"]
    assert len(harmless) == 1000
    harmless.clear()
    assert forwarding_variables({f"HTTP_{'A' * 60}": "", "HTTP_B": ""}) == []
    assert harmless == {"HTTP_B"}
