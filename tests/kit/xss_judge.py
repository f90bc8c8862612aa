# ruff: noqa: E501  # tables of samples, and JavaScript
"""A browser as the judge: does anything of a text run, load, move the page, or lie outside of what is allowed?

Scripts are on and there is no policy: nothing but the text's own harmlessness protects the page. That something ran is
not asked of the payload (`alert` and the like are only counted on top): the debugger reports every script that the engine
compiles, event handlers and `javascript:` links among them, and each that is not the judge's own is a hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Browser, CDPSession, Dialog, Error, Page, Route

from django_secure_auth.kit.sanitize import PRESETS

ALLOWED_TAGS = sorted({*PRESETS["article"].tags, "tbody", "colgroup"})
ALLOWED_ATTRIBUTES = "href title src alt width height colspan rowspan rel loading referrerpolicy".split()
# Where a template might put the text. Its own elements are no hit; what breaks out of them still must not run.
AROUND = (
    "<svg>|</svg>", "<svg><foreignObject>|</foreignObject></svg>", "<svg><desc>|</desc></svg>", "<math>|</math>",
    "<math><mtext>|</mtext></math>", "<math><annotation-xml encoding='text/html'>|</annotation-xml></math>",
    "<table>|</table>", "<table><tr>|</tr></table>", "<select>|</select>", "<select><option>|</select>",
    "<noscript>|</noscript>", "<template>|</template>", "<form>|</form>", "<button>|</button>", "<p>|</p>", "<pre>|</pre>",
    "<ul><li>|</ul>", "<a href='/'>|</a>", "<b><i>|</i></b>", "<object>|</object>", "<video>|</video>", "<details open>|</details>",
)  # fmt: skip
PAGE = "<!doctype html><title>page</title><body><script src=/judge.js></script>"
JUDGE = """
'use strict';
const hits = [];
window.__xss = (m) => hits.push('run ' + m);
for (const f of ['alert', 'prompt', 'confirm']) window[f] = () => hits.push('run ' + f);
addEventListener('submit', (x) => x.preventDefault());  // of the forms that we put around a text
let tags, attributes, around;
const known = (text) => text.length > 300 ? text.slice(0, 300) + '…' : text;

function look(root, text, extra) {
  for (const e of root.querySelectorAll('*')) {
    if (!tags.has(e.localName) && !extra.has(e.localName.toLowerCase())) hits.push('element ' + e.localName + ' in ' + known(text));
    if (e.hasAttribute('data-ours')) continue;
    for (const a of e.attributes) {
      const url = a.name === 'href' ? /^(https?:|mailto:|#|\\/(?!\\/))/i : a.name === 'src' ? /^https:/i : null;
      if (!attributes.has(a.name) && !extra.size) hits.push('attribute ' + a.name + ' in ' + known(text));
      if (/^on|^(style|srcdoc|action|formaction|xlink:href|id|name|target)$/i.test(a.name) || (url && !url.test(a.value)))
        hits.push('attribute ' + a.name + '=' + a.value + ' in ' + known(text));
    }
    if (e.localName === 'template') look(e.content, text, extra);
  }
}

function touch(root) {
  // A plain link would lead away, as it should; any other is followed.
  root.addEventListener('click', (x) => {
    const link = x.target.closest('a[href]');
    if (link && /^(https?:|mailto:|#|\\/(?!\\/))/i.test(link.getAttribute('href'))) x.preventDefault();
  });
  for (const e of root.querySelectorAll('*')) {
    for (const t of ['mouseover', 'mouseenter', 'pointerdown', 'keydown', 'error', 'load', 'toggle', 'animationend', 'submit'])
      e.dispatchEvent(new Event(t, {bubbles: true, cancelable: true}));
    if (e.focus) e.focus();
    if (e.click) e.click(); else e.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
  }
}

function set(text, extra) {
  const div = document.createElement('div');
  document.body.append(div);
  div.innerHTML = text;
  for (let i = 0; i < 3; i++) { look(div, text, extra); div.innerHTML = div.innerHTML; }  // written down, read again
  touch(div);
  div.remove();
}

function lend(frame) {
  for (const name of ['__xss', 'alert', 'prompt', 'confirm']) frame.contentWindow[name] = window[name];
}

async function sentence(texts, deep) {
  const none = new Set();
  for (const text of texts) {
    set(text, none);
    for (const [before, after, extra] of deep ? around : []) set(before + text + after, extra);
    const template = document.createElement('template');
    template.innerHTML = text;
    look(template.content, text, none);
    const adopted = document.createElement('div');
    adopted.append(template.content);
    document.body.append(adopted);
    touch(adopted);
    adopted.remove();
    // What the parser makes of it without scripts, and with: <noscript> is read in two ways.
    const parsed = new DOMParser().parseFromString(text, 'text/html');
    look(parsed.body, text, none);
    set(parsed.body.innerHTML, none);
    const written = document.createElement('iframe');
    document.body.append(written);
    lend(written);
    written.contentDocument.write((deep ? '' : '<!doctype html><body>') + text);
    written.contentDocument.close();
    look(written.contentDocument.body, text, none);
    touch(written.contentDocument.body);
    written.remove();
    if (!deep) continue;
    const whole = document.createElement('iframe');
    whole.srcdoc = text;
    const loaded = new Promise((done) => whole.addEventListener('load', done));
    document.body.append(whole);
    await loaded;
    if (whole.contentDocument) { look(whole.contentDocument.body, text, none); touch(whole.contentDocument.body); }
    else hits.push('a frame was led away by ' + known(text));
    whole.remove();
  }
  await new Promise((done) => setTimeout(done, 50));
  await fetch('/settled');  // it stands in a queue behind whatever the texts have asked for
  if (document.title !== 'page') hits.push('the title changed');
  return hits.splice(0);
}

window.judge = (allowed, texts, deep) => {
  tags = new Set(allowed.tags);
  attributes = new Set(allowed.attributes);
  around = allowed.around.map((pair) => {
    const [before, after] = pair.split('|');
    const names = [...pair.matchAll(/<([a-z-]+)/gi)].map((m) => m[1].toLowerCase());
    return [before.replace(/<([a-z-]+)/gi, '<$1 data-ours'), after, new Set([...names, 'tbody', 'colgroup'])];
  });
  return sentence(texts, deep);
};
"""
_CALL = "([allowed, texts, deep]) => window.judge(allowed, texts, deep)"
_CHUNK = 200
_URL = "http://page.test/"


class Judge:
    """A page in Chromium. `hits` says what a list of texts did there."""

    def __init__(self, browser: Browser) -> None:
        self._found: list[str] = []
        self._own: set[str] = set()
        self._compiled: list[dict[str, Any]] = []
        self._page: Page = browser.new_page()
        self._page.route("**/*", self._answer)
        self._page.on("dialog", self._dialog)
        self._page.goto(_URL)
        session: CDPSession = self._page.context.new_cdp_session(self._page)
        session.on("Debugger.scriptParsed", self._script)
        session.send("Debugger.enable")
        # Twice each way: the engine meets the judge's own scripts, so that any other is known for one.
        for deep in (False, True, False, True):
            self._ask(["<p>harmless</p>"], deep=deep)
        self._own = {str(script["hash"]) for script in self._compiled}
        self._compiled.clear()

    def _answer(self, route: Route) -> None:
        url = route.request.url
        if url == _URL:
            route.fulfill(body=PAGE, content_type="text/html")
        elif url == "http://page.test/judge.js":
            route.fulfill(body=JUDGE, content_type="text/javascript")
        elif url == "http://page.test/settled":
            route.fulfill(body="")
        else:
            if route.request.resource_type != "image" or not url.startswith("https://"):
                self._found.append(f"request {url}")
            # "No content" leaves the page where it is; the next text finds the judge again.
            route.fulfill(status=204) if route.request.is_navigation_request() else route.abort()

    def _script(self, script: dict[str, Any]) -> None:
        self._compiled.append(script)

    def _dialog(self, dialog: Dialog) -> None:
        self._found.append("dialog")
        dialog.dismiss()

    def _ask(self, texts: Sequence[str], *, deep: bool) -> list[str]:
        allowed = {"tags": ALLOWED_TAGS, "attributes": ALLOWED_ATTRIBUTES, "around": AROUND}
        return list(self._page.evaluate(_CALL, [allowed, list(texts), deep]))

    def hits(self, texts: Sequence[str], *, deep: bool = False) -> list[str]:
        """What the texts did; `deep` puts each into every element of `AROUND` and a document of its own as well."""
        for start in range(0, len(texts), _CHUNK):
            try:
                self._found += self._ask(texts[start : start + _CHUNK], deep=deep)
            except Error as error:  # the page went away while it was asked
                self._found.append(str(error).partition("\n")[0])
                self._page.goto(_URL)
        if self._page.url != _URL:
            self._found.append(f"the page was led to {self._page.url}")
            self._page.goto(_URL)
        self._found += [
            f"compiled {script['scriptId']} {script.get('url', '')} ({script['length']} characters)"
            for script in self._compiled
            if str(script["hash"]) not in self._own
        ]
        self._compiled.clear()
        found, self._found = self._found, []
        return found
