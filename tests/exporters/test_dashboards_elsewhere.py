"""The dashboards in somebody else's Grafana: other job names, an imported data source, two servers
of one host under load at once, and every engine. Each expression is executed by a real Prometheus
whose past is what our pages, and those of the engines, showed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from exporters.grafana.__main__ import FOLDER
from exporters.grafana.dashboards import DASHBOARDS
from exporters.grafana.engine_view import ENGINE_VIEW
from exporters.grafana.generator_health import HEALTH
from exporters.grafana.live_traffic import LIVE
from exporters.grafana.panels import Dashboard, Panel
from exporters.prometheus.process_page import Links, Page, Workers
from exporters.prometheus.run_page import Origin, RunPage
from exporters.turns import IDLE
from tests.support.backfilled import Scraped, backfilled, growing, has_prometheus, parsed
from tests.support.prometheus_server import Prometheus
from tests.support.promql import executable
from tests.support.records import failed_record, header, turn_record
from tokenswarm.measure.health import Health
from tokenswarm.measure.record import Level
from tokenswarm.measure.slo import Slo

pytestmark = pytest.mark.skipif(not has_prometheus(), reason="Debian's prometheus is not installed")

PAGES = Path(__file__).parent / "pages"
BEGAN_AT = 1_700_000_000.0  # a whole multiple of no block: any time in the past will do
EVERY_S, SCRAPES = 10.0, 10
OVER_AT = BEGAN_AT + EVERY_S * (SCRAPES - 1)
JOB, ENGINE_JOB = "load test (ours)", "inference"
ALPHA, BETA = "10.0.0.7:8000", "10.0.0.7:8001"  # two servers of one host
OBJECTIVES = ("ttft_p50<1s", "ttft_p99<9s", "tps_p50>40", "failures<5%", "tpm>1k", "hit_share>50%")
TTFTS_S = {ALPHA: 0.5, BETA: 4.0}
# Turns of each 10 s: alpha ten, of which one fails, beta twenty, of which none does.
TURNS = {ALPHA: 10, BETA: 20}
FAILED = {ALPHA: 1, BETA: 0}


@dataclass
class Generator:
    """A process as it shows itself: the master of alpha's run, its worker, or beta's only one."""

    instance: str
    process: str
    run: str
    target: str

    def __post_init__(self) -> None:
        workers = Workers(
            by_state={"running": 1, "ready": 0}, lost=0, without_page=0, refused_records=0
        )
        is_master, is_worker = self.process == "master", self.process.startswith("worker")
        links = Links(
            workers=workers if is_master else None, push_failures=0 if is_master else None
        )
        made = header(run=self.run)
        made = replace(made, target=replace(made.target, url=f"http://{self.target}/v1"))
        self._seen = 0
        self._shown = RunPage(
            made,
            Origin(process=self.process, merged=not is_worker),
            load=lambda: replace(
                IDLE,
                in_flight=3,
                open_sessions=5,
                waiting_tickets=2,
                sent_prompt_tokens=1000 * self._seen,
            ),
            lost_records=lambda: 0 if is_master else None,
            mean_prompt_tokens=1000.0,
            objectives=[] if self.target == BETA else list(map(Slo.parse, OBJECTIVES)),
        )
        self._page = Page(self.process, lambda: links)
        self._page.show(self._shown, self.process)

    def goes_on(self, scrape: int) -> None:
        """Ten more seconds."""
        if scrape in (0, SCRAPES // 2):
            index = 0 if scrape == 0 else 1
            tpm = 60_000.0 * (1 + index)
            self._shown.level(Level(index=index, target_tpm=tpm, developers=None, started_at_s=0.0))
        first = 10.0 + TTFTS_S[self.target]
        count = 0 if scrape == 0 else TURNS[self.target]
        for number in range(count):
            if number < FAILED[self.target]:
                self._shown.turn(failed_record("http_429"))
            else:
                record = turn_record(
                    first_token_at_s=first, first_visible_at_s=first, last_token_at_s=first + 2
                )
                self._shown.turn(record)
        self._seen += count
        self._page.health(
            Health(
                process=self.process,
                at_s=200.0,
                interval_s=10.0,
                hub_lag_p99_s=0.002,
                hub_lag_max_s=0.03,
                cpu_share=0.25,
                rss_bytes=123,
            )
        )

    def scraped(self, at: float) -> Scraped:
        samples = parsed("".join(self._page.pieces()))
        return Scraped(job=JOB, instance=self.instance, at=at, samples=samples)


def made_up_past() -> Iterator[Scraped]:
    generators = (
        Generator("10.0.0.1:9646", "master", "alpha", ALPHA),
        Generator("10.0.0.2:9646", "worker-0", "alpha", ALPHA),
        Generator("10.0.0.3:9646", "local", "beta", BETA),
    )
    engines = {path.stem: parsed(path.read_text()) for path in PAGES.glob("*.txt")}
    for scrape in range(SCRAPES):
        at = BEGAN_AT + EVERY_S * scrape
        for generator in generators:
            generator.goes_on(scrape)
            yield generator.scraped(at)
        for name, samples in engines.items():
            page = growing(samples, scrape / (SCRAPES - 1))
            yield Scraped(job=ENGINE_JOB, instance=name, at=at, samples=page)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with backfilled(list(made_up_past()), folder, lookback_s=1.5 * EVERY_S) as running:
        yield running


def expressions(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    """As they stand in the JSON that is imported: panel and legend, and expression."""
    page = json.loads((FOLDER / f"{dashboard.uid}.json").read_bytes())
    for annotation in page["annotations"]["list"]:
        yield f"{annotation['name']}: annotation", annotation["expr"]
    for panel in page["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']}: {target['legendFormat']}", target["expr"]


def blank(prometheus: Prometheus, dashboard: Dashboard, **chosen: Any) -> set[str]:
    """What has no data over the whole run, with these choices at the top of the page."""
    return {
        name
        for name, expr in expressions(dashboard)
        if not prometheus.samples(executable(expr, **chosen), BEGAN_AT, OVER_AT, EVERY_S)
    }


def panel(dashboard: Dashboard, title: str) -> Panel:
    return next(panel for panel in dashboard.panels if panel.title == title)


# What cannot be there: closed mode's figure in open mode, and a real endpoint has no engine clock.
OPEN_MODE = {"Developers: developers asked for {{target}}"}
SIMULATION = {
    "Embedded engine's own lateness, p99: steps {{instance}}",
    "Embedded engine's own lateness, p99: arrivals {{instance}}",
}


def test_every_panel_of_a_run_is_filled_under_other_names(prometheus):
    chosen = dict(job=JOB, run="alpha", target=ALPHA, engine_job=ENGINE_JOB, engine="vllm")
    assert blank(prometheus, LIVE, **chosen) == OPEN_MODE
    assert blank(prometheus, HEALTH, **chosen) == SIMULATION
    assert blank(prometheus, ENGINE_VIEW, **chosen) == set()


def test_the_other_server_of_the_host_fills_them_too(prometheus):
    """One process alone, no --slo, no failure: what there is not has no data, and nothing else."""
    chosen = dict(job=JOB, run="beta", target=BETA, engine_job=ENGINE_JOB, engine="sglang")
    no_objectives = {name for name, expr in expressions(LIVE) if "tokenswarm_objective" in expr} | {
        "Failures: {{failure}} {{target}}"
    }
    assert blank(prometheus, LIVE, **chosen) == OPEN_MODE | no_objectives
    of_a_master = {
        f"{title}: "
        for title in (
            *("Workers running", "Workers lost", "Records lost", "Out of sight", "Failed pushes"),
        )
    }
    assert blank(prometheus, HEALTH, **chosen) == SIMULATION | of_a_master


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)
def test_where_nothing_is_measured_nothing_is_shown(prometheus, dashboard):
    """No panel falls back to 0, which would be green."""
    every = {name for name, _ in expressions(dashboard)}
    assert blank(prometheus, dashboard, job="nobody", engine_job="nobody") == every


def test_two_servers_of_one_host_are_two_lines_with_their_own_figures(prometheus):
    def shown(dashboard: Dashboard, title: str, query: int = 0, **chosen: Any) -> dict[str, float]:
        expr = panel(dashboard, title).queries[query].expr
        return prometheus.by_label(executable(expr, **chosen), "target", OVER_AT)

    ttft = shown(LIVE, "TTFT")
    assert ttft == pytest.approx(TTFTS_S, rel=0.05)
    assert shown(LIVE, "TTFT", target=BETA).keys() == {BETA}
    assert shown(LIVE, "TTFT", run="alpha").keys() == {ALPHA}
    assert shown(LIVE, "TTFT", target=(ALPHA, BETA)).keys() == {ALPHA, BETA}
    # 10 s of turns are counted in 10 s of wall time, which are 200 s of the run at speed 20.
    tpm = {where: (TURNS[where] - FAILED[where]) * 1000 * 60 / 200 for where in (ALPHA, BETA)}
    assert shown(LIVE, "Achieved TPM") == pytest.approx(tpm)
    assert shown(LIVE, "Failed turns") == pytest.approx({ALPHA: 0.1, BETA: 0.0})
    assert shown(LIVE, "Endpoint") == {ALPHA: 1, BETA: 1}


def test_no_turn_is_no_share_of_failures(prometheus):
    """Before the first turn has ended, not 0%."""
    (query,) = panel(LIVE, "Failed turns").queries
    assert prometheus.values(executable(query.expr), BEGAN_AT) == []


def test_the_choices_at_the_top_offer_what_is_there(prometheus):
    def offered(name: str, **chosen: Any) -> list[str]:
        variable = next(v for v in ENGINE_VIEW.variables if v.name == name)
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.values)
        assert asked is not None
        selector = executable(asked[1], **chosen)
        found: list[str] = prometheus.ask(
            f"label/{asked[2]}/values?match[]={quote(selector)}&start={BEGAN_AT}&end={OVER_AT}"
        )
        return found

    assert offered("job") == [JOB]
    assert offered("run") == ["alpha", "beta"]
    assert offered("target") == [ALPHA, BETA]
    assert offered("target", run="beta") == [BETA]
    assert offered("engine_job") == [ENGINE_JOB]
    assert offered("engine") == sorted(path.stem for path in PAGES.glob("*.txt"))


def test_levels_are_stretches_that_say_what_they_ask_for(prometheus):
    (annotation,) = LIVE.annotations
    expr = executable(annotation.expr, run="alpha")
    early, late = BEGAN_AT + EVERY_S, OVER_AT
    assert prometheus.by_label(expr, "asked", early) == {"0.06M TPM": 1}
    assert prometheus.by_label(expr, "asked", late) == {"0.12M TPM": 1}
    assert prometheus.by_label(expr, "level", late) == {"1": 1}


def test_limits_are_those_of_the_run(prometheus):
    """From --slo; a run without has none, so its stats are neither green nor red."""

    def limits(title: str, **chosen: Any) -> dict[str, float]:
        found = panel(LIVE, title).objective
        assert found is not None
        return prometheus.by_label(executable(found.expr, **chosen), "objective", OVER_AT)

    assert limits("TTFT") == {"ttft_p50<1s": 1, "ttft_p99<9s": 9}
    assert limits("TTFT p50") == {"ttft_p50<1s": 1}
    assert limits("Failed turns") == pytest.approx({"failures<5%": 0.05})
    assert limits("TPS per user") == {"tps_p50>40": 40}
    assert limits("Input tokens per minute") == {"tpm>1k": 1000}
    assert limits("Prefix cache hits") == {"hit_share>50%": 0.5}
    assert limits("TTFT p50", run="beta") == {}


# What an engine's page lets the engine's lines of each panel show, of `pages/`: counters grew from
# 0 to what stands there within 90 s.
PER_MIN = 60 / (OVER_AT - BEGAN_AT)
PER_S = PER_MIN / 60
SHOWN: dict[str, Any] = {
    "vllm": {
        "TTFT p50": 0.5,
        "Input tokens per minute": 24442 * PER_MIN,
        "Prefix cache hits": 14976 / 24442,
        "KV cache in use": 0.5,
        "Requests": 3,
        "Preemptions": 8 * PER_MIN,
        "Acceptance": 0.5,
        "Output tokens per second": 1600 * PER_S,
    },
    "sglang": {
        "TTFT p50": 0.5,
        "Input tokens per minute": 20000 * PER_MIN,
        "Prefix cache hits": 0.75,  # and not 1.5, its sources and their total
        "KV cache in use": 0.5,
        "Requests": 3,
        "Preemptions": 8 * PER_MIN,
        "Acceptance": 0.6,
        "Output tokens per second": 1600 * PER_S,
    },
    "tensorrt-llm": {
        "TTFT p50": 0.5,
        "Input tokens per minute": 20000 * PER_MIN,
        "Prefix cache hits": 0.75,
        "KV cache in use": 0.5,
        "Requests": 3,
        "Preemptions": 2,
        "Acceptance": 0.6,
        "Output tokens per second": 1600 * PER_S,
    },
    # Its counter of prompt tokens leaves out what it found in its cache.
    "llama.cpp": {
        "Input tokens per minute": (716 + 1426) * PER_MIN,
        "Prefix cache hits": 1426 / (716 + 1426),
        "Requests": 0,
        "Output tokens per second": 60 * PER_S,
    },
    "dynamo-frontend": {
        "TTFT p50": None,  # in the first bucket
        "Input tokens per minute": 12644 * PER_MIN,
        "Prefix cache hits": 8256 / 12644,
        "Requests": 0,
        "Output tokens per second": 80 * PER_S,
    },
    "dynamo-mocker-vllm": {
        "TTFT p50": None,
        "KV cache in use": 0,
        "Requests": 0,
        "Preemptions": 0,
    },
    "dynamo-mocker-sglang": {
        "TTFT p50": None,
        "Prefix cache hits": 0.8207076703870815,
        "Requests": 0,
    },
    "dynamo-mocker-trtllm": {
        "TTFT p50": None,
        "KV cache in use": 0,
        "Requests": 0,
        "Preemptions": 0,
    },
}
SHOWN["sglang-without-total"] = SHOWN["sglang"]


@pytest.mark.parametrize("engine", sorted(path.stem for path in PAGES.glob("*.txt")))
def test_an_engine_fills_the_panels_that_it_has_figures_for(prometheus, engine):
    shown = {}
    for panel in ENGINE_VIEW.panels:
        if any("$engine" in query.expr for query in panel.queries):
            expr = next(query.expr for query in panel.queries if "$engine" in query.expr)
            values = prometheus.by_label(
                executable(expr, engine_job=ENGINE_JOB, engine=engine), "instance", OVER_AT
            )
            if values:
                assert values.keys() == {engine}
                shown[panel.title] = values[engine]
    known = {title: value for title, value in SHOWN[engine].items() if value is not None}
    assert shown.keys() == SHOWN[engine].keys()
    assert {title: shown[title] for title in known} == pytest.approx(known, rel=1e-3)


def test_all_engines_at_once_are_a_line_each(prometheus):
    (running, *_) = panel(ENGINE_VIEW, "Requests").queries
    shown = prometheus.by_label(executable(running.expr), "instance", OVER_AT)
    assert shown.keys() == {path.stem for path in PAGES.glob("*.txt")}
