import dataclasses
import re
import tomllib

import pytest
from waitress.adjustments import Adjustments

from mountpoint.config.own_process import OwnProcess
from mountpoint.config.reader import DoctorConfig, MountConfig, ServerConfig
from mountpoint.config.schema import DOCTOR_KEYS, MOUNT_KEYS, PROXY_KEYS, SERVER_KEYS, WAITRESS_DEFAULTS, WAITRESS_KEYS
from mountpoint.config.status import STATUS_KEYS, StatusConfig
from mountpoint.wsgi.proxy_settings import FILE_KEYS, ProxySettings

TABLES = {
    "mounts": MOUNT_KEYS,
    "server": SERVER_KEYS,
    "waitress": WAITRESS_KEYS,
    "proxy": PROXY_KEYS,
    "doctor": DOCTOR_KEYS,
    "status": STATUS_KEYS,
}
KEYS = [(section, name) for section, keys in TABLES.items() for name in keys]


def defaults_of(dataclass):
    return {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in dataclasses.fields(dataclass)
    }


#: The default that the code uses, by section and name.
USED = {
    "mounts": defaults_of(MountConfig) | defaults_of(OwnProcess),
    "server": defaults_of(ServerConfig),
    "waitress": {name: getattr(Adjustments, name) for name in WAITRESS_KEYS} | WAITRESS_DEFAULTS,
    "proxy": {FILE_KEYS.get(name, name): value for name, value in defaults_of(ProxySettings).items()},
    "doctor": defaults_of(DoctorConfig),
    "status": defaults_of(StatusConfig),
}

#: Keys whose default depends on something else, and `listen`, which the reader fills in.
WITHOUT_A_FIXED_DEFAULT = {"app", "root", "limit", "max_body", "key", "log_level", "listen", "control"}
WITHOUT_A_FIXED_DEFAULT |= {"process", "python", "cwd", "user", "group"}


@pytest.mark.parametrize(("section", "name"), KEYS)
def test_each_key_is_described_in_sentences(section, name):
    key = TABLES[section][name]
    assert re.fullmatch(r"[A-Z`].{15,}[.]", key.description), key.description
    assert "|" not in key.description + key.default, "it is one cell of a table"


@pytest.mark.parametrize(("section", "name"), [key for key in KEYS if key[1] not in WITHOUT_A_FIXED_DEFAULT])
def test_each_described_default_is_the_one_in_use(section, name):
    key = TABLES[section][name]
    [toml] = re.findall(r"^`([^`]+)`", key.default)
    described = key.validator(tomllib.loads(f"value = {toml}")["value"])
    used = USED[section][name]
    assert described == (type(described)(used) if isinstance(used, tuple) else used)


def test_an_echo_key_has_at_least_32_hex_digits():
    validate = DOCTOR_KEYS["key"].validator
    assert validate("0123456789abcdefABCDEF0123456789") == "0123456789abcdefABCDEF0123456789"
    with pytest.raises(ValueError, match="found 31 characters"):
        validate("0123456789abcdefABCDEF012345678")


def test_an_echo_key_has_at_least_22_base64_characters():
    validate = DOCTOR_KEYS["key"].validator
    assert validate("QUJDREVGR0hJSktMTU5-_+") == "QUJDREVGR0hJSktMTU5-_+"
    assert validate("QUJDREVGR0hJSktMTU5PUA==") == "QUJDREVGR0hJSktMTU5PUA=="
    assert validate("abcdefghijklmnopqrstuv") == "abcdefghijklmnopqrstuv"
    assert validate("/ABCDEFGHIJKLMNOPQRSTU") == "/ABCDEFGHIJKLMNOPQRSTU"
    with pytest.raises(ValueError, match="found 21 characters"):
        validate("QUJDREVGR0hJSktMTU5-_")


@pytest.mark.parametrize("character", [" ", "\n", ".", ",", "é", "\0", "*"])
def test_an_echo_key_has_only_hex_or_base64_characters(character):
    validate = DOCTOR_KEYS["key"].validator
    for text in (character + "A" * 40, "A" * 40 + character, "A" * 20 + character + "A" * 20):
        with pytest.raises(ValueError, match="expected at least 128 random bits"):
            validate(text)


def test_the_message_about_a_bad_echo_key_does_not_show_it():
    with pytest.raises(ValueError, match="found 9 characters") as caught:
        DOCTOR_KEYS["key"].validator("s3cr3t-ab")
    assert "s3cr3t" not in str(caught.value)
