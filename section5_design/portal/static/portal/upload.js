"use strict";
// Sends files by tus 1.0: choose or drop, see what was found, choose a team, send. An interrupted file continues.
(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const [filesWord, zips, foreign, uploading, complete, waiting, cancelled, refused, nothing] = form.dataset.words.split("|");
  const PART = 8 << 20, AT_ONCE = 3;
  const found = form.querySelector(".found"), box = form.querySelector(".sending"), bar = box.querySelector("progress");
  const status = box.querySelector("[role=status]"), list = box.querySelector("ul"), dialog = document.querySelector("dialog");
  const cancel = form.querySelector("[data-cancel]"), send = form.querySelector("button:not([type])");
  let files = [], queue = [], open = new Set(), stopped = false, busy = 0, done = 0, failed = 0, bytes = 0, allBytes = 0, upload = null;

  const size = (count) => new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 }).format(count / 1e6) + " MB";
  const encode = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const memory = (file) => `tus:${file.path}:${file.blob.size}:${file.blob.lastModified}`;
  const pause = (ms) => new Promise((ready) => setTimeout(ready, ms));
  const token = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] || form.elements.csrfmiddlewaretoken.value;

  function ask(method, url, body, headers, progress) {
    return new Promise((answer, broken) => {
      const request = new XMLHttpRequest();
      request.open(method, url);
      const all = { "Tus-Resumable": "1.0.0", "X-CSRFToken": token(), Accept: "application/json", ...headers };
      for (const [name, value] of Object.entries(all)) request.setRequestHeader(name, value);
      if (progress) request.upload.onprogress = (event) => progress(event.loaded);
      request.onload = () => { open.delete(request); answer(request); };
      request.onerror = request.onabort = () => { open.delete(request); broken(new Error("network")); };
      open.add(request);
      request.send(body);
    });
  }

  // The session has expired: ask for a login in another tab, and go on when it is there.
  let login = null;
  function logIn() {
    login ||= (async () => {
      dialog.showModal();
      while (!stopped) {
        await pause(1500);
        const answer = await fetch("/session", { headers: { Accept: "application/json" } }).catch(() => null);
        if (answer?.ok) break;
      }
      dialog.close();
      login = null;
    })();
    return login;
  }

  function show(file, text, state) {
    file.row ||= list.appendChild(document.createElement("li"));
    const badge = document.createElement("span");
    badge.className = `badge ${state}`;
    badge.textContent = text;
    file.row.replaceChildren(`${file.path} `, badge);
  }

  function report() {
    bar.value = allBytes ? Math.min(1, bytes / allBytes) : 1;
    status.textContent = `${done + failed} / ${files.length} ${filesWord}, ${size(bytes)} / ${size(allBytes)}`;
  }

  // One file: ask for its offset if it was begun before, then send the missing part.
  async function transfer(file) {
    let url = localStorage.getItem(memory(file)), offset = 0, counted = 0;
    const count = (loaded) => {
      bytes += loaded - counted;
      counted = loaded;
      if (file.blob.size > PART) show(file, `${uploading} ${Math.floor((loaded / file.blob.size) * 100)} %`, "uploading");
      report();
    };
    while (!stopped) {
      try {
        if (url) {
          const answer = await ask("HEAD", url);
          if (answer.status === 200) offset = Number(answer.getResponseHeader("Upload-Offset"));
          else if (answer.status === 401) { await logIn(); continue; }
          else if (answer.status === 423) throw new Error("again"); // another request is storing it
          else if (answer.status < 500) { url = null; localStorage.removeItem(memory(file)); }
          else throw new Error("server");
        }
        count(offset);
        if (!url) {
          offset = 0;
          const headers = { "Upload-Length": file.blob.size, "Upload-Metadata": `filename ${encode(file.path)},upload ${encode(String(upload))}` };
          let body = null;
          if (file.blob.size <= PART) { body = file.blob; headers["Content-Type"] = "application/offset+octet-stream"; }
          const answer = await ask("POST", form.dataset.upload, body, headers, count);
          if (answer.status === 401 || answer.status === 403 && !answer.responseText.trim()) { await logIn(); continue; }
          if (answer.status !== 201) {
            if (answer.status >= 500 && answer.status !== 507) throw new Error("server");
            count(file.blob.size);
            show(file, answer.getResponseHeader("Content-Type")?.startsWith("text/plain") ? `${refused}: ${answer.responseText}` : refused, "refused");
            return false;
          }
          url = answer.getResponseHeader("Location");
          localStorage.setItem(memory(file), url);
          offset = body ? file.blob.size : 0;
        }
        while (offset < file.blob.size && !stopped) {
          const from = offset;
          const answer = await ask("PATCH", url, file.blob.slice(offset, offset + PART), { "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" }, (loaded) => count(from + loaded));
          if (answer.status === 401) { await logIn(); break; }
          if (answer.status !== 204) throw new Error("again");
          offset = Number(answer.getResponseHeader("Upload-Offset"));
        }
        if (offset >= file.blob.size && !stopped) { count(file.blob.size); localStorage.removeItem(memory(file)); file.row?.remove(); return true; }
      } catch {
        if (stopped) break;
        show(file, waiting, "uploading");
        await pause(2000);
      }
    }
    if (url && !await remove(url)) { show(file, waiting, "uploading"); return false; }
    localStorage.removeItem(memory(file));
    show(file, cancelled, "cancelled");
    return false;
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
    for (let file; (file = queue.shift());) { if (await transfer(file)) done++; else failed++; report(); }
    if (--busy || stopped) return;
    send.disabled = false;
    cancel.hidden = true;
    if (!failed) location.assign(`/uploads/${upload}/`);
    else {
      const link = document.createElement("a");
      link.href = `/uploads/${upload}/`;
      link.textContent = complete;
      status.append(": ", link);
    }
  }

  // What was chosen: DICOM has DICM at byte 128, a ZIP file begins with PK.
  async function choose(chosen) {
    files = chosen;
    const kinds = { dicom: 0, zip: 0, other: 0 };
    for (const file of files) {
      const head = new Uint8Array(await file.blob.slice(0, 132).arrayBuffer());
      const text = String.fromCharCode(...head);
      kinds[text.startsWith("PK") ? "zip" : text.slice(128) === "DICM" ? "dicom" : "other"]++;
    }
    allBytes = files.reduce((sum, file) => sum + file.blob.size, 0);
    found.textContent = files.length
      ? [`${files.length} ${filesWord}, ${size(allBytes)}`, kinds.dicom && `${kinds.dicom} DICOM`, kinds.zip && `${kinds.zip} ${zips}`, kinds.other && `${kinds.other} ${foreign}`].filter(Boolean).join(" · ")
      : nothing;
  }

  async function begin() {
    if (!files.length) { found.textContent = nothing; form.elements.files.focus(); return; }
    Object.assign(box, { hidden: false });
    stopped = false;
    done = failed = bytes = 0;
    list.replaceChildren();
    send.disabled = true;
    cancel.hidden = false;
    for (;;) {
      const body = new FormData();
      body.set("group", form.elements.group?.value || "");
      const answer = await ask("POST", location.pathname, body).catch(() => null);
      if (answer?.status === 200 && answer.getResponseHeader("Content-Type") === "application/json") { upload = JSON.parse(answer.responseText).upload; break; }
      if (!answer || answer.status >= 500) { status.textContent = waiting; await pause(2000); } else await logIn();
      if (stopped) return;
    }
    queue = [...files];
    report();
    for (let worker = 0; worker < Math.min(AT_ONCE, files.length); worker++) work();
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
  const folder = document.getElementById("folder");
  form.addEventListener("submit", (event) => { event.preventDefault(); begin(); });
  for (const input of [form.elements.files, folder])
    input.addEventListener("change", () => choose([...chosen(form.elements.files), ...chosen(folder)]));
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", async (event) => {
    event.preventDefault();
    form.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const dropped = entries.length ? [] : [...event.dataTransfer.files].map((blob) => ({ path: blob.name, blob }));
    for (const entry of entries) for await (const file of walk(entry)) dropped.push(file);
    choose(dropped);
  });
  cancel.addEventListener("click", () => { stopped = true; queue.forEach((file) => show(file, cancelled, "cancelled")); queue = []; open.forEach((request) => request.abort()); send.disabled = false; cancel.hidden = true; });
  addEventListener("beforeunload", (event) => { if (busy && !stopped) event.preventDefault(); });
})();
