// Logs: a box above a text shows only the lines that contain what is typed.
(() => {
  "use strict";
  function arm(root) {
    for (const box of root.querySelectorAll("input[data-log-search]")) {
      const text = document.getElementById(box.dataset.logSearch);
      if (!text || box.dataset.ready) continue;
      box.dataset.ready = "yes";
      const row = box.closest("[hidden]");
      if (row) row.hidden = false;
      const lines = text.textContent.split("\n");
      const found = document.getElementById(`${box.dataset.logSearch}-found`);
      box.addEventListener("input", () => {
        const wanted = box.value.toLowerCase();
        const kept = wanted ? lines.filter((line) => line.toLowerCase().includes(wanted)) : lines;
        text.textContent = kept.join("\n");
        if (found) found.textContent = wanted ? `${kept.length} of ${lines.length} lines` : "";
      });
    }
  }
  document.addEventListener("DOMContentLoaded", () => {
    arm(document);
    document.body.addEventListener("htmx:load", (event) => arm(event.detail.elt.parentNode || document));
  });
})();
