// Passkeys: gives each form marked data-passkey to django-allauth's WebAuthn script, and says in words when it fails.
const { forms } = window.allauth.webauthn;

for (const form of document.querySelectorAll("form[data-passkey]"))
  forms[form.dataset.passkey]({ ids: JSON.parse(form.dataset.ids) });

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const { name } = event.detail.exception;
  const words =
    name === "InvalidStateError"
      ? "This device holds a passkey of yours already."
      : name === "NotAllowedError" || name === "AbortError"
        ? "It was cancelled or took too long. Nothing has changed: try again."
        : "This browser cannot use passkeys here. They need HTTPS, or http://localhost on your own machine.";
  for (const place of document.querySelectorAll("[data-passkey-error]")) {
    place.textContent = words;
    place.hidden = false;
  }
});
