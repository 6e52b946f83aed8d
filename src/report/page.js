/* Sorts tables, filters layers, opens the panel that a link leads to, and shows the layer under
 * the pointer in charts. The page can be read without this script. */
"use strict";

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

/* Missing values come last in both directions; equal ones keep their order. */
function sortRows(body, column, ascending) {
  const rows = Array.from(body.rows, (row) => ({ row, key: keyOf(cellOf(row, column)) }));
  const missing = rows.filter((entry) => entry.key === null);
  const present = rows.filter((entry) => entry.key !== null);
  present.sort((a, b) => (ascending ? 1 : -1) * compare(a.key, b.key));
  body.append(...present.concat(missing).map((entry) => entry.row));
}

function makeSortable(table) {
  const headers = Array.from(table.tHead.rows[0].cells);
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const ascending = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortRows(table.tBodies[0], column, ascending);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);

/* ---- the filter ---- */

const filter = document.getElementById("filter");
const layerTable = document.getElementById("layer-table");
/* In order of execution, however the table is sorted. */
const layerRows = layerTable ? Array.from(layerTable.tBodies[0].rows) : [];

function nameOf(row) {
  return row.querySelector("th").textContent;
}

function applyFilter() {
  const wanted = filter.value.toLowerCase();
  let shown = 0;
  layerRows.forEach((row, i) => {
    const hidden = !nameOf(row).toLowerCase().includes(wanted);
    row.hidden = hidden;
    document.getElementById("layer-" + (i + 1)).hidden = hidden;
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

function openTarget() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") {
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
  }
}

window.addEventListener("hashchange", openTarget);
openTarget();

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
