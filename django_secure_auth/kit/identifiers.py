"""Names: one canonical form for what people type to name an account, and what a machine's name may look like."""

from __future__ import annotations

import re
import unicodedata

MAX_IDENTIFIER = 254
"""Characters of an e-mail address (RFC 5321 §4.5.3.1.3 as corrected by erratum 1690)."""
MAX_NAME = 64
_NAME = re.compile(r"[A-Za-z](?:[_-]?[A-Za-z0-9])*")


def canonical_identifier(value: str) -> str:
    """Return the form under which an identifier is looked up and counted.

    NFKC, case-folded, trimmed: `" Ana@Example.com"` and `"ana@example.com"` are one account and one
    counter. Accents stay: `ádmin` is not `admin`. The result is normalised again after folding, since
    folding may decompose. Source: RFC 8265 §3.3 (UsernameCaseMapped), with NFKC for full-width forms.
    """
    folded = unicodedata.normalize("NFKC", value).strip().casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def is_safe_identifier(value: str) -> bool:
    """Tell whether a text is a plain name: ASCII letters and digits, single `_` and `-` between them, at most 64.

    Such a name means nothing else anywhere it may end up: no look-alike of another (UTS 39), no path, no `__` of an ORM
    look-up, no option of a command, no line break in a log.
    """
    return len(value) <= MAX_NAME and _NAME.fullmatch(value) is not None
