"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const METRIC = Object.fromEntries(DATA.metrics.map(metric => [metric.name, metric]));

/** Returns a figure of a row: null if it does not exist, "" for an empty text. */
function value(name, row) {
  const column = DATA.columns[name];
  if (column.texts) return column.texts[column.at[row] ?? 0];
  return column.numbers ? column.numbers[row] : column.same;
}

function show(name, row) {
  const found = value(name, row);
  return found === null || found === "" ? "" : FORMATS[METRIC[name].kind](found);
}

/** What readers call the framework and engine of a row. */
const framework = row => DATA.frameworks[row];
const FRAMEWORKS = [...new Set(Array.from({ length: DATA.count }, (_, row) => framework(row)))];
const COLOURS = FRAMEWORKS.map((_, number) => `var(--c${number % 6})`);
const colour = name => COLOURS[FRAMEWORKS.indexOf(name)];

/** Returns the rows of a grid that have a step time, fastest first. */
const timed = grid => grid.rows
  .filter(row => value("status", row) === "ok" && value("step_time_s", row) !== null)
  .sort((a, b) => value("step_time_s", a) - value("step_time_s", b));
const stepText = row => withInterval(
  value("step_time_s", row), value("step_time_ci_low_s", row), value("step_time_ci_high_s", row));
