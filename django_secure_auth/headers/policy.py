"""Which headers a response gets. Pure: a question in, headers out."""

from __future__ import annotations

from collections.abc import Sequence

API_CSP = "default-src 'none'; frame-ancestors 'none'"
HSTS = "max-age=31536000; includeSubDomains"

COMMON = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would make browsers send `Origin: null` on form posts, and CSRF checks then fail.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def page_csp(nonce: str, *, framing: str | None = "DENY", trusted_types: Sequence[str] = ()) -> str:
    """Return the strict policy of a page: scripts and styles by nonce, nothing else (ASVS 3.4.3).

    `framing` is its X-Frame-Options, None for a view that may be framed by anybody: browsers read the policy only.
    `trusted_types` names the policies by which scripts may still write HTML; a view that needs some sets the header.
    """
    ancestors = "'self'" if framing == "SAMEORIGIN" else "'none'"
    policies = " ".join(trusted_types) or "'none'"
    frames = f"frame-ancestors {ancestors}; " if framing is not None else ""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; "
        f"connect-src 'self'; base-uri 'none'; form-action 'self'; {frames}"
        f"require-trusted-types-for 'script'; trusted-types {policies}"
    )


def response_headers(
    *, is_json: bool, is_secure: bool, nonce: str | None, framing: str | None = "DENY"
) -> dict[str, str]:
    """Return the headers for a response, by what it is.

    JSON gets a policy that forbids everything. A page gets the strict one when its template asked for the
    nonce; other pages keep what the project gave them. `framing` is what the view says about frames, see `page_csp`.
    """
    headers = dict(COMMON)
    if framing is None:
        del headers["X-Frame-Options"]
    else:
        headers["X-Frame-Options"] = framing
    if is_json:
        headers["Content-Security-Policy"] = API_CSP
    elif nonce is not None:
        headers["Content-Security-Policy"] = page_csp(nonce, framing=framing)
    if is_secure:
        headers["Strict-Transport-Security"] = HSTS
    return headers
