"use strict";
const dialog = document.getElementById("case");

/** Shows everything that is known about a case. The address then names it, so it can be shared. */
function openCase(row) {
  const close = element("button", { type: "button", className: "plain close", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  const steps = element("figure");
  const parts = [close, ...heading(row), ...commandOf(row)];
  if (DATA.steps[row].length) parts.push(element("h3", { textContent: "Steps in the order they ran" }), steps, rawSteps(row));
  const shares = element("figure");
  if (DATA.shares[row]) parts.push(element("h3", { textContent: `${DATA.shares[row].kind === "units" ? "Stages of the model" : "Shares of the batch"}, and what devices were busy for` }), sharesNote(row), shares);
  parts.push(...warningsOf(row), ...ledgerOf(row), allFigures(row));
  dialog.firstElementChild.replaceChildren(...parts);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  if (DATA.steps[row].length) plotInto(steps, width => stepsPlot(width, row));
  if (DATA.shares[row]) plotInto(shares, width => sharesPlot(width, row));
  history.replaceState(null, "", `#case=${encodeURIComponent(value("case_id", row))}`);
}

dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

function heading(row) {
  const base = value("base_case_id", row);
  const told = value("status", row) === "ok"
    ? [`${stepText(row)} a step`, value("speedup", row) !== null && base !== value("case_id", row)
      ? `${show("speedup", row)} its base ${base}` : "", value("stopped", row) ? `stopped by ${value("stopped", row)}` : ""]
    : [value("status", row), value("reason", row)];
  return [
    element("h2", { id: "case-title", textContent: DATA.names[row] }),
    element("p", { className: "meta", textContent: `${value("workload", row)} ${value("size", row)}, global batch ${value("global_batch", row)}, ${value("devices", row)} × ${value("device", row)}, ${value("dtype", row)}, ${value("mode", row)} · ${value("case_id", row)}` }),
    element("p", { textContent: told.filter(Boolean).join(" · ") }),
  ];
}

/** Quotes a word for a shell. */
const quoted = text => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;

function commandText(row) {
  const own = DATA.command_options.filter(name => value(name, row) !== "" && value(name, row) !== null)
    .map(name => `--${name} ${quoted(String(value(name, row)))}`);
  return ["python -m suite run", ...own, DATA.command_end].join(" ");
}

function commandOf(row) {
  const command = commandText(row);
  const text = element("pre", { textContent: command });
  const copy = element("button", { type: "button", className: "plain", textContent: "Copy" });
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      copy.textContent = "Copied";
    } catch {  // some browsers forbid this to a page that is a file: select the text instead
      getSelection().selectAllChildren(text);
    }
  });
  return [element("h3", { textContent: "Run it alone" }), element("div", { className: "command" }, text, copy)];
}

/** Plots the steps of a case, with boundaries between launches if the sample holds every step. */
function stepsPlot(width, row) {
  const steps = DATA.steps[row], each = Number(value("steps", row));
  const launches = Number(value("repeats", row)), whole = steps.length === each * launches;
  const bounds = whole ? d3.range(1, launches).map(number => number * each - 0.5) : [];
  return Plot.plot({
    width, height: 190, marginLeft: 58, marginBottom: 34, ariaLabel: "Steps of the case",
    x: { label: whole ? "step, launches side by side" : "place in the sample" },
    y: { label: null, grid: true, tickFormat: seconds, ticks: 5, nice: true },
    marks: [
      Plot.ruleX(bounds, { strokeOpacity: 0.35, strokeDasharray: "3 3" }),
      Plot.ruleY([value("step_time_s", row)], { stroke: "var(--good)", strokeWidth: 2 }),
      Plot.dot(steps, { x: (_, i) => i, y: one => one, r: 2.5, fill: colour(framework(row)), tip: true,
        title: (one, i) => `${whole ? `launch ${Math.floor(i / each)}, step ${i % each}` : `sample ${i}`}: ${seconds(one)}` }),
    ],
  });
}

/** Samples, or units of the model, and busy seconds of each device over the steps of a launch, above each other. */
function sharesPlot(width, row) {
  const { kind, steps, shares, busy } = DATA.shares[row];
  const lines = (values, what) => steps.flatMap((step, i) => values[i].map((one, device) =>
    ({ step, value: one, device: `device ${device}`, what })));
  const panel = (values, label, format) => Plot.plot({
    width, height: 150, marginLeft: 58, marginBottom: 34, ariaLabel: `${label} of each device by step`,
    x: { label: "step of the launch, from the proof's first" },
    y: { label: null, grid: true, tickFormat: format, ticks: 4, nice: true, zero: true },
    color: { legend: true, domain: shares[0].map((_, device) => `device ${device}`), scheme: "Observable10" },
    marks: [
      Plot.line(lines(values, label), { x: "step", y: "value", stroke: "device", strokeWidth: 1.6, curve: "step-after" }),
      Plot.tip(lines(values, label), Plot.pointerX({ x: "step", y: "value",
        title: one => `${one.device}, step ${one.step}: ${format(one.value)} ${label}` })),
    ],
  });
  const whole = element("div");
  whole.append(panel(shares, kind, d3.format("d")), panel(busy, "busy", seconds));
  return whole;
}

function sharesNote(row) {
  const { kind, shares } = DATA.shares[row], changes = value("share_changes", row) ?? 0, staged = kind === "units";
  const what = staged ? "Stages" : "Shares", spent = staged && changes ? ` Moving layers took ${seconds(value("cut_moves_s", row))}, outside of steps.` : "";
  const text = changes ? `${what} began at ${shares[0].join(" and ")} ${kind} and ended at ${shares.at(-1).join(" and ")}.${spent}`
    : `${what} stayed at ${shares[0].join(" and ")} ${kind}: no other ${staged ? "cut" : "shares"} would have been faster for sure.`;
  return element("p", { className: "note", textContent: `${text} Above ${kind}, below the seconds that each device was busy with them, waits for a core included. Every step and launch is in balance.csv.` });
}

function rawSteps(row) {
  const launches = DATA.launches[row].map((one, number) => `launch ${number}: ${one === null ? "did not finish" : seconds(one)}`);
  return element("details", {}, element("summary", { textContent: "The steps as numbers, in seconds" }),
    element("p", { className: "note", textContent: `Medians: ${launches.join("; ")}. Below are ${DATA.steps[row].length} of ${value("steps", row) * value("repeats", row)} clean steps. Every step of every rank is in steps.csv and under cases/${value("case_id", row)}/.` }),
    element("pre", { textContent: DATA.steps[row].join("\n") }));
}

function warningsOf(row) {
  const found = DATA.warnings[row].map(number => DATA.warning_texts[number]);
  if (!found.length) return [];
  const items = found.map(([code, message, hint]) => element("li", {}, element("b", { textContent: code }), `: ${message}. `,
    element("span", { className: "note", textContent: hint })));
  return [element("h3", { textContent: "Warnings" }), element("ul", { className: "doubts" }, ...items)];
}

/** The ledger of a case beside that of its base, with the differences marked. */
function ledgerOf(row) {
  const own = DATA.ledger_texts[DATA.ledgers[row]];
  if (!Object.keys(own).length) return [];
  const base = DATA.columns.case_id.texts.indexOf(value("base_case_id", row));
  const other = base < 0 || base === row ? null : DATA.ledger_texts[DATA.ledgers[base]];
  const lines = Object.keys({ ...own, ...other }).map(name => {
    const differs = other && own[name] !== other[name];
    const cells = [own[name] ?? "not recorded", ...(other ? [other[name] ?? "not recorded"] : [])];
    return element("tr", { className: differs ? DATA.must_equal.includes(name) ? "forbids" : "differs" : "" },
      element("th", { scope: "row", textContent: name }), ...cells.map(textContent => element("td", { textContent })));
  });
  return [element("h3", { textContent: other ? "Fairness ledger beside its base’s" : "Fairness ledger" }),
    element("div", { className: "scroll" }, element("table", { className: "facts" }, element("tbody", {}, ...lines)))];
}

function allFigures(row) {
  const lines = DATA.metrics.filter(metric => show(metric.name, row) !== "").map(metric => element("tr", { title: metric.definition },
    element("th", { scope: "row", textContent: metric.label }), element("td", { textContent: show(metric.name, row) }),
    element("td", { className: "note", textContent: metric.definition })));
  return element("details", {}, element("summary", { textContent: "All figures and their definitions" }),
    element("div", { className: "scroll" }, element("table", { className: "facts" }, element("tbody", {}, ...lines))));
}
