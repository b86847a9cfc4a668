"use strict";
// Pages that move by themselves, times in the reader's zone, and the window of an image. Everything works without it too.
document.documentElement.classList.add("scripted");

function localTimes(root) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = format.format(new Date(time.dateTime));
}

// A page marked data-live is fetched anew when something has changed; what a person types or sends is left alone.
function live(main) {
  let busy = false, again = false;
  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok && !answer.redirected) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("content");
        localTimes(fresh);
        swap(main, fresh);
      }
    } catch { /* the line is broken; the next round tries again */ }
    busy = false;
    if (again) { again = false; setTimeout(refresh, 500); }
  }
  function swap(old, fresh) {
    const active = document.activeElement;
    const keep = [...old.querySelectorAll("[data-keep]")];
    const spare = [...fresh.querySelectorAll("[data-keep]")];
    if (old.contains(document.activeElement) && !document.activeElement.closest("[data-keep]") && document.activeElement.matches("select, input")) return;
    const kept = keep.some((form) => form.contains(active));
    const focused = kept ? null : path(active, old);
    spare.forEach((form, place) => keep[place] && form.replaceWith(keep[place]));
    old.replaceChildren(...fresh.childNodes);
    if (kept) active.focus();
    else if (focused) at(focused, old)?.focus();
  }
  function path(node, root) {
    if (!root.contains(node) || node === root) return null;
    const places = [];
    for (; node !== root; node = node.parentNode) places.unshift([...node.parentNode.children].indexOf(node));
    return places;
  }
  const at = (places, root) => places.reduce((node, place) => node?.children[place], root);
  let polling = 0;
  const poll = () => { polling ||= setInterval(refresh, 2000); };
  const stream = new EventSource("/events");
  stream.addEventListener("changed", refresh);
  // What changed between the page and its stream was told to nobody.
  stream.addEventListener("open", () => { clearInterval(polling); polling = 0; refresh(); });
  stream.addEventListener("error", poll);
}

// The picture is drawn by the server; the newest place of a slider wins.
function viewer(view) {
  const picture = view.querySelector("img.picture"), form = view.querySelector("form.window");
  if (!picture || !form) return;
  let wanted = false, loading = false;
  function draw() {
    for (const slider of form.querySelectorAll("input[type=range]"))
      slider.parentElement.querySelector("output").textContent = Math.round(slider.value);
    if (loading) { wanted = true; return; }
    const query = new URLSearchParams();
    for (const slider of form.querySelectorAll("input[type=range]")) query.set(slider.name, slider.value);
    loading = true;
    picture.src = `${picture.dataset.picture}?${query}`;
  }
  const drawn = () => { loading = false; if (wanted) { wanted = false; draw(); } };
  picture.addEventListener("load", drawn);
  picture.addEventListener("error", drawn);
  form.addEventListener("input", draw);
  form.addEventListener("click", (event) => {
    const preset = event.target.closest("button[data-center]");
    if (!preset) return;
    form.elements.center.value = preset.dataset.center;
    form.elements.width.value = preset.dataset.width;
    draw();
  });
}

addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const link = { j: "a[rel=next]", k: "a[rel=prev]" }[event.key];
  if (link) document.querySelector(link)?.click();
  if (event.key === "/") { const box = document.querySelector(".find input"); if (box) { event.preventDefault(); box.focus(); } }
});

localTimes(document);
document.querySelectorAll("[data-viewer]").forEach(viewer);
const moving = document.querySelector("main[data-live]");
if (moving) live(moving);
