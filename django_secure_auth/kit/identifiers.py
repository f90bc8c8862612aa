"""One canonical form for what people type to name an account."""

from __future__ import annotations

import unicodedata

MAX_IDENTIFIER = 254
"""Characters of an e-mail address (RFC 5321 §4.5.3.1.3 as corrected by erratum 1690)."""


def canonical_identifier(value: str) -> str:
    """Return the form under which an identifier is looked up and counted.

    NFKC, case-folded, trimmed: `" Ana@Example.com"` and `"ana@example.com"` are one account and one
    counter. Accents stay: `ádmin` is not `admin`. The result is normalised again after folding, since
    folding may decompose. Source: RFC 8265 §3.3 (UsernameCaseMapped), with NFKC for full-width forms.
    """
    folded = unicodedata.normalize("NFKC", value).strip().casefold()
    return unicodedata.normalize("NFKC", folded).strip()
