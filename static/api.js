// The API's page: sends what an HTML form cannot (PUT, PATCH, DELETE, a JSON body) and shows the answer in place.

const form = document.getElementById("call");

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const method = event.submitter.value;
  const show = (status, text) => {
    document.getElementById("status").textContent = `${method} · ${status}`;
    document.getElementById("answer").textContent = text;
  };
  try {
    const response = await fetch(form.action, {
      method,
      headers: {
        Accept: "application/json",
        "Content-Type": "application/json",
        "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
      },
      body: form.elements.body.value || undefined,
    });
    const text = await response.text();
    show(`${response.status} ${response.statusText}`, text && JSON.stringify(JSON.parse(text), null, 2));
  } catch (error) {
    show("no answer", `${error.message}. Is the server running?`);
  }
});
