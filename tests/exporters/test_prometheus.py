"""The page's figures are those of the records; its size has a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from exporters.prometheus.process_page import Links, Page, Workers
from exporters.prometheus.run_histograms import LEVELS_KEPT
from exporters.prometheus.run_page import Origin, RunPage, target_label
from exporters.turns import IDLE
from tests.support.records import failed_record, header, turn_record, unfinished_record
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import Header
from tokenswarm.measure.record import FAILURE_KINDS, OUTCOMES, UNSENT, Level
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.tally import Tally

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
KINDS = ("start", "tool", "user", "compaction")
LOAD = replace(
    IDLE, in_flight=3, open_sessions=5, told_to_wait=1, waiting_tickets=2, sent_prompt_tokens=7000
)
# docs/metrics.md, "Size".
MOST_SERIES_OF_A_WORKER, MOST_SERIES_OF_A_RUN = 2_600, 8_500


@lru_cache(maxsize=2)
def parsed(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


class View:
    """A page, and what stands on it."""

    def __init__(
        self,
        *,
        process: str = "local",
        made: Header | None = None,
        objectives: Sequence[Slo] = (),
    ) -> None:
        self.links = Links()
        self._objectives = objectives
        self.page = Page(process, lambda: self.links)
        self.show(process, made or header())

    def show(self, process: str, made: Header) -> None:
        self.run = RunPage(
            made,
            Origin(process=process, merged=not process.startswith("worker")),
            load=lambda: LOAD,
            lost_records=lambda: 4 if process == "master" else None,
            mean_prompt_tokens=88_000.0,
            objectives=self._objectives,
        )
        self.page.show(self.run, process)

    def text(self) -> str:
        return "".join(self.page.pieces())

    def samples(self) -> list[Sample]:
        return parsed(self.text())

    def value(self, name: str, **labels: str) -> float | None:
        """The sum over all series with these labels; None without any."""
        found = [
            s.value
            for s in self.samples()
            if s.name == f"tokenswarm_{name}" and labels.items() <= s.labels.items()
        ]
        return sum(found) if found else None


WORKERS = Workers(
    by_state={"ready": 0, "spawning": 0, "running": 2, "missing": 1},
    lost=1,
    without_page=1,
    refused_records=6,
)


def level(index: int, **changes) -> Level:
    values = dict(index=index, target_tpm=2.5e6, developers=None, started_at_s=0.0)
    return Level(**(values | changes))


def test_counters_are_the_sums_of_the_records():
    view = View()
    records = [
        turn_record(prompt_tokens=1010, cached_tokens=800, output_tokens=100),
        turn_record(prompt_tokens=None, cached_tokens=None, output_tokens=None),
        turn_record(outcome="cancelled", prompt_tokens=500, cached_tokens=None, output_tokens=7),
        unfinished_record(),
        failed_record("http_429"),
        unfinished_record(outcome="http_429", kind="user"),
        turn_record(kind=UNSENT, outcome="unfinished", sent_at_s=None, planned_prompt_tokens=88),
    ]
    for record in records:
        view.run.turn(record)
    assert view.value("turns_total", outcome="ok") == 2
    assert view.value("turns_total", outcome="cancelled") == 1
    assert view.value("turns_total", outcome="unfinished") == 2
    assert view.value("turns_total", outcome="failed", kind="user") == 1
    assert view.value("failures_total", failure="http_429") == 2
    assert view.value("answered_prompt_tokens_total") == 1010 + 1000 + 500
    assert view.value("planned_prompt_tokens_total") == 3000
    assert view.value("ideal_cached_prompt_tokens_total") == 2700
    assert view.value("cached_prompt_tokens_total") == 800
    assert view.value("cache_reported_prompt_tokens_total") == 1010
    assert view.value("output_tokens_total") == 107
    assert view.value("output_chunks_total") == 300
    assert view.value("offered_prompt_tokens_total") == 7000 + 88
    assert view.value("stamped_turns_total", stamps="kernel") == 6


def test_the_hit_share_is_the_tallys_misses_inferred_before_and_after_the_first_hit():
    view = View()
    records = [
        turn_record(turn=0, cached_tokens=None),
        turn_record(turn=1, cached_tokens=700),
        turn_record(turn=2, cached_tokens=None, prompt_tokens=2000),
        turn_record(turn=3, cached_tokens=None, outcome="cancelled"),
    ]
    for record in records:
        view.run.turn(record)
    cached = view.value("cached_prompt_tokens_total")
    known = view.value("cache_reported_prompt_tokens_total")
    assert cached is not None and known is not None
    assert cached / known == Tally(records).summary((0.0, 100.0)).hit_share == 700 / 4000


def test_a_server_that_reports_no_cached_tokens_leaves_the_hit_share_unknown():
    view = View()
    view.run.turn(turn_record(cached_tokens=None))
    assert view.value("cache_reported_prompt_tokens_total") == 0


def test_histograms_hold_what_the_tally_would_take():
    view = View()
    view.run.level(level(0))
    records = [
        turn_record(kind="tool", chunk_gaps_s=(0.02, 0.03)),
        turn_record(kind="user", first_token_at_s=12.0, first_visible_at_s=None),
        turn_record(outcome="cancelled"),
        failed_record("stall_timeout", first_token_at_s=11.0),
        unfinished_record(),
    ]
    for record in records:
        view.run.turn(record)
    summary = Tally(records).summary((0.0, 100.0))
    # The cut-off turn is longer than its wait, by what no bucket can hold.
    times = Tally(records[:-1]).summary((0.0, 100.0))
    counts = {
        "ttft_seconds": times.ttft_s,
        "visible_ttft_seconds": times.visible_ttft_s,
        "ttft_from_schedule_seconds": times.ttft_from_schedule_s,
        "decode_tokens_per_second": times.decode_tps,
        "tpot_seconds": times.tpot_s,
        "e2e_seconds": times.e2e_s,
        "turn_output_tokens": summary.output_tokens,
        "turn_prompt_tokens": summary.prompt_tokens,
        "lateness_seconds": summary.lateness_s,
        "stamp_lag_seconds": summary.stamp_lag_s,
    }
    for name, spread in counts.items():
        assert view.value(f"{name}_count") == spread.count, name
        assert view.value(f"{name}_sum") == pytest.approx((spread.mean or 0) * spread.count), name
    assert view.value("chunk_gap_seconds_count") == 2
    assert view.value("ttft_seconds_sum", level="0", kind="user") == pytest.approx(2.0)


def test_gauges_say_what_is_asked_for_and_are_absent_between_levels():
    view = View()
    assert view.value("target_tpm") is None
    view.run.level(level(2))
    assert (view.value("target_tpm"), view.value("level")) == (2.5e6, 2)
    assert view.value("target_developers") is None
    view.run.level(level(2, ended_at_s=9.0))
    assert view.value("target_tpm") is view.value("level") is None
    view.run.level(level(3, target_tpm=None, developers=12))
    assert (view.value("target_developers"), view.value("target_tpm")) == (12, None)


def test_load_speed_and_the_run_stand_on_the_page():
    view = View(process="master")
    shown = ("in_flight_turns", "open_sessions", "told_to_wait", "waiting_tickets", "speed", "gpus")
    assert [view.value(name) for name in shown] == [3, 5, 1, 2, 20, 4]
    assert view.value("run_info", run="demo", mode="tpm", version="0.1.0") == 1
    assert view.value("profile_mean_prompt_tokens") == 88_000
    assert view.value("records_lost_total") == 4


def test_every_series_of_the_traffic_says_whose_it_is_and_that_it_is_simulated():
    view = View(process="worker-1")
    view.run.turn(turn_record())
    wanted = {
        "role": "worker",
        "process": "worker-1",
        "run": "demo",
        "target": "127.0.0.1:8000",
        "simulated": "true",
        "profile": "seed",
    }
    samples = [s for s in view.samples() if s.name != "tokenswarm_build_info"]
    assert len(samples) > 1000
    assert all(wanted.items() <= sample.labels.items() for sample in samples)
    assert all("level" not in sample.labels for sample in samples)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://127.0.0.1:8001/v1", "127.0.0.1:8001"),
        ("https://llm.example.com/v1", "llm.example.com:443"),
        ("http://name:secret@llm.example.com/secret", "llm.example.com:80"),
        ("http://[::1]:8000/v1", "[::1]:8000"),
    ],
)
def test_a_target_is_its_host_and_port_and_never_the_url(url, label):
    made = header(target=replace(header().target, url=url))
    assert target_label(made) == label
    view = View(made=made)
    assert view.value("speed", target=label) is not None
    assert view.value("run_info", target=label, engine="sim:trtllm-like") == 1
    assert "secret" not in view.text() and "http:" not in view.text()


def test_what_is_not_declared_is_not_shown():
    target = replace(header().target, engine=None, simulated=False, gpus=None)
    view = View(made=header(target=target))
    assert view.value("run_info", simulated="false", engine="") == 1
    assert view.value("gpus") is view.value("objective") is None


def test_objectives_are_shown_with_their_threshold_in_seconds_and_shares():
    slos = [Slo.parse(text) for text in ("ttft_p50<900ms", "failures<0.5%", "tpm>2.5M")]
    view = View(objectives=slos)
    assert view.value("objective", metric="ttft", percent="50") == pytest.approx(0.9)
    assert view.value("objective", objective="failures<0.5%", percent="") == pytest.approx(0.005)
    assert view.value("objective", metric="tpm") == 2.5e6


def test_the_level_that_is_on_says_what_it_asks_for():
    view = View()
    assert view.value("level_info") is None
    view.run.level(level(0, target_tpm=1_250_000.0))
    assert view.value("level_info", level="0", asked="1.25M TPM") == 1
    view.run.level(level(1, target_tpm=None, developers=12))
    assert view.value("level_info", level="1", asked="12 developers") == 1
    assert view.value("level_info") == 1
    view.run.level(level(1, target_tpm=None, developers=12, ended_at_s=50.0))
    assert view.value("level_info") is None


def test_free_text_of_a_server_never_becomes_a_label():
    view = View()
    view.run.turn(failed_record("http_5xx", detail="secret words", session="w0.u1.s2"))
    assert "secret" not in view.text() and "w0.u1" not in view.text()


def test_series_of_a_run_before_are_gone():
    view = View()
    view.run.turn(turn_record())
    view.show("local", header(run="second"))
    assert view.value("turns_total") == 0
    assert view.value("run_info", run="demo") is None
    assert view.value("run_info", run="second") == 1


def fill(view: View, levels: int) -> None:
    for index in range(levels):
        view.run.level(level(index))
        for kind, outcome in product((*KINDS, UNSENT), OUTCOMES):
            view.run.turn(turn_record(kind=kind, outcome=outcome, level=index))
            view.run.turn(turn_record(kind=kind, outcome=outcome, level=None))


@pytest.mark.parametrize(
    ("process", "most"), [("worker-0", MOST_SERIES_OF_A_WORKER), ("master", MOST_SERIES_OF_A_RUN)]
)
def test_the_number_of_series_has_the_bound_that_is_documented(process, most):
    view = View(process=process)
    view.links = Links(workers=WORKERS, push_failures=1, master_silent_s=1.0)
    view.page.health(health(process))
    fill(view, LEVELS_KEPT + 1)
    count = len(view.samples())
    fill(view, LEVELS_KEPT + 12)
    assert len(view.samples()) == count <= most
    assert f"{most:,}" in DOCS


def test_a_late_turn_of_a_level_that_is_gone_is_still_counted():
    view = View()
    fill(view, LEVELS_KEPT + 3)
    before = view.value("ttft_seconds_count")
    view.run.turn(turn_record(level=0))
    after = view.value("ttft_seconds_count")
    assert before is not None and after == before + 1
    assert view.value("ttft_seconds_count", level="0") is None


def health(process: str, **changes) -> Health:
    values: dict[str, Any] = dict(
        process=process,
        at_s=200.0,
        interval_s=10.0,
        hub_lag_p99_s=0.002,
        hub_lag_max_s=0.03,
        cpu_share=0.25,
        rss_bytes=123,
    )
    return Health(**(values | changes))


def test_health_is_that_of_this_process_and_unknown_lag_is_absent():
    view = View(process="master")
    view.page.health(health("master"))
    view.page.health(health("worker-0", cpu_share=0.9))
    assert view.value("cpu_ratio", process="master") == 0.25
    assert view.value("hub_lag_p99_seconds") == 0.002
    assert view.value("hub_lag_max_seconds") == 0.03
    assert view.value("resident_memory_bytes") == 123
    view.page.health(health("master", hub_lag_p99_s=None, hub_lag_max_s=None))
    assert view.value("hub_lag_p99_seconds") is None


def test_after_the_run_its_figures_stay_and_the_health_of_its_last_seconds_goes():
    view = View(process="master")
    view.run.turn(turn_record())
    view.page.health(health("master", hub_lag_max_s=0.9))
    view.page.rest()
    assert view.value("turns_total", outcome="ok") == 1
    assert view.value("hub_lag_max_seconds") is view.value("cpu_ratio") is None


def test_a_master_counts_its_workers():
    view = View(process="master")
    assert view.value("workers") is None
    view.links = Links(workers=WORKERS)
    assert view.value("workers", state="running") == 2
    assert view.value("workers_lost_total") == 1
    assert view.value("workers_without_metrics") == 1
    assert view.value("records_refused_total") == 6


def test_a_worker_says_how_long_its_master_is_silent_and_a_pusher_what_failed():
    view = View(process="worker-0")
    assert view.value("master_silent_seconds") is view.value("push_failures_total") is None
    view.links = Links(push_failures=0, master_silent_s=4.5)
    assert view.value("master_silent_seconds", process="worker-0") == 4.5
    assert view.value("push_failures_total") == 0


def test_every_series_on_the_page_is_documented_with_its_labels():
    view = View(process="master", objectives=[Slo.parse("ttft_p50<1s")])
    view.links = Links(workers=WORKERS, push_failures=1, master_silent_s=1.0)
    view.page.health(health("master"))
    view.run.level(level(0))
    view.run.level(level(1, developers=3))
    view.run.turn(turn_record())
    families = list(text_string_to_metric_families(view.text()))
    assert len(families) > 35
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in DOCS, name
        assert family.documentation, name
        for label in {label for s in family.samples for label in s.labels} - {"le"}:
            assert f"`{label}`" in DOCS, label
    assert all(f"`{kind}`" in DOCS for kind in (*KINDS, UNSENT, *FAILURE_KINDS))


def test_the_page_is_a_registry_of_prometheus_own_library():
    """Its counters and gauges; a fault in a family would show here as an exception."""
    assert generate_latest(View().page.registry)
