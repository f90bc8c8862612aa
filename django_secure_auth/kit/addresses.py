"""Which addresses of the internet are anybody's, and which are somebody's inside.

`ipaddress`'s `is_global` is no judge here: it calls NAT64 and 6to4 addresses global though they end in a network
inside, and what it says changes with Python's version.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

REGISTRIES_READ = "2026-11"
"""The month of the IANA registries below: IPv4 and IPv6 Special-Purpose Address Registry, RFC 6890."""

# Broader than the registries' "globally reachable": whoever fetches a preview has no business with any of them.
SPECIAL_V4: dict[IPv4Network, str] = {
    IPv4Network(network): rule
    for network, rule in {
        "0.0.0.0/8": "this network",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared (CGNAT)",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "metadata",  # Azure's, on a public address
        "169.254.0.0/16": "link-local",  # and the metadata of most clouds
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "protocol assignments",
        "192.0.2.0/24": "documentation",
        "192.31.196.0/24": "AS112",
        "192.52.193.0/24": "AMT",
        "192.88.99.0/24": "6to4 relay",
        "192.168.0.0/16": "private",
        "192.175.48.0/24": "AS112",
        "198.18.0.0/15": "benchmarking",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",  # broadcast too
    }.items()
}
# Only 2000::/3 is handed out to hosts (RFC 4291 §2.4, IANA IPv6 Address Space); within it:
GLOBAL_V6 = IPv6Network("2000::/3")
SPECIAL_V6: dict[IPv6Network, str] = {
    IPv6Network(network): rule
    for network, rule in {
        "2001::/32": "Teredo",
        "2001::/23": "protocol assignments",
        "2001:db8::/32": "documentation",
        "2002::/16": "6to4",
        "2620:4f:8000::/48": "AS112",
        "3fff::/20": "documentation",
    }.items()
}
# Outside of it, by the name that a log should have.
OUTSIDE_V6: dict[IPv6Network, str] = {
    IPv6Network(network): rule
    for network, rule in {
        "::1/128": "loopback",
        "::/128": "unspecified",
        "::ffff:0:0/96": "IPv4 in IPv6",
        "::ffff:0:0:0/96": "IPv4 in IPv6",
        "::/96": "IPv4 in IPv6",
        "64:ff9b::/96": "NAT64",
        "64:ff9b:1::/48": "NAT64",
        "100::/64": "discard",
        "5f00::/16": "segment routing",
        "fc00::/7": "private",
        "fe80::/10": "link-local",
        "fec0::/10": "site-local",
        "ff00::/8": "multicast",
    }.items()
}
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def why_not_public(address: IPv4Address | IPv6Address) -> str | None:
    """Return what kind of inside address it is, None for one that anybody may have.

    An IPv6 address that holds an IPv4 one is none in any form, also around a public one: no name has such an address,
    and where it ends a gateway decides. Source: the IANA registries of `REGISTRIES_READ`, RFC 6890, RFC 6052, RFC 5214.
    """
    if isinstance(address, IPv4Address):
        return next((rule for network, rule in SPECIAL_V4.items() if address in network), None)
    if address.scope_id is not None:
        return "zone id"
    if address not in GLOBAL_V6:
        return next((rule for network, rule in OUTSIDE_V6.items() if address in network), "not handed out")
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "ISATAP"
    return next((rule for network, rule in SPECIAL_V6.items() if address in network), None)
