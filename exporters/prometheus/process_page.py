"""What one process shows Prometheus: itself, its links to others, and its run.

docs/metrics.md, "Prometheus", says what each series is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exporters.prometheus.run_page import RunPage
from tokenswarm.measure.health import Health


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """A master's view of its workers. by_state: how many are ready, spawning, running, missing;
    lost: of the run, gone before its end; without_page: connected, and not to be scraped;
    refused_records: turn records of a run that this master does not know."""

    by_state: Mapping[str, int]
    lost: int
    without_page: int
    refused_records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """How a process stands with others. workers: None but on a master; push_failures: None where
    nothing is pushed; master_silent_s: of a worker, wall seconds since it last heard its master."""

    workers: Workers | None = None
    push_failures: int | None = None
    master_silent_s: float | None = None


class Page(Collector):
    """Everything that one process shows: its health, its links, and the last run it was in."""

    def __init__(self, process: str, links: Callable[[], Links]) -> None:
        self._process = process
        self._links = links
        self._version = version("tokenswarm")
        self._run: RunPage | None = None
        self._health: Health | None = None
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def show(self, run: RunPage, process: str) -> None:
        """The series of an earlier run are gone."""
        self._run, self._process, self._health = run, process, None

    def rest(self) -> None:
        """The run has ended: its series stay, but how the process did in its last seconds is no
        news any more, and alerts on it would never cease."""
        self._health = None

    def health(self, health: Health) -> None:
        """Of this process; a listener of a `TurnFeed`, which on a master brings the others' too."""
        if health.process == self._process:
            self._health = health

    def pieces(self) -> Iterator[str]:
        """The page in Prometheus' text format, piece by piece, none longer than 5 ms to make."""
        yield generate_latest(self.registry).decode()
        if self._run is not None:
            yield from self._run.histograms()

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily(
            "tokenswarm_build_info", "tokenswarm", labels=("process", "version")
        )
        build.add_metric((self._process, self._version), 1)
        yield build
        yield from self._health_families()
        yield from self._link_families(self._links())
        if self._run is not None:
            yield from self._run.families()

    def _health_families(self) -> Iterator[Metric]:
        health = self._health
        if health is None:
            return
        lags = {"p99": health.hub_lag_p99_s, "max": health.hub_lag_max_s}
        for which, lag_s in lags.items():
            if lag_s is not None:
                name = f"hub_lag_{which}_seconds"
                yield self._family(GaugeMetricFamily, name, "How late greenlets wake up", lag_s)
        yield self._family(GaugeMetricFamily, "cpu_ratio", "Cores used", health.cpu_share)
        yield self._family(
            GaugeMetricFamily, "resident_memory_bytes", "Resident memory", health.rss_bytes
        )

    def _link_families(self, links: Links) -> Iterator[Metric]:
        if links.workers is not None:
            yield from self._worker_families(links.workers)
        if (failures := links.push_failures) is not None:
            yield self._family(CounterMetricFamily, "push_failures", "Pushes failed", failures)
        if (silent_s := links.master_silent_s) is not None:
            yield self._family(
                GaugeMetricFamily, "master_silent_seconds", "Since a word of the master", silent_s
            )

    def _worker_families(self, workers: Workers) -> Iterator[Metric]:
        states = GaugeMetricFamily("tokenswarm_workers", "By state", labels=("process", "state"))
        for state, count in workers.by_state.items():
            states.add_metric((self._process, state), count)
        yield states
        yield self._family(
            CounterMetricFamily, "workers_lost", "Workers of the run that are gone", workers.lost
        )
        yield self._family(
            GaugeMetricFamily,
            "workers_without_metrics",
            "Connected, and with no page of their own",
            workers.without_page,
        )
        yield self._family(
            CounterMetricFamily,
            "records_refused",
            "Turn records of a run that this master does not know",
            workers.refused_records,
        )

    def _family(
        self,
        kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        what: str,
        value: float,
    ) -> Metric:
        family = kind(f"tokenswarm_{name}", what, labels=("process",))
        family.add_metric((self._process,), value)
        return family
