// What pages do in the browser: hear of changes, show times as they pass, open dialogs, take keys.
(() => {
  "use strict";
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

  // --- morphing keeps what a person has opened, chosen or typed
  if (window.Idiomorph) {
    Idiomorph.defaults.ignoreActiveValue = true;
    Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
      !((name === "open" && /^(DETAILS|DIALOG)$/.test(node.tagName)) || (name === "checked" && node.dataset.keep !== undefined));
  }

  // --- live: one stream for the page, and only while it is looked at
  const badge = document.getElementById("link");
  const live = document.querySelector("[data-topics]");
  const every = Number(live?.dataset.every ?? 700);
  let stream, timer, poll, fallback, last = 0, missed = false, paused = false;
  const show = (state, words) => { if (badge) { badge.dataset.state = state; badge.textContent = words; } };
  const refresh = () => {
    clearTimeout(timer);
    const wait = Math.max(0, last + every - performance.now());
    timer = setTimeout(() => {
      last = performance.now();
      const part = document.getElementById("live");
      if (part) htmx.trigger(part, "changed");
    }, wait);
  };
  const listen = () => {
    if (!live || stream || paused) return;
    stream = new EventSource(`${meta("base")}/live?topics=${encodeURIComponent(live.dataset.topics)}`);
    stream.addEventListener("open", () => { clearInterval(fallback); fallback = undefined; show("live", "live"); if (missed) refresh(); missed = true; });
    stream.addEventListener("change", refresh);
    stream.addEventListener("error", () => { show("lost", "reconnecting"); fallback ??= setInterval(refresh, 30_000); });
    const seconds = Number(live.dataset.poll ?? 0);
    if (seconds) poll = setInterval(() => { if (document.getElementById("live")?.dataset.poll) refresh(); }, seconds * 1000);
  };
  const hush = (words) => { stream?.close(); stream = undefined; clearInterval(poll); clearInterval(fallback); fallback = undefined; show("paused", words); };
  document.addEventListener("visibilitychange", () => (document.hidden ? hush("paused") : listen()));
  addEventListener("pagehide", () => stream?.close());
  addEventListener("pageshow", (event) => { if (event.persisted) { stream = undefined; listen(); } });
  document.getElementById("pause")?.addEventListener("click", (event) => {
    paused = !paused;
    event.currentTarget.setAttribute("aria-pressed", String(paused));
    if (paused) hush("paused"); else { listen(); refresh(); }
  });
  if (live) listen(); else show("still", "not live");

  // --- times, as they pass; the exact one is the title
  const ago = (seconds) => {
    const value = Math.abs(seconds);
    const [n, unit] = value < 60 ? [value, "s"] : value < 3600 ? [value / 60, "m"] : value < 86400 ? [value / 3600, "h"] : [value / 86400, "d"];
    const words = `${Math.floor(n)} ${unit}`;
    return seconds <= -1 ? `in ${words}` : `${words} ago`;
  };
  const skew = Number(meta("now")) * 1000 - Date.now();
  const tick = () => {
    for (const time of all("time[data-ago]")) {
      const seconds = (Date.now() + (Number.isFinite(skew) ? skew : 0) - Date.parse(time.dateTime)) / 1000;
      if (!time.title) time.title = `${time.textContent.trim()} · ${new Date(time.dateTime).toLocaleString()}`;
      const words = time.dataset.ago === "since" ? ago(seconds).replace(" ago", "") : ago(seconds);
      if (time.textContent !== words) time.textContent = words;
    }
    for (const ghost of all("[data-until]")) {
      const since = (Date.now() + (Number.isFinite(skew) ? skew : 0) - Date.parse(ghost.dataset.until)) / 1000;
      ghost.hidden = since > ghost.dataset.seconds;
    }
    for (const budget of all("[data-restarted]")) {
      const since = Date.now() + (Number.isFinite(skew) ? skew : 0) - 1000 * budget.dataset.seconds;
      const spent = budget.dataset.restarted.split(" ").filter((at) => Date.parse(at) >= since).length;
      budget.className = `budget ${!spent ? "idle" : spent >= budget.dataset.most ? "bad" : "warn"}`;
      budget.firstElementChild.textContent = spent;
    }
  };
  tick();
  setInterval(() => { if (!document.hidden) tick(); }, 1000);
  document.body.addEventListener("htmx:afterSettle", () => { tick(); follow(); });

  // --- where we are is seen on a strip that scrolls, too
  for (const here of all(":is(.side nav, .tabs) [aria-current]")) {
    const strip = here.closest("nav"), place = here.getBoundingClientRect(), room = strip.getBoundingClientRect();
    strip.scrollLeft += place.left + place.width / 2 - room.left - room.width / 2;
  }

  // --- theme
  document.getElementById("theme")?.addEventListener("click", () => {
    const root = document.documentElement;
    const now = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try { localStorage.setItem("durable-theme", root.dataset.theme); } catch { /* for this page then */ }
  });

  // --- dialogs, copying, following, selecting
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) { event.preventDefault(); document.getElementById(opener.dataset.dialog)?.showModal(); }
    if (event.target.closest("[data-close]")) event.target.closest("dialog")?.close();
    if (event.target.closest("[data-refresh]")) refresh();
    const copy = event.target.closest("[data-copy], [data-copy-of]");
    if (copy) navigator.clipboard?.writeText(copy.dataset.copy ?? document.getElementById(copy.dataset.copyOf).innerText).then(() => { copy.textContent = "copied"; });
    const another = event.target.closest("[data-another]");
    if (another) {
      const rows = all("[data-row]", another.closest("[data-rows]"));
      const row = rows.at(-1).cloneNode(true);
      const field = row.querySelector("input, select");
      field.id = `${field.id}-${rows.length}`;
      field.setAttribute("aria-label", field.getAttribute("aria-label").replace(/\d+$/, rows.length + 1));
      field.value = "";
      rows.at(-1).after(row);
      field.focus();
    }
    const set = event.target.closest("[data-fill]");
    if (set) { const field = document.getElementById(set.dataset.fill); field.value = set.dataset.value; field.focus(); }
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "select-all") for (const box of all("input[name=selected]")) box.checked = event.target.checked;
    if (event.target.closest("[data-submit]")) event.target.form.requestSubmit();
    const chosen = all("input[name=selected]:checked").length;
    for (const each of all("[data-chosen]")) each.textContent = chosen;
  });
  const follow = () => {
    const log = document.querySelector("[data-follow]");
    if (log && document.getElementById("follow")?.checked) log.scrollTop = log.scrollHeight;
  };
  follow();

  window.durable = { all, meta, refresh };
})();
