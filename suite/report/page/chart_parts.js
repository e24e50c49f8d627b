"use strict";
// All charts of cases have one layout: a line for each case, with its name above the marks and its
// figure at the right.
const ROW = 44;
const MOST_ROWS = 60;

/** Draws a plot as wide as its place, and again when the width changes. */
function plotInto(place, build) {
  const draw = () => {
    const width = Math.max(260, Math.floor(place.clientWidth));
    place.replaceChildren(build(width));
  };
  let width = 0;
  const observer = new ResizeObserver(() => {
    if (!place.isConnected) return observer.disconnect();
    if (Math.abs(place.clientWidth - width) < 2) return;
    width = place.clientWidth;
    draw();
  });
  observer.observe(place);
}

/** Shows a chart's section, which `build(figure)` fills, or hides it. */
function section(id, hasContent, build, keys = []) {
  const place = document.getElementById(id);
  place.hidden = !hasContent;
  document.querySelector(`nav a[href="#${id}"]`)?.toggleAttribute("hidden", !hasContent);
  if (!hasContent) return;
  place.querySelector(".keys").replaceChildren(...keys.map(key));
  const figure = place.querySelector("figure");
  figure.className = "";
  figure.replaceChildren();
  build(figure);
}

const key = ([text, fill]) => {
  const swatch = element("i", { className: "swatch" });
  swatch.style.background = fill;
  return element("span", {}, swatch, ` ${text}`);
};

/** In a narrower chart a line has no room for an interval in words beside its name. */
const NARROW = 440;

/** Writes the name and the figure of each line above its marks. */
function lineTexts(rows, right) {
  return [
    Plot.text(rows, { y: (_, i) => i, frameAnchor: "left", dy: -13, text: row => DATA.names[row],
      fontWeight: 600, fill: "currentColor" }),
    Plot.text(rows, { y: (_, i) => i, frameAnchor: "right", textAnchor: "end", dy: -13,
      text: right, fill: "var(--soft)", fontVariant: "tabular-nums" }),
  ];
}

/** Makes a plot with a line for each case; marks are placed at y = number of the line. */
function linePlot(width, rows, x, right, marks, label) {
  return Plot.plot({
    width, height: rows.length * ROW + 46, marginLeft: 18, marginRight: 22, marginTop: 8,
    marginBottom: 34, ariaLabel: label,
    x: { tickFormat: one => one === 0 ? "0" : seconds(one), label: null, ...x },
    y: { axis: null, domain: [rows.length - 0.5, -0.62] },
    marks: [Plot.gridX({ ticks: x.ticks, strokeOpacity: 0.12 }), ...marks,
      ...lineTexts(rows, right)],
  });
}

/** Picks at most about `count` round values between two positive ones, for a logarithmic scale. */
function logTicks(low, high, count) {
  const powers = d3.range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
  for (const digits of [[1, 2, 5], [1, 3], [1]]) {
    const found = powers.flatMap(p => digits.map(d => d * 10 ** p))
      .filter(tick => tick >= low && tick <= high);
    if (found.length >= 3 && found.length <= count) return found;
  }
  const found = powers.map(p => 10 ** p).filter(tick => tick >= low && tick <= high);
  if (found.length < 3) return d3.ticks(low, high, Math.max(2, Math.min(4, count - 2)));
  return found.filter((_, i) => i % Math.ceil(found.length / count) === 0);
}

function logScale(values, width, ticksAt = 75) {
  const positive = values.filter(number => number > 0);
  const low = d3.min(positive) / 1.08, high = d3.max(positive) * 1.08;
  return { type: "log", domain: [low, high], ticks: logTicks(low, high, Math.max(3, width / ticksAt)) };
}

/** Draws a horizontal interval with ends, at a height relative to the line. */
function interval(rows, low, high, at, stroke = "currentColor") {
  const known = rows.map((row, i) => ({ low: low(row), high: high(row), y: i + at }))
    .filter(one => one.low !== null && one.high !== null);
  return [
    Plot.ruleY(known, { x1: "low", x2: "high", y: "y", stroke, strokeWidth: 2 }),
    ...["low", "high"].map(end => Plot.ruleX(known,
      { x: end, y1: one => one.y - 0.07, y2: one => one.y + 0.07, stroke, strokeWidth: 2 })),
  ];
}

/** Draws small multiples: each item in a place with a title. */
function multiples(figure, items, title, build) {
  figure.className = "multiples";
  for (const item of items) {
    const place = element("div");
    figure.append(element("div", {}, element("h3", { textContent: title(item) }), place));
    plotInto(place, width => build(width, item));
  }
}
