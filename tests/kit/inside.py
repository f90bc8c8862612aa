"""Addresses inside, every way of writing them, and URLs that are none: what must never be connected to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address

PUBLIC = "93.184.215.14"
INSIDE = (
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "0.0.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "192.0.0.192", "198.18.0.1", "192.0.2.1", "203.0.113.9", "168.63.129.16",
)  # fmt: skip


def parts(v4: str) -> list[int]:
    return [int(part) for part in v4.split(".")]


def pair(v4: str) -> str:
    a, b, c, d = parts(v4)
    return f"{a:02x}{b:02x}:{c:02x}{d:02x}"


def inverted(v4: str) -> str:
    a, b, c, d = (255 - part for part in parts(v4))
    return f"{a:02x}{b:02x}:{c:02x}{d:02x}"


FORMS: dict[str, Callable[[str], str]] = {
    "dotted": lambda v4: v4,
    "with a dot at its end": lambda v4: f"{v4}.",
    "octal": lambda v4: ".".join(f"0{part:o}" for part in parts(v4)),
    "long octal": lambda v4: ".".join(f"{part:012o}" for part in parts(v4)),
    "hexadecimal": lambda v4: ".".join(hex(part) for part in parts(v4)),
    "mixed": lambda v4: f"{hex(parts(v4)[0])}.{v4.split('.', 1)[1]}",
    "three parts": lambda v4: "{}.{}.{}".format(*parts(v4)[:2], parts(v4)[2] * 256 + parts(v4)[3]),
    "two parts": lambda v4: f"{parts(v4)[0]}.{int(IPv4Address(v4)) % 2**24}",
    "dotless": lambda v4: str(int(IPv4Address(v4))),
    "dotless, hexadecimal": lambda v4: hex(int(IPv4Address(v4))),
    "dotless, octal": lambda v4: f"0{int(IPv4Address(v4)):o}",
    "too large": lambda v4: str(int(IPv4Address(v4)) + 2**32),
    "wide digits": lambda v4: v4.translate({ord("0") + n: chr(0xFF10 + n) for n in range(10)}),
    "circled digits": lambda v4: v4.translate({ord("1") + n: chr(0x2460 + n) for n in range(9)}) + "①",
    "ideographic dots": lambda v4: v4.replace(".", "。"),
    "percent-encoded": lambda v4: "".join(f"%{ord(one):02x}" for one in v4),
    "mapped": lambda v4: f"[::ffff:{v4}]",
    "mapped, in hexadecimal": lambda v4: f"[::ffff:{pair(v4)}]",
    "translated": lambda v4: f"[::ffff:0:{v4}]",
    "compatible": lambda v4: f"[::{v4}]",
    "NAT64": lambda v4: f"[64:ff9b::{v4}]",
    "NAT64, local": lambda v4: f"[64:ff9b:1::{v4}]",
    "6to4": lambda v4: f"[2002:{pair(v4)}::1]",
    "Teredo": lambda v4: f"[2001:0:4136:e378:8000:63bf:{inverted(v4)}]",
    "ISATAP": lambda v4: f"[2001:470::5efe:{v4}]",
    "with a zone": lambda v4: f"[fe80::{pair(v4)}%25eth0]",
    "a user before it": lambda v4: f"example.com@{v4}",
    "a backslash before it": lambda v4: f"example.com\\@{v4}",
    "a name that is one": lambda v4: f"named-{v4.replace('.', '-')}.example.com",
    "a name that is a mapped one": lambda v4: f"mapped-{v4.replace('.', '-')}.example.com",
    "a name that is one of two": lambda v4: f"mixed-{v4.replace('.', '-')}.example.com",
}
ALL = [(form, address) for form in FORMS for address in INSIDE]
OTHERS = {
    "scheme": ["ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "data:text/plain,x",
               "//example.com/", "example.com", "HTTP+UNIX://x.example/", "javascript:alert(1)"],
    "credentials": ["http://ana@example.com/", "http://ana:pw@example.com/", "http://@example.com/",
                    "https://:@example.com/"],
    "port": ["http://example.com:22/", "http://example.com:6379/", "https://example.com:8443/", "http://example.com:0/",
             "http://example.com:99999/"],
    "host": ["http://localhost/", "http://intranet/", "http://-a.example/", "http://a..example/", "http://a_b/",
             "http://*.example/", f"http://{'a' * 64}.example/", f"http://{'a.' * 130}example/", "http:///x", "http://a,b.example/",
             "http://xn--a.example/", "http://xn--99999.com/", "http://[::1%::1example.com\u0130]/"],
    "characters": ["", "http://example.com/\r\nX: y", "http://exa\tmple.com/", " http://example.com/",
                   "http://example.com/\x00", "http://a b/", "http://[::1\u202e]/", "x" * 3000,
                   "http://example.com\\@127.0.0.1/", "http://exam\u00adple.com/", "http://exam\u200bple.com/"],
    "not a URL": ["http://[::1/", "http://example.com:port/", "http://[v1.x]/"],
    "private": ["http://[fc00::1]/", "http://[fd00:ec2::254]/"],
    "loopback": ["http://[::1]/", "http://[0:0:0:0:0:0:0:1]/"],
    "multicast": ["http://[ff02::1]/"],
    "unspecified": ["http://[::]/"],
    "documentation": ["http://[2001:db8::1]/", "http://[3fff::1]/"],
    "not handed out": ["http://[4000::1]/", "http://[1::1]/"],
    "site-local": ["http://[fec0::1]/"],
}  # fmt: skip


def names(host: str, port: int) -> Sequence[str]:
    """A name server of one line: what a name says is what it means."""
    kind, _, rest = host.partition(".")[0].partition("-")
    v4 = rest.replace("-", ".")
    known = {"named": [v4], "mapped": [f"::ffff:{v4}"], "mixed": [PUBLIC, v4]}
    return known.get(kind, [PUBLIC])
