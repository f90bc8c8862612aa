"use strict";
// What all pages share. Text goes into the page by textContent only: the policy's Trusted Types would refuse anything else.
const api = document.body.dataset.api;
const byId = (id) => document.getElementById(id);
const REQUESTS_SHOWN = 8;
const AWAY = "The server does not answer as it should. Is it running?";
// What a person can do, where the API's own words are for programs. All else is told by its `detail`.
const WORDS = {
  malformed_request: "The server could not read what this page sent.",
  validation_error: "Something in it is not as it should be.",
  reset_invalid: "This link is not valid any more: it was used, is too old, or the account has changed since.",
  csrf_failed: "The server is not sure that this page has sent this. Reload the page and try again.",
  cross_site_request: "Only a page of this site may send this. Open the link in a window of its own.",
  step_up_required: "That asks for a recent proof that it is you. Nothing was changed.",
  too_large: "That is too long.",
  password_rejected: "Choose another password.",
  delivery_unavailable: "Mail cannot be sent just now. Try again later.",
  internal_error: "Something went wrong in the server.",
};

let csrfToken = "";
let clockOffset = 0;  // server minus browser, in milliseconds

// --- talking to the server ---------------------------------------------------------------------------

async function send(method, path, body) {
  const headers = {"Accept": "application/json"};
  if (method !== "GET") headers["X-CSRF-Token"] = csrfToken;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(api + path, {method, headers, body: body && JSON.stringify(body), cache: "no-store"});
  const text = await response.text();
  const date = Date.parse(response.headers.get("Date"));
  // The header has whole seconds: less than two of difference is none.
  if (date) clockOffset = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  const answer = {method, path, status: response.status, ok: response.ok, body: text ? JSON.parse(text) : null};
  answer.retryAfter = response.headers.get("Retry-After");
  note(answer);
  return answer;
}

async function fetchCsrfToken() {
  csrfToken = (await send("GET", "csrf/")).body.csrf_token;
}

const isProblem = (answer, code) => !answer.ok && answer.body && answer.body.code === code;

// One refresh at a time, however many requests meet the expired token.
let refreshing = null;
function refreshOnce() {
  refreshing ??= send("POST", "refresh/").finally(() => { refreshing = null; });
  return refreshing;
}

async function call(method, path, body) {
  if (!csrfToken && method !== "GET") await fetchCsrfToken();
  let answer = await send(method, path, body);
  if (isProblem(answer, "csrf_failed")) {
    await fetchCsrfToken();
    answer = await send(method, path, body);
  }
  if (isProblem(answer, "token_expired")) {
    if (!csrfToken) await fetchCsrfToken();
    const refreshed = await refreshOnce();
    answer = refreshed.ok ? await send(method, path, body) : refreshed;
  }
  return answer;
}

// --- showing -----------------------------------------------------------------------------------------

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(text, isBad = false) {
  byId("status").className = isBad ? "status bad" : "status";
  byId("status").textContent = text;
}

function wordsOf(answer) {
  const problem = answer.body || {};
  const fields = Object.entries(problem.errors || {}).map(([field, texts]) =>
    (problem.code === "validation_error" ? `${field}: ` : "") + [texts].flat().join(" "));
  const wait = answer.retryAfter ? ` Try again in ${answer.retryAfter} seconds.` : "";
  return [WORDS[problem.code] || problem.detail || `The server answered ${answer.status}.`, ...fields].join(" ") + wait;
}

const complain = (answer) => say(wordsOf(answer), true);

const outcome = (answer) => `${answer.status}${answer.body && (answer.body.code || answer.body.status) ? " " + (answer.body.code || answer.body.status) : ""}`;

function note(answer) {
  const line = element("li");
  line.append(element("span", `${answer.method} ${answer.path}`), element("span", String(answer.status), answer.ok ? "ok" : "refused"));
  byId("requests").prepend(line);
  while (byId("requests").children.length > REQUESTS_SHOWN) byId("requests").lastChild.remove();
  showReadable();
}

function showReadable() {
  byId("readable").textContent = document.cookie.replace(/(=.{8})[^;]*/g, "$1…") || "(nothing)";
}

function showResponse(answer) {
  const line = byId("response-line");
  line.textContent = `${answer.method} ${api}${answer.path} → ${outcome(answer)}`;
  line.className = `line ${answer.ok ? "ok" : "refused"}`;
  byId("response-body").textContent = answer.body ? JSON.stringify(answer.body, null, 2) : "(no body)";
}

// --- buttons -----------------------------------------------------------------------------------------

// A button works once at a time, keeps the focus, and a server that is away is told in words.
function guarded(button, work) {
  return async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch {
      say(AWAY, true);
    } finally {
      button.removeAttribute("aria-busy");
      button.disabled = false;
      button.dispatchEvent(new Event("free"));
      const focused = document.activeElement;
      if (focused === document.body || !focused.checkVisibility()) button.focus();
    }
  };
}
