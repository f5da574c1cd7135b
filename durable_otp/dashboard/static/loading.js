// What is shown while the server is asked: a page on its way, a form that was sent, a part that could not be refreshed.
(() => {
  "use strict";
  const PATIENCE = 250; // a page that is there sooner flickers less without
  const main = document.getElementById("main");
  const skeleton = document.getElementById("skeleton");
  let download = false, timer;

  const hide = () => {
    clearTimeout(timer);
    main?.removeAttribute("aria-busy");
    main?.querySelector(":scope > .skeleton")?.remove();
  };
  const show = () => {
    if (!main || !skeleton || main.hasAttribute("aria-busy")) return;
    main.setAttribute("aria-busy", "true");
    main.prepend(skeleton.content.cloneNode(true));
  };
  document.addEventListener("click", (event) => { download = !!event.target.closest("a[download]"); });
  addEventListener("beforeunload", () => { if (!download) timer = setTimeout(show, PATIENCE); });
  addEventListener("pageshow", (event) => {
    hide();
    if (event.persisted) for (const each of document.querySelectorAll("button[aria-busy]")) each.removeAttribute("aria-busy");
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // --- a form is sent once; its button says that it is on its way
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.querySelector("button[aria-busy]")) { event.preventDefault(); return; }
    event.submitter?.setAttribute("aria-busy", "true");
  });

  // --- a part of the page that is asked for again: the line above it, and what is said when it does not come
  const stale = document.getElementById("stale");
  const failed = (event) => {
    if (event.target.id !== "live" || !stale) return;
    const since = new Date().toLocaleTimeString();
    if (stale.hidden) stale.firstElementChild.textContent = `This page could not be refreshed; what it shows is of ${since} or before. It is tried again at the next change.`;
    stale.hidden = false;
  };
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.body.addEventListener(name, failed);
  document.body.addEventListener("htmx:afterSwap", () => { if (stale) stale.hidden = true; });
})();
