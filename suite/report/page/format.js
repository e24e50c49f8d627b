"use strict";
// FORMAT_TABLE comes before this file and has the units and digits of suite/contract/formats.py, so
// that a terminal and the page write a figure alike. Each rule here has its counterpart there.
const kept = value => Number(value.toPrecision(FORMAT_TABLE.keptDigits));
const digits = value => Number(value.toPrecision(FORMAT_TABLE.digits));

/** Writes `places` decimals, halves rounded away from zero, with commas between thousands. */
function fixed(value, places) {
  const [whole, rest] = value.toFixed(places).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return rest ? `${grouped}.${rest}` : grouped;
}

/** Writes three significant digits: `1.23`, `0.0012`, `3.1e-5`; whole from 1,000 on. */
function number(value) {
  const rounded = digits(kept(value)), size = Math.abs(rounded);
  if (size === 0) return "0";
  if (size >= 1000) return fixed(kept(value), 0);
  return size < FORMAT_TABLE.smallestPlain ? rounded.toExponential() : String(rounded);
}

/** Picks the largest unit in which the rounded value is at least 1, or the smallest unit. */
function unitOf(kind, value) {
  const units = FORMAT_TABLE.units[kind];
  if (value === 0) return units.find(([size]) => size === 1);
  return units.find(([size]) => Math.abs(digits(kept(value) / size)) >= 1) || units[units.length - 1];
}

const withUnit = kind => value => {
  const [size, unit] = unitOf(kind, value);
  return `${number(kept(value) / size)} ${unit}`;
};
const seconds = withUnit("seconds");

const FORMATS = {
  text: value => String(value),
  seconds,
  bytes: withUnit("bytes"),
  rate: withUnit("rate"),
  times: value => `${fixed(kept(value), Math.abs(Number(kept(value).toFixed(2))) < FORMAT_TABLE.wholeTimesFrom ? 2 : 0)}×`,
  ratio: number,
  percent: value => `${fixed(100 * kept(value), 1)} %`,
  alpha: value => `${seconds(value)}/B`,
};

/** Writes an end of an interval as Python's `formats.bounds` does. */
const bound = (value, places) => value <= 10 ** (4 - places) ? value.toFixed(places) : `>${10 ** (4 - places)}`;

/** Writes `164 ms [161, 167]`, with bounds in the unit of the value; one launch has no bounds. */
function withInterval(value, low, high) {
  if (low === null || high === null) return seconds(value);
  const [size] = unitOf("seconds", value);
  return `${seconds(value)} [${number(kept(low) / size)}, ${number(kept(high) / size)}]`;
}

/** Makes an element with properties and children; text is never read as HTML. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
