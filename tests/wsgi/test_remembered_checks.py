"""The results that are remembered between requests: always the same, and bounded, because clients choose the text."""

import pytest

from mountpoint import TrustedProxies
from mountpoint.wsgi import keys, proxies

LONG_HOST = "a" * 65
LONG_NODE = "::1%" + "a" * 61


@pytest.fixture(autouse=True)
def _nothing_is_remembered():
    keys._host_name.cache_clear()
    proxies._address_of_node.cache_clear()


def rewrite(**variables):
    settings = {"trusted": ["10.0.0.0/8"], "x_for": 1, "x_host": 1}
    middleware = TrustedProxies(lambda environ, start_response: [], **settings)
    environ = {"REMOTE_ADDR": "10.0.0.1", "wsgi.url_scheme": "http", **variables}
    first = middleware.rewrite(environ)
    assert middleware.rewrite(environ) == first
    return first


def test_a_remembered_host_has_the_same_name():
    assert [keys.host_name("Example.com:80") for _ in range(2)] == ["example.com"] * 2
    assert [keys.host_name("a, b") for _ in range(2)] == [None] * 2
    assert keys._host_name.cache_info().hits == 2


def test_a_long_host_has_its_name_and_is_not_remembered():
    assert keys.host_name(LONG_HOST) == LONG_HOST
    assert keys._host_name.cache_info().currsize == 0


def test_a_remembered_client_has_the_same_address():
    for address in ("203.0.113.9", "203.0.113.10"):
        assert rewrite(HTTP_X_FORWARDED_FOR=f"{address}:1234")["REMOTE_ADDR"] == address
    assert proxies._address_of_node.cache_info().hits == 2


def test_a_long_address_is_read_and_not_remembered():
    assert rewrite(HTTP_X_FORWARDED_FOR=LONG_NODE)["REMOTE_ADDR"] == "::1"
    assert proxies._address_of_node.cache_info().currsize == 0


def test_a_wrong_address_stays_wrong():
    for _ in range(2):
        with pytest.raises(ValueError, match="is not the address of a client"):
            rewrite(HTTP_X_FORWARDED_FOR="evil")


def test_the_number_of_remembered_texts_is_bounded():
    for number in range(1500):
        keys.host_name(f"host{number}.example.com")
        proxies._address_of_node(f"10.1.{number // 256}.{number % 256}")
    assert keys._host_name.cache_info().currsize == 1024
    assert proxies._address_of_node.cache_info().currsize == 1024


def test_each_middleware_trusts_its_own_proxies():
    variables = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9", "wsgi.url_scheme": "http"}
    for trusted, address in (("10.0.0.0/8", "203.0.113.9"), ("192.0.2.0/24", "10.0.0.1")) * 2:
        middleware = TrustedProxies(lambda environ, start_response: [], trusted=[trusted], x_for=1)
        assert middleware.rewrite(variables)["REMOTE_ADDR"] == address
