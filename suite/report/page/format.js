"use strict";
// The same formats as suite/contract/metrics.py, so that a figure reads alike everywhere.
const scaled = steps => value => {
  const [size, unit] = steps.find(step => Math.abs(value) >= step[0]) || steps[steps.length - 1];
  return `${Number((value / size).toPrecision(3))} ${unit}`;
};
const seconds = scaled([[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"], [1e-12, "ps"]]);
const FORMATS = {
  seconds,
  bytes: scaled([[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]]),
  rate: scaled([[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]]),
  times: value => Math.abs(value) < 100 ? `${value.toFixed(2)}×` : `${Math.round(value).toLocaleString("en")}×`,
  ratio: value => String(Number(value.toPrecision(3))),
  percent: value => `${(100 * value).toFixed(1)} %`,
  alpha: value => `${seconds(value)}/B`,
  text: value => String(value),
};

/** An interval in the unit of its estimate: `164 ms [161, 167]`. */
function withInterval(value, low, high) {
  if (low === null) return seconds(value);
  const text = seconds(value);
  const size = { s: 1, ms: 1e-3, "µs": 1e-6, ns: 1e-9, ps: 1e-12 }[text.split(" ")[1]];
  const bound = number => Number((number / size).toPrecision(3));
  return `${text} [${bound(low)}, ${bound(high)}]`;
}

/** An element with properties and children; text is never read as HTML. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
