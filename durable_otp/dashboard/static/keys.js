// Keys, and the command palette. Every key is also a link or a button somewhere.
(() => {
  "use strict";
  const { all, meta } = window.durable;
  const palette = document.getElementById("palette");
  const field = document.getElementById("palette-field");
  const list = document.getElementById("palette-list");
  const help = document.getElementById("help");
  const options = () => all("[role=option]", list);
  let chosen = 0;

  const mark = (number) => {
    const found = options();
    if (!found.length) { field.removeAttribute("aria-activedescendant"); return; }
    chosen = (number + found.length) % found.length;
    found.forEach((option, index) => option.setAttribute("aria-selected", String(index === chosen)));
    field.setAttribute("aria-activedescendant", found[chosen].id);
    found[chosen].scrollIntoView({ block: "nearest" });
  };
  const run = (option) => {
    if (!option) return;
    if (option.dataset.sends === undefined) { location.assign(option.dataset.path); return; }
    const form = document.getElementById("palette-form");
    form.action = option.dataset.path;
    form.requestSubmit();
  };
  const open = () => {
    if (!palette || palette.open) return;
    palette.showModal();
    field.value = "";
    htmx.trigger(field, "input");
  };

  palette?.addEventListener("htmx:afterSettle", () => mark(0));
  field?.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { event.preventDefault(); mark(chosen + 1); }
    if (event.key === "ArrowUp") { event.preventDefault(); mark(chosen - 1); }
    if (event.key === "Enter") { event.preventDefault(); run(options()[chosen]); }
  });
  list?.addEventListener("click", (event) => run(event.target.closest("[role=option]")));
  document.getElementById("jump")?.addEventListener("click", open);
  document.getElementById("keys")?.addEventListener("click", () => help.showModal());

  const step = (by) => {
    const rows = all("main a.go");
    if (!rows.length) return;
    const now = rows.indexOf(document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, now < 0 ? 0 : now + by))].focus();
  };
  const pages = JSON.parse(meta("pages") || "{}");
  let waitsForPage = 0;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); open(); return; }
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (performance.now() < waitsForPage) {
      waitsForPage = 0;
      const page = pages[event.key];
      if (page) { event.preventDefault(); location.assign(page); }
      return;
    }
    if (event.key === "g") waitsForPage = performance.now() + 1500;
    if (event.key === "?") help?.showModal();
    if (event.key === "/") { const search = document.querySelector("[data-search]"); if (search) { event.preventDefault(); search.focus(); } }
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
  });
})();
