"""What exporting costs a worker at 200 turns a second: records, scrapes, health.

Every part is CPU of this process. Records are of 450 output tokens in as many chunks; the page is
fetched over HTTP by another process, every two seconds as in the shipped configuration, so the cost
of a scrape is shared by 400 turns.

    python scripts/bench_exporter.py
"""

from __future__ import annotations

from locust import events as _patched  # noqa: F401  (gevent patches the process, as in a run)

import multiprocessing
import time
import urllib.request

import gevent
from tabulate import tabulate

from exporters.prometheus.process_page import Links, Page
from exporters.prometheus.run_page import Origin, RunPage
from exporters.prometheus.scrape import PageServer
from exporters.turns import IDLE, TurnFeed
from tokenswarm.measure.fingerprint import Fingerprint
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import Header, Target
from tokenswarm.measure.record import TurnRecord
from tokenswarm.shell.health_sampler import PROBE_S, HealthSampler

TURNS_PER_S = 200
SCRAPE_EVERY_S = 2.0  # exporters/prometheus/provisioning/prometheus.yml
MOST_SHARE = 0.02  # of a core: issue 4
TURNS = 20_000
SCRAPES = 40
HEALTH_S = 6.0


def record(number: int) -> TurnRecord:
    """An ok turn of 450 output tokens; TTFT runs over the grid."""
    ttft_s = 0.02 * 1.004 ** (number % 2000)
    return TurnRecord(
        session=f"w0.u{number % 300}.s0",
        turn=number,
        kind=("start", "tool", "user")[number % 3],
        level=0,
        text_tokens=88_000,
        planned_prompt_tokens=88_000,
        planned_output_tokens=450,
        ideal_cached_tokens=80_000,
        body_bytes=350_000,
        scheduled_at_s=0.0,
        sent_at_s=0.01,
        body_sent_at_s=0.011,
        head_at_s=0.02,
        first_token_at_s=0.01 + ttft_s,
        first_visible_at_s=0.01 + ttft_s,
        last_token_at_s=10.0 + ttft_s,
        ended_at_s=10.0 + ttft_s,
        prompt_tokens=88_000,
        cached_tokens=79_000,
        output_tokens=450,
        reasoning_tokens=None,
        output_chunks=450,
        first_chunk_tokens=1,
        chunk_gaps_s=(0.022,) * 449,
        stamps="kernel",
        stamp_lag_s=0.0001,
        coalesced_reads=0,
        outcome="ok",
        status=200,
        free_at_s=0.0,
    )


def worker_page() -> tuple[Page, RunPage]:
    fingerprint = Fingerprint(
        profile="seed",
        profile_hash="",
        seed=1,
        corpus_hash="",
        tokenizer="embedded",
        mode="tpm",
        version="bench",
    )
    target = Target(url="http://127.0.0.1:8000/v1", model="m", simulated=True)
    header = Header(
        run="bench", fingerprint=fingerprint, started_at=0.0, speed=1.0, target=target, worker=0
    )
    page = Page("worker-0", Links)
    run = RunPage(
        header,
        Origin(process="worker-0", merged=False),
        load=lambda: IDLE,
        lost_records=lambda: None,
        mean_prompt_tokens=88_000.0,
    )
    page.show(run, "worker-0")
    return page, run


def cpu_per_turn_s(run: RunPage) -> float:
    records = [record(number) for number in range(TURNS)]
    before_s = time.process_time()
    for one in records:
        run.turn(one)
    return (time.process_time() - before_s) / TURNS


def fetch(url: str, times: int) -> None:
    for _ in range(times):
        with urllib.request.urlopen(url, timeout=30) as answer:
            answer.read()


def cpu_per_scrape_s(page: Page) -> float:
    """Rendered, and sent over a connection of its own."""
    server = PageServer("127.0.0.1", 0, page.pieces, None)
    spawn = multiprocessing.get_context("spawn")
    url = f"http://127.0.0.1:{server.port}/metrics"
    client = spawn.Process(target=fetch, args=(url, SCRAPES), daemon=True)
    before_s = time.process_time()
    client.start()
    while client.is_alive():
        gevent.sleep(0.05)
    server.close()
    if client.exitcode:
        raise RuntimeError("the page could not be fetched")
    return (time.process_time() - before_s) / SCRAPES


def cpu_share_of_health() -> float:
    """Sampler and probe, of a core."""
    feed = TurnFeed()
    seen: list[Health] = []
    feed.subscribe(lambda turn: None, on_health=seen.append)
    sampler = HealthSampler(feed, "worker-0", lambda: 0.0)
    gevent.sleep(HEALTH_S)
    sampler.close()
    return float(seen[-1].cpu_share)


def main() -> list[tuple[str, float, str]]:
    """Rows of (name, value, unit), printed as a table."""
    page, run = worker_page()
    turn_s, scrape_s, health = cpu_per_turn_s(run), cpu_per_scrape_s(page), cpu_share_of_health()
    lines = "".join(page.pieces()).splitlines()
    share = TURNS_PER_S * turn_s + scrape_s / SCRAPE_EVERY_S + health
    rows = [
        ("CPU of counting a turn of 450 chunks", turn_s * 1e6, "us"),
        ("CPU of a scrape of a worker's page", scrape_s * 1e3, "ms"),
        ("series on that page", float(sum(not line.startswith("#") for line in lines)), ""),
        ("CPU of a probe of the hub", health * PROBE_S * 1e3, "ms"),
        ("CPU of health sampling", health * 100, "% of a core"),
        (f"exporting at {TURNS_PER_S} turns/s, all of it", share * 100, "% of a core"),
        ("the same, target", MOST_SHARE * 100, "% of a core"),
    ]
    print(tabulate(rows, headers=("what", "value", "unit"), floatfmt=".3f"))
    return rows


if __name__ == "__main__":
    main()
