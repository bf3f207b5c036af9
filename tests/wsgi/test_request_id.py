"""The id of a request: taken from a trusted proxy if it is one valid id, and otherwise new."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountpoint.wsgi.proxy_settings import ProxySettings
from mountpoint.wsgi.request_id import RequestIds, new_request_id, set_request_id
from mountpoint.wsgi.router import Router
from mountpoint.wsgi.table import Mount, MountTable

PROXY, CLIENT = "192.0.2.1", "203.0.113.9"
NEW = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def ids():
    return RequestIds(lambda peer: peer == PROXY)


@pytest.mark.parametrize(
    "given",
    [
        *("0af7651916cd43dd8448eb211c80319c", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "1", "a" * 128),
        *("Root=1-67891233-abcdef012345678912345678", "8c1f-FRA", "QUJD+/==", "user@host:7/x_y.z"),
    ],
)
def test_a_valid_id_of_a_trusted_proxy_is_taken(ids, given):
    assert ids.choose(PROXY, given) == given


@pytest.mark.parametrize(
    "given",
    [
        *(
            "",
            " ",
            "a b",
            "a" * 129,
            "a, b",
            "a,b",
            "a;b",
            '"a"',
            "a\\b",
            "a\tb",
            "<a>",
            "a%0Ab",
            "caf\xc3\xa9",
            "\u0661",
        ),
        *("a\n", "\na", "a\r", "a\x00", "a\x7f", "a\x85"),
    ],
)
def test_an_id_of_other_characters_or_lengths_is_replaced(ids, given):
    assert NEW.fullmatch(ids.choose(PROXY, given))


@pytest.mark.parametrize("peer", [CLIENT, "", "localhost", "192.0.2.10"])
def test_an_id_of_another_peer_is_replaced(ids, peer):
    assert NEW.fullmatch(ids.choose(peer, "0af7651916cd43dd8448eb211c80319c"))


def test_a_request_without_an_id_gets_a_new_one(ids):
    assert len({ids.choose(peer, None) for peer in (PROXY, CLIENT) * 500}) == 1000


@given(st.text(st.characters(max_codepoint=0xFF)) | st.text("aZ9._:/+=@-,\n ", min_size=120, max_size=130))
def test_the_id_is_the_given_one_or_new(given):
    chosen = RequestIds(lambda peer: True).choose(PROXY, given)
    assert re.fullmatch(r"[A-Za-z0-9._:/+=@-]{1,128}", chosen)
    assert chosen == given or NEW.fullmatch(chosen)


def test_an_app_that_seeds_random_does_not_repeat_ids():
    found = set()
    for _ in range(2):
        random.seed(1)
        found.add(new_request_id())
    assert len(found) == 2


def test_the_id_replaces_the_one_of_the_client_in_environ():
    environ = {"HTTP_X_REQUEST_ID": "forged"}
    set_request_id(environ, "ours")
    assert environ == {"HTTP_X_REQUEST_ID": "ours", "mountpoint.request_id": "ours"}


# ----------------------------------------------------------------------------------------------------------- the router


def router(**options):
    table = MountTable([Mount("/", lambda environ, start_response: [])])
    return Router(table, ProxySettings(trusted=["10.0.0.0/8", "unix"], x_for=1), **options)


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [("10.1.2.3", True), ("::ffff:10.0.0.1", True), ("localhost", True), ("11.0.0.1", False), ("::1", False)],
)
def test_a_router_trusts_the_peers_that_it_trusts_for_other_headers(peer, is_trusted):
    ids = router(has_request_ids=True).request_ids
    assert (ids.choose(peer, "given") == "given") is is_trusted


def test_a_router_gives_no_ids_unless_it_is_asked_to():
    assert router().request_ids is None
