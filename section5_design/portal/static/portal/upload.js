"use strict";
// Sends files by tus 1.0: in parts, each behind what is there already, also after the line broke or the browser was closed.
(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const [sent, refused, waiting, cancelled, ofFiles, again] = form.dataset.said.split("|");
  const token = form.elements.csrfmiddlewaretoken.value;
  const part = 8 << 20, atOnce = 3;
  const box = form.querySelector(".sending"), bar = box.querySelector("progress"), said = box.querySelector("[role=status]");
  const list = box.querySelector("ul");
  const headers = { "Tus-Resumable": "1.0.0", "X-CSRFToken": token };
  let queue = [], open = new Set(), stopped = false, busy = 0, done = 0, all = 0, bytes = 0, allBytes = 0, upload = null;

  const encode = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const memory = (file) => `tus:${file.path}:${file.blob.size}:${file.blob.lastModified}`;
  const pause = (ms) => new Promise((ready) => setTimeout(ready, ms));

  function ask(method, url, body, more, progress) {
    return new Promise((answer, broken) => {
      const request = new XMLHttpRequest();
      request.open(method, url);
      for (const [name, value] of Object.entries({ ...headers, ...more })) request.setRequestHeader(name, value);
      if (progress) request.upload.onprogress = (event) => progress(event.loaded);
      request.onload = () => { open.delete(request); answer(request); };
      request.onerror = request.onabort = () => { open.delete(request); broken(new Error("line")); };
      open.add(request);
      request.send(body);
    });
  }

  function show(file, text, kind) {
    file.row ||= list.appendChild(document.createElement("li"));
    file.row.textContent = `${file.path}: ${text}`;
    file.row.className = kind;
  }

  function tell() {
    bar.value = allBytes ? Math.min(1, bytes / allBytes) : 1;
    said.textContent = `${done} / ${all} ${ofFiles}`;
  }

  // One file: ask where it stands if it was begun before, then send what is missing.
  async function send(file) {
    let url = localStorage.getItem(memory(file)), offset = 0, before = 0;
    const count = (loaded) => { bytes += loaded - before; before = loaded; tell(); };
    while (!stopped) {
      try {
        if (url) {
          const answer = await ask("HEAD", url);
          if (answer.status === 200) offset = Number(answer.getResponseHeader("Upload-Offset"));
          else if (answer.status < 500) { url = null; localStorage.removeItem(memory(file)); }
          else throw new Error("server");
        }
        count(offset);
        if (!url) {
          offset = 0;
          const more = { "Upload-Length": file.blob.size, "Upload-Metadata": `filename ${encode(file.path)},upload ${encode(String(upload))}` };
          let body = null;
          if (file.blob.size <= part) { body = file.blob; more["Content-Type"] = "application/offset+octet-stream"; }
          const answer = await ask("POST", form.dataset.upload, body, more, count);
          if (answer.status !== 201) { if (answer.status >= 500 && answer.status !== 507) throw new Error("server"); show(file, answer.responseText || refused, "refused"); return; }
          url = answer.getResponseHeader("Location");
          localStorage.setItem(memory(file), url);
          offset = body ? file.blob.size : 0;
        }
        while (offset < file.blob.size && !stopped) {
          const from = offset;
          const answer = await ask("PATCH", url, file.blob.slice(offset, offset + part), { "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" }, (loaded) => count(from + loaded));
          if (answer.status !== 204) throw new Error("again");
          offset = Number(answer.getResponseHeader("Upload-Offset"));
        }
        if (!stopped) { count(file.blob.size); localStorage.removeItem(memory(file)); file.row?.remove(); return; }
      } catch {
        if (stopped) break;
        show(file, waiting, "uploading");
        await pause(2000);
      }
    }
    if (url && !await remove(url)) { show(file, waiting, "uploading"); return; }
    localStorage.removeItem(memory(file));
    show(file, cancelled, "cancelled");
  }

  // Delete a file of the server; 423 means that it still reads the request that was just aborted.
  async function remove(url) {
    for (let tries = 60; tries; tries--) {
      const answer = await ask("DELETE", url).catch(() => null);
      if (answer && answer.status !== 423 && answer.status < 500) return true;
      await pause(500);
    }
    return false;
  }

  async function work() {
    busy++;
    for (let file; (file = queue.shift());) { await send(file); done++; tell(); }
    if (--busy === 0 && !stopped) { said.textContent = `${done} / ${all} ${ofFiles}: ${sent}`; location.assign(`/uploads/${upload}/`); }
  }

  async function begin(files) {
    if (!files.length) return;
    box.hidden = false;
    stopped = false;
    if (!busy || !upload) {
      const body = new FormData();
      body.set("group", form.elements.group?.value || "");
      const answer = await fetch(location.pathname, { method: "POST", body, headers: { "X-CSRFToken": token, Accept: "application/json" } });
      upload = (await answer.json()).upload;
    }
    queue.push(...files);
    all += files.length;
    for (const file of files) allBytes += file.blob.size;
    tell();
    while (busy < Math.min(atOnce, queue.length + busy) && queue.length) { const before = busy; work(); if (busy === before) break; }
  }

  async function* walk(entry) {
    if (entry.isFile) yield { path: entry.fullPath.replace(/^\//, ""), blob: await new Promise((ready, broken) => entry.file(ready, broken)) };
    if (!entry.isDirectory) return;
    const reader = entry.createReader();
    for (;;) {
      const entries = await new Promise((ready, broken) => reader.readEntries(ready, broken));
      if (!entries.length) return;
      for (const inner of entries) yield* walk(inner);
    }
  }

  const chosen = (input) => [...input.files].map((blob) => ({ path: blob.webkitRelativePath || blob.name, blob }));
  form.addEventListener("submit", (event) => { event.preventDefault(); begin([...chosen(form.elements.files), ...chosen(document.getElementById("folder"))]); form.elements.files.value = ""; });
  document.getElementById("folder").addEventListener("change", (event) => { begin(chosen(event.target)); event.target.value = ""; });
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", async (event) => {
    event.preventDefault();
    form.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = entries.length ? [] : [...event.dataTransfer.files].map((blob) => ({ path: blob.name, blob }));
    for (const entry of entries) for await (const file of walk(entry)) files.push(file);
    begin(files);
  });
  box.querySelector("[data-cancel]").addEventListener("click", () => { stopped = true; queue.forEach((file) => show(file, cancelled, "cancelled")); queue = []; open.forEach((request) => request.abort()); });
  addEventListener("beforeunload", (event) => { if (busy && !stopped) event.preventDefault(); });
})();
