// Comfort only: every page works without it.
"use strict";
document.addEventListener("change", (event) => {
  if (event.target.id !== "all") return;
  for (const box of document.querySelectorAll("#bulk input[name=id]")) box.checked = event.target.checked;
});
// A second click must not send a form twice; the server would know it by its request_id, but people would wonder.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
// Filters left empty make no link longer; an empty state is a choice.
document.addEventListener("htmx:configRequest", (event) => {
  const values = event.detail.formData || event.detail.parameters;
  for (const [name, value] of [...values.entries()]) if (value === "" && name !== "state") values.delete(name);
});
// What was found is said to those who do not see it; all of its rows would be too much.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "results") return;
  document.getElementById("said").textContent = event.target.querySelector(".found").textContent.trim();
});
function failed(text) {
  const place = document.getElementById("failure");
  place.textContent = text;
  place.hidden = false;
}
document.addEventListener("htmx:beforeRequest", () => { document.getElementById("failure").hidden = true; });
document.addEventListener("htmx:responseError", () => failed("That could not be shown. Try again, or load the page anew."));
document.addEventListener("htmx:sendError", () => failed("The console does not answer. Is it still running?"));
