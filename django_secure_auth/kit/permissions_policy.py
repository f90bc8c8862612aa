"""The Permissions-Policy header: which features of a browser a page and its frames may use. Names are checked."""

from __future__ import annotations

import re
from difflib import get_close_matches

# w3c/webappsec-permissions-policy, features.md, as of November 2026. A browser complains about a name that
# it does not know, on the console of every page.
FEATURES = frozenset(
    """accelerometer ambient-light-sensor attribution-reporting autoplay battery bluetooth browsing-topics camera
    captured-surface-control clipboard-read clipboard-write compute-pressure cross-origin-isolated deferred-fetch
    digital-credentials-get direct-sockets display-capture encrypted-media execution-while-not-rendered
    execution-while-out-of-viewport fullscreen gamepad geolocation gyroscope hid identity-credentials-get
    idle-detection interest-cohort keyboard-map language-detector local-fonts magnetometer microphone midi
    navigation-override otp-credentials payment picture-in-picture publickey-credentials-create
    publickey-credentials-get screen-wake-lock serial speaker-selection storage-access summarizer sync-xhr translator
    unload usb web-share window-management xr-spatial-tracking""".split()
)
DEFAULT = dict.fromkeys(("camera", "geolocation", "microphone", "payment", "usb"), "()")
_ALLOWED = re.compile(r'\*|\((?:self|"https://[!#-\[\]-~]+")?(?: "https://[!#-\[\]-~]+")*\)')


def complaint_about(value: object) -> str | None:
    """Return what is wrong with allow-lists by feature, None when nothing is."""
    if not isinstance(value, dict):
        return f"must be a dict, not {type(value).__name__}."
    for name, allowed in value.items():
        if name not in FEATURES:
            near = get_close_matches(str(name), FEATURES, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else "."
            return f"has {name!r}, which is no policy-controlled feature{guess}"
        if not isinstance(allowed, str) or not _ALLOWED.fullmatch(allowed):
            return f"""[{name!r}] must be as in the header: '()', '(self)', '*' or '(self "https://a.example")'."""
    return None
