// What pages do beyond being read: times in the viewer's zone, copying, the theme, dragging drawings, plots, old links.
// Everything can be read without it.
(() => {
  "use strict";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
  const absolute = new Intl.DateTimeFormat("sv-SE", {  // 2026-11-21 18:04:05, which is misread nowhere
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
  });
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function ago(then) {
    const seconds = (then - Date.now()) / 1000;
    const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) || UNITS[3];
    return relative.format(Math.round(seconds / size), unit);
  }

  function showTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const then = new Date(element.dateTime);
      if (Number.isNaN(then.getTime())) continue;
      const words = `${absolute.format(then)} (${zone})`;
      if (element.dataset.style === "ago") {
        element.textContent = ago(then);
        element.title = words;
      } else {
        element.textContent = absolute.format(then);
        element.title = `${zone}; ${element.dateTime}`;
      }
    }
  }

  function copyButtons(root) {
    for (const button of root.querySelectorAll("button.copy[data-copy], button.copy[data-copy-from]")) {
      if (!navigator.clipboard) continue;
      button.hidden = false;
      if (button.dataset.ready) continue;
      button.dataset.ready = "yes";
      const words = button.textContent;
      button.addEventListener("click", async () => {
        const from = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
        await navigator.clipboard.writeText(from ? from.textContent : button.dataset.copy);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = words; }, 1500);
      });
    }
  }

  // Drawings in .panzoom: Ctrl and wheel, or + and -, make them larger; they are moved by their scroll bars or by dragging.
  function panzoom(root) {
    for (const frame of root.querySelectorAll(".panzoom")) {
      const drawing = frame.querySelector("svg");
      if (!drawing || frame.dataset.ready) continue;
      frame.dataset.ready = "yes";
      frame.tabIndex = 0;
      const box = drawing.viewBox.baseVal;
      let scale = 1;
      const zoom = (factor, x, y) => {
        const before = scale;
        scale = Math.min(8, Math.max(0.1, scale * factor));
        drawing.style.maxWidth = "none";
        drawing.style.width = `${box.width * scale}px`;
        drawing.style.height = `${box.height * scale}px`;
        frame.scrollLeft = (frame.scrollLeft + x) * scale / before - x;
        frame.scrollTop = (frame.scrollTop + y) * scale / before - y;
      };
      frame.addEventListener("wheel", (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        const at = frame.getBoundingClientRect();
        zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - at.left, event.clientY - at.top);
      }, { passive: false });
      frame.addEventListener("keydown", (event) => {
        if (event.key === "+" || event.key === "=") zoom(1.25, frame.clientWidth / 2, frame.clientHeight / 2);
        if (event.key === "-") zoom(0.8, frame.clientWidth / 2, frame.clientHeight / 2);
      });
      let held = null;
      frame.addEventListener("pointerdown", (event) => {
        if (event.target.closest("a")) return;
        held = { x: event.clientX + frame.scrollLeft, y: event.clientY + frame.scrollTop };
        frame.setPointerCapture(event.pointerId);
      });
      frame.addEventListener("pointermove", (event) => {
        if (held) { frame.scrollLeft = held.x - event.clientX; frame.scrollTop = held.y - event.clientY; }
      });
      frame.addEventListener("pointerup", () => { held = null; });
    }
  }

  function theme() {
    const button = document.getElementById("theme");
    const root = document.documentElement;
    const kept = localStorage.getItem("jobmon-theme");
    if (kept) root.dataset.theme = kept;
    if (!button) return;
    button.hidden = false;
    const isDark = () => root.dataset.theme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
    name();
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      localStorage.setItem("jobmon-theme", root.dataset.theme);
      name();
      document.dispatchEvent(new Event("jobmon:theme"));
    });
  }

  // Browsers have six connections to a server, over all of their tabs: one that nobody looks at gives its own back.
  function letGoWhileHidden() {
    if (!window.htmx || !htmx.createEventSource) return;
    const HIDDEN_MS = 5000;
    const make = htmx.createEventSource;
    const open = new Set();
    let timer = 0;
    let isClosed = false;
    htmx.createEventSource = (address) => {
      const source = make(address);
      open.add(source);
      return source;
    };
    document.addEventListener("visibilitychange", () => {
      clearTimeout(timer);
      if (!document.hidden && isClosed) location.reload();
      if (!document.hidden || open.size === 0) return;
      timer = setTimeout(() => {
        for (const source of open) source.close();
        isClosed = true;
      }, HIDDEN_MS);
    });
  }
  letGoWhileHidden();

  function ready(root) {
    showTimes(root);
    copyButtons(root);
    panzoom(root);
    if (window.jobmonPlots) window.jobmonPlots(root);
  }

  // Addresses of the older GUI: /#/workflow/12, /#/task_details/7
  function oldLink() {
    const match = /^#\/(workflow|task_details)\/(\d+)/.exec(location.hash);
    if (match) location.replace(`${match[1] === "workflow" ? "workflow" : "task"}/${match[2]}`);
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (/\/ui\/$/.test(location.pathname)) oldLink();
    theme();
    const shown = document.getElementById("zone");
    if (shown) shown.textContent = `Times: ${zone}`;
    ready(document);
    setInterval(() => showTimes(document), 15000);
    document.body.addEventListener("htmx:load", (event) => ready(event.detail.elt.parentNode || document));
    document.body.addEventListener("htmx:sseMessage", () => ready(document));
  });
})();
