// What HTML and CSS cannot do alone: the clipboard, modal focus, the theme's cookie, local times. Every page works without it.

const root = document.documentElement;

async function copy(button) {
  const source = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // The clipboard is closed to plain-HTTP pages: leave the text selected, one key press from being copied.
    return getSelection().selectAllChildren(source);
  }
  button.dataset.copied = "";
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    delete button.dataset.copied;
    button.setAttribute("aria-label", "Copy");
  }, 1600);
}

// <dialog popover> opens without a script; a modal dialog also keeps the focus inside and the page behind it still.
function toggleDialog(event, button) {
  const dialog = document.getElementById(button.getAttribute("popovertarget"));
  if (!(dialog instanceof HTMLDialogElement)) return;
  event.preventDefault();
  dialog.open ? dialog.close() : dialog.showModal();
}

function remember(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
}

function setTheme(theme) {
  root.dataset.theme = theme;
  remember("theme", theme);
  showTheme();
}

function showTheme() {
  for (const button of document.querySelectorAll("[data-set-theme]"))
    button.setAttribute("aria-pressed", button.dataset.setTheme === (root.dataset.theme || "system"));
}

document.addEventListener("click", (event) => {
  if (event.target instanceof HTMLDialogElement) return event.target.close(); // its backdrop
  const button = event.target.closest("button");
  if (!button) return;
  if ("copy" in button.dataset) copy(button);
  if ("dismiss" in button.dataset) button.closest(".toast").remove();
  if (button.dataset.setTheme) setTheme(button.dataset.setTheme);
  if (button.hasAttribute("popovertarget")) toggleDialog(event, button);
});

// A second click on a slow form must not send it twice.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  if (event.target.getAttribute("aria-busy") === "true") return event.preventDefault();
  if (event.target.method === "post") event.target.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => document.querySelectorAll("form[aria-busy]").forEach((form) => form.removeAttribute("aria-busy")));

// Times are UTC everywhere; the reader's own time is a hover away.
document.addEventListener("mouseover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (!time || "local" in time.dataset) return;
  time.dataset.local = "";
  time.title += `\n${new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" })}`;
});

// The language of an API call is chosen once for all of them.
document.addEventListener("change", ({ target }) => {
  if (!("language" in target.dataset)) return;
  for (const other of document.querySelectorAll(`[data-language][value="${target.value}"]`)) other.checked = true;
  remember("language", target.value);
});

document.querySelector(".toasts")?.showPopover?.(); // above an open dialog
showTheme();
