"""`make live` as a user has it: every expression of the dashboards and rules against a real
Prometheus that watches real traffic, and its figures against the ledger.

One run at 20 engine seconds a second. The master has a turn up to 3 s (Locust's reports) after it
ended and Prometheus up to 2 s later, so moments are compared over 20 s, counts at the end exactly.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import signal
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
import yaml

from exporters.grafana.dashboards import DASHBOARDS
from tests.support.prometheus_server import Prometheus, compared
from tests.support.promql import executable
from tests.support.stack import RUN_TIMEOUT_S, START_TIMEOUT_S, Stack, Started, until
from tokenswarm.commands.live import CONFIGURATION
from tokenswarm.measure.ledger import Ledger, read
from tokenswarm.measure.quantiles import quantile
from tokenswarm.report.analysis.steps import steps
from tokenswarm.report.text.levels import row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Debian's prometheus is not installed"
    ),
]
SPEED = 20
TPM = 1_500_000  # 5.7 turns a wall second: what the default preset carries with room to spare
TRAFFIC_S = 22.0
WINDOW = "15s"
RULES = [
    rule
    for group in yaml.safe_load((CONFIGURATION / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
QUERIES = [
    pytest.param(dashboard, panel, query, id=f"{dashboard.uid}: {panel.title}: {query.legend}")
    for dashboard in DASHBOARDS
    for panel in dashboard.panels
    for query in panel.queries
]
# What this run has not: an objective (--slo), developers asked for (open mode), failures, pushes.
ABSENT = {"developers asked for {{target}}", "{{failure}} {{target}}"}
NO_DATA = {"Failed pushes"}


@dataclass(frozen=True)
class Live:
    """`make live`, and the addresses that it printed."""

    started: Started
    web: str
    engine: str
    prometheus: Prometheus
    runs: Path

    def swarm(self, name: str, tpm: int) -> None:
        """The start form of the web UI."""
        form = {
            "user_count": "60",
            "spawn_rate": "60",
            "host": self.engine,
            "tpm": f"{tpm}",
            "ramp": "10s",
            "run_name": name,
        }
        answer = self._post("swarm", form)
        assert answer["success"], answer

    def stop(self, name: str) -> None:
        """The stop button, and until the run's results are there."""
        self._post("stop", {})
        summary = self.runs / name / "summary.json"
        assert until(summary.exists, RUN_TIMEOUT_S), self.started.err.read_text()

    def is_ready(self) -> bool:
        return self.prometheus.values('tokenswarm_workers{state="ready"}') == [2]

    def page(self) -> dict[str, Any]:
        """What the page of coding agents shows now."""
        shown: dict[str, Any] = orjson.loads(self._get("coding-agents/data"))
        return shown

    def turns_csv(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self._get("coding-agents/turns.csv").decode())))

    def ledger(self, name: str) -> Ledger:
        return read(self.runs / name / "ledger.jsonl")

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.web}/{path}", timeout=60) as response:
            content: bytes = response.read()
        return content

    def _post(self, path: str, form: dict[str, str]) -> dict[str, object]:
        body = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(f"{self.web}/{path}", body, timeout=60) as response:
            answer: dict[str, object] = orjson.loads(response.read())
        return answer


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Live]:
    runs = tmp_path_factory.mktemp("live") / "runs"
    env = {"TOKENSWARM_RUNS": str(runs)}
    started = stack.start("tokenswarm", "live", "--speed", f"{SPEED}", env=env)
    try:
        assert until(lambda: "Ctrl-C" in started.out.read_text(), START_TIMEOUT_S), (
            started.err.read_text()
        )
        printed = started.out.read_text()
        web, engine, prometheus = (
            re.search(rf"^{name}\b.*(http://127\.0\.0\.1:\d+)", printed, re.MULTILINE)[1]
            for name in ("web UI", "engine", "Prometheus")
        )
        watched = Live(started, web, engine, Prometheus(prometheus), runs)
        assert until(watched.is_ready, START_TIMEOUT_S), printed
        yield watched
    finally:
        started.process.send_signal(signal.SIGTERM)  # it ends what it has started
        started.process.wait(60)


@dataclass(frozen=True)
class Watched:
    """A run that is over: when it was, in wall time, and what its ledger holds."""

    began_at: float
    stopping_at: float
    over_at: float
    page: dict[str, Any]  # of coding agents, before the stop
    ledger: Ledger


@pytest.fixture(scope="module")
def watched(live: Live) -> Watched:
    began_at = time.time()
    live.swarm("watched", TPM)
    target = 'tokenswarm_target_tpm{role="run"}'
    assert until(lambda: live.prometheus.values(target), START_TIMEOUT_S)  # all users are there
    time.sleep(TRAFFIC_S)
    stopping_at = time.time()
    page = live.page()
    live.stop("watched")
    count = len(live.ledger("watched").records)
    turns = 'sum(tokenswarm_turns_total{role="run"})'
    assert until(lambda: live.prometheus.values(turns) == [count], 10.0), (
        f"{live.prometheus.values(turns)} turns in Prometheus, {count} in the ledger"
    )
    return Watched(began_at, stopping_at, time.time(), page, live.ledger("watched"))


@pytest.mark.parametrize(("dashboard", "panel", "query"), QUERIES)
def test_every_panel_has_data(live, watched, dashboard, panel, query):
    expr = executable(query.expr, WINDOW)
    if query.legend in ABSENT or panel.title in NO_DATA:
        assert not live.prometheus.samples(expr, watched.began_at, watched.stopping_at)
        return
    if panel.kind == "stat":
        assert live.prometheus.values(expr, at=watched.stopping_at)
    assert live.prometheus.samples(expr, watched.began_at, watched.stopping_at)


def test_the_marker_says_simulated(live, watched):
    (query,) = DASHBOARDS[0].panels[0].queries
    assert live.prometheus.value(executable(query.expr), at=watched.stopping_at) == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_every_rule_is_evaluated_and_has_data(live, watched, rule):
    name = rule.get("record") or rule["alert"]
    (state,) = (
        found
        for group in live.prometheus.ask("rules")["groups"]
        for found in group["rules"]
        if found["name"] == name
    )
    assert (state["health"], state.get("lastError")) == ("ok", None)
    read = [rule["record"]] if "record" in rule else compared(rule["expr"])
    has_data = [
        bool(live.prometheus.samples(expr, watched.began_at, watched.over_at)) for expr in read
    ]
    if name == "PushesFail":  # nothing pushes here
        assert has_data == [False]
    else:
        assert has_data and all(has_data)


def test_all_pages_are_scraped(live, watched):
    assert live.prometheus.values('up{job="tokenswarm"}') == [1, 1, 1]
    assert live.prometheus.values('up{job="engine"}') == [1]
    if shutil.which("prometheus-pushgateway"):
        assert live.prometheus.values('up{job="pushgateway"}') == [1]


@pytest.mark.parametrize("role", ["run", "worker"])
def test_counters_are_the_ledgers(live, watched, role):
    """The master's page, and its workers' together: each turn once."""

    def counted(name: str) -> float:
        return live.prometheus.value(f'sum(tokenswarm_{name}_total{{role="{role}"}})')

    records = watched.ledger.records
    answered = [r for r in records if r.outcome in ("ok", "cancelled")]
    assert counted("turns") == len(records) > 80
    assert counted("answered_prompt_tokens") == sum(r.prompt_tokens or 0 for r in answered)
    assert counted("cached_prompt_tokens") == sum(r.cached_tokens or 0 for r in answered)
    assert counted("output_tokens") == sum(r.output_tokens or 0 for r in answered)
    assert counted("failures") == sum(r.failed for r in records)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_quantiles_of_ttft_are_within_5_percent_of_the_exact_ones(live, watched, q):
    buckets = 'sum by (le) (tokenswarm_ttft_seconds_bucket{role="run"})'
    shown = live.prometheus.value(f"histogram_quantile({q}, {buckets})")
    ttfts = [r.ttft_s for r in watched.ledger.records if not r.failed and r.ttft_s is not None]
    assert shown == pytest.approx(quantile(sorted(ttfts), q), rel=0.05)


def test_achieved_tpm_is_the_ledgers_within_15_percent(live, watched):
    """Over 20 s, 5 s of them after the answers: at the edges a turn or two may fall out."""
    panel = next(p for p in DASHBOARDS[0].panels if p.title == "Input tokens per minute")
    expr = next(q.expr for q in panel.queries if q.legend == "achieved {{target}}")
    header, length_s, delay_s = watched.ledger.header, 20.0, 2.5
    shown = live.prometheus.value(executable(expr, f"{length_s:g}s"), at=watched.stopping_at)
    until_s = (watched.stopping_at - delay_s - header.started_at) * header.speed
    window = (until_s - length_s * header.speed, until_s)
    tokens = sum(
        r.prompt_tokens or 0
        for r in watched.ledger.records
        if r.outcome == "ok" and window[0] <= r.ended_at_s < window[1]
    )
    assert shown == pytest.approx(tokens * 60 / (window[1] - window[0]), rel=0.15)
    assert shown == pytest.approx(TPM, rel=0.25)


def test_target_tpm_is_what_was_asked_for(live, watched):
    asked = 'tokenswarm_target_tpm{role="run"}'
    assert live.prometheus.value(asked, at=watched.stopping_at - 1) == TPM


def test_the_page_shows_what_both_workers_do(live, watched):
    """While they do it, and then as the report has it."""
    under_way = watched.page
    assert (under_way["state"], under_way["users"]) == ("running", 60)
    assert not under_way["live"]["ended"]
    filled = [window for window in under_way["live"]["windows"] if window["turns"]]
    assert filled and all(window["ttft_p50_s"] for window in filled)
    for name in ("open_sessions", "achieved_tpm"):  # not before the first report of a worker
        assert any(window[name] for window in filled), name
    ended = live.page()
    assert ended["run"]["run"] == "watched" and ended["live"]["ended"]
    assert ended["rows"] == [row(step, open_mode=True) for step in steps(watched.ledger)]
    assert {turn["session"][:2] for turn in live.turns_csv()} == {"w0", "w1"}
    assert len(live.turns_csv()) == len(watched.ledger.records)


def test_prometheus_may_go_and_traffic_goes_on(live, watched):
    """The last test here: there is no view after it."""
    assert until(live.is_ready, 15.0)  # for a second test, within seconds of the first
    live.swarm("unwatched", TPM)
    path = live.runs / "unwatched" / "ledger.jsonl"
    assert until(lambda: path.exists() and path.read_bytes().count(b"\n") > 8, 30.0)
    (prometheus,) = (
        child
        for child in psutil.Process(live.started.process.pid).children()
        if child.name() == "prometheus"
    )
    prometheus.send_signal(signal.SIGKILL)
    assert until(lambda: "Prometheus has ended" in live.started.out.read_text(), 10.0)
    lines = path.read_bytes().count(b"\n")
    assert until(lambda: path.read_bytes().count(b"\n") > lines + 20, 30.0)
    live.stop("unwatched")
    records = live.ledger("unwatched").records
    assert {record.outcome for record in records} <= {"ok", "cancelled", "unfinished"}
    os.kill(live.started.process.pid, signal.SIGTERM)
    assert live.started.process.wait(60) == 0
