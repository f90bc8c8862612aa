// The page of a mailed link. What the link holds stands behind the "#": no server and no Referer gets to see it.
const SECTIONS = ["ask", "done", "incomplete"];
let link = null;

function show(section) {
  for (const name of SECTIONS) byId(name).hidden = name !== section;
  byId(`${section}-title`).focus();
}

// Kept in this variable only: out of the address bar and the history, and in no storage.
function takeLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  link = given.get("uid") && given.get("token") ? {uid: given.get("uid"), token: given.get("token")} : null;
  say("");
  show(link ? "ask" : "incomplete");
}

async function sendLink() {
  const form = byId("ask-form");
  const answer = await call("POST", form.dataset.path, {...link, ...Object.fromEntries(new FormData(form))});
  showResponse(answer);
  form.reset();
  if (answer.ok) {
    link = null;
    say("");
    return show("done");
  }
  complain(answer);
  (form.querySelector("input") || form.querySelector("button")).focus();
}

byId("ask-form").addEventListener("submit", guarded(byId("ask-form").querySelector("[type=submit]"), sendLink));
// Another link pasted into the same tab changes what is behind the "#", and loads nothing.
addEventListener("hashchange", () => { if (location.hash) takeLink(); });
showReadable();
takeLink();
