"""Make django_secure_auth/passwords/common_passwords.bin from a list of leaked passwords, most frequent first.

    python scripts/make_common_passwords.py 10-million-password-list-top-1000000.txt

Django's own list has 190 passwords of twelve characters or more: too few to mean anything under a length rule. This
one has none shorter: the first 10,000 of 12 to 14 characters and the first 6,000 of 15 and more. No password is listed,
only the first 6 bytes of its SHA-256. Source of ours: Mark Burnett, "Ten Million Passwords" (2015, public domain), as
the file above of SecLists (MIT) has it.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections import Counter
from hashlib import sha256
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "django_secure_auth" / "passwords" / "common_passwords.bin"
_WANTED = ((12, 14, 10_000), (15, 64, 6_000))
_DIGEST = 6


def main(source: str) -> None:
    with Path(source).open(encoding="utf-8") as lines:
        folded = (unicodedata.normalize("NFC", line.rstrip("\n")).lower() for line in lines)
        unique = list(dict.fromkeys(one for one in folded if len(one) >= _WANTED[0][0] and one.isprintable()))
    chosen = [one for low, high, most in _WANTED for one in [it for it in unique if low <= len(it) <= high][:most]]
    lengths = Counter(len(one) for one in chosen)
    digests = sorted(sha256(one.encode()).digest()[:_DIGEST] for one in chosen)
    header = json.dumps({"lengths": dict(sorted(lengths.items()))}, separators=(",", ":"))
    TARGET.write_bytes(header.encode() + b"\n" + b"".join(digests))
    print(f"{TARGET.name}: {len(chosen)} passwords, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
