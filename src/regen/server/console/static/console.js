// What pages do beyond showing: keys, light and dark at once, and following what happens. Pages work without it.

const html = document.documentElement;
const typing = (element) => element instanceof HTMLElement
  && (element.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName) && !/^(checkbox|radio|button|submit)$/.test(element.type));

// On a phone the sections lie side by side, further than the screen: the one that is shown is brought into sight.
const shown = document.querySelector("nav a[aria-current]");
const bar = shown?.closest("nav");
if (bar && bar.scrollWidth > bar.clientWidth) bar.scrollLeft = shown.offsetLeft - (bar.clientWidth - shown.offsetWidth) / 2;

// ── keys ──
const places = new Map([...document.querySelectorAll("nav a kbd")].map((kbd) => [kbd.textContent.trim(), kbd.closest("a").href]));
const dialog = document.getElementById("keys");
for (const button of document.querySelectorAll("[data-opens]")) {
  button.hidden = false;
  button.addEventListener("click", () => dialog.showModal());
}
let first = "";
let since = 0;

function sequence(key) {
  const pressed = first && Date.now() - since < 1500 ? `${first} ${key}` : "";
  first = key === "g" && !pressed ? key : "";
  since = Date.now();
  if (places.has(pressed)) location.href = places.get(pressed);
  return Boolean(pressed) || first === "g";
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row === document.activeElement || row.contains(document.activeElement));
  const next = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

const keys = {
  "?": () => dialog.showModal(),
  "/": () => {
    const field = document.querySelector("[data-slash]");
    if (field) field.select(); else location.href = "/console/search";
  },
  j: () => step(1),
  k: () => step(-1),
  t: () => document.querySelector("[data-theme-switch] button")?.click(),
  Enter: () => document.activeElement.matches("[data-row]") && document.activeElement.querySelector("a")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (sequence(event.key)) event.preventDefault();
  else if (event.key === "Enter" && !document.activeElement.matches("[data-row]")) return;
  else if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});

// ── light and dark ──
document.querySelector("[data-theme-switch]")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  const dark = html.dataset.theme ? html.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const to = dark ? "light" : "dark";
  html.dataset.theme = to;
  button.value = dark ? "dark" : "light";
  button.textContent = dark ? "Dark" : "Light";
  const body = new URLSearchParams(new FormData(form));
  body.set("to", to);
  await fetch(form.action, { method: "POST", body, redirect: "manual" });
});

// ── once is enough ──
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post" || event.defaultPrevented) return;
  const button = event.submitter;
  setTimeout(() => { if (button) button.disabled = true; });
  addEventListener("pageshow", () => { if (button) button.disabled = false; }, { once: true });
});

// ── following ──
// An event says only that something has changed: the page is fetched again, and those of its regions that differ
// take their new content. A region in which somebody is typing waits until they leave it.
const topic = document.body.dataset.live;
let fetching = false;
let again = false;

async function follow() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of document.querySelectorAll("[data-region]")) replace(region, fresh.getElementById(region.id));
  } catch {
    lost(true);
  } finally {
    fetching = false;
    if (again) { again = false; setTimeout(follow, 300); }
  }
}

function replace(region, fresh) {
  if (!fresh || fresh.innerHTML === region.innerHTML) return;
  const focused = document.activeElement;
  if (region.contains(focused) && typing(focused)) return;
  const open = [...region.querySelectorAll("details")].map((item) => item.open);
  const focusable = "a, button, [data-row], summary";
  const place = region.contains(focused) ? [...region.querySelectorAll(focusable)].indexOf(focused) : -1;
  region.replaceChildren(...document.importNode(fresh, true).childNodes);
  for (const name of ["data-running"]) region.toggleAttribute(name, fresh.hasAttribute(name));
  region.querySelectorAll("details").forEach((item, at) => { if (at in open) item.open = open[at]; });
  if (place >= 0) region.querySelectorAll(focusable)[place]?.focus({ preventScroll: true });
}

function lost(away) {
  let note = document.querySelector(".lost-touch");
  if (away && !note) {
    note = document.createElement("p");
    note.className = "lost-touch";
    note.setAttribute("role", "status");
    note.textContent = "Not following: the server does not answer. Trying again.";
    document.body.append(note);
  }
  if (!away) note?.remove();
}

if (topic) {
  let source;
  let known;
  let silent;
  const listen = () => {
    source = new EventSource(`/console/live/${topic}`);
    source.addEventListener("begun", (event) => {
      clearTimeout(silent);
      lost(false);
      if (known !== event.data) follow(); // the first time too: something may have changed since the page was made
      known = event.data;
    });
    source.addEventListener("changed", (event) => { known = event.data; follow(); });
    source.addEventListener("error", () => {
      clearTimeout(silent);
      silent = setTimeout(lost, 6000, true); // a stream that has ended begins again in two seconds
      if (source.readyState !== EventSource.CLOSED) return;
      follow(); // the session may have ended: then this leads to the login
      setTimeout(listen, 3000);
    });
  };
  listen();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
}
