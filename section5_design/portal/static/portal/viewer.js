"use strict";
// The viewer: the server renders frames; this scrolls through them, fetches ahead, and keeps the state in the address.
(() => {
  const form = document.getElementById("viewer");
  if (!form) return;
  const AHEAD = 10, KEPT = 120; // frames fetched ahead; frames kept, in memory only: responses are no-store
  const [imageText, frameText, of, windowText, play, pause, broken, noLayer] = form.dataset.words.split("|");
  const field = form.elements, cine = document.getElementById("cine");
  const number = (input) => (input?.value ? Number(input.value) : null);
  const address = new URLSearchParams(location.search);
  const hidden = new Set(address.get("hide")?.split(",")); // segments
  let opacity = Number(address.get("opacity")) || 50; // of segments, in percent
  let level = number(field.center) === null ? null : { center: number(field.center), width: number(field.width) };

  class Pane {
    constructor(section) {
      Object.assign(this, JSON.parse(section.querySelector("script").textContent));
      const image = section.querySelector("img");
      this.section = section;
      this.address = image.dataset.picture;
      this.canvas = document.createElement("canvas");
      this.canvas.setAttribute("role", "img");
      this.canvas.setAttribute("aria-label", image.alt);
      image.replaceWith(this.canvas);
      this.slider = section.querySelector("input[type=range]");
      this.frames = new Map();
      this.segments = [];
      this.legend = section.querySelector(".legend");
      this.legend?.addEventListener("htmx:afterSettle", () => this.readLegend());
      this.direction = 1;
      this.slider.addEventListener("input", () => move(this, this.slider.value - 1));
      section.addEventListener("wheel", (event) => { event.preventDefault(); move(this, this.position + Math.sign(event.deltaY)); }, { passive: false });
      section.addEventListener("keydown", (event) => this.press(event));
      this.canvas.addEventListener("pointerdown", (event) => this.drag(event));
    }

    url(position) {
      const [image, frame] = this.stack[position];
      const chosen = level && this.grey ? `&center=${level.center}&width=${level.width}` : "";
      return `${this.address.replace("/0/", `/${image}/`)}?frame=${frame}${chosen}${field.overlays.value === "0" ? "&overlays=0" : ""}`;
    }

    layerUrl(position) { // of the chosen segments; undefined where there is none
      const here = this.segments.filter(({ box, ranges }) => box.checked && ranges.some(([first, last]) => first <= position && position <= last));
      const [image, frame] = this.stack[position];
      const names = here.map(({ box }) => `${box.dataset.segment}.${box.dataset.colour}`);
      return names.length ? `${this.legend.dataset.picture.replace("/0/", `/${image}/`)}?frame=${frame}&segments=${names}` : undefined;
    }

    urls(position) {
      return [this.url(position), this.layerUrl(position)].filter(Boolean);
    }

    readLegend() {
      this.segments = [...this.legend.querySelectorAll("[data-segment]")].map((box) => ({ box, ranges: JSON.parse(box.dataset.ranges) }));
      for (const { box } of this.segments) {
        box.checked = !hidden.has(box.dataset.segment);
        box.addEventListener("change", () => { hidden[box.checked ? "delete" : "add"](box.dataset.segment); update(); });
      }
      for (const button of this.legend.querySelectorAll("[data-go]"))
        button.addEventListener("click", () => move(this, button.dataset.go));
      const slider = this.legend.querySelector("[data-opacity]");
      if (!slider) return;
      slider.value = opacity;
      slider.addEventListener("input", () => { opacity = Number(slider.value); update(); });
      update();
    }

    fetch(url) {
      let frame = this.frames.get(url);
      if (!frame) {
        frame = fetch(url).then((answer) => (answer.ok ? answer.blob() : Promise.reject(answer.status))).then(createImageBitmap);
        const settle = () => { frame.settled = true; };
        frame.then(settle, settle);
      }
      this.frames.delete(url);
      this.frames.set(url, frame); // the most recently used last
      for (const [old, kept] of this.frames) {
        if (this.frames.size <= KEPT) break;
        this.frames.delete(old);
        kept.then((bitmap) => bitmap.close(), () => {});
      }
      return frame;
    }

    async draw() {
      const [url, layerUrl] = this.urls(this.position), place = this.section.querySelector("[data-place]");
      const changed = () => this.urls(this.position).join() !== [url, layerUrl].filter(Boolean).join();
      const layer = layerUrl && this.fetch(layerUrl).catch(() => { this.frames.delete(layerUrl); });
      try {
        const bitmap = await this.fetch(url), segments = await layer;
        if (changed()) return; // overtaken
        if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height)
          Object.assign(this.canvas, { width: bitmap.width, height: bitmap.height });
        const canvas = this.canvas.getContext("2d");
        canvas.globalAlpha = 1;
        canvas.drawImage(bitmap, 0, 0);
        canvas.globalAlpha = opacity / 100;
        if (segments) canvas.drawImage(segments, 0, 0);
        const [, frame, image, frames] = this.stack[this.position], last = this.stack.at(-1)[2];
        place.textContent = `${imageText} ${image} ${of} ${last}` + (frames > 1 ? `, ${frameText.toLowerCase()} ${frame + 1} ${of} ${frames}` : "") + (layer && !segments ? `. ${noLayer}` : "");
        const shown = level || this;
        this.section.querySelector("[data-window]").textContent = this.grey ? `${windowText} ${Math.round(shown.center)} / ${Math.round(shown.width)}` : "";
        this.section.dataset.shown = this.position + 1;
        this.ahead();
      } catch {
        this.frames.delete(url); // tried again when it is needed again
        if (!changed()) place.textContent = broken;
      }
    }

    async ahead() { // four at a time, in the direction of the last movement
      if (this.fetching) return;
      this.fetching = true;
      for (;;) {
        const missing = [];
        for (let step = 1; step <= AHEAD; step++) {
          const position = this.position + step * this.direction;
          if (position >= 0 && position < this.stack.length)
            missing.push(...this.urls(position).filter((url) => !this.frames.get(url)?.settled));
        }
        if (!missing.length) break;
        await Promise.race(missing.slice(0, 4).map((url) => this.fetch(url).catch(() => {})));
      }
      this.fetching = false;
    }

    press(event) {
      const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
      const end = { Home: 0, End: this.stack.length - 1 }[event.key];
      if (event.key === " ") toggle();
      else if (event.target !== this.slider && step) move(this, this.position + step);
      else if (event.target !== this.slider && end !== undefined) move(this, end);
      else return;
      event.preventDefault();
    }

    drag(start) {
      if (!this.grey || start.button) return;
      const from = level || { center: this.center, width: this.width }, per = Math.max(1, this.high - this.low) / 600;
      this.canvas.setPointerCapture(start.pointerId);
      const change = (event) => {
        level = {
          center: Math.round((from.center + (event.clientY - start.clientY) * per) * 100) / 100,
          width: Math.max(1, Math.round((from.width + (event.clientX - start.clientX) * per) * 100) / 100),
        };
        update();
      };
      this.canvas.addEventListener("pointermove", change);
      this.canvas.addEventListener("pointerup", () => this.canvas.removeEventListener("pointermove", change), { once: true });
    }
  }

  const panes = [...document.querySelectorAll("[data-pane]")].map((section) => new Pane(section));

  function move(pane, position) {
    const to = Math.min(pane.stack.length - 1, Math.max(0, Number(position)));
    if (to === pane.position) return;
    const linked = panes.length > 1 && field.linked?.value !== "0";
    for (const one of linked ? panes : [pane]) {
      const last = pane.stack.length - 1;
      const place = one === pane ? to : one.stack.length === pane.stack.length ? to : Math.round((to / Math.max(1, last)) * (one.stack.length - 1));
      one.direction = Math.sign(place - one.position) || one.direction;
      one.position = place;
      one.slider.value = place + 1;
    }
    update();
  }

  let drawing = false, again = false, later = 0;
  async function update() { // one drawing at a time; the newest state wins
    if (drawing) { again = true; return; }
    drawing = true;
    do { again = false; await Promise.all(panes.map((pane) => pane.draw())); } while (again);
    drawing = false;
    clearTimeout(later);
    later = setTimeout(remember, 250); // browsers limit how often the address changes
  }

  function remember() {
    const query = new URLSearchParams();
    panes.forEach((pane, index) => {
      const prefix = index ? "b_" : "";
      const [, frame, image, frames] = pane.stack[pane.position];
      query.set(`${prefix}image`, image);
      if (frames > 1) query.set(`${prefix}frame`, frame + 1);
    });
    if (level) { query.set("center", level.center); query.set("width", level.width); }
    if (field.b.value) query.set("b", field.b.value);
    if (field.overlays.value === "0") query.set("overlays", "0");
    if (field.linked?.value === "0") query.set("linked", "0");
    if (hidden.size) query.set("hide", [...hidden].join());
    if (opacity !== 50) query.set("opacity", opacity);
    history.replaceState(null, "", `?${query}`);
  }

  let timer = 0;
  function toggle() {
    if (timer) { clearTimeout(timer); timer = 0; } else tick();
    cine.textContent = timer ? pause : play;
    cine.setAttribute("aria-pressed", String(Boolean(timer)));
  }
  function tick() {
    const pane = panes[0];
    if (!drawing) move(pane, (pane.position + 1) % pane.stack.length); // a frame that is late delays the next
    timer = setTimeout(tick, 1000 / Number(document.getElementById("speed").value));
  }

  cine?.addEventListener("click", toggle);
  form.addEventListener("click", (event) => {
    const preset = event.target.closest("a[data-center]");
    if (!preset) return;
    event.preventDefault();
    level = preset.dataset.center ? { center: Number(preset.dataset.center), width: Number(preset.dataset.width) } : null;
    update();
  });
  form.addEventListener("change", ({ target }) => {
    if ("local" in target.dataset) return;
    remember();
    if (target.name === "b") location.assign(location.href);
    else update();
  });
  update();
  if (!document.activeElement || document.activeElement === document.body) panes[0].section.focus({ preventScroll: true });
})();
