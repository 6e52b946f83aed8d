/* Sorts tables, filters layers, opens the panel that a link leads to, and shows the layer under
 * the pointer in charts. The page can be read without this script. */
"use strict";

document.documentElement.classList.add("js");

/* ---- tables ---- */

const cellOf = (row, column) => row.cells[column];

/* The value to sort a cell by: a number, a text, or null for a missing value. */
function keyOf(cell) {
  if (!cell.classList.contains("n")) {
    return cell.textContent || null;
  }
  const value = cell.dataset.v;
  return value === undefined ? null : Number(value);
}

function compare(a, b) {
  if (typeof a === "number") {
    return a < b ? -1 : a > b ? 1 : 0;
  }
  return a.localeCompare(b, "en", { numeric: true });
}

const rowsOf = (table) => Array.from(table.querySelectorAll("tbody > tr:not(.unfold)"));
/* What moves with a row: where rows unfold, each has a tbody of its own. */
const blockOf = (row) => (row.nextElementSibling && row.nextElementSibling.matches(".unfold")
  ? row.parentElement : row);

/* Missing values come last in both directions; equal ones keep their order. */
function sortRows(table, column, ascending) {
  const rows = rowsOf(table).map((row) => ({ row, key: keyOf(cellOf(row, column)) }));
  const missing = rows.filter((entry) => entry.key === null);
  const present = rows.filter((entry) => entry.key !== null);
  present.sort((a, b) => (ascending ? 1 : -1) * compare(a.key, b.key));
  const blocks = present.concat(missing).map((entry) => blockOf(entry.row));
  if (blocks.length > 0) {
    blocks[0].parentElement.append(...blocks);
  }
}

function makeSortable(table) {
  const headers = Array.from(table.tHead.rows[0].cells);
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const ascending = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortRows(table, column, ascending);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);

/* ---- columns, and what is beyond the edge ---- */

function chooseColumns(choice) {
  const table = document.getElementById(choice.dataset.for);
  const keys = Array.from(table.tHead.rows[0].cells, (header) => header.dataset.k);
  choice.addEventListener("change", (event) => {
    const column = keys.indexOf(event.target.value);
    [table.tHead.rows[0], ...rowsOf(table)].forEach((row) => {
      row.cells[column].hidden = !event.target.checked;
    });
    markFrames();
  });
}

function markFrame(frame) {
  const box = frame.firstElementChild;
  const right = box.scrollWidth - box.clientWidth - box.scrollLeft > 2;
  const below = box.scrollHeight - box.clientHeight - box.scrollTop > 2;
  if (right || below) {
    frame.dataset.more = "more" + (right ? " \u2192" : "") + (below ? " \u2193" : "");
  } else {
    delete frame.dataset.more;
  }
}

const frames = Array.from(document.querySelectorAll(".scroll"), (box) => {
  if (box.parentElement.matches(".frame")) {
    return box.parentElement;
  }
  const frame = document.createElement("div");
  frame.className = "frame";
  box.replaceWith(frame);
  frame.append(box);
  return frame;
});

function markFrames() {
  frames.forEach(markFrame);
}

frames.forEach((frame) => {
  frame.firstElementChild.addEventListener("scroll", () => markFrame(frame), { passive: true });
});
window.addEventListener("resize", markFrames);
document.querySelectorAll("details.columns").forEach(chooseColumns);
markFrames();

/* ---- the filter ---- */

const filter = document.getElementById("filter");
const layerTable = document.getElementById("layer-table");
/* In order of execution, however the table is sorted. */
const layerRows = layerTable ? rowsOf(layerTable) : [];

function nameOf(row) {
  return row.querySelector("th").textContent;
}

function applyFilter() {
  const wanted = filter.value.toLowerCase();
  let shown = 0;
  layerRows.forEach((row) => {
    const hidden = !nameOf(row).toLowerCase().includes(wanted);
    row.parentElement.hidden = hidden;
    shown += !hidden;
  });
  filter.closest("p").querySelector("output").textContent =
    wanted ? shown + " of " + layerRows.length : "";
}

if (filter && layerRows.length > 8) {
  filter.closest("p").hidden = false;
  filter.addEventListener("input", applyFilter);
}

/* ---- panels ---- */

function unfold(panel, isOpen) {
  const row = panel.closest(".unfold");
  panel.open = isOpen;
  row.classList.toggle("open", isOpen);
  row.parentElement.hidden = false;
  row.previousElementSibling.querySelector("th a").setAttribute("aria-expanded", isOpen);
  markFrames();
}

function openTarget() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (target && target.matches("details.layer")) {
    unfold(target, true);
    target.closest("tbody").scrollIntoView();
  }
}

layerRows.forEach((row) => {
  const link = row.querySelector("th a");
  const panel = document.getElementById(link.hash.slice(1));
  link.setAttribute("aria-expanded", "false");
  link.addEventListener("click", (event) => {
    event.preventDefault();
    unfold(panel, !panel.open);
  });
});
window.addEventListener("hashchange", openTarget);
openTarget();

/* ---- copying ---- */

document.querySelectorAll(".copy").forEach((button) => {
  const text = button.parentElement.querySelector("pre");
  button.hidden = false;
  button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(text);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    /* A page from a file has no other clipboard in some browsers. */
    button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
  });
});

/* ---- charts by layer ---- */

/* "12 conv1: isolated 23.1, accumulated 20.4" from the layer's row in the table. */
function describe(index) {
  const row = layerRows[index];
  const parts = [];
  layerTable.querySelectorAll("thead th").forEach((header, column) => {
    if (["isolated", "accumulated", "bits", "bytes_a", "bytes_b"].includes(header.dataset.k)) {
      parts.push(header.textContent.toLowerCase() + " " + cellOf(row, column).textContent);
    }
  });
  return (index + 1) + " " + nameOf(row) + ": " + parts.join(", ");
}

function followPointer(figure) {
  const area = figure.querySelector(".area");
  const marker = document.createElement("i");
  const line = document.createElement("p");
  line.className = "readout";
  marker.className = "marker";
  figure.append(line);
  area.append(marker);
  const indexAt = (event) => {
    const box = area.getBoundingClientRect();
    const index = Math.floor((event.clientX - box.left) / box.width * layerRows.length);
    return Math.min(Math.max(index, 0), layerRows.length - 1);
  };
  area.addEventListener("pointermove", (event) => {
    const index = indexAt(event);
    marker.style.left = (index + 0.5) / layerRows.length * 100 + "%";
    marker.style.display = "block";
    line.textContent = describe(index);
  });
  area.addEventListener("pointerleave", () => {
    marker.style.display = "none";
    line.textContent = "";
  });
  area.addEventListener("click", (event) => {
    location.hash = "layer-" + (indexAt(event) + 1);
  });
}

if (layerRows.length > 0) {
  document.querySelectorAll("figure[data-by-layer]").forEach(followPointer);
}
