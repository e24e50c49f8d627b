"use strict";
document.documentElement.classList.add("js");

/** Shows the matrix and the charts of one workload and number of devices. */
function choose(number) {
  const grid = DATA.grids[number];
  const folded = document.querySelector(`template[data-grid="${number}"]`);
  if (folded) {
    const opened = element("div", { className: "grid" }, folded.content);
    opened.dataset.grid = number;
    folded.replaceWith(opened);
  }
  const shown = document.querySelector(`.grid[data-grid="${number}"]`);
  for (const one of document.querySelectorAll(".grid")) one.hidden = one !== shown;
  for (const draw of [drawWhy, drawSpread, drawCommunication, drawScaling, drawLoad, drawProof,
    drawFrontier]) draw(grid);
}

function offerChoice() {
  const label = document.getElementById("pick"), list = label.querySelector("select");
  label.hidden = DATA.grids.length < 2;
  list.append(...DATA.grids.map((grid, number) => new Option(grid.title, number)));
  list.value = DATA.start;
  list.addEventListener("change", () => choose(Number(list.value)));
}

const THEMES = ["system", "light", "dark"];
function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = `Theme: ${theme}`;
}
/** Returns the theme that a reader chose, and keeps a new one, if the browser allows it to a file. */
function remembered(theme) {
  try {
    if (theme) localStorage.setItem("theme", theme);
    return THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system";
  } catch {
    return theme || "system";
  }
}
document.getElementById("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || "system";
  setTheme(remembered(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]));
});

document.addEventListener("click", event => {
  const button = event.target.closest("[data-case]");
  if (button) openCase(Number(button.dataset.case));
});

setTheme(remembered());
offerChoice();
if (DATA.grids.length) choose(DATA.start);
else for (const id of ["why", "spread", "communication", "scaling", "load", "proof"]) section(id, false);
drawLinks();
if (DATA.count) drawTable();
const asked = /^#case=(.+)$/.exec(location.hash);
if (asked) {
  const row = DATA.columns.case_id.texts.indexOf(decodeURIComponent(asked[1]));
  if (row >= 0) openCase(row);
}
