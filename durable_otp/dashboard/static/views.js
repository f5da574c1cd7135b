// Views of the executions that a person keeps in this browser: a name for an address. The server knows nothing of them.
(() => {
  "use strict";
  const { meta } = window.durable;
  const box = document.getElementById("views");
  if (!box) return;
  const KEY = `durable-views ${meta("base")}`;
  const list = box.querySelector("ul"), field = box.querySelector("input");
  const kept = () => {
    try { const found = JSON.parse(localStorage.getItem(KEY) ?? "[]"); return Array.isArray(found) ? found : []; } catch { return []; }
  };
  const keep = (views) => { try { localStorage.setItem(KEY, JSON.stringify(views.slice(-30))); } catch { /* not kept then */ } draw(); };
  const made = (tag, words, label) => {
    const element = document.createElement(tag);
    element.textContent = words;
    element.className = "chip";
    if (label) element.setAttribute("aria-label", label);
    return element;
  };
  const draw = () => {
    list.replaceChildren(...kept().map(([name, query]) => {
      const row = document.createElement("li"), link = made("a", name), gone = made("button", "✕", `Forget ${name}`);
      link.href = `${location.pathname}${query}`;
      if (query === location.search) link.setAttribute("aria-current", "true");
      gone.type = "button";
      gone.addEventListener("click", () => keep(kept().filter(([other]) => other !== name)));
      row.append(link, gone);
      return row;
    }));
  };
  box.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = field.value.trim();
    if (name) keep([...kept().filter(([other]) => other !== name), [name, location.search]]);
    field.value = "";
  });
  draw();
  box.hidden = false;
})();
