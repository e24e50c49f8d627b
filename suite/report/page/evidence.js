"use strict";
const frameworkKeys = names => [...new Set(names)].map(name => [name, colour(name)]);

function drawProof(grid) {
  const rows = grid.rows.filter(row => DATA.losses[row]?.length);
  const points = rows.flatMap(row => DATA.losses[row].map(([loss, reference, difference], step) => (
    { row, step, loss, reference, difference, framework: framework(row) })));
  const proven = grid.rows.filter(row => value("parity_error", row) !== null);
  // Of very many cases those nearest to their gate: a proof is as good as its worst case.
  const checked = proven.length <= MOST_ROWS ? proven
    : d3.sort(proven, row => -value("parity_error", row)).slice(0, MOST_ROWS);
  const which = checked.length < proven.length ? `: the ${checked.length} largest of ${proven.length}` : "";
  const plots = [];
  if (points.length) plots.push(["Loss of the first steps", lossPlot(points)],
    ["Distance from the reference, relative", differencePlot(points)]);
  if (checked.length) plots.push([`Parity error, share of its gate${which}`, gatePlot(checked)]);
  section("proof", plots.length > 0, figure => {
    multiples(figure, plots, plot => plot[0], (width, plot) => plot[1](width));
    if (checked.length) figure.lastElementChild.className = "whole";
  },
    [...frameworkKeys(rows.map(framework)), ["float64 reference", "currentColor"]]);
}

const lossPlot = points => width => Plot.plot({
  width, height: 230, marginLeft: 46, marginBottom: 34, ariaLabel: "Loss curves",
  x: { label: "step", ticks: 5, tickFormat: "d" }, y: { label: null, grid: true, ticks: 5 },
  marks: [
    Plot.line(points, { x: "step", y: "reference", z: "row", strokeWidth: 6, strokeOpacity: 0.12 }),
    Plot.line(points, { x: "step", y: "loss", z: "row", stroke: one => colour(one.framework), strokeWidth: 1.2,
      strokeOpacity: 0.8 }),
    Plot.tip(points, Plot.pointer({ x: "step", y: "loss",
      title: one => `${DATA.names[one.row]}\nstep ${one.step}: ${one.loss}\nreference: ${one.reference}` })),
  ],
});

/** Plots how far losses are from the reference; a difference of zero is drawn at the bottom. */
const differencePlot = points => width => {
  const floor = Math.min(1e-9, d3.min(points.filter(one => one.difference > 0), one => one.difference) ?? 1e-9);
  const top = Math.max(1e-5, d3.max(points, one => one.difference));
  return Plot.plot({
    width, height: 230, marginLeft: 46, marginBottom: 34, ariaLabel: "Relative difference of losses",
    x: { label: "step", ticks: 5, tickFormat: "d" },
    y: { type: "log", domain: [floor, top * 2], label: null, grid: true, tickFormat: ".0e",
      ticks: logTicks(floor, top * 2, 6) },
    marks: [
      Plot.dot(points, { x: "step", y: one => Math.max(floor, one.difference), r: 3,
        fill: one => colour(one.framework), fillOpacity: 0.75, tip: true,
        title: one => `${DATA.names[one.row]}\nstep ${one.step}: ${one.difference.toExponential(1)}` }),
    ],
  });
};

const gatePlot = rows => width => {
  const errors = rows.map(row => Math.max(1e-4, value("parity_error", row)));
  const bad = row => value("parity", row) === "failed";
  const longest = d3.max(rows, row => DATA.names[row].length) * 6.8;
  const beside = longest < width / 2;
  const low = Math.min(1e-3, d3.min(errors)), high = Math.max(2, d3.max(errors) * 1.5);
  const place = new Map(rows.map((row, number) => [row, number])), y = row => place.get(row);
  const names = beside ? { frameAnchor: "left", textAnchor: "end", dx: -8 } : { frameAnchor: "left", dy: -10 };
  return Plot.plot({
    width, height: Math.max(90, rows.length * (beside ? 16 : 26) + 56), marginLeft: beside ? longest + 12 : 20, marginBottom: 34,
    ariaLabel: "Parity error by case",
    x: { type: "log", domain: [low, high], label: null, ticks: d3.range(-4, 5).map(power => 10 ** power).filter(tick => tick >= low && tick <= high), tickFormat: "~g" },
    y: { axis: null, domain: [rows.length - 0.4, -0.8] },
    marks: [
      Plot.ruleX([1], { stroke: "var(--bad)", strokeWidth: 2 }),
      Plot.text([1], { x: 1, frameAnchor: "top", dy: -12, text: () => "gate", fill: "var(--bad)" }),
      Plot.text(rows, { y, text: row => DATA.names[row], fill: "currentColor", ...names }),
      Plot.dot(rows, { x: (_, i) => errors[i], y, r: 4,
        fill: row => bad(row) ? "var(--bad)" : colour(framework(row)), tip: true,
        title: row => `${DATA.names[row]}\n${value("parity", row)}: ${show("parity_error", row)} of its gate` }),
    ],
  });
};

function drawLinks() {
  const collectives = d3.groups(DATA.links, link => link.collective);
  const name = link => link.name;
  const ink = link => colour(name(link)) || "var(--soft)";
  section("link", collectives.length > 0, figure => multiples(figure, collectives, one => one[0],
    (width, [, links]) => linkPlot(width, links, name, ink)), frameworkKeys(DATA.links.map(name).filter(colour)));
}

function linkPlot(width, links, name, ink) {
  const points = links.flatMap(link => link.bytes.map((bytes, i) => ({ link, bytes, fastest: link.fastest[i],
    median: link.median[i], high: link.high[i], line: link.line[i] ?? null })));
  const about = link => `${name(link)}, ${link.backend}, ${link.transport}, ${link.devices} devices${link.event_loops ? `, event loops ${link.event_loops}` : ""}\n` + (link.alpha_s_per_byte === null
    ? "no fit" : `alpha ${FORMATS.alpha(link.alpha_s_per_byte)}, a ${seconds(link.latency_s)}, held-out error ${FORMATS.percent(link.heldout_error_mean ?? 0)}`);
  const x = logScale(points.map(one => one.bytes), width, 90), y = logScale(points.flatMap(one => [one.fastest, one.high, one.line]), 380);
  return Plot.plot({
    width, height: 260, marginLeft: 54, marginBottom: 34, ariaLabel: "Seconds by payload",
    x: { ...x, label: "payload", tickFormat: FORMATS.bytes }, y: { ...y, label: null, grid: true, tickFormat: seconds },
    marks: [
      Plot.line(points.filter(one => one.line !== null), { x: "bytes", y: "line", z: "link", stroke: one => ink(one.link), strokeWidth: 1.5 }),
      Plot.ruleX(points, { x: "bytes", y1: "fastest", y2: "high", stroke: one => ink(one.link), strokeOpacity: 0.35 }),
      Plot.dot(points, { x: "bytes", y: "median", r: 2, stroke: one => ink(one.link), strokeOpacity: 0.6 }),
      Plot.dot(points, { x: "bytes", y: "fastest", r: 2.6, fill: one => ink(one.link), tip: true,
        title: one => `${about(one.link)}\n${FORMATS.bytes(one.bytes)}: fastest ${seconds(one.fastest)}, median ${seconds(one.median)}` }),
    ],
  });
}

/** Draws the peak memory of each probe. The page has this section only if there are probes. */
function drawFrontier(grid) {
  if (!document.getElementById("frontier")) return;
  const rows = grid.rows.filter(row => DATA.frontier[row].length);
  section("frontier", rows.length > 0, figure => multiples(figure, rows,
    row => `${DATA.names[row]}: ${value("max_batch", row) || "none fits"}`, frontierPlot),
    [["fits", "var(--compute)"], ["does not fit", "var(--bad)"]]);
}

function frontierPlot(width, row) {
  const probes = DATA.frontier[row].map(([batch, peak, limit, fits, reason]) => (
    { batch, peak, limit, fits, reason, y: fits ? peak : Math.max(peak ?? 0, limit ?? 0) || null }))
    .filter(one => one.y !== null);
  const limits = [...new Set(probes.map(one => one.limit))].filter(one => one !== null);
  const batches = probes.map(one => one.batch);
  return Plot.plot({
    width, height: 210, marginLeft: 58, marginBottom: 34, ariaLabel: "Peak memory by global batch",
    x: { ...logScale(batches, width, 60), label: "global batch", tickFormat: "~s" },
    y: { domain: [0, d3.max([...limits, ...probes.map(one => one.y)]) * 1.08], label: null, grid: true,
      ticks: 5, tickFormat: FORMATS.bytes },
    marks: [
      Plot.ruleY(limits, { stroke: "currentColor", strokeDasharray: "5 4" }),
      Plot.line(probes.filter(one => one.fits), { x: "batch", y: "y", stroke: "var(--compute)", strokeOpacity: 0.5 }),
      Plot.dot(probes, { x: "batch", y: "y", r: 4, symbol: one => one.fits ? "circle" : "times",
        fill: one => one.fits ? "var(--compute)" : "none", stroke: one => one.fits ? "none" : "var(--bad)",
        strokeWidth: 2, tip: true,
        title: one => `${DATA.names[row]}\nbatch ${one.batch}: ${one.fits ? FORMATS.bytes(one.peak) : one.reason}` }),
    ],
  });
}
