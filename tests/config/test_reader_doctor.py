"""The section ``[doctor]`` of `mounts.toml`."""

from __future__ import annotations

import pytest

from mountpoint.config.reader import load_config
from mountpoint.errors import ConfigError

KEY = "0123456789abcdef0123456789abcdef"


def config(folder, doctor):
    (folder / "mounts.toml").write_text(f'[mounts]\n"/a" = "app"\n[doctor]\n{doctor}\n')
    return load_config(folder / "mounts.toml")


@pytest.mark.parametrize("key", [KEY, "xA" * 11, "0123456789_-+/ABCDEFGH==", "z" * 64])
def test_a_key_of_128_bits_is_accepted_and_not_in_the_repr(tmp_path, key):
    accepted = config(tmp_path, f'key = "{key}"')
    assert accepted.doctor.key == key
    assert key not in repr(accepted)


@pytest.mark.parametrize("key", ["", "secret", KEY[:-1], "0" * 22, "A" * 21, "with a space, and long enough for all"])
def test_the_error_for_a_short_key_shows_a_command_but_not_the_key(tmp_path, key):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, f'key = "{key}"')
    assert 'python3 -c "import secrets; print(secrets.token_hex())"' in str(caught.value)
    assert len(key) < 7 or key not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key = 12", "doctor.key: expected a string, found 12"),
        ('allow = "/"', 'doctor.allow: expected an array of strings, found "/"'),
        ("allow = [1]", "doctor.allow: expected an array of strings, found an array"),
        ("alow = []", 'doctor.alow: unknown key; did you mean "allow"?'),
    ],
)
def test_each_error_of_the_section_names_its_key(tmp_path, text, expected):
    with pytest.raises(ConfigError, match="doctor") as caught:
        config(tmp_path, text)
    assert expected in str(caught.value)
