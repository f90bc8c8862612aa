"""Laws of kit.client_ip."""

import time
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.client_ip import (
    MAX_HOPS,
    address_prefix,
    client_ip,
    is_within,
    parse_network,
    parse_trusted_proxies,
)

PROXY = "10.0.0.1"
EDGE = "10.0.0.2"
CLIENT = "198.51.100.7"
SPOOFED = "203.0.113.99"
NETWORKS = ["10.0.0.0/8", "2001:db8:ff::/48"]

header_text = st.text(alphabet="0123456789abcdef.:,[]% \tunixknow", max_size=200) | st.text(max_size=50)


# -------------------------------------------------------------------------------------------------- nobody is trusted


@pytest.mark.control("ASVS-4.1.3")
@pytest.mark.parametrize("trusted", [0, [], ()])
@given(header=header_text)
def test_without_trusted_proxies_the_header_is_not_read(trusted: Any, header: str) -> None:
    assert client_ip(CLIENT, header, trusted) == CLIENT
    assert client_ip("", header, trusted) is None
    assert client_ip(None, header, trusted) is None
    assert client_ip("garbage", header, trusted) is None


# ------------------------------------------------------------------------------------------------------------ a count


@pytest.mark.parametrize(
    ("count", "header", "found"),
    [
        (1, CLIENT, CLIENT),
        (1, f"{SPOOFED}, {CLIENT}", CLIENT),
        (2, f"{SPOOFED}, {CLIENT}, {EDGE}", CLIENT),
        (2, f"{CLIENT},{EDGE}", CLIENT),
        (2, CLIENT, PROXY),
        (1, None, PROXY),
        (1, "", PROXY),
        (1, " , ,", PROXY),
        (1, "unknown", PROXY),
        (2, f"unknown, {EDGE}", EDGE),
        (3, f"{SPOOFED}, unknown, garbage, {EDGE}", EDGE),
    ],
)
def test_a_count_takes_the_entry_that_the_outermost_proxy_wrote(count: int, header: str | None, found: str) -> None:
    assert client_ip(PROXY, header, count) == found


@pytest.mark.control("ASVS-15.3.4")
@given(header=header_text, count=st.integers(1, 3))
def test_what_a_client_sends_never_changes_the_answer_of_a_count(header: str, count: int) -> None:
    written = [CLIENT, EDGE, "10.0.0.3"][:count]
    assert client_ip(PROXY, ",".join([header, *written]), count) == CLIENT


# ----------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("peer", "header", "found"),
    [
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"{SPOOFED}, {CLIENT}", CLIENT),
        (PROXY, f"{SPOOFED}, {CLIENT}, {EDGE}", CLIENT),
        (PROXY, f"10.9.9.9, {CLIENT}, {EDGE}", CLIENT),
        (PROXY, f"{CLIENT}, 2001:db8:ff::7", CLIENT),
        (PROXY, f"{CLIENT}, ::ffff:10.0.0.9", CLIENT),
        (f"::ffff:{PROXY}", CLIENT, CLIENT),
        (CLIENT, SPOOFED, CLIENT),
        (CLIENT, f"{SPOOFED}, {EDGE}", CLIENT),
        (PROXY, None, PROXY),
        (PROXY, EDGE, EDGE),
        (PROXY, f"10.1.1.1, {EDGE}", "10.1.1.1"),
        (PROXY, f"{SPOOFED}, unknown", PROXY),
        (PROXY, f"{SPOOFED}, unknown, {EDGE}", EDGE),
        (PROXY, f"{SPOOFED}, _hidden, {EDGE}", EDGE),
        ("garbage", CLIENT, None),
    ],
)
def test_networks_find_the_right_most_untrusted_hop(peer: str, header: str | None, found: str | None) -> None:
    assert client_ip(peer, header, NETWORKS) == found


@pytest.mark.control("ASVS-15.3.4")
@given(header=header_text, chain=st.lists(st.sampled_from([EDGE, "10.1.1.1:443", "[2001:db8:ff::1]:1"]), max_size=5))
def test_what_a_client_sends_never_changes_the_answer_of_networks(header: str, chain: list[str]) -> None:
    assert client_ip(PROXY, ",".join([header, CLIENT, *chain]), NETWORKS) == CLIENT


@given(header=header_text)
def test_an_untrusted_peer_is_the_client_whatever_it_sends(header: str) -> None:
    assert client_ip(CLIENT, header, NETWORKS) == CLIENT


# -------------------------------------------------------------------------------------------------------- unix sockets


@pytest.mark.parametrize("peer", [None, "", "unix:", "unix"])
def test_a_peer_on_a_unix_socket_counts_as_trusted(peer: str | None) -> None:
    assert client_ip(peer, f"{SPOOFED}, {CLIENT}", 1) == CLIENT
    assert client_ip(peer, f"{SPOOFED}, {CLIENT}", NETWORKS) == CLIENT
    assert client_ip(peer, f"{SPOOFED}, {CLIENT}, {EDGE}, unix:", NETWORKS) == CLIENT
    assert client_ip(peer, None, 1) is None
    assert client_ip(peer, None, NETWORKS) is None
    assert client_ip(peer, "unknown", NETWORKS) is None


# -------------------------------------------------------------------------------------------------------------- forms


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" \t192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:54321", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:c000:201]:80", "192.0.2.1"),
        ("::", "::"),
    ],
)
def test_an_address_comes_out_in_canonical_text(written: str, found: str) -> None:
    assert client_ip(written, None, 0) == found
    assert client_ip(PROXY, written, 1) == found


@pytest.mark.parametrize(
    "written",
    [
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "192.0.2.1:",
        "192.0.2.1:x",
        "192.0.2.1:123456",
        "192.0.2.1:\u0661",
        "192.0.2.1%eth0",
        "[192.0.2.1]",
        "[2001:db8::1",
        "[2001:db8::1]443",
        "[2001:db8::1]:",
        "2001:db8::1]:443",
        "2001:db8::g",
        "3221225985",
        '"192.0.2.1"',
        "192.0.2.1\n",
        "1" * 101,
    ],
)
def test_what_is_no_address_is_none(written: str) -> None:
    assert client_ip(written, None, 0) is None


@given(
    peer=st.none() | header_text, header=st.none() | header_text, trusted=st.sampled_from([0, 1, 3, tuple(NETWORKS)])
)
def test_client_ip_never_raises_and_answers_a_canonical_address_or_none(
    peer: str | None, header: str | None, trusted: Any
) -> None:
    found = client_ip(peer, header, trusted)
    assert found is None or str(ip_address(found)) == found


def test_only_the_last_fifty_entries_are_looked_at() -> None:
    trusted_chain = ",".join([EDGE] * (MAX_HOPS - 1))
    assert client_ip(PROXY, f"{CLIENT},{trusted_chain}", NETWORKS) == CLIENT
    assert client_ip(PROXY, f"{CLIENT},{EDGE},{trusted_chain}", NETWORKS) == EDGE
    assert client_ip(PROXY, f"{SPOOFED},{CLIENT},{trusted_chain}", MAX_HOPS) == CLIENT


@pytest.mark.parametrize("piece", [",", "1", "10.0.0.1,", "[", ":", " ", "%"])
@pytest.mark.parametrize("trusted", [1, MAX_HOPS, NETWORKS])
def test_a_huge_header_costs_little(piece: str, trusted: Any) -> None:
    started = time.perf_counter()
    client_ip(PROXY, piece * 1_000_000, trusted)
    assert time.perf_counter() - started < 1


# ------------------------------------------------------------------------------------------------------------ settings


def test_trusted_proxies_are_parsed() -> None:
    assert parse_trusted_proxies(0) == 0
    assert parse_trusted_proxies(2) == 2
    assert parse_trusted_proxies([]) == ()
    assert parse_trusted_proxies(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", ip_network("fd00::/8")]) == (
        ip_network("10.0.0.0/8"),
        ip_network("192.0.2.1/32"),
        ip_network("2001:db8::/32"),
        ip_network("fd00::/8"),
    )


def test_a_network_of_wrapped_ipv4_addresses_matches_the_unwrapped_ones() -> None:
    assert parse_trusted_proxies(["::ffff:10.0.0.0/104"]) == (ip_network("10.0.0.0/8"),)
    assert client_ip(PROXY, CLIENT, ["::ffff:10.0.0.0/104"]) == CLIENT


def test_parsing_is_remembered_and_its_result_is_accepted() -> None:
    networks = parse_trusted_proxies(NETWORKS)
    assert parse_trusted_proxies(list(NETWORKS)) is networks
    assert client_ip(PROXY, CLIENT, networks) == CLIENT


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        -1,
        MAX_HOPS + 1,
        1.5,
        None,
        "1",
        "10.0.0.0/8",
        b"10.0.0.0/8",
        {"10.0.0.0/8"},
        [10],
        [None],
        ["proxy.internal"],
        [""],
        ["10.0.0.1/8"],
        ["10.0.0.0/33"],
        ["0.0.0.0/0"],
        ["::/0"],
        ["::ffff:0.0.0.0/96"],
        ["10.0.0.0/8", "nonsense"],
    ],
)
def test_nonsense_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="trusted proxies: "):
        parse_trusted_proxies(value)
    with pytest.raises(ValueError, match="trusted proxies: "):
        client_ip(CLIENT, None, value)


# ------------------------------------------------------------------------------------------------------------- counters


@pytest.mark.parametrize(
    ("ip", "prefix"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        (None, "unknown"),
        ("", "unknown"),
        ("garbage", "unknown"),
    ],
)
def test_counters_count_networks(ip: str | None, prefix: str) -> None:
    assert address_prefix(ip) == prefix


def test_the_length_of_the_prefix_can_be_chosen() -> None:
    assert address_prefix("192.0.2.7", v4=24) == "192.0.2.0/24"
    assert address_prefix("2001:db8:1:2::1", v6=48) == "2001:db8:1::/48"


@pytest.mark.parametrize(("ip", "v4", "v6"), [("192.0.2.7", 33, 64), ("192.0.2.7", -1, 64), ("2001:db8::", 32, 129)])
def test_an_impossible_prefix_is_refused(ip: str, v4: int, v6: int) -> None:
    with pytest.raises(ValueError, match=r"not a prefix length for IPv[46]: "):
        address_prefix(ip, v4=v4, v6=v6)


# ------------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ],
)
def test_a_network_is_read_in_one_form(text: str, network: str) -> None:
    assert str(parse_network(text)) == network


@pytest.mark.parametrize("text", ["", "nonsense", "192.0.2.1/24", "10.0.0.0/33", "0.0.0.0/0", "::/0", "::ffff:0:0/96"])
def test_what_is_no_network_or_all_of_them_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|network|host bits"):
        parse_network(text)


@pytest.mark.parametrize(
    ("ip", "inside"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("192.0.3.7", False),
        ("2001:db9::1", False),
        ("garbage", False),
        ("", False),
        (None, False),
    ],
)
def test_an_address_lies_in_a_network_or_not(ip: str | None, inside: bool) -> None:
    assert is_within(ip, ["192.0.2.0/24", "2001:db8::/32"]) is inside
    assert not is_within(ip, [])
