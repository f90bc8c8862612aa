"use strict";
// Text goes into the page by textContent only: the policy's Trusted Types would refuse anything else.
const api = document.body.dataset.api;
const byId = (id) => document.getElementById(id);
const STEPS = ["sign-in", "code", "account"];
const TITLES = {"sign-in": "Sign in", "code": "Enter the code", "account": "Signed in"};
const REQUESTS_SHOWN = 8;
// After these there is nothing to repeat: the person signs in again.
const OVER = ["not_authenticated", "token_invalid", "session_revoked", "session_inactive", "refresh_reused"];

let csrfToken = "";
let clockOffset = 0;  // server minus browser, in milliseconds
let challenge = null;
let session = null;

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

function complain(answer) {
  const problem = answer.body || {};
  const fields = Object.entries(problem.errors || {}).map(([field, texts]) => `${field}: ${[texts].flat().join(" ")}`);
  const wait = answer.retryAfter ? ` Try again in ${answer.retryAfter} seconds.` : "";
  const more = problem.code === "step_up_required" ? " Sign out and in again, then repeat it." : "";
  say([problem.detail || `The server answered ${answer.status}.`, ...fields].join(" ") + wait + more, true);
}

const outcome = (answer) => `${answer.status}${answer.body && (answer.body.code || answer.body.status) ? " " + (answer.body.code || answer.body.status) : ""}`;

function note(answer) {
  const line = element("li");
  line.append(element("span", `${answer.method} ${answer.path}`), element("span", String(answer.status), answer.ok ? "ok" : "refused"));
  byId("requests").prepend(line);
  while (byId("requests").children.length > REQUESTS_SHOWN) byId("requests").lastChild.remove();
  byId("readable").textContent = document.cookie.replace(/(=.{8})[^;]*/g, "$1…") || "(nothing)";
}

function showResponse(answer) {
  const line = byId("response-line");
  line.textContent = `${answer.method} ${api}${answer.path} → ${outcome(answer)}`;
  line.className = `line ${answer.ok ? "ok" : "refused"}`;
  byId("response-body").textContent = answer.body ? JSON.stringify(answer.body, null, 2) : "(no body)";
}

function show(step, focus) {
  for (const name of STEPS) byId(name).hidden = name !== step;
  for (const item of document.querySelectorAll(".steps li")) {
    item.classList.toggle("done", STEPS.indexOf(item.dataset.step) < STEPS.indexOf(step));
    if (item.dataset.step === step) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  document.title = `${TITLES[step]} · django-secure-auth demo`;
  if (focus) byId(focus).focus();
}

const serverNow = () => Date.now() + clockOffset;
const time = (text) => new Date(text).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
const moment = (text) => new Date(text).toLocaleString([], {dateStyle: "medium", timeStyle: "short"});

// --- the steps ---------------------------------------------------------------------------------------

function askForPassword(focus = "email") {
  challenge = session = null;
  sessionStorage.removeItem("challenge");
  byId("who").textContent = "Not signed in";
  byId("password").value = "";
  show("sign-in", focus);
}

function askForCode(found) {
  challenge = found;
  // A reload must not lose the step. The challenge's secret is in a cookie that no script can read.
  sessionStorage.setItem("challenge", JSON.stringify(found));
  byId("sent-to").textContent = found.sent_to;
  byId("code-expires").textContent = time(found.expires_at);
  byId("otp").value = "";
  showAttempts(found.attempts_left);
  countDown();
  show("code", "otp");
}

function showAttempts(left) {
  byId("attempts").textContent = left === 1 ? "One attempt is left." : `${left} attempts are left.`;
}

let ticking = 0;
function countDown() {
  clearTimeout(ticking);
  if (!challenge) return;
  const wait = Math.ceil((Date.parse(challenge.resend_at) - serverNow()) / 1000);
  byId("resend").disabled = wait > 0;
  byId("resend").textContent = wait > 0 ? `Send again (${wait} s)` : "Send again";
  if (wait > 0) ticking = setTimeout(countDown, 250);
}

function fact(name, value) {
  byId("facts").append(element("dt", name), element("dd", value));
}

function showFacts(user) {
  byId("who").textContent = user.email;
  byId("facts").replaceChildren();
  fact("E-mail", user.email);
  fact("User id", user.id);
  if (!session) return;
  fact("Proven by", session.amr.map((name) => ({pwd: "password", email: "e-mailed code"})[name] || name).join(", "));
  fact("Ends when idle", moment(session.idle_expires_at));
  fact("Ends at the latest", moment(session.expires_at) + (session.remember_me ? " (remembered)" : ""));
}

async function enter(answer) {
  challenge = null;
  sessionStorage.removeItem("challenge");
  session = answer.body.session;
  showFacts(answer.body.user);
  show("account", "account-title");
  await listSessions();
}

function sessionRow(row) {
  const item = element("li");
  const text = element("div");
  const name = element("span", row.device);
  if (row.current) name.append(element("span", "this one", "badge"));
  const meta = `${row.ip_address || "address unknown"} · since ${moment(row.created_at)}${row.remember_me ? " · remembered" : ""}`;
  text.append(name, element("span", meta, "meta"));
  const button = element("button", "End", row.current ? "quiet" : "danger");
  button.type = "button";
  button.setAttribute("aria-label", `End the session ${row.device}${row.current ? " (this one)" : ""} since ${moment(row.created_at)}`);
  button.addEventListener("click", guarded(button, () => endSession(row)));
  item.append(text, button);
  return item;
}

async function listSessions() {
  const answer = await call("GET", "sessions/");
  if (!answer.ok) return refused(answer);
  const rows = answer.body.results;
  session = rows.find((row) => row.current) || session;
  byId("sessions").replaceChildren(...rows.map(sessionRow));
  byId("end-others").disabled = rows.length < 2;
  return answer;
}

function refused(answer) {
  complain(answer);
  if (answer.status === 401 && OVER.includes(answer.body && answer.body.code)) {
    showResponse(answer);
    askForPassword();
  }
  return null;
}

// --- what the buttons do -----------------------------------------------------------------------------

async function signIn() {
  const fields = new FormData(byId("sign-in-form"));
  const answer = await call("POST", "login/", {
    email: fields.get("email"), password: fields.get("password"), remember_me: byId("remember").checked,
  });
  showResponse(answer);
  if (answer.status === 202) {
    say("The password is right. Now the code.");
    askForCode(answer.body.challenge);
  } else if (answer.ok) {
    say("Signed in. This device is trusted, so no code was needed.");
    await enter(answer);
  } else {
    complain(answer);
    byId("password").select();
    byId("password").focus();
  }
}

async function approve() {
  const answer = await call("POST", "otp/approve/", {otp_code: byId("otp").value.trim()});
  showResponse(answer);
  if (answer.ok) {
    say("Signed in. This device is trusted from now on.");
    return enter(answer);
  }
  complain(answer);
  const left = answer.body && answer.body.attempts_left;
  if (isProblem(answer, "challenge_invalid") || left === 0) return askForPassword();
  if (left !== undefined) showAttempts(challenge.attempts_left = left);
  byId("otp").select();
  byId("otp").focus();
}

async function resend() {
  const answer = await call("POST", "otp/resend/");
  showResponse(answer);
  if (answer.ok) {
    say("A new code is on its way; the old one is worth nothing now.");
    askForCode(answer.body.challenge);
  } else {
    complain(answer);
    if (isProblem(answer, "challenge_invalid")) askForPassword();
  }
}

async function signOut() {
  const answer = await call("POST", "logout/");
  showResponse(answer);
  if (!answer.ok) return complain(answer);
  say("Signed out.");
  askForPassword();
}

async function startAgain() {
  const answer = await call("POST", "logout/");  // closes the challenge
  showResponse(answer);
  say("");
  askForPassword();
}

async function whoAmI() {
  const answer = await call("GET", "me/");
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  showFacts(answer.body);
  say(`You are ${answer.body.email}.`);
}

async function refresh() {
  if (!csrfToken) await fetchCsrfToken();
  const answer = await refreshOnce();
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  session = answer.body.session;
  showFacts(answer.body.user);
  say(`Refreshed. The access token is good until ${time(answer.body.access_expires_at)}.`);
}

async function showSessions() {
  const answer = await listSessions();
  if (!answer) return;
  showResponse(answer);
  say(answer.body.results.length === 1 ? "One session." : `${answer.body.results.length} sessions.`);
}

async function endSession(row) {
  const answer = await call("DELETE", `sessions/${row.id}/`);
  showResponse(answer);
  if (!answer.ok && answer.status !== 404) return refused(answer);
  if (row.current) {
    say("This session has ended.");
    return askForPassword();
  }
  say(answer.ok ? "That session has ended." : "That session had ended already.");
  await listSessions();
  byId("sessions-title").scrollIntoView({block: "nearest"});
  byId("list-sessions").focus();
}

async function endOthers() {
  const answer = await call("DELETE", "sessions/");
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  say("All other sessions have ended.");
  await listSessions();
  byId("list-sessions").focus();
}

// --- wiring ------------------------------------------------------------------------------------------

// A button works once at a time, and a server that is away is told in words.
function guarded(button, work) {
  return async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch {
      say("The server does not answer as it should. Is it running?", true);
    } finally {
      button.removeAttribute("aria-busy");
      button.disabled = false;
      if (button === byId("resend")) countDown();
      if (button === byId("end-others")) button.disabled = byId("sessions").children.length < 2;
    }
  };
}

for (const [id, work] of [["sign-in-form", signIn], ["code-form", approve]]) {
  byId(id).addEventListener("submit", guarded(byId(id).querySelector("[type=submit]"), work));
}
for (const [id, work] of [
  ["resend", resend], ["restart", startAgain], ["me", whoAmI], ["refresh", refresh], ["sign-out", signOut],
  ["list-sessions", showSessions], ["end-others", endOthers],
]) {
  byId(id).addEventListener("click", guarded(byId(id), work));
}

async function start() {
  await fetchCsrfToken();
  const answer = await call("GET", "me/");
  if (answer.ok) {
    await listSessions();
    showFacts(answer.body);
    return show("account");
  }
  const open = JSON.parse(sessionStorage.getItem("challenge") || "null");
  if (open && Date.parse(open.expires_at) > serverNow()) return askForCode(open);
  askForPassword();
}

start().catch(() => {
  say("The server does not answer as it should. Is it running?", true);
  show("sign-in");
});
