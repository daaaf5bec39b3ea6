// The chart of the overview, from the numbers of its table.
"use strict";
function draw() {
  const place = document.getElementById("chart");
  if (!place || !window.Plotly) return;
  const rows = [...document.querySelectorAll("#over-time tbody tr")];
  const span = rows.length && (Date.parse(rows.at(-1).dataset.day) - Date.parse(rows[0].dataset.day)) / 86400000;
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--muted").trim();
  const line = style.getPropertyValue("--line").trim();
  const axis = { color: text, gridcolor: line, zerolinecolor: line, fixedrange: true };
  // Names are strangers' texts: plotly would read tags in them.
  const plain = (name) => name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const parts = [...document.querySelectorAll("#over-time th[data-part]")].map((head, place) => ({
    type: "bar", name: plain(head.dataset.part), x: rows.map((r) => r.dataset.day),
    y: rows.map((r) => Number(r.querySelectorAll("td[data-usd]")[place].dataset.usd)),
    marker: { color: style.getPropertyValue(`--part-${place}`).trim() }, hovertemplate: "%{x}: %{y:,.2f} USD" }));
  Plotly.react(
    place,
    parts,
    { height: 280, barmode: "stack", showlegend: true, legend: { orientation: "h", y: -0.18, traceorder: "normal" }, margin: { l: 64, r: 8, t: 8, b: 48 }, paper_bgcolor: "transparent", plot_bgcolor: "transparent", bargap: 0.4,
      font: { color: text, family: "system-ui, sans-serif", size: 12 },
      xaxis: { ...axis, type: "date", tickformat: "%d %b", dtick: span < 15 ? 86400000 : null },
      yaxis: { ...axis, tickformat: ",.0f", rangemode: "tozero" } },
    { displayModeBar: false, responsive: true }
  );
}
document.addEventListener("DOMContentLoaded", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
