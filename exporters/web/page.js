// The page: asks /coding-agents/data and shows it. Every text goes through textContent: a name is
// never markup.
"use strict";

const POLL_MS = 1000;
const SLOW_POLL_MS = 3000; // no run is on, or nobody looks

// ---- what is known of the run that is shown -----------------------------------------------------

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
  known.slos = run.slos;
  known.curve = answer.curve;
  known.levels = live.levels;
  known.needed = answer.needed;
  known.now = live.now_s;
  known.serial = live.serial;
  known.settled = live.settled_s;
}

// ---- words and tables ---------------------------------------------------------------------------

function drawHeading({ run, live, state, users, grafana_url }) {
  $("simulated").hidden = !run.simulated;
  $("simulated").textContent = run.target;
  const parts = [element("b", run.run), ` · profile ${run.profile} · seed ${run.seed} · `];
  if (!run.simulated) parts.push(`${run.target} · `);
  parts.push(live.ended ? "ended after " : `${whole(users)} developers · `, `${clock(live.now_s)} (${run.unit})`);
  $("heading").replaceChildren(...parts);
}

// "84% (86%)" in two parts.
const apart = (text) => /^(.*?) \((.*)\)$/.exec(text)?.slice(1) ?? [text, ""];

function drawTiles(answer) {
  const { columns: heads, live, rows } = answer;
  const row = rows.at(-1);
  $("tiles-of").textContent = row ? `Level ${row[0]}, its warm-up left out` : "";
  const cell = (head) => (row ? row[heads.indexOf(head)] : UNKNOWN);
  const latest = known.windows.at(-1), [hit, ideal] = apart(cell("hit\n(ideal)"));
  const failed = cell("fail"), kinds = answer.failures.map((each) => each.kind).join(", ");
  const tiles = [
    [heads[1].replace("\n", " "), cell(heads[1]), ""],
    ["achieved TPM", cell("achieved\nTPM"), ""],
    ["TTFT p50", cell("TTFT\np50"), "s"],
    ["TTFT p99", cell("TTFT\np99"), "s"],
    ["TPS p50", cell("TPS\np50"), "tok/s"],
    ["cache hits", hit, ideal && ideal !== UNKNOWN ? `of ${ideal} at best` : ""],
    ["in flight", latest && !live.ended ? whole(latest.in_flight) : UNKNOWN, ""],
    ["turns", cell("turns"), ""],
    ["failed", failed, /[1-9]/.test(failed) ? kinds : "", /[1-9]/.test(failed)],
  ];
  $("tiles").replaceChildren(...tiles.map(([name, value, unit, bad]) => {
    const tile = element("div"), figure = element("dd", value);
    if (bad) tile.className = "bad";
    if (unit && value !== UNKNOWN) {
      const beside = element("small", ` ${unit}`);
      if (unit.length > 5) beside.className = "below";
      figure.append(beside);
    }
    tile.append(element("dt", name), figure);
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
    line.append(...row.map((cell, at) => {
      const made = element("td", cell);
      if (heads[at] === "fail" && /[1-9]/.test(cell)) made.className = "bad";
      return made;
    }));
    return line;
  }));
  const scroll = $("levels").parentElement;
  $("scroll-hint").hidden = scroll.scrollWidth <= scroll.clientWidth;
  $("table-note").textContent = `${known.settled < known.now - known.width ? "Hatched: turns due there are still under way. " : ""}${run.table_note} * too few turns to claim it: a p50 needs ${needed[50]}, a p90 ${needed[90]}, a p99 ${needed[99]}.`;
}

function drawFailures({ failures }) {
  $("failures").hidden = !failures.length;
  $("failure-rows").replaceChildren(...failures.map(({ kind, turns, said }) => {
    const line = element("tr"), name = element("td", kind);
    name.className = "bad";
    line.append(name, element("td", whole(turns)), element("td", said));
    return line;
  }));
}

function drawEndpoint({ endpoint, live }) {
  $("endpoint").hidden = !endpoint || live.ended;
  if (!endpoint) return;
  $("endpoint-word").textContent = endpoint.word;
  $("endpoint-word").className = `chip ${endpoint.well == null ? "" : endpoint.well ? "valid" : "invalid"}`;
  $("endpoint-note").textContent = endpoint.note;
}

function drawReport({ report }) {
  $("report").hidden = !report;
  if (!report) return;
  $("report-folder").textContent = report.folder;
  $("report-hint").hidden = !report.hint;
  $("report-hint").querySelector("code").textContent = report.hint;
}

function drawVerdict({ verdict, live }) {
  $("verdict-grade").hidden = !verdict;
  for (const id of ["verdict-reasons", "verdict-open"]) $(id).hidden = !verdict;
  if (!verdict) {
    $("verdict-title").textContent = "Generator";
    $("verdict-note").textContent = "nothing to judge yet: no level is over";
    return;
  }
  $("verdict-title").textContent = live.ended ? "Verdict" : "Generator, verdict so far";
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
  $("state").className = answer.on ? "chip on" : "chip";
  $("grafana").hidden = !answer.grafana_url;
  if (answer.grafana_url) $("grafana").href = answer.grafana_url;
  drawForm(answer);
  $("run").hidden = !answer.run;
  if (!answer.run) return;
  take(answer);
  drawHeading(answer);
  drawTiles(answer);
  drawEndpoint(answer);
  drawVerdict(answer);
  drawReport(answer);
  drawFailures(answer);
  drawCharts();
  drawTable(answer);
}

// ---- asking -------------------------------------------------------------------------------------

let nextPoll;

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
  clearTimeout(nextPoll);
  nextPoll = setTimeout(poll, wait);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => known.run && makeCharts());
poll();
