"use strict";
// The viewer: the server renders frames and computes statistics; this scrolls through the frames, fetches ahead,
// zooms, draws measurements, and keeps the state in the address.
(() => {
  const form = document.getElementById("viewer");
  if (!form) return;
  const AHEAD = 10, KEPT = 120; // frames fetched ahead; frames kept, in memory only: responses are no-store
  const SHAPES = ["line", "ellipse", "rectangle"];
  const [imageText, frameText, of, windowText, play, pause, broken, noLayer, detector, noSpacing, mean, deviation, range, area, noValues, byPosition] = form.dataset.words.split("|");
  const field = form.elements, cine = document.getElementById("cine");
  const number = (input) => (input?.value ? Number(input.value) : null);
  const address = new URLSearchParams(location.search);
  const hidden = new Set((address.get("hide") || "").split(",").filter(Boolean)); // segments
  let opacity = Number(address.get("opacity")) || 50; // of segments, in percent
  const language = document.documentElement.lang, help = document.getElementById("keys");
  const answers = new Map(); // JSON, by address
  let tool = matchMedia("(pointer: coarse)").matches ? "scroll" : "window", inverted = address.get("invert") === "1", active; // the pane that keys act on
  let level = number(field.center) === null ? null : { center: number(field.center), width: number(field.width) };

  const make = (name, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  function load(url) { // once more if the connection is interrupted
    return fetch(url).catch(() => new Promise((done) => { setTimeout(done, 500); }).then(() => fetch(url)));
  }

  function loadImage(url) {
    return load(url).then((answer) => (answer.ok ? answer.blob() : Promise.reject(answer.status))).then(createImageBitmap);
  }

  function ask(url) { // a promise
    if (!answers.has(url)) answers.set(url, load(url).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status))));
    answers.get(url).catch(() => answers.delete(url));
    return answers.get(url);
  }

  class Pane {
    constructor(section, index) {
      Object.assign(this, JSON.parse(section.querySelector("script").textContent));
      const image = section.querySelector("img");
      this.section = section;
      this.address = image.dataset.picture;
      this.canvas = document.createElement("canvas");
      this.canvas.setAttribute("role", "img");
      this.canvas.setAttribute("aria-label", image.alt);
      this.prefix = index ? "b_" : "";
      this.shapes = SHAPES.flatMap((kind) => address.getAll(this.prefix + kind).map((text) => [kind, ...text.split("_").map(Number)]));
      this.shapes = this.shapes.filter((shape) => shape.length === 7 && shape.slice(1).every(Number.isFinite)); // kind, image, frame, two corners
      this.drawing = make("svg", { class: "shapes" });
      this.stage = document.createElement("div"); // zoomed and moved inside of its frame
      this.stage.append(this.canvas, this.drawing);
      this.frame = document.createElement("div");
      this.frame.className = "frame";
      this.frame.append(this.stage);
      image.replaceWith(this.frame);
      this.look({ zoom: Number(address.get(`${this.prefix}zoom`)) || 1, x: Number(address.get(`${this.prefix}x`)) || 0, y: Number(address.get(`${this.prefix}y`)) || 0 });
      this.slider = section.querySelector("input[type=range]");
      this.frames = new Map();
      const url = this.url(this.position);
      this.remember(url, image.decode().then(() => createImageBitmap(image), () => loadImage(url))); // the page has asked for it
      this.pointers = new Map(); // pressed, by ID
      this.segments = [];
      this.legend = section.querySelector(".legend");
      this.legend?.addEventListener("htmx:afterSettle", () => this.readLegend());
      this.direction = 1;
      this.slider.addEventListener("input", () => move(this, this.slider.value - 1));
      this.frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      this.frame.addEventListener("pointerdown", (event) => this.press(event));
      this.frame.addEventListener("pointermove", (event) => this.drag(event));
      for (const kind of ["pointerup", "pointercancel"]) this.frame.addEventListener(kind, (event) => this.release(event));
      this.frame.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button zooms
      for (const kind of ["focusin", "pointerdown"]) section.addEventListener(kind, () => { active = this; });
    }

    url(position) {
      const [image, frame] = this.stack[position];
      const chosen = level && this.grey ? `&center=${level.center}&width=${level.width}` : "";
      return `${this.address.replace("/0/", `/${image}/`)}?frame=${frame}${chosen}${field.overlays.value === "0" ? "&overlays=0" : ""}`;
    }

    layerUrl(position) { // of the chosen segments; undefined if none is chosen
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
      slider.addEventListener("input", () => {
        opacity = Number(slider.value);
        for (const other of document.querySelectorAll("[data-opacity]")) other.value = opacity;
        update();
      });
      update();
    }

    fetch(url) {
      const known = this.frames.get(url);
      return this.remember(url, known || loadImage(url));
    }

    remember(url, frame) {
      const settle = () => { frame.settled = true; };
      if (!this.frames.delete(url)) frame.then(settle, settle);
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
        if (inverted) {
          canvas.globalCompositeOperation = "difference";
          canvas.fillStyle = "white";
          canvas.fillRect(0, 0, bitmap.width, bitmap.height);
          canvas.globalCompositeOperation = "source-over";
        }
        canvas.globalAlpha = opacity / 100;
        if (segments) canvas.drawImage(segments, 0, 0);
        const [, frame, image, frames] = this.stack[this.position], last = this.stack.at(-1)[2];
        const depth = this.depths ? `, ${format(this.depths[this.position], "mm")}` : "";
        place.textContent = `${imageText} ${image} ${of} ${last}` + (frames > 1 ? `, ${frameText.toLowerCase()} ${frame + 1} ${of} ${frames}` : "") + depth + (layer && !segments ? `. ${noLayer}` : "");
        const shown = level || this;
        this.section.querySelector("[data-window]").textContent = this.grey ? `${windowText} ${Math.round(shown.center)} / ${Math.round(shown.width)}` : "";
        this.drawShapes();
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

    go(position) {
      this.direction = Math.sign(position - this.position) || this.direction;
      this.position = position;
      this.slider.value = position + 1;
    }

    nearest(depth) { // the position of the frame at a depth
      const distances = this.depths.map((own) => Math.abs(own - depth));
      return distances.indexOf(Math.min(...distances));
    }

    // Zoom, pan, measure

    look(view) { // zoom; x and y: offset in parts of the frame
      this.view = view;
      this.stage.style.transform = `translate(${view.x * 100}%, ${view.y * 100}%) scale(${view.zoom})`;
    }

    zoom(factor) {
      const zoom = Math.min(20, Math.max(0.25, this.view.zoom * factor)), change = zoom / this.view.zoom;
      for (const pane of together(this)) pane.look({ zoom, x: this.view.x * change, y: this.view.y * change });
      update();
    }

    wheel(event) {
      event.preventDefault();
      if (event.ctrlKey) this.zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
      else move(this, this.position + Math.sign(event.deltaY));
    }

    press(event) {
      this.pointers.set(event.pointerId, event);
      this.frame.setPointerCapture(event.pointerId);
      if (this.pointers.size === 2) { // fingers
        if (this.drawn) this.shapes.pop();
        this.drawn = null;
        this.change = this.pinch();
        return;
      }
      const chosen = event.button === 1 || event.shiftKey ? "pan" : event.button === 2 ? "zoom" : tool;
      const changes = { window: "dragWindow", scroll: "dragScroll", pan: "dragView", zoom: "dragZoom" };
      this.change = changes[chosen] ? this[changes[chosen]](event) : this.dragShape(event, chosen);
    }

    drag(event) {
      if (!this.pointers.has(event.pointerId)) return;
      this.pointers.set(event.pointerId, event);
      this.change?.(event);
    }

    release(event) {
      this.pointers.delete(event.pointerId);
      this.change = this.drawn = null;
      this.shapes = this.shapes.filter(([, , , x, y, right, bottom]) => Math.hypot(right - x, bottom - y) > 1).slice(-20);
      update();
    }

    pinch() {
      const distance = () => {
        const [one, other] = [...this.pointers.values()];
        return Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY));
      };
      let last = distance();
      return () => { const now = distance(); this.zoom(now / last); last = now; };
    }

    dragScroll(start) { // all of a short series on the way from top to bottom
      const from = this.position, step = Math.min(20, Math.max(2, this.frame.clientHeight / this.stack.length));
      return (event) => move(this, from + Math.round((event.clientY - start.clientY) / step));
    }

    dragWindow(start) {
      const from = level || { center: this.center, width: this.width }, per = Math.max(1, this.high - this.low) / 600;
      return (event) => {
        if (!this.grey) return;
        level = {
          center: Math.round((from.center + (event.clientY - start.clientY) * per) * 100) / 100,
          width: Math.max(1, Math.round((from.width + (event.clientX - start.clientX) * per) * 100) / 100),
        };
        update();
      };
    }

    dragView(start) {
      const { zoom, x, y } = this.view, { clientWidth, clientHeight } = this.frame;
      return (event) => {
        const view = { zoom, x: x + (event.clientX - start.clientX) / clientWidth, y: y + (event.clientY - start.clientY) / clientHeight };
        for (const pane of together(this)) pane.look(view);
        update();
      };
    }

    dragZoom(start) {
      let last = start.clientY;
      return (event) => { this.zoom(1.01 ** (last - event.clientY)); last = event.clientY; };
    }

    dragShape(start, kind) {
      const [, frame, image] = this.stack[this.position], point = this.locate(start);
      const shape = this.drawn = [kind, image, frame + 1, ...point, ...point];
      this.shapes.push(shape);
      return (event) => { [shape[5], shape[6]] = this.locate(event); this.drawShapes(); };
    }

    scale() { // screen pixels of an image pixel
      const box = this.drawing.getBoundingClientRect();
      return Math.min(box.width / this.canvas.width, box.height / this.canvas.height);
    }

    locate({ clientX, clientY }) { // in image pixels
      const box = this.drawing.getBoundingClientRect(), scale = this.scale(), { width, height } = this.canvas;
      const x = (clientX - box.left - box.width / 2) / scale + width / 2, y = (clientY - box.top - box.height / 2) / scale + height / 2;
      return [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))].map((value) => Math.round(value * 10) / 10);
    }

    async drawShapes() {
      const [id, frame, image] = this.stack[this.position], { width, height } = this.canvas;
      const shapes = this.shapes.filter(([, shapeImage, shapeFrame]) => shapeImage === image && shapeFrame === frame + 1);
      const draw = (texts) => {
        this.drawing.replaceChildren(...shapes.map(outline), ...shapes.map((shape, index) => this.label(shape, texts[index] || [])));
        separate(this.drawing.querySelectorAll("g"));
      };
      this.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
      draw([]);
      const texts = await Promise.all(shapes.map((shape) => this.describe(shape, id, frame).catch(() => [noValues])));
      if (this.stack[this.position][0] === id && this.stack[this.position][1] === frame) draw(texts);
    }

    async describe(shape, id, frame) { // its lines of text
      const [kind, , , x1, y1, x2, y2] = shape, ofImage = (url) => `${url.replace("/0/", `/${id}/`)}?frame=${frame}`;
      if (kind === "line") return [lengthText(x2 - x1, y2 - y1, await ask(ofImage(this.section.dataset.spacing)))];
      if (shape === this.drawn || x1 === x2 || y1 === y2) return [];
      const box = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)].join("_");
      return regionTexts(await ask(`${ofImage(this.section.dataset.statistics)}&shape=${kind}&box=${box}`));
    }

    label([kind, , , x1, y1, x2, y2], texts) {
      const { width, height } = this.canvas, scale = this.scale(), line = 17 / scale, gap = 6 / scale;
      const region = kind !== "line", right = (region ? Math.max(x1, x2) : x2) > width / 2;
      const x = region ? (right ? Math.max(x1, x2) : Math.min(x1, x2)) : x2;
      const below = region && Math.max(y1, y2) < height * 0.75; // else above
      const y = below ? Math.max(y1, y2) + line : (region ? Math.min(y1, y2) : y2) - gap - (texts.length - 1) * line;
      const place = (index) => ({ x, y: y + index * line, "text-anchor": right ? "end" : "start", "font-size": 14 / scale, "stroke-width": 3 / scale });
      return make("g", {}, ...texts.map((text, index) => make("text", place(index), text)));
    }

    type(event) {
      const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
      const end = { Home: 0, End: this.stack.length - 1 }[event.key];
      const factor = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const button = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (key === " ") { if (cine) toggle(); }
      else if (event.target !== this.slider && step) move(this, this.position + step);
      else if (event.target !== this.slider && end !== undefined) move(this, end);
      else if (factor) this.zoom(factor);
      else if (key === "Delete" || key === "Backspace") { this.shapes.pop(); update(); }
      else if (key === "s") this.toggleSegments();
      else if (button) button.click();
      else return;
      event.preventDefault();
    }

    toggleSegments() {
      const show = !this.segments.some(({ box }) => box.checked);
      for (const { box } of this.segments) if (box.checked !== show) box.click();
    }
  }

  function outline([kind, , , x1, y1, x2, y2]) {
    if (kind === "line") return make("line", { x1, y1, x2, y2 });
    const width = Math.abs(x2 - x1), height = Math.abs(y2 - y1);
    if (kind === "rectangle") return make("rect", { x: Math.min(x1, x2), y: Math.min(y1, y2), width, height });
    return make("ellipse", { cx: (x1 + x2) / 2, cy: (y1 + y2) / 2, rx: width / 2, ry: height / 2 });
  }

  function separate(labels) { // move a label below those that it would cover
    const placed = [];
    for (const label of labels) {
      const box = label.getBBox(), { x, width, height } = box;
      let { y } = box;
      for (const other of placed.sort((one, two) => one.y - two.y))
        if (x < other.x + other.width && other.x < x + width && y < other.y + other.height && other.y < y + height) y = other.y + other.height;
      label.setAttribute("transform", `translate(0 ${y - box.y})`);
      placed.push({ x, y, width, height });
    }
  }

  function format(value, unit) {
    return `${value.toLocaleString(language, { maximumFractionDigits: 1 })} ${unit}`.trim();
  }

  function lengthText(x, y, known) {
    if (!known.spacing) return `${format(Math.hypot(x, y), "px")} (${noSpacing})`;
    const [row, column] = known.spacing; // distances between the centres of rows and of columns
    return format(Math.hypot(x * column, y * row), "mm") + (known.detector ? ` (${detector})` : "");
  }

  function regionTexts(known) {
    const size = `${area} ${format(known.area, known.millimetres ? "mm²" : "px")}`;
    const texts = [size + (known.detector ? ` (${detector})` : known.millimetres ? "" : ` (${noSpacing})`)];
    if (known.count) texts.unshift(`${mean} ${format(known.mean, known.unit)}, ${deviation} ${format(known.deviation, "")}`, `${range} ${format(known.minimum, "")} – ${format(known.maximum, known.unit)}`);
    return texts;
  }

  const panes = [...document.querySelectorAll("[data-pane]")].map((section, index) => new Pane(section, index));
  const linked = () => panes.length > 1 && field.linked?.value !== "0";
  const together = (pane) => (linked() ? panes : [pane]);
  [active] = panes;

  // Positions along the normal of two parallel series of one frame of reference: depths in mm.
  async function match([one, other]) {
    const [from, to] = await Promise.all([one, other].map((pane) => ask(pane.section.dataset.positions)));
    const cosine = from.normal && to.normal ? from.normal.reduce((sum, value, index) => sum + value * to.normal[index], 0) : 0;
    if (from.reference !== to.reference || Math.abs(cosine) < 0.9998) return; // a degree
    one.depths = from.positions;
    other.depths = cosine < 0 ? to.positions.map((depth) => -depth) : to.positions;
    field.linked.options[0].text = byPosition;
    if (linked() && !address.has("b_image")) other.go(other.nearest(one.depths[one.position]));
    update();
  }

  function move(pane, position) {
    const to = Math.min(pane.stack.length - 1, Math.max(0, Number(position)));
    if (to === pane.position) return;
    for (const other of together(pane)) {
      if (other === pane) pane.go(to);
      else if (pane.depths) other.go(other.nearest(pane.depths[to]));
      else if (other.stack.length === pane.stack.length) other.go(to);
      else other.go(Math.round((to / Math.max(1, pane.stack.length - 1)) * (other.stack.length - 1)));
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
    for (const pane of panes) {
      const { prefix, view } = pane;
      const [, frame, image, frames] = pane.stack[pane.position];
      query.set(`${prefix}image`, image);
      if (frames > 1) query.set(`${prefix}frame`, frame + 1);
      if (view.zoom !== 1) query.set(`${prefix}zoom`, view.zoom.toFixed(2));
      if (view.x || view.y) { query.set(`${prefix}x`, view.x.toFixed(3)); query.set(`${prefix}y`, view.y.toFixed(3)); }
      for (const [kind, ...place] of pane.shapes) query.append(prefix + kind, place.join("_"));
    }
    if (inverted) query.set("invert", "1");
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

  function choose(name) {
    tool = name;
    for (const button of form.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    for (const pane of panes) pane.frame.dataset.tool = tool;
  }

  const actions = {
    fit: () => { for (const pane of panes) pane.look({ zoom: 1, x: 0, y: 0 }); },
    invert: () => { inverted = !inverted; },
    reset: () => {
      level = null;
      inverted = false;
      actions.fit();
      for (const pane of panes) pane.shapes = [];
    },
    help: () => help.showModal(),
  };

  cine?.addEventListener("click", toggle);
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-tool], [data-do]");
    if (button?.dataset.tool) choose(button.dataset.tool);
    else if (button) { actions[button.dataset.do](); update(); }
    form.querySelector("[data-do=invert]").setAttribute("aria-pressed", String(inverted));
    const preset = event.target.closest("a[data-center]");
    if (!preset) return;
    event.preventDefault();
    level = preset.dataset.center ? { center: Number(preset.dataset.center), width: Number(preset.dataset.width) } : null;
    update();
  });
  addEventListener("keydown", (event) => {
    const own = event.target.matches("input:not([type=range]), select, textarea") || (event.key === " " && event.target.matches("button, a"));
    if (!own && !help.open && !event.ctrlKey && !event.metaKey && !event.altKey) active.type(event);
  });
  addEventListener("online", update);
  addEventListener("resize", () => { for (const pane of panes) pane.drawShapes(); });
  form.addEventListener("change", ({ target }) => {
    if ("local" in target.dataset) return;
    remember();
    if (target.name === "b") location.assign(location.href);
    else update();
  });
  if (panes.length > 1) match(panes).catch(() => {}); // else by number
  choose(tool);
  form.querySelector("[data-do=invert]").setAttribute("aria-pressed", String(inverted));
  update();
  if (!document.activeElement || document.activeElement === document.body) panes[0].section.focus({ preventScroll: true });
})();
