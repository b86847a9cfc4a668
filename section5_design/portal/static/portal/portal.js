"use strict";
// Times in the reader's zone, and live pages: htmx fetches a live region again when the server reports a change.
document.documentElement.classList.add("scripted");

function localTimes(root) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[datetime]"))
    time.textContent = (time.hasAttribute("data-exact") ? exact : format).format(new Date(time.dateTime));
}

localTimes(document);
addEventListener("htmx:afterSettle", () => localTimes(document));
addEventListener("htmx:configRequest", ({ detail }) => {
  for (const [name, value] of [...detail.formData.entries()]) if (value === "") detail.formData.delete(name); // short addresses
});
addEventListener("htmx:beforeSwap", (event) => { // the session has ended
  if (!event.detail.xhr.responseURL.includes("/login/")) return;
  event.detail.shouldSwap = false;
  if (!document.querySelector("form[data-upload]")) location.reload(); // the chosen files would be lost; Send asks for a login
});
// What a person opened, ticked, chose or typed survives a refresh.
const KEPT = { open: "*", checked: "input", selected: "option", value: "input:not([type=hidden], [type=checkbox], [type=radio]), textarea" };
Idiomorph.defaults.ignoreActiveValue = true;
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name in KEPT && node.matches(KEPT[name]));

if (document.querySelector("[data-live]")) {
  let polling = 0;
  const changed = () => htmx.trigger(document.body, "changed");
  const stream = new EventSource("/events");
  stream.addEventListener("changed", changed);
  // Changes between the page and its stream were sent to nobody.
  stream.addEventListener("open", () => { clearInterval(polling); polling = 0; changed(); });
  stream.addEventListener("error", () => { polling ||= setInterval(changed, 2000); });
}

addEventListener("change", ({ target }) => {
  if (target.matches("[data-all]"))
    for (const box of target.form.querySelectorAll(".select")) box.checked = target.checked;
});

addEventListener("click", ({ target }) => target.closest("[data-dismiss]")?.parentElement.remove());

addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const link = { j: "a[rel=next]", k: "a[rel=prev]" }[event.key];
  if (link) document.querySelector(link)?.click();
  if (event.key === "/") { const box = document.querySelector("[role=search] input"); if (box) { event.preventDefault(); box.focus(); } }
});
