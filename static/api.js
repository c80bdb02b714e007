// The API's page: sends what an HTML form cannot (PATCH, PUT, DELETE, a JSON body) and shows the answer in place.

for (const form of document.querySelectorAll("form[data-call]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const method = form.dataset.call;
    const show = (status, text) => {
      document.getElementById("status").textContent = `${method} · ${status}`;
      document.getElementById("answer").textContent = text;
      document.getElementById("main").scrollIntoView();
    };
    try {
      const response = await fetch(form.action, {
        method,
        headers: {
          Accept: "application/json",
          "Content-Type": "application/json",
          "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
        },
        body: form.elements.body?.value || undefined,
      });
      const text = await response.text();
      show(`${response.status} ${response.statusText}`, text && JSON.stringify(JSON.parse(text), null, 2));
    } catch (error) {
      show("no answer", `${error.message}. Is the server running?`);
    }
  });
}
