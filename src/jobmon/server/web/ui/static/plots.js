// Plots by uPlot in elements with data-plot-url, whose JSON is
//   {"kind": "lines", "time": true, "x": [...], "y_label": "…", "right_label": "…", "x_label": "…",
//    "series": [{"label", "colour", "values": [...], "fill": true, "right": true}]}
//   {"kind": "scatter", "x_label": "…", "y_label": "…", "series": [{"label", "colour", "x": [...], "y": [...]}]}
// A colour is the name of a state ("done") or of a variable of the stylesheet ("--accent"). What the element holds, such as a
// drawing made by the server, is hidden once its plot is drawn. data-plot-seconds: asked for again so often.
(() => {
  "use strict";
  const HEIGHT = 240;
  const shown = new Map();

  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (name) => variable(name.startsWith("--") ? name : `--c-${name}`) || variable("--text");

  function axis(label, more) {
    const text = variable("--muted");
    const line = { stroke: variable("--line"), width: 1 };
    return { label, stroke: text, grid: line, ticks: line, font: "12px system-ui", labelFont: "12px system-ui", labelSize: 20, ...more };
  }

  function width(element) { return Math.max(240, element.clientWidth); }

  const two = (number) => String(number).padStart(2, "0");

  function clock(seconds, step) {
    const time = new Date(seconds * 1000);
    const day = `${two(time.getMonth() + 1)}-${two(time.getDate())}`;
    if (step >= 86400) return day;
    const words = `${two(time.getHours())}:${two(time.getMinutes())}${step < 60 ? `:${two(time.getSeconds())}` : ""}`;
    return step === 0 || words === "00:00" ? `${day} ${words}` : words;
  }

  function lines(plot, element) {
    const hasRight = plot.series.some((each) => each.right);
    const times = plot.time ? { values: (_, places, __, ___, step) => places.map((each) => clock(each, step)) } : {};
    const axes = [axis(plot.x_label, times), axis(plot.y_label, { size: 74 })];
    if (hasRight) {
      const right = plot.series.find((each) => each.right);
      axes.push(axis(plot.right_label || right.label, { side: 1, scale: "right", size: 50, grid: { show: false } }));
    }
    const zero = { range: (_, low, high) => [Math.min(0, low), Math.max(1, high * 1.03)] };
    return {
      options: {
        width: width(element), height: HEIGHT, axes,
        scales: { x: { time: Boolean(plot.time) }, y: zero, right: zero },
        series: [plot.time ? { label: "time", value: (_, seconds) => (seconds == null ? "–" : clock(seconds, 0)) } : {}, ...plot.series.map((each) => ({
          label: each.label, stroke: colour(each.colour), width: 2, scale: each.right ? "right" : "y",
          fill: each.fill ? `${colour(each.colour)}40` : undefined, points: { show: false },
        }))],
      },
      data: [plot.x, ...plot.series.map((each) => each.values)],
    };
  }

  function dots(u, number) {
    const series = u.series[number];
    const [xs, ys] = u.data[number];
    u.ctx.save();
    u.ctx.fillStyle = series.stroke(u, number);
    u.ctx.globalAlpha = 0.65;
    const size = 3 * devicePixelRatio;
    for (let i = 0; i < xs.length; i += 1) {
      u.ctx.beginPath();
      u.ctx.arc(u.valToPos(xs[i], "x", true), u.valToPos(ys[i], "y", true), size, 0, 2 * Math.PI);
      u.ctx.fill();
    }
    u.ctx.restore();
    return null;
  }

  function scatter(plot, element) {
    const most = (name) => plot.series.reduce((high, each) => each[name].reduce((a, b) => Math.max(a, b), high), 0) * 1.05 || 1;
    return {
      options: {
        mode: 2, width: width(element), height: HEIGHT * 1.4, legend: { live: false }, cursor: { show: false },
        axes: [axis(plot.x_label), axis(plot.y_label, { size: 74 })],
        scales: { x: { time: false, range: [0, most("x")] }, y: { range: [0, most("y")] } },
        series: [null, ...plot.series.map((each) => ({ label: each.label, stroke: colour(each.colour), paths: dots, facets: [{ scale: "x", auto: true }, { scale: "y", auto: true }] }))],
      },
      data: [null, ...plot.series.map((each) => [each.x, each.y])],
    };
  }

  function draw(element) {
    const entry = shown.get(element);
    if (!entry || !entry.plot || !element.isConnected) return;
    if (entry.drawn) entry.drawn.destroy();
    for (const child of element.children) child.setAttribute("hidden", "");
    const made = (entry.plot.kind === "scatter" ? scatter : lines)(entry.plot, element);
    entry.drawn = new uPlot(made.options, made.data, element);
  }

  async function load(element) {
    const entry = shown.get(element);
    try {
      const answer = await fetch(element.dataset.plotUrl, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      const plot = await answer.json();
      if (!plot || !plot.series) return;
      entry.plot = plot;
      draw(element);
    } catch { /* what the server has drawn stays */ }
  }

  window.jobmonPlots = (root) => {
    for (const element of shown.keys()) if (!element.isConnected) shown.delete(element);
    for (const element of root.querySelectorAll("[data-plot-url]")) {
      if (shown.has(element) || typeof uPlot === "undefined") continue;
      shown.set(element, {});
      load(element);
      const seconds = Number(element.dataset.plotSeconds);
      if (!seconds) continue;
      const timer = setInterval(() => {
        if (!element.isConnected) clearInterval(timer);
        else if (!document.hidden) load(element);
      }, seconds * 1000);
    }
  };

  const redraw = () => { for (const element of shown.keys()) draw(element); };
  document.addEventListener("jobmon:theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 200); });
})();
