// Before anything is drawn: the theme that was chosen here before, if one was.
(() => {
  try {
    const chosen = localStorage.getItem("durable-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch { /* storage is off: the system's theme it is */ }
})();
