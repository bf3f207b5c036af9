"""The page on proxies lists every key of ``[proxy]``, every proxy and every option of ``proxy-config``."""

from __future__ import annotations

import re

from support.pages import MANUAL, ROOT
from support.tables import command

from mountpoint.config.schema import PROXY_KEYS
from mountpoint.proxyconf import PROXIES

PAGE = (MANUAL / "proxy.md").read_text(encoding="utf-8")


def test_each_key_of_the_section_is_in_the_table_and_no_other():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == PROXY_KEYS.keys()


def test_each_proxy_is_named():
    assert all(f"`{proxy}`" in PAGE for proxy in PROXIES)


def test_each_option_of_proxy_config_is_in_the_table_and_no_other():
    done = command("proxy-config", "--help", cwd=ROOT)
    options = set(re.findall(r"^  (--[\w-]+)", done.stdout, re.MULTILINE))
    assert {"--shape", "--tls"} <= options
    assert set(re.findall(r"^\| `(--[\w-]+)", PAGE, re.MULTILINE)) == options
