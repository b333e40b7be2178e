// The charts: what each shows, and how it is drawn from `known`.
"use strict";

// ---- what each chart shows ----------------------------------------------------------------------

const CHARTS = [
  {
    title: "TTFT", unit: () => `${known.unit}, by due time; dots are turns${objectiveWords("ttft")}`,
    format: three, log: true, dots: true, byDue: true, metric: "ttft",
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
    title: "TTFT heat map", unit: () => `${known.unit}, by due time; the stronger, the more turns, of the last ${known.dots.length.toLocaleString("en")}`,
    format: three, log: true, heat: true, byDue: true,
    lines: [{ label: "p50", field: "ttft_p50_s", color: "--ink", bold: true, percentile: 50 }],
  },
  {
    title: "Curve by level so far", unit: () => `TTFT in ${known.unit} against offered TPM; a point a level, without its warm-up${objectiveWords("ttft")}`,
    format: three, log: true, byLevel: true, metric: "ttft",
    lines: [
      { label: "p50", field: "ttft_p50_s", color: "--blue", bold: true },
      { label: "p90", field: "ttft_p90_s", color: "--orange" },
    ],
  },
  {
    title: "TPS per user", unit: () => `tokens per second of one answer, after its first chunk${objectiveWords("tps")}`,
    format: (v) => (v == null ? UNKNOWN : `${three(v)} tok/s`), axis: three, byDue: true, metric: "tps",
    lines: [
      { label: "p50", field: "tps_p50", color: "--blue", bold: true, percentile: 50 },
      { label: "p10", field: "tps_p10", color: "--orange", percentile: 90 },
    ],
  },
  {
    title: "Developers", unit: () => "how many there are, their open sessions, turns in flight, tickets that nobody has taken", format: whole, counts: true,
    lines: [
      { label: "developers", field: "users", color: "--blue", dash: [6, 4] },
      { label: "in flight", field: "in_flight", color: "--green", bold: true },
      { label: "open sessions", field: "open_sessions", color: "--grey" },
      { label: "waiting tickets", field: "waiting_tickets", color: "--pink" },
      { label: "told to wait (Retry-After)", field: "told_to_wait", color: "--red" },
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
    lines: [{ label: "failed", field: "failed", color: "--red", bars: true, bold: true }],
  },
];

// ---- data ---------------------------------------------------------------------------------------

const rateWindows = () => Math.max(1, Math.ceil(RATE_OVER_S / known.width));

const objectives = (metric) => (known.slos ?? []).filter((slo) => slo.metric === metric);
const objectiveWords = (metric) => objectives(metric).map((slo) => `; long dashes: ${slo.text}`).join("");

function columns(chart) {
  if (chart.byLevel) {
    const points = known.curve.filter((point) => point.offered_tpm).sort((a, b) => a.offered_tpm - b.offered_tpm);
    return [points.map((point) => point.offered_tpm), ...chart.lines.map((line) => points.map((point) => point[line.field]))];
  }
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

// ---- drawing ------------------------------------------------------------------------------------

const CHART_HEIGHT = 230;
const RATE_OVER_S = 60; // rates are shown over at least this long: a turn is 3.5% of 2.5M tokens
let charts = [];

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options(chart, width) {
  const ink = style("--soft"), grid = { stroke: style("--grid"), width: 1 };
  const axis = { stroke: ink, grid, ticks: { stroke: style("--rule"), width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
  return {
    width, height: CHART_HEIGHT,
    padding: [18, 12, null, null], // the levels' names stand above
    cursor: { sync: chart.byLevel ? undefined : { key: "coding-agents" }, drag: { x: true, y: false }, points: { size: 6 } },
    legend: {
      markers: {
        width: 3, fill: "transparent",
        stroke: (u, n) => (n ? style(chart.lines[n - 1].color) : "transparent"),
        dash: (u, n) => (!n || !chart.lines[n - 1].dash ? "solid" : chart.lines[n - 1].dash[0] > 3 ? "dashed" : "dotted"),
      },
    },
    scales: {
      x: { time: false, range: (u, low, high) => (chart.byLevel ? [0, (high ?? 1e6) * 1.08] : [Math.min(0, low ?? 0), Math.max(high ?? 0, known.now, 1)]) },
      y: { distr: chart.log ? 3 : 1, range: (u, low, high) => yRange(chart, high) },
    },
    axes: [
      chart.byLevel ? { ...axis, size: 28, values: (u, at) => at.map(tokens), space: 64 } : { ...axis, size: 28, values: (u, at) => at.map(clock), space: 64, incrs: [1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 36000] },
      { ...axis, size: 52, incrs: chart.counts ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] : undefined, values: (u, at) => at.map((v) => (v == null ? "" : (chart.axis ?? chart.format)(v))) },
    ],
    series: [{ label: chart.byLevel ? "offered" : "at", value: (u, v) => (chart.byLevel ? tokens(v) : clock(v)) }, ...chart.lines.map((line) => series(chart, line))],
    hooks: {
      drawClear: chart.byLevel ? [] : chart.byDue ? [drawLevels, drawUnsettled] : [drawLevels],
      drawAxes: [
        ...(chart.heat ? [drawHeat] : []), ...(chart.dots ? [drawDots] : []),
        ...(chart.metric ? [(u) => drawObjectives(u, chart.metric)] : []),
      ],
    },
  };
}

function series(chart, line) {
  const color = style(line.color);
  return {
    label: line.label, stroke: color, width: line.bars ? 0 : line.bold ? 2.5 : 1.5, dash: line.dash, spanGaps: true,
    fill: line.bars ? color : undefined,
    paths: line.bars ? uPlot.paths.bars({ size: [0.8, 12], align: 0 }) : undefined,
    points: { show: chart.byLevel || (!line.bars && !line.dash && known.windows.length < 40), size: chart.byLevel ? 8 : 5 },
    value: (u, v, s, at) => chart.format(v) + (v != null && tooFew(line, known.windows[at]) ? "*" : ""),
  };
}

const tooFew = (line, window) => line.percentile && window && window.turns < known.needed[line.percentile];

function yRange(chart, high) {
  if (chart.range) return chart.range;
  if (!chart.log) return [0, Math.max(1, (high ?? 0) * 1.1)];
  const seen = chart.byLevel
    ? known.curve.flatMap((point) => [point.ttft_p50_s, point.ttft_p90_s]).filter((value) => value > 0)
    : known.dots.map((dot) => dot[1]);
  if (chart.metric) seen.push(...objectives(chart.metric).map((slo) => slo.threshold));
  if (!seen.length) seen.push(1);
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

// Turns by window and by TTFT, as cells of a log scale.
function drawHeat(u) {
  const { ctx, bbox } = u, rows = 18;
  const [low, high] = [Math.log(u.scales.y.min), Math.log(u.scales.y.max)];
  const counts = new Map();
  for (const [at, ttft] of known.dots) {
    const column = Math.floor(at / known.width), row = Math.floor((Math.log(ttft) - low) / (high - low) * rows);
    const key = `${column},${row}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const most = Math.max(1, ...counts.values());
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = style("--heat");
  for (const [key, count] of counts) {
    const [column, row] = key.split(",").map(Number);
    const left = u.valToPos(column * known.width, "x", true), right = u.valToPos((column + 1) * known.width, "x", true);
    const top = bbox.top + bbox.height * (1 - (row + 1) / rows);
    ctx.globalAlpha = 0.12 + 0.88 * Math.sqrt(count / most);
    ctx.fillRect(left, top, Math.max(1, right - left - 1), bbox.height / rows - 1);
  }
  ctx.restore();
}

function drawObjectives(u, metric) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = style("--red");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([9 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const slo of objectives(metric)) {
    const y = u.valToPos(slo.threshold, "y", true);
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
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
    new ResizeObserver(() => {
      plot.setSize({ width: holder.clientWidth, height: CHART_HEIGHT });
      showLatest(chart, plot);
    }).observe(holder);
    return { chart, plot, unit, holder };
  });
}

// Where the chart's main line ends. By due time, the last that is settled: of those under way the
// quick ones come first, and would look like all.
function latest(chart, data) {
  const main = data[1 + Math.max(0, chart.lines.findIndex((line) => line.bold))];
  const last = (good) => main.findLastIndex((value, n) => value != null && good(n));
  const settled = chart.byDue ? last((n) => known.windows[n].end_s <= known.settled) : -1;
  const any = settled < 0 ? last(() => true) : settled;
  return any < 0 ? main.length - 1 : any;
}

// In the legend, where nobody points at another moment.
function showLatest(chart, plot) {
  const last = latest(chart, plot.data);
  if (plot.cursor.idx == null && last >= 0) plot.setLegend({ idx: last });
}

function drawCharts() {
  if (!charts.length) makeCharts();
  for (const { chart, plot, unit, holder } of charts) {
    const data = columns(chart), last = latest(chart, data);
    plot.setData(data);
    showLatest(chart, plot);
    unit.textContent = chart.unit();
    const figures = chart.lines.map((line, n) => `${line.label} ${chart.format(data[n + 1][last])}`);
    holder.setAttribute("aria-label", `${chart.title}, latest: ${figures.join(", ")}`);
  }
}
