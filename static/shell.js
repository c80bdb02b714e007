// What the keyboard and the network do to signed-in pages: palette, shortcuts, a lost connection. Pages work without it.

const byId = (id) => document.getElementById(id);
const [lost, palette, query, found] = ["lost", "palette", "palette-query", "found"].map(byId);

// htmx comes when it is first needed: where something moves, or once somebody uses a form that answers while one types.
// 16 kB that most first looks at a page do without. It misses a page that is only half loaded.
let script;
const need = () => {
  if (script) return;
  script = Object.assign(document.createElement("script"), { src: byId("shell").dataset.htmx });
  // What was changed while it was on its way.
  script.onload = () => document.activeElement?.form && document.activeElement.dispatchEvent(new Event("change", { bubbles: true }));
  document.head.append(script);
};
addEventListener("load", () => {
  const parts = [...document.querySelectorAll("[hx-get], [hx-post]")];
  if (parts.some((part) => /every|load/.test(part.getAttribute("hx-trigger")))) return need();
  if (parts.length) for (const used of ["focusin", "pointerdown", "keydown", "change"]) addEventListener(used, need, { once: true });
});

// Parts that come by themselves once the page is there.
for (const part of document.querySelectorAll("[data-later]"))
  fetch(part.dataset.later, { headers: { "HX-Request": "true" } })
    .then((answer) => (answer.ok && !answer.redirected ? answer.text() : ""))
    .then((html) => html && (part.outerHTML = html), () => {});

async function look() {
  const asked = query.value;
  const answer = await fetch(`/search?q=${encodeURIComponent(asked)}`, { headers: { "HX-Request": "true" } }).catch(lose);
  if (answer?.redirected) location.reload(); // signed out meanwhile
  else if (answer?.ok && asked === query.value) {
    found.innerHTML = await answer.text();
    found.dataset.of = asked;
  }
}
let typing;
query.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(look, 80);
});

function open(asked) {
  if (!palette.open) palette.showModal();
  query.value = asked;
  query.select();
  look();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (!opener || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  open(opener.dataset.open);
});

// Links are links: the arrows move the focus between them, and Enter does what it does.
palette.addEventListener("keydown", (event) => {
  const lines = [...found.querySelectorAll("a, button")].filter((line) => line.checkVisibility());
  const at = lines.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    (lines[at + step] ?? (step > 0 ? lines[0] : query)).focus();
  } else if (event.key === "Enter" && at < 0 && lines.length && found.dataset.of === query.value && !event.isComposing) {
    event.preventDefault();
    lines[0].click();
  } else if (at >= 0 && event.key.length === 1 && !event.ctrlKey && !event.metaKey) query.focus();
});
palette.addEventListener("click", (event) => event.target.closest("[data-set-theme]") && palette.close());

let going = -Infinity; // when g was pressed
document.addEventListener("keydown", (event) => {
  if (event.key?.toLowerCase() === "k" && (event.metaKey || event.ctrlKey)) {
    event.preventDefault();
    return palette.open ? palette.close() : open("");
  }
  if (event.target.closest?.("input, select, textarea, dialog") || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === "/" || event.key === "?") {
    event.preventDefault();
    open(event.key === "/" ? "" : "?");
  } else if (event.timeStamp - going < 1500) document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
  going = event.key === "g" ? event.timeStamp : -Infinity;
});

// While the connection is lost the page asks every two seconds whether it is back, and then goes on by itself.
let asking;
function lose() {
  lost.hidden = false;
  asking ??= setInterval(async () => (await fetch("/healthz").catch(() => ({}))).ok && find(), 2000);
}
function find() {
  lost.hidden = true;
  asking = clearInterval(asking);
}
for (const name of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(name, lose);
document.addEventListener("htmx:responseError", (event) => event.detail.xhr.status >= 502 && lose());
document.addEventListener("htmx:afterOnLoad", () => navigator.onLine && find()); // not by what was on its way when it was lost
addEventListener("offline", lose);
document.addEventListener("submit", (event) => {
  if (navigator.onLine || event.defaultPrevented) return;
  event.preventDefault(); // the browser's own page would throw away what was typed
  event.stopImmediatePropagation();
  lose();
}, true);

// Who was signed out meanwhile is asked to sign in, not shown the sign-in page inside of a table.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (new URL(event.detail.xhr.responseURL).pathname.startsWith("/accounts/")) {
    event.detail.shouldSwap = false;
    location.reload();
  }
});
