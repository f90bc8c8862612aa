// The page on which a person clicks through the whole journey.
const STEPS = ["sign-in", "code", "account"];
const SECTIONS = {  // each with its step and its title
  "sign-in": ["sign-in", "Sign in"], "register": ["sign-in", "Open an account"], "forgotten": ["sign-in", "Choose another password"],
  "code": ["code", "Enter the code"], "account": ["account", "Signed in"],
};
// After these there is nothing to repeat: the person signs in again.
const OVER = ["not_authenticated", "token_invalid", "session_revoked", "session_inactive", "refresh_reused"];
const WRONG_PASSWORD = "The password is not right.";
const APPROVED = {
  login: "Signed in. This device is trusted from now on.",
  register: "The address is proven and the account open. This device is trusted from now on.",
  email_change: "The new address holds. A mail to the old one says so, with a link that undoes it.",
};

let challenge = null;
let session = null;

// --- a recent proof ----------------------------------------------------------------------------------

// For what asks for one (403 step_up_required): take the password, and repeat the request.
async function callProven(method, path, body) {
  const answer = await call(method, path, body);
  if (!isProblem(answer, "step_up_required")) return answer;
  const given = await prove();
  if (!given) return answer;
  return given.ok ? call(method, path, body) : given;
}

let proof = null;
function prove() {
  proof = null;
  askForProof("password");
  byId("prove").showModal();
  return new Promise((resolve) => byId("prove").addEventListener("close", () => resolve(proof), {once: true}));
}

function askForProof(kind) {
  for (const name of ["password", "code"]) {
    byId(`prove-by-${name}`).hidden = name !== kind;
    byId(`prove-${name}`).disabled = name !== kind;
    byId(`prove-${name}`).value = "";
  }
  byId("prove-status").textContent = "";
  byId(`prove-${kind}`).focus();
}

async function giveProof() {
  const isCode = byId("prove-by-password").hidden;
  const answer = isCode
    ? await call("POST", "otp/approve/", {otp_code: byId("prove-code").value.trim()})
    : await call("POST", "reauthenticate/", {password: byId("prove-password").value});
  showResponse(answer);
  if (answer.status === 202) return askForProof("code");  // where the policy wants one
  if (answer.ok) session = answer.body.session;
  if (answer.ok || OVER.includes(answer.body.code) || answer.body.code === "challenge_invalid") {
    proof = answer;
    return byId("prove").close();
  }
  byId("prove-status").textContent = isProblem(answer, "invalid_credentials") ? WRONG_PASSWORD : wordsOf(answer);
  byId(isCode ? "prove-code" : "prove-password").select();
  byId(isCode ? "prove-code" : "prove-password").focus();
}

// --- showing -----------------------------------------------------------------------------------------

function show(section, focus) {
  const [step, title] = SECTIONS[section];
  for (const name of Object.keys(SECTIONS)) byId(name).hidden = name !== section;
  for (const item of document.querySelectorAll(".steps li")) {
    item.classList.toggle("done", STEPS.indexOf(item.dataset.step) < STEPS.indexOf(step));
    if (item.dataset.step === step) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  document.title = `${title} · django-secure-auth demo`;
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
  for (const form of document.forms) if (form.id !== "sign-in-form") form.reset();
  for (const part of document.querySelectorAll("details")) part.open = false;
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

function listItem(title, meta, badge) {
  const item = element("li");
  const text = element("div");
  const name = element("span", title);
  if (badge) name.append(element("span", badge, "badge"));
  text.append(name, element("span", meta, "meta"));
  item.append(text);
  return item;
}

function rowButton(text, label, isQuiet, work) {
  const button = element("button", text, isQuiet ? "quiet" : "danger");
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.addEventListener("click", guarded(button, work));
  return button;
}

const place = (row) => row.ip_address || "address unknown";

function sessionRow(row) {
  const meta = `${place(row)} · since ${moment(row.created_at)}${row.remember_me ? " · remembered" : ""}`;
  const item = listItem(row.device, meta, row.current && "this one");
  const label = `End the session ${row.device}${row.current ? " (this one)" : ""} since ${moment(row.created_at)}`;
  item.append(rowButton("End", label, row.current, () => endSession(row)));
  return item;
}

function deviceRow(row) {
  const meta = `${row.trusted ? "trusted" : "known"} until ${moment(row.expires_at)} · ${place(row)} · since ${moment(row.created_at)}`;
  const item = listItem(row.device, meta, row.current && "this one");
  const label = `Stop trusting ${row.device}${row.current ? " (this one)" : ""} since ${moment(row.created_at)}`;
  item.append(rowButton(row.trusted ? "Stop trusting" : "Forget", label, row.current, () => distrust(row)));
  return item;
}

function activityRow(row) {
  const meta = [moment(row.at), row.device, row.ip_address].filter(Boolean).join(" · ");
  return listItem(row.message, meta, row.by_somebody_else && "by somebody else");
}

async function list(path, id, rowOf) {
  const answer = await call("GET", path);
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  byId(id).replaceChildren(...answer.body.results.map(rowOf));
}

const listDevices = () => list("devices/", "devices", deviceRow);
const listActivity = () => list("activity/", "activity", activityRow);

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
  const {purpose} = challenge;
  const path = purpose === "register" ? "register/verify/" : "otp/approve/";
  const answer = await call("POST", path, {otp_code: byId("otp").value.trim()});
  showResponse(answer);
  if (answer.ok) {
    say(APPROVED[purpose]);
    return enter(answer);
  }
  complain(answer);
  const left = answer.body && answer.body.attempts_left;
  if (isProblem(answer, "challenge_invalid") || left === 0) return leaveCode();
  if (left !== undefined) showAttempts(challenge.attempts_left = left);
  byId("otp").select();
  byId("otp").focus();
}

// Who is signed in, and has asked for another address, stays signed in.
function leaveCode() {
  if (challenge.purpose !== "email_change") return askForPassword();
  challenge = null;
  sessionStorage.removeItem("challenge");
  show("account", "account-title");
}

async function register() {
  const fields = new FormData(byId("register-form"));
  const answer = await call("POST", "register/", {email: fields.get("email"), password: fields.get("password")});
  showResponse(answer);
  if (!answer.ok) {
    complain(answer);
    return byId("register-password").focus();
  }
  say("If the address has no account yet, a code is on its way; else a mail that says so.");
  askForCode(answer.body.challenge);
}

async function askForLink() {
  const answer = await call("POST", "password/reset/", {email: byId("forgotten-email").value});
  showResponse(answer);
  if (!answer.ok) return complain(answer);
  say("If the address has an account, a link is on its way. It works once, and for 30 minutes.");
}

async function changePassword() {
  const fields = new FormData(byId("password-form"));
  const answer = await call("POST", "password/change/", {
    current_password: fields.get("current"), new_password: fields.get("new"),
  });
  showResponse(answer);
  if (!answer.ok) {
    refused(answer);
    if (isProblem(answer, "invalid_credentials")) say(WRONG_PASSWORD, true);
    const wrong = byId(isProblem(answer, "password_rejected") ? "new-password" : "current-password");
    return byId("account").hidden || wrong.focus();
  }
  byId("password-form").reset();
  await listSessions();
  say("The password is changed. All other sessions have ended, and a mail says so.");
}

async function changeAddress() {
  const answer = await callProven("POST", "email/change/", {new_email: byId("new-email").value});
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  byId("email-form").reset();
  say("If the address is free, a code is on its way to it; else a mail that says so.");
  askForCode(answer.body.challenge);
}

async function distrust(row) {
  const answer = await callProven("DELETE", `devices/${row.id}/`);
  showResponse(answer);
  if (!answer.ok && answer.status !== 404) return refused(answer);
  await listDevices();
  say("The next sign-in there asks for a code.");
  byId("devices-part").querySelector("summary").focus();
}

async function exportAccount() {
  const answer = await callProven("GET", "me/export/");
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  const file = new Blob([JSON.stringify(answer.body, null, 2)], {type: "application/json"});
  const anchor = element("a");
  anchor.href = URL.createObjectURL(file);
  anchor.download = "account.json";
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
  say("All that is known about the account is in account.json.");
}

async function closeAccount() {
  const answer = await callProven("DELETE", "me/");
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  say("You are signed out everywhere. A mail says when the account goes; signing in before that keeps it.");
  askForPassword();
}

async function resend() {
  const answer = await call("POST", "otp/resend/");
  showResponse(answer);
  if (answer.ok) {
    say("A new code is on its way; the old one is worth nothing now.");
    askForCode(answer.body.challenge);
  } else {
    complain(answer);
    if (isProblem(answer, "challenge_invalid")) leaveCode();
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
  if (challenge.purpose === "email_change") {
    say("Your address stays as it is.");
    return leaveCode();
  }
  const answer = await call("POST", "logout/");  // closes the challenge
  showResponse(answer);
  say("");
  askForPassword();
}

// For staff who have signed in as a user from the admin: on every page, so that nobody forgets whose account it is.
function showBanner({email, impersonation}) {
  byId("banner").hidden = !impersonation;
  if (!impersonation) return;
  byId("banner").textContent = `${impersonation.by.name} is signed in as ${email}, until ${time(impersonation.expires_at)}. ${impersonation.reason}`;
}

async function whoAmI() {
  const answer = await call("GET", "me/");
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  showFacts(answer.body);
  showBanner(answer.body);
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
  const answer = await callProven("DELETE", `sessions/${row.id}/`);
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
  const answer = await callProven("DELETE", "sessions/");
  showResponse(answer);
  if (!answer.ok) return refused(answer);
  say("All other sessions have ended.");
  await listSessions();
  byId("list-sessions").focus();
}

// --- wiring ------------------------------------------------------------------------------------------

for (const [id, work] of [
  ["sign-in-form", signIn], ["register-form", register], ["forgotten-form", askForLink], ["code-form", approve],
  ["password-form", changePassword], ["email-form", changeAddress], ["close-form", closeAccount], ["prove-form", giveProof],
]) {
  byId(id).addEventListener("submit", guarded(byId(id).querySelector("[type=submit]"), work));
}
for (const [id, work] of [
  ["resend", resend], ["restart", startAgain], ["me", whoAmI], ["refresh", refresh], ["sign-out", signOut],
  ["list-sessions", showSessions], ["end-others", endOthers], ["export", exportAccount],
]) {
  byId(id).addEventListener("click", guarded(byId(id), work));
}
byId("resend").addEventListener("free", countDown);
byId("end-others").addEventListener("free", () => { byId("end-others").disabled = byId("sessions").children.length < 2; });
byId("prove-cancel").addEventListener("click", () => byId("prove").close());

for (const [id, work] of [["devices-part", listDevices], ["activity-part", listActivity]]) {
  byId(id).addEventListener("toggle", () => { if (byId(id).open) work().catch(() => say(AWAY, true)); });
}
function turnTo(section, focus) {
  say("");
  show(section, focus);
}
byId("to-register").addEventListener("click", () => turnTo("register", "register-email"));
byId("to-forgotten").addEventListener("click", () => turnTo("forgotten", "forgotten-email"));
for (const button of document.querySelectorAll(".to-sign-in")) button.addEventListener("click", () => turnTo("sign-in", "email"));

async function start() {
  await fetchCsrfToken();
  const answer = await call("GET", "me/");
  const open = JSON.parse(sessionStorage.getItem("challenge") || "null");
  const isOpen = open && Date.parse(open.expires_at) > serverNow();
  if (answer.ok) {
    await listSessions();
    showFacts(answer.body);
    showBanner(answer.body);
    return isOpen && open.purpose === "email_change" ? askForCode(open) : show("account");
  }
  if (isOpen) return askForCode(open);
  askForPassword();
  if (location.hash === "#forgotten") show("forgotten", "forgotten-email");  // where the pages of mailed links send people
}

start().catch(() => {
  say(AWAY, true);
  show("sign-in");
});
