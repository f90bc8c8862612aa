# ruff: noqa: E501  # tables of samples are read by columns
"""Hostile HTML, made from a grammar and a seed, and known vectors written down by hand."""

from __future__ import annotations

import random

TAGS = (
    "a b p pre code ul li blockquote table tr td th caption img h1 figure abbr script style svg math mtext mglyph malignmark "
    "annotation-xml foreignObject desc title textarea xmp plaintext noscript noembed noframes iframe template form "
    "input button select option object embed base meta link body html head frameset video audio source details marquee "
    "isindex keygen math/ svg/onload custom-x image animate set use"
).split()
ATTRIBUTES = "href src onerror onload onclick style title alt srcdoc action formaction xlink:href id name rel target class".split()
RUN = ("__xss(1)", "alert(1)", "window.__xss&#40;1&#41;", "top.__xss`1`")
VECTORS = [
    "<script>__xss(1)</script>", "<img src=x onerror=__xss(1)>", "<svg onload=__xss(1)>", "<svg/onload=__xss(1)>",
    "<a href='javascript:__xss(1)'>a</a>", "<a href='java\tscript:__xss(1)'>a</a>", "<a href=' &#1;javascript:__xss(1)'>a</a>",
    "<a href='&#106avascript:__xss(1)'>a</a>", "<a href='javascript&colon;__xss(1)'>a</a>", "<iframe srcdoc='<script>top.__xss(1)</script>'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=__xss(1)&gt;'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=__xss(1)>",
    "<svg></p><style><a id='</style><img src=1 onerror=__xss(1)>'>", "<noscript><p title='</noscript><img src=x onerror=__xss(1)>'>",
    "<textarea><p title='</textarea><img src=x onerror=__xss(1)>'>", "<xmp><p title='</xmp><img src=x onerror=__xss(1)>'>",
    "<title><p title='</title><svg onload=__xss(1)>'>", "<template><img src=x onerror=__xss(1)></template>",
    "<plaintext><img src=x onerror=__xss(1)>", "<!--><img src=x onerror=__xss(1)>-->", "<![CDATA[><img src=x onerror=__xss(1)>]]>",
    "<a title='`><img src=x onerror=__xss(1)>'>", "<p title=\"a' onclick='__xss(1)\">", "<<script>script>__xss(1)<</script>/script>",
    "<object data='javascript:__xss(1)'>", "<meta http-equiv=refresh content='0;url=javascript:__xss(1)'>", "<base href='javascript:/a/'>",
    "<details open ontoggle=__xss(1)>", "<video><source onerror=__xss(1)>", "<input autofocus onfocus=__xss(1)>",
    "<style>@import 'javascript:__xss(1)';</style>", "<p style='background:url(javascript:__xss(1))'>", "&lt;script&gt;__xss(1)&lt;/script&gt;",
    "<svg><animate onbegin=__xss(1) attributeName=x dur=1s>", "<svg><use href='data:image/svg+xml,<svg onload=__xss(1)>'>",
    "<img src='https://x/' onerror=__xss(1)>", "<img src='https://x/&quot; onerror=&quot;__xss(1)'>", "<a href='https://x/\"onmouseover=\"__xss(1)'>",
]  # fmt: skip


def _url(rng: random.Random) -> str:
    scheme = rng.choice(
        (
            "javascript:",
            "JaVaScRiPt:",
            "java\nscript:",
            "&#x6A;avascript:",
            "data:text/html,",
            "https://x/",
            "//x/",
            "/",
        )
    )
    return scheme + rng.choice((*RUN, "<script>__xss(1)</script>", '"onload="__xss(1)'))


def _attribute(rng: random.Random, depth: int) -> str:
    name = rng.choice(ATTRIBUTES)
    value = _url(rng) if rng.random() < 0.5 else rng.choice((*RUN, rng.choice(VECTORS), _markup(rng, depth + 2)))
    quote = rng.choice(('"', "'", "", "`", '"', "'"))
    before = rng.choice(" /\n\t\f")
    return f"{before}{name}={quote}{value}{rng.choice((quote, quote, quote, ''))}"


def _markup(rng: random.Random, depth: int) -> str:
    kind = rng.random()
    if depth > 4 or kind < 0.12:
        return rng.choice(("x", "&lt;", "&amp;lt;", "\n", "<", ">", "&#60;script&#62;", "</p>", "]]>", "-->", *VECTORS))
    if kind < 0.2:
        return (
            rng.choice(("<!--", "<![CDATA[", "<?", "<!", "</"))
            + _markup(rng, depth + 1)
            + rng.choice(("-->", "]]>", ">", ""))
        )
    tag = rng.choice(TAGS)
    attributes = "".join(_attribute(rng, depth) for _ in range(rng.randrange(3)))
    inner = "".join(_markup(rng, depth + 1) for _ in range(rng.randrange(1, 4)))
    end = rng.choice((f"</{tag}>", f"</{tag}>", "", f"</{rng.choice(TAGS)}>"))
    return (
        f"<{tag.upper() if rng.random() < 0.2 else tag}{attributes}{rng.choice(('>', '>', '>', '/>', ''))}{inner}{end}"
    )


def inputs(count: int, *, seed: int) -> list[str]:
    """Return `count` different hostile texts, the known ones first."""
    rng = random.Random(seed)
    found = dict.fromkeys(VECTORS)
    while len(found) < count:
        found[_markup(rng, 0)] = None
    return list(found)[:count]
