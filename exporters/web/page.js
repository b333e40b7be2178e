// Draws what /coding-agents/data says. Every text goes through textContent: a name is never markup.
"use strict";

const POLL_MS = 1000;
const SLOW_POLL_MS = 3000; // no run is on, or nobody looks
const TTFT_SLO_S = 1;
const RATE_OVER_S = 60; // rates are shown over at least this long: a turn is 3.5% of 2.5M tokens
const CHART_HEIGHT = 230;
const $ = (id) => document.getElementById(id);

// What the page knows of the run that it shows.
let known = { run: null };
let charts = [];

// ---- numbers for people -------------------------------------------------------------------------

const UNKNOWN = "-";
const text = (format) => (value) => (value == null || Number.isNaN(value) ? UNKNOWN : format(value));
const whole = text((v) => Math.round(v).toLocaleString("en"));
const percent = text((v) => `${Math.round(v * 100)}%`);
const three = text((v) => (v < 9.995 ? String(+v.toFixed(2)) : v < 99.95 ? String(+v.toFixed(1)) : whole(v)));
const tokens = text((v) => {
  if (v >= 999500) return `${+(v / 1e6).toFixed(2)}M`;
  return v >= 1000 ? `${Math.round(v / 1e3)}k` : String(Math.round(v));
});
const clock = text((v) => {
  const s = Math.round(v), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600), minutes = Math.floor(s / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
});

// ---- what each chart shows ----------------------------------------------------------------------

const CHARTS = [
  {
    title: "TTFT", unit: () => `${known.unit}, by due time; dots are turns, dashes 1 s`,
    format: three, log: true, dots: true, byDue: true,
    lines: [
      { label: "p50", field: "ttft_p50_s", color: "--blue", bold: true, percentile: 50 },
      { label: "p90", field: "ttft_p90_s", color: "--orange", percentile: 90 },
      { label: "p99", field: "ttft_p99_s", color: "--pink", percentile: 99 },
    ],
  },
  {
    title: "Input TPM", unit: () => `over the last ${clock(rateWindows() * known.width)}`,
    format: tokens, byDue: true,
    lines: [
      { label: "target", field: "target_tpm", color: "--grey", dash: [6, 4] },
      { label: "offered", field: "offered_tpm", color: "--blue", rate: true },
      { label: "achieved", field: "achieved_tpm", color: "--green", bold: true, rate: true },
      { label: "cached", field: "cached_tpm", color: "--teal", dash: [2, 3], rate: true },
    ],
  },
  {
    title: "TPS per user", unit: () => "tokens per second of one answer, after its first chunk",
    format: three, byDue: true,
    lines: [
      { label: "p50", field: "tps_p50", color: "--blue", bold: true, percentile: 50 },
      { label: "p10", field: "tps_p10", color: "--orange", percentile: 90 },
    ],
  },
  {
    title: "Under way", unit: () => "turns, sessions, tickets that nobody has taken", format: whole, counts: true,
    lines: [
      { label: "in flight", field: "in_flight", color: "--green", bold: true },
      { label: "open sessions", field: "open_sessions", color: "--grey" },
      { label: "waiting tickets", field: "waiting_tickets", color: "--pink" },
    ],
  },
  {
    title: "Cache hits", unit: () => "share of prompt tokens; ideal: what an endless cache would hold",
    format: percent, range: [0, 1],
    lines: [
      { label: "hit", field: "hit_share", color: "--green", bold: true },
      { label: "ideal", field: "ideal_hit_share", color: "--grey", dash: [6, 4] },
    ],
  },
  {
    title: "Failures", unit: () => "turns that failed, by when they were due", format: whole, counts: true, byDue: true,
    lines: [{ label: "failed", field: "failed", color: "--pink", bars: true }],
  },
];

// ---- data ---------------------------------------------------------------------------------------

const rateWindows = () => Math.max(1, Math.ceil(RATE_OVER_S / known.width));

function columns(chart) {
  const windows = known.windows;
  const middle = windows.map((w) => (w.start_s + w.end_s) / 2);
  return [middle, ...chart.lines.map((line) =>
    line.rate ? trailingRate(windows, line.field) : windows.map((w) => w[line.field]))];
}

// Tokens of the last windows over their length: the same as one window of that length.
function trailingRate(windows, field) {
  return windows.map((_, at) => {
    const last = windows.slice(Math.max(0, at - rateWindows() + 1), at + 1);
    if (last.some((w) => w[field] == null)) return windows[at][field];
    // Turns under way are not counted yet: on a late engine they are most of what is offered.
    if (field === "offered_tpm" && windows[at].end_s > known.settled) return null;
    const length = last.reduce((sum, w) => sum + w.end_s - w.start_s, 0);
    return last.reduce((sum, w) => sum + w[field] * (w.end_s - w.start_s), 0) / length;
  });
}

function take(answer) {
  const { run, live } = answer;
  if (run.run !== known.run) {
    known = { run: run.run, byStart: new Map(), dots: [], width: live.width_s };
  }
  if (live.width_s !== known.width) {
    known.byStart.clear();
    known.width = live.width_s;
  }
  for (const window of live.windows) known.byStart.set(window.start_s, window);
  known.windows = [...known.byStart.values()].sort((a, b) => a.start_s - b.start_s);
  known.dots = known.dots.concat(live.dots).slice(-answer.most_dots);
  known.unit = run.unit;
  known.levels = live.levels;
  known.needed = answer.needed;
  known.now = live.now_s;
  known.serial = live.serial;
  known.settled = live.settled_s;
}

// ---- drawing ------------------------------------------------------------------------------------

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options(chart, width) {
  const ink = style("--soft"), grid = { stroke: style("--grid"), width: 1 };
  const axis = { stroke: ink, grid, ticks: { stroke: style("--rule"), width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
  return {
    width, height: CHART_HEIGHT,
    padding: [18, 12, null, null], // the levels' names stand above
    cursor: { sync: { key: "coding-agents" }, drag: { x: true, y: false }, points: { size: 6 } },
    legend: { markers: { width: 0, fill: (u, n) => (n ? style(chart.lines[n - 1].color) : "transparent") } },
    scales: {
      x: { time: false, range: (u, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, known.now, 1)] },
      y: { distr: chart.log ? 3 : 1, range: (u, low, high) => yRange(chart, high) },
    },
    axes: [
      { ...axis, size: 28, values: (u, at) => at.map(clock), space: 64, incrs: [1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 36000] },
      { ...axis, size: 52, incrs: chart.counts ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] : undefined, values: (u, at) => at.map((v) => (v == null ? "" : chart.format(v))) },
    ],
    series: [{ label: "at", value: (u, v) => clock(v) }, ...chart.lines.map((line) => series(chart, line))],
    hooks: {
      drawClear: chart.byDue ? [drawLevels, drawUnsettled] : [drawLevels],
      drawAxes: chart.dots ? [drawDots, drawSlo] : [],
    },
  };
}

function series(chart, line) {
  const color = style(line.color);
  return {
    label: line.label, stroke: color, width: line.bold ? 2.5 : 1.5, dash: line.dash, spanGaps: true,
    fill: line.bars ? color : undefined,
    paths: line.bars ? uPlot.paths.bars({ size: [0.8, 12], align: 0 }) : undefined,
    points: { show: !line.bars && !line.dash && known.windows.length < 40, size: 5 },
    value: (u, v, s, at) => chart.format(v) + (v != null && tooFew(line, known.windows[at]) ? "*" : ""),
  };
}

const tooFew = (line, window) => line.percentile && window && window.turns < known.needed[line.percentile];

function yRange(chart, high) {
  if (chart.range) return chart.range;
  if (!chart.log) return [0, Math.max(1, (high ?? 0) * 1.1)];
  const seen = [TTFT_SLO_S, ...known.dots.map((dot) => dot[1])];
  const low = seen.reduce((a, b) => Math.min(a, b)), top = seen.reduce((a, b) => Math.max(a, b));
  return [Math.max(1e-3, low * 0.8), top * 1.25];
}

function drawLevels(u) {
  const { ctx, bbox } = u, ratio = devicePixelRatio;
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  for (const level of known.levels) {
    const left = clamp(u.valToPos(level.started_at_s, "x", true), bbox);
    const right = clamp(u.valToPos(level.ended_at_s ?? known.now, "x", true), bbox);
    if (right <= left) continue;
    ctx.fillStyle = style(level.index % 2 ? "--band-odd" : "--band");
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    const label = `#${level.index} ${level.target_tpm == null ? `${level.developers} devs` : tokens(level.target_tpm)}`;
    ctx.fillStyle = style("--soft");
    if (ctx.measureText(label).width + 8 * ratio < right - left) ctx.fillText(label, left + 4 * ratio, bbox.top - 14 * ratio);
  }
  ctx.restore();
}

// Turns that were due here are still under way: what is shown by due time will change.
function drawUnsettled(u) {
  const { ctx, bbox } = u;
  const left = clamp(u.valToPos(known.settled, "x", true), bbox);
  const right = clamp(u.valToPos(known.now, "x", true), bbox);
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, bbox.top, right - left, bbox.height);
  ctx.clip();
  ctx.beginPath();
  ctx.setLineDash([]);
  for (let x = left - bbox.height; x < right; x += 8 * devicePixelRatio) {
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + bbox.height, bbox.top);
  }
  ctx.strokeStyle = style("--hatch");
  ctx.lineWidth = devicePixelRatio;
  ctx.stroke();
  ctx.restore();
}

const clamp = (x, bbox) => Math.min(Math.max(x, bbox.left), bbox.left + bbox.width);

function drawDots(u) {
  const { ctx, bbox } = u, size = 3.5 * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = style("--dot");
  for (const [at, ttft] of known.dots) {
    ctx.fillRect(u.valToPos(at, "x", true) - size / 2, u.valToPos(ttft, "y", true) - size / 2, size, size);
  }
  ctx.restore();
}

function drawSlo(u) {
  const { ctx, bbox } = u, y = u.valToPos(TTFT_SLO_S, "y", true);
  ctx.save();
  ctx.strokeStyle = style("--ink");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

function makeCharts() {
  for (const { plot } of charts) plot.destroy();
  $("charts").replaceChildren();
  charts = CHARTS.map((chart) => {
    const figure = element("figure"), caption = element("figcaption", chart.title + " "), unit = element("small");
    const holder = element("div");
    holder.setAttribute("role", "img");
    caption.append(unit);
    figure.append(caption, holder);
    $("charts").append(figure);
    const plot = new uPlot(options(chart, holder.clientWidth), columns(chart), holder);
    new ResizeObserver(() => plot.setSize({ width: holder.clientWidth, height: CHART_HEIGHT })).observe(holder);
    return { chart, plot, unit, holder };
  });
}

// Where the chart's main line ends: turns of the last windows may all be under way.
function latest(chart, data) {
  const main = data[1 + Math.max(0, chart.lines.findIndex((line) => line.bold))];
  const at = main.findLastIndex((value) => value != null);
  return at < 0 ? main.length - 1 : at;
}

function drawCharts() {
  if (!charts.length) makeCharts();
  for (const { chart, plot, unit, holder } of charts) {
    const data = columns(chart), last = latest(chart, data);
    plot.setData(data);
    if (plot.cursor.idx == null && last >= 0) plot.setLegend({ idx: last });
    unit.textContent = chart.unit();
    const figures = chart.lines.map((line, n) => `${line.label} ${chart.format(data[n + 1][last])}`);
    holder.setAttribute("aria-label", `${chart.title}, latest: ${figures.join(", ")}`);
  }
}

// ---- words and tables ---------------------------------------------------------------------------

function element(name, content = "") {
  const made = document.createElement(name);
  made.textContent = content;
  return made;
}

function drawHeading({ run, live, state, users, grafana_url }) {
  $("simulated").hidden = !run.simulated;
  $("simulated").textContent = run.target;
  const parts = [element("b", run.run), ` · profile ${run.profile} · seed ${run.seed} · `];
  if (!run.simulated) parts.push(`${run.target} · `);
  parts.push(`${whole(users)} developers · ${live.ended ? "ended after" : ""} ${clock(live.now_s)} (${run.unit})`);
  $("heading").replaceChildren(...parts);
}

function drawTiles(answer) {
  const { columns: heads, live, rows } = answer;
  const row = rows.at(-1);
  const cell = (head) => (row ? row[heads.indexOf(head)] : UNKNOWN);
  const latest = known.windows.at(-1);
  const level = row ? `level ${row[0]}` : "";
  const tiles = [
    [heads[1].replace("\n", " "), cell(heads[1]), ""],
    ["achieved TPM", cell("achieved\nTPM"), ""],
    ["TTFT p50", cell("TTFT\np50"), "s"],
    ["TTFT p99", cell("TTFT\np99"), "s"],
    ["TPS p50", cell("TPS\np50"), ""],
    ["hit (ideal)", cell("hit\n(ideal)"), ""],
    ["in flight", latest && !live.ended ? whole(latest.in_flight) : UNKNOWN, ""],
    ["turns, failed", `${cell("turns")}, ${cell("fail")}`, ""],
  ];
  $("tiles").replaceChildren(...tiles.map(([name, value, unit]) => {
    const tile = element("div"), figure = element("dd", value);
    if (unit && value !== UNKNOWN) figure.append(element("small", ` ${unit}`));
    tile.append(element("dt", name), figure);
    tile.title = level;
    return tile;
  }));
}

function drawTable({ columns: heads, rows, run, needed }) {
  const headRow = element("tr");
  headRow.append(...heads.map((head) => {
    const cell = element("th", head.replace("\n", " "));
    cell.scope = "col";
    return cell;
  }));
  $("levels").tHead.replaceChildren(headRow);
  $("levels").tBodies[0].replaceChildren(...rows.map((row) => {
    const line = element("tr");
    line.append(...row.map((cell) => element("td", cell)));
    return line;
  }));
  $("table-note").textContent = `${known.settled < known.now - known.width ? "Hatched: turns due there are still under way. " : ""}${run.table_note} * too few turns to claim it: a p50 needs ${needed[50]}, a p90 ${needed[90]}, a p99 ${needed[99]}.`;
}

function drawVerdict({ verdict, live }) {
  $("verdict").hidden = !verdict;
  if (!verdict) return;
  $("verdict-title").textContent = live.ended ? "Verdict" : "Verdict so far";
  $("verdict-grade").textContent = verdict.grade;
  $("verdict-grade").className = `chip ${verdict.grade.toLowerCase()}`;
  $("verdict-note").textContent = verdict.note;
  for (const [id, sentences] of [["verdict-reasons", verdict.reasons], ["verdict-open", verdict.open]]) {
    $(id).hidden = !sentences.length;
    $(id).querySelector("ul").replaceChildren(...sentences.map((sentence) => element("li", sentence)));
  }
}

function draw(answer) {
  $("state").textContent = answer.state;
  $("state").className = ["running", "spawning"].includes(answer.state) ? "chip on" : "chip";
  $("grafana").hidden = !answer.grafana_url;
  if (answer.grafana_url) $("grafana").href = answer.grafana_url;
  $("empty").hidden = Boolean(answer.run);
  $("run").hidden = !answer.run;
  if (!answer.run) return;
  take(answer);
  drawHeading(answer);
  drawTiles(answer);
  $("tpm").hidden = !answer.rate_can_change || answer.live.ended;
  drawVerdict(answer);
  drawCharts();
  drawTable(answer);
}

// ---- asking -------------------------------------------------------------------------------------

async function poll() {
  let wait = POLL_MS;
  try {
    const asked = new URLSearchParams({ run: known.run ?? "", since: known.serial ?? -1, seen: known.now ?? -1 });
    const response = await fetch(`data?${asked}`, { cache: "no-store" });
    if (!response.ok || response.redirected) throw new Error(response.redirected ? "log in again" : `status ${response.status}`);
    const answer = await response.json();
    draw(answer);
    $("lost").hidden = true;
    if (document.hidden || !answer.run || answer.live.ended) wait = SLOW_POLL_MS;
  } catch (error) {
    $("lost").textContent = `No answer from Locust (${error.message}); what is shown may be old. Trying again.`;
    $("lost").hidden = false;
    wait = SLOW_POLL_MS;
  }
  setTimeout(poll, wait);
}

async function changeTpm(event) {
  event.preventDefault();
  const note = $("tpm-note");
  try {
    const response = await fetch("tpm", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ tpm: $("rate").value }),
    });
    const answer = await response.json();
    note.textContent = answer.message ?? answer.error;
    note.className = response.ok ? "" : "bad";
  } catch (error) {
    note.textContent = `Not changed: ${error.message}`;
    note.className = "bad";
  }
}

$("tpm").addEventListener("submit", changeTpm);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => known.run && makeCharts());
poll();
