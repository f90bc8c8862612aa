"""Which address a request came from, as far as somebody we trust has seen it.

`X-Forwarded-For` is a list to which each proxy appends the address that *it* saw. Everything left of the first address
written by a trusted proxy was written by the client, who may have invented it: taking the left-most one gives every
attacker a new address per request, and with it a new rate limit (ASVS 5.0 §4.1.3 and §15.3.4; MDN, "X-Forwarded-For,
Security and privacy concerns"). Limits and audit both take the address from here, so that they agree.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

MAX_HOPS = 50
"""Right-most entries of the header that are looked at."""

_MAX_HOP_LENGTH = 100
_MAX_PORT_DIGITS = 5
_UNIX = ("", "unix", "unix:")  # nginx writes "unix:" for a peer on a socket

TrustedProxies = int | tuple[IPv4Network | IPv6Network, ...]


def client_ip(
    remote_addr: str | None,
    forwarded_for: str | None,
    trusted_proxies: int | Sequence[str | IPv4Network | IPv6Network],
) -> str | None:
    """Return the right-most untrusted hop in canonical text, or None if nobody trustworthy named one.

    `remote_addr` is the connection's peer, `forwarded_for` the header as it came, `trusted_proxies` one of:

    - 0 or an empty list: nobody is trusted, the header is not read; the answer is the peer.
    - a count *n*: the request passed exactly *n* proxies of ours, so the *n*-th entry from the right is what the
      outermost of them saw. Fewer entries: it did not come through them, the answer is the peer. If that entry is no
      address, the next one to its right counts. Safe only while **every** way to the application has *n* proxies: who
      finds a shorter way chooses their own address. Networks do not have that weakness.
    - networks: from the peer leftwards, trusted addresses are skipped; the first other one is the client. A header from
      an untrusted peer is never read. An entry that is no address ends the walk, and the answer is the last trusted
      address: many clients may then share one limit, but none has one of its own choosing. Likewise when all
      entries are trusted (a call from inside).

    A peer without address (a unix socket: None, "" or "unix:") counts as trusted as soon as anybody is.
    Entries may carry a port or a zone; IPv4 inside IPv6 is unwrapped. Time is bounded: the last 50 entries.

    Raises ValueError if `trusted_proxies` is nonsense (see parse_trusted_proxies).
    """
    trusted = parse_trusted_proxies(trusted_proxies)
    peer = _address(remote_addr)
    if not trusted:
        return _text(peer)
    hops = _hops(forwarded_for)
    if isinstance(trusted, int):
        if len(hops) < trusted:
            return _text(peer)
        seen = (_address(hop) for hop in hops[-trusted:])
        return _text(next((address for address in seen if address is not None), peer))
    return _text(_walk(remote_addr, hops, trusted))


def address_prefix(ip: str | None, *, v4: int = 32, v6: int = 64) -> str:
    """Return the network that one customer holds, for counters: `192.0.2.7/32`, `2001:db8::/64`.

    A single IPv6 host has 2^64 addresses to send from, so that counting addresses counts nothing. What is no address
    is "unknown": all of it shares one counter.

    Raises ValueError if a prefix is longer than its addresses or negative.
    """
    address = _address(ip)
    if address is None:
        return "unknown"
    length = v4 if address.version == 4 else v6
    if not 0 <= length <= address.max_prefixlen:
        raise ValueError(f"not a prefix length for IPv{address.version}: {length}")
    return str(ipaddress.ip_network((address, length), strict=False))


def parse_trusted_proxies(value: int | Sequence[str | IPv4Network | IPv6Network]) -> TrustedProxies:
    """Return the count as it is, or the networks parsed; parsing is remembered.

    Raises ValueError, naming the entry, for a boolean, a negative count or one above 50, a bare string, a network with
    host bits set, and one that holds every address: trusting everybody is trusting the client.
    """
    if isinstance(value, int):
        if isinstance(value, bool) or not 0 <= value <= MAX_HOPS:
            raise ValueError(f"trusted proxies: a count is between 0 and {MAX_HOPS}, not {value!r}")
        return value
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ValueError(f"trusted proxies: a count or a list of networks, not {value!r}")
    entries = tuple(value)
    for entry in entries:
        # ip_network() also takes numbers: 10 would silently be 0.0.0.10.
        if not isinstance(entry, (str, IPv4Network, IPv6Network)):
            raise ValueError(f"trusted proxies: not a network: {entry!r}")
    try:
        return _parse_networks(entries)
    except ValueError as error:
        raise ValueError(f"trusted proxies: {error}") from None


def is_within(ip: str | None, networks: Sequence[str]) -> bool:
    """Tell whether an address lies in one of the networks. What is no address lies in none.

    Raises ValueError as `parse_network` does.
    """
    address = _address(ip)
    return address is not None and any(address in network for network in _parse_networks(tuple(networks)))


def parse_network(text: str | IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Read a network such as `192.0.2.0/24`; an address alone is a network of one. IPv4 inside IPv6 is unwrapped.

    Raises ValueError for anything else, for host bits that are set, and for a network that holds every address.
    """
    network = ipaddress.ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
        # Addresses are unwrapped before they are compared; a network left wrapped would match none of them.
        network = IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    if network.prefixlen == 0:
        raise ValueError(f"{text!s} holds every address")
    return network


@lru_cache(maxsize=256)
def _parse_networks(
    entries: tuple[str | IPv4Network | IPv6Network, ...],
) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(parse_network(entry) for entry in entries)


def _walk(
    remote_addr: str | None, hops: list[str], trusted: tuple[IPv4Network | IPv6Network, ...]
) -> IPv4Address | IPv6Address | None:
    """Every entry that the loop reads was written by somebody trusted: its right neighbour in the list."""
    last: IPv4Address | IPv6Address | None = None
    for hop in reversed([*hops, remote_addr]):
        if _is_unix(hop):
            continue
        address = _address(hop)
        if address is None:
            return last
        last = address
        if not any(address in network for network in trusted):
            return last
    return last


def _hops(forwarded_for: str | None) -> list[str]:
    if not forwarded_for:
        return []
    # The rest of a longer header, left of the last 50 entries, stays in one piece and is dropped: a client can send
    # thousands of them. Empty entries are no entries (RFC 9110 §5.6.1.2).
    pieces = forwarded_for.rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    return [hop for piece in pieces if (hop := piece.strip(" \t"))]


def _is_unix(text: str | None) -> bool:
    return text is None or text in _UNIX


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    """Read `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `fe80::1%eth0`, `[2001:db8::1]`, `[2001:db8::1]:80`."""
    if text is None or len(text) > _MAX_HOP_LENGTH:
        return None
    host = text.strip(" \t")
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or ":" not in host or (rest and not (rest.startswith(":") and _is_port(rest[1:]))):
            return None
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        if not _is_port(port):
            return None
    if ":" in host:
        host = host.partition("%")[0]  # a zone means something on the machine that wrote it only
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # On a dual-stack socket an IPv4 client shows as ::ffff:192.0.2.1: both are one client and match the same networks.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_port(text: str) -> bool:
    return 1 <= len(text) <= _MAX_PORT_DIGITS and text.isascii() and text.isdigit()


def _text(address: IPv4Address | IPv6Address | None) -> str | None:
    return None if address is None else str(address)
