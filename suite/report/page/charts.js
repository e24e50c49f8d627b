"use strict";
const PARTS = [["compute", "var(--compute)"], ["dispatch", "var(--dispatch)"], ["exposed transfer", "var(--transfer)"],
  ["waiting", "var(--waiting)"], ["rest", "var(--rest)"]];

/** Draws the parts of a step, stacked. A case without parts is drawn as an outline. */
function drawWhy(grid) {
  const rows = timed(grid).slice(0, MOST_ROWS);
  const bars = rows.flatMap((row, line) => stacked(row, line));
  const whole = rows.map((row, line) => ({ row, line })).filter(one => !DATA.parts[one.row]);
  if (!bars.length) return section("why", rows.length > 0, figure => figure.append(element("p",
    { textContent: "No step could be divided into parts, because this run has no compute clocks or was written by an early release." })));
  section("why", rows.length > 0, figure => plotInto(figure, width => linePlot(
    width, rows,
    { domain: [0, d3.max(rows, row => Math.max(value("step_time_s", row), value("step_time_ci_high_s", row) ?? 0)) * 1.02],
      ticks: Math.max(3, Math.min(8, width / 110)) },
    row => width < NARROW ? show("step_time_s", row) : stepText(row),
    [
      Plot.rect(bars, { x1: "from", x2: "to", y1: one => one.line - 0.12, y2: one => one.line + 0.26,
        fill: "fill", title: "title", tip: { fontSize: 12 } }),
      Plot.rect(whole, { x1: 0, x2: one => value("step_time_s", one.row), y1: one => one.line - 0.12,
        y2: one => one.line + 0.26, stroke: "var(--soft)", strokeDasharray: "3 3", fill: "none",
        title: () => "this step is not divided, because the case has no compute clock; see its warnings", tip: true }),
      ...interval(rows, row => value("step_time_ci_low_s", row),
        row => value("step_time_ci_high_s", row), 0.07),
    ], "Parts of a step by case",
  )), whole.length ? [...PARTS, ["dashed: not divided", "none"]] : PARTS);
}

function stacked(row, line) {
  let from = 0;
  const total = value("step_time_s", row);
  return (DATA.parts[row] || []).map((length, number) => {
    const bar = { line, from, to: from + length, fill: PARTS[number][1],
      title: `${DATA.names[row]}\n${PARTS[number][0]}: ${seconds(length)}, ${(100 * length / total).toFixed(1)} %` };
    from += length;
    return bar;
  });
}

/** Moves a dot off its line by an amount that looks random, so that dots do not cover each other. */
const scatter = number => ((number * 0.61803) % 1 - 0.5) * 0.3;

function drawSpread(grid) {
  const rows = timed(grid).slice(0, MOST_ROWS);
  const dots = (source, drop) => rows.flatMap((row, line) => source[row].map((one, number) => (
    { row, line, number, seconds: one, y: line + 0.08 + (drop ? 0 : scatter(number + 1)) }
  )).filter(one => one.seconds !== null));
  const steps = dots(DATA.steps, false), launches = dots(DATA.launches, true);
  const all = [...steps, ...launches].map(one => one.seconds);
  section("spread", all.length > 0, figure => plotInto(figure, width => linePlot(
    width, rows, logScale(all, width), row => width < NARROW ? show("step_time_s", row) : stepText(row),
    [
      Plot.dot(steps, { x: "seconds", y: "y", r: 1.6, fill: "var(--soft)", fillOpacity: 0.35 }),
      Plot.dot(launches, { x: "seconds", y: "y", r: 4.5, fill: one => colour(framework(one.row)),
        fillOpacity: 0.75, stroke: "var(--page)", strokeWidth: 1,
        title: one => `${DATA.names[one.row]}\nlaunch ${one.number}: ${seconds(one.seconds)}`, tip: true }),
      ...interval(rows, row => value("step_time_ci_low_s", row),
        row => value("step_time_ci_high_s", row), 0.3),
      Plot.ruleX(rows, { x: row => value("step_time_s", row), y1: (_, i) => i + 0.2,
        y2: (_, i) => i + 0.4, strokeWidth: 3 }),
    ], "Launches and steps by case",
  )));
}

function drawCommunication(grid) {
  const rows = timed(grid).filter(row => value("t_comm_transfer_s", row) > 0).slice(0, MOST_ROWS);
  const modelled = rows.map((row, line) => ({ row, line, model: value("t_comm_model_s", row),
    measured: value("t_comm_transfer_s", row) })).filter(one => one.model > 0);
  const inRun = rows.map((row, line) => ({ row, line, model: value("t_comm_run_model_s", row) }))
    .filter(one => one.model > 0);
  const all = [...rows.map(row => value("t_comm_transfer_s", row)),
    ...[...modelled, ...inRun].map(one => one.model)];
  section("communication", rows.length > 0, figure => plotInto(figure, width => linePlot(
    width, rows, logScale(all, width), row => communicationText(row, width),
    [
      Plot.ruleY(modelled, { x1: "model", x2: "measured", y: one => one.line + 0.1,
        stroke: "var(--transfer)", strokeWidth: 2, strokeOpacity: 0.5 }),
      Plot.ruleX(modelled, { x: "model", y1: one => one.line - 0.06, y2: one => one.line + 0.26,
        stroke: "currentColor", strokeWidth: 3 }),
      Plot.ruleX(inRun, { x: "model", y1: one => one.line - 0.06, y2: one => one.line + 0.26,
        stroke: "var(--transfer)", strokeWidth: 3 }),
      Plot.dot(rows, { x: row => value("t_comm_transfer_s", row), y: (_, i) => i + 0.1, r: 5.5,
        fill: "var(--transfer)", tip: true,
        title: row => `${DATA.names[row]}\nmeasured ${show("t_comm_transfer_s", row)}\nidle link ${show("t_comm_model_s", row) || "not swept"}, in the run ${show("t_comm_run_model_s", row) || "not fitted"}\n${value("comm_reason", row) || value("comm_verdict", row)}` }),
    ], "T_comm transfer measured and modelled",
  )), [["measured (dot), and the run's own alpha (tick)", "var(--transfer)"],
    [modelled.length ? "idle link's alpha·B·N" : "no idle link: run with --link", "currentColor"]]);
}

function communicationText(row, width) {
  const factor = value("run_over_link", row);
  if (factor > 0) {
    const times = `${show("run_over_link", row)} the idle link`;
    const [cause] = causesBesideLink(row);
    return width < NARROW || !cause || factor < 1.25 ? times : `${times}: ${cause}`;
  }
  const [verdict, against = ""] = (value("comm_verdict", row) || "no link sweep").split(": ");
  const ratio = /^([\d.]+)x the idle link/.exec(against);
  if (!ratio) return width < NARROW && verdict === "not modelled" ? "no model" : verdict;
  return width < NARROW ? `${verdict}, ${ratio[1]}×` : `${verdict}, ${ratio[1]}× the idle link`;
}

/** Lists what a step adds to the time of the link, largest first, as "cause 1.2 ms (34 %)". */
function causesBesideLink(row) {
  const share = text => Number(/\((\d+)/.exec(text)?.[1] ?? 0);
  return value("comm_reason", row).split(/, (?=[a-z])/)
    .filter(text => text && !text.startsWith("the link itself")).sort((a, b) => share(b) - share(a));
}

/** Names a device. If there are many, the page holds only a sample, in the order of busy time. */
const deviceName = ({ row, device }) => DATA.devices[row].length === Number(value("devices", row))
  ? `device ${device}` : `one of ${value("devices", row)} devices`;

function drawLoad(grid) {
  const rows = timed(grid).filter(row => DATA.devices[row].length > 1).slice(0, MOST_ROWS);
  const bars = rows.flatMap((row, line) => DATA.devices[row].map((busy, device, all) => {
    const thick = 0.44 / all.length;
    return { row, device, busy, top: line - 0.14 + device * thick, bottom: line - 0.14 + (device + 0.88) * thick };
  }));
  section("load", rows.length > 0, figure => plotInto(figure, width => linePlot(
    width, rows, { domain: [0, d3.max(bars, bar => bar.busy) * 1.02], ticks: Math.max(3, Math.min(8, width / 110)) },
    row => `L ${value("load_balance", row).toFixed(2)}` + (width < NARROW ? "" : ` · slowest ${value("slowest_device", row)}`),
    [
      Plot.rect(bars, { x1: 0, x2: "busy", y1: "top", y2: "bottom", fill: "var(--compute)",
        fillOpacity: one => one.busy === d3.max(DATA.devices[one.row]) ? 1 : 0.55, tip: true,
        title: one => `${DATA.names[one.row]}\n${deviceName(one)}: ${seconds(one.busy)}` }),
      Plot.ruleX(rows, { x: row => value("compute_avg_s", row), y1: (_, i) => i - 0.14,
        y2: (_, i) => i + 0.34, strokeWidth: 2 }),
    ], "Busy time of each device by case",
  )), [["T_i, the busiest darker", "var(--compute)"], ["average", "currentColor"]]);
}
