"use strict";
const VISIBLE = new Set(["status", "workload", "size", "devices", "step_time_s", "speedup", "throughput_samples_s",
  "t_comm_exposed_s", "alpha_s_per_byte", "load_balance", "mfu", "peak_memory_bytes", "repeats", "parity"]);

/** Shown at first are the usual columns, and the axes that tell the run's cases apart. */
const isShown = name => VISIBLE.has(name) || DATA.axes.includes(name);

/** Whether a figure passes a filter such as `<0.2`, `>=1.5` or a number, in the column's unit. */
function passes(asked, found) {
  const parts = /^\s*(<=|>=|<|>)?\s*([\d.e+-]+)\s*$/i.exec(asked);
  if (!parts || found === null) return !asked;
  const bound = Number(parts[2]);
  return { "<": found < bound, "<=": found <= bound, ">": found > bound, ">=": found >= bound }[parts[1]] ?? found === bound;
}

/** Tabulator reads an item's label as HTML unless it is given an element. */
const asText = label => element("span", { textContent: label });

function column(metric) {
  const numeric = metric.kind !== "text";
  const common = { title: metric.label, field: metric.name, visible: isShown(metric.name), headerTooltip: `${metric.definition}${metric.unit ? ` [${metric.unit}]` : ""}` };
  if (!numeric) {
    const few = DATA.columns[metric.name].texts.length <= 30;
    return { ...common, headerFilter: few ? "list" : "input", minWidth: 90, maxInitialWidth: 220,
      headerFilterParams: few ? { valuesLookup: true, clearable: true, itemFormatter: asText } : {} };
  }
  return { ...common, hozAlign: "right", sorter: "number", sorterParams: { alignEmptyValues: "bottom" },
    headerFilter: "input", headerFilterFunc: passes, headerFilterPlaceholder: "< or >", minWidth: 90,
    formatter: cell => cell.getValue() === null ? "" : FORMATS[metric.kind](cell.getValue()) };
}

function nameColumn() {
  return { title: "case", field: "name", frozen: innerWidth > 600, minWidth: 150, headerFilter: "input",
    formatter: cell => element("button", { type: "button", textContent: cell.getValue(), title: "Details" }) };
}

function tableRows() {
  return d3.range(DATA.count).map(row => {
    const made = { row, name: DATA.names[row] };
    for (const metric of DATA.metrics) made[metric.name] = value(metric.name, row);
    return made;
  });
}

function drawTable() {
  const tall = DATA.count > 24;
  const table = new Tabulator("#table", {
    data: tableRows(), index: "row", layout: "fitDataFill", placeholder: "No case matches",
    ...(tall ? { height: Math.min(620, Math.max(360, innerHeight * 0.7)) } : {}),
    initialSort: [{ column: "step_time_s", dir: "asc" }, { column: "workload", dir: "asc" }],  // the last one leads
    columns: [nameColumn(), ...DATA.metrics.map(column)],
  });
  table.on("rowClick", (_, line) => openCase(line.getData().row));
  table.on("dataFiltered", (_, lines) => {
    document.getElementById("count").textContent = `${lines.length} of ${DATA.count} cases`;
  });
  searchIn(table);
  chooseColumns(table);
  return table;
}

function searchIn(table) {
  const texts = ["name", ...DATA.axes, "workload", "size", "status", "reason", "verdict", "comm_verdict", "case_id"];
  const words = row => texts.map(name => row[name]).join(" ").toLowerCase()
    + DATA.warnings[row.row].map(number => DATA.warning_texts[number][0]).join(" ");
  document.getElementById("search").addEventListener("input", event => {
    const asked = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    table.setFilter(row => {
      const found = words(row);
      return asked.every(word => found.includes(word));
    });
  });
}

function chooseColumns(table) {
  const place = document.querySelector("#columns div");
  place.append(...DATA.metrics.map(metric => {
    const box = element("input", { type: "checkbox", checked: isShown(metric.name) });
    box.addEventListener("change", () => table.toggleColumn(metric.name));
    return element("label", { title: metric.definition }, box, ` ${metric.label}`);
  }));
}
