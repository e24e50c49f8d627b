"use strict";
/** Draws measured speedups between two bounds, ideal and with the fitted serial share; then tables. */
function drawScaling(grid) {
  const found = grid.scaling.map(number => DATA.scalings[number]);
  const series = found.flatMap(one => one.series);
  const hosts = DATA.host_scalings;
  section("scaling", found.length + hosts.length > 0, figure => {
    figure.className = "multiples";
    for (const one of found)
      for (const [column, lines] of d3.groups(one.series, line => line.column)) {
        const place = element("div");
        const title = one.weak ? `${column}, weak: a batch for each device` : found.length > 1 ? `${column}, strong: one batch` : column;
        figure.append(element("div", {}, element("h3", { textContent: title }), place, ...serialNotes(lines, LAWS[one.weak])));
        plotInto(place, width => scalingPlot(width, lines, one, BOUNDS[one.weak]));
      }
    figure.append(...found.map(scalingTable), ...hosts.map(hostTable));
  }, found.length ? [...frameworkKeys(series.map(one => one.framework)), ["ideal, dashed", "var(--soft)"]] : []);
}

const LAWS = { false: "Amdahl", true: "Gustafson" };
function serialNotes(series, law) {
  const shares = series.filter(one => one.said).map(one => `${one.framework} ${one.said}`);
  return shares.length ? [element("p", { className: "note", textContent: `Serial share (${law}): ${shares.join("; ")}.` })] : [];
}

/** Powers of two between two numbers, so that each tick doubles the one before. */
const doublings = (low, high) => d3.range(Math.floor(Math.log2(low)), Math.ceil(Math.log2(high)) + 1).map(power => 2 ** power);

/** Speedup by serial share and devices: Amdahl's (1967) for one batch, Gustafson's (1988) for one a device. */
const BOUNDS = { false: (share, devices) => 1 / (share + (1 - share) / devices), true: (share, devices) => devices - share * (devices - 1) };

/** Between which numbers of devices another host is taken: where, on a scale of logarithms, and how many there are then. */
const crossings = ({ counts, hosts }) => d3.pairs(counts.map((count, i) => ({ count, hosts: hosts[i] })))
  .filter(([before, after]) => after.hosts > before.hosts)
  .map(([before, after]) => ({ devices: Math.sqrt(before.count * after.count), hosts: after.hosts }));

function scalingPlot(width, series, scaling, bound) {
  const counts = scaling.counts, most = d3.max(counts), hosts = crossings(scaling);
  const points = series.flatMap(one => one.rows.filter(row => Number(value("devices", row)) > 1).map(row => ({ row,
    framework: one.framework, devices: Number(value("devices", row)), speedup: value("speedup", row),
    low: value("speedup_ci_low", row), high: value("speedup_ci_high", row) })));
  const bounds = series.filter(one => one.said).flatMap(one => d3.range(41).map(i => most ** (i / 40)).map(devices =>
    ({ framework: one.framework, devices, speedup: bound(one.serial, devices) })));
  const low = Math.min(1, d3.min(points, one => one.low ?? one.speedup) ?? 1) / 1.1;
  const high = Math.max(most, d3.max(points, one => one.high ?? one.speedup) ?? most) * 1.1;
  const devices = counts.length < 9 ? [...new Set([1, ...counts])] : doublings(1, most);
  return Plot.plot({
    width, height: 260, marginLeft: 48, marginBottom: 34, ariaLabel: "Speedup by devices",
    x: { label: "devices", type: "log", base: 2, domain: [1 / 1.1, most * 1.1], tickFormat: "d", ticks: devices },
    y: { label: null, type: "log", base: 2, grid: true, domain: [low, high], tickFormat: one => one < 1 ? `1/${1 / one}×` : `${one}×`,
      ticks: doublings(low, high).filter(tick => tick >= low && tick <= high) },
    marks: [
      Plot.ruleX(hosts, { x: "devices", stroke: "var(--soft)", strokeOpacity: 0.5 }),
      Plot.text(hosts, { x: "devices", frameAnchor: "bottom", lineAnchor: "bottom", textAnchor: "start", dx: 4, dy: -4,
        fill: "var(--soft)", text: one => `${one.hosts} hosts` }),
      Plot.line([[1, 1], [most, most]], { stroke: "var(--soft)", strokeDasharray: "6 4" }),
      Plot.line(bounds, { x: "devices", y: "speedup", z: "framework", stroke: one => colour(one.framework),
        strokeDasharray: "1 4", strokeWidth: 2 }),
      Plot.ruleX(points.filter(one => one.low !== null && one.low > 0), { x: "devices", y1: "low", y2: "high",
        stroke: one => colour(one.framework), strokeWidth: 2 }),
      Plot.dot(points, { x: "devices", y: "speedup", r: 4, fill: one => colour(one.framework), tip: true,
        title: one => `${DATA.names[one.row]}\n${one.devices} devices: ${scalingCell(one.row).join(", efficiency ")}` }),
      Plot.dot([[1, 1]], { r: 3, fill: "var(--soft)", title: () => "one device, the base" }),
    ],
  });
}

/** Writes a figure with its interval in brackets, if it has one. */
function bracketed(name, row, text, factor, places) {
  const [low, high] = ["low", "high"].map(end => value(`${name}_ci_${end}`, row));
  return low === null ? text : `${text} [${bound(factor * low, places)}, ${bound(factor * high, places)}]`;
}
const scalingCell = row => [bracketed("speedup", row, show("speedup", row), 1, 2), bracketed("efficiency", row, show("efficiency", row), 100, 1)];
function cellsOf(line) {
  const cells = Object.fromEntries(line.left_out.map(([count, why]) => [count, [why]]));
  for (const row of line.rows) cells[value("devices", row)] = scalingCell(row);
  return cells;
}

/** Makes a table of texts; a cell is a list of its lines. */
function textTable(title, heads, lines) {
  const head = element("tr", {}, ...heads.map(text => element("th", { scope: "col", textContent: text })));
  const body = lines.map(([name, ...cells]) => element("tr", {}, element("th", { scope: "row", textContent: name }),
    ...cells.map(texts => element("td", {}, ...texts.map(text => element("div", { textContent: text }))))));
  const table = element("table", { className: "numbers" }, element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { className: "whole scroll" }, element("h3", { textContent: title }), table);
}

const scalingTable = one => textTable(`Speedup and efficiency: ${one.title}`, ["devices", ...one.counts.map((count, i) => one.hosts[i] > 1 ? `${count} on ${one.hosts[i]} hosts` : count), "serial share"],
  one.series.map(line => [`${line.framework} ${line.column}`, ...(cells => one.counts.map(count => cells[count] ?? [""]))(cellsOf(line)), [line.said ?? ""]]));
const hostTable = one => textTable(`Over hosts: ${one.title}`, ["hosts", ...one.hosts],
  one.lines.map(line => [line.name, ...line.cells]));
