"""The run as Prometheus sees it: docs/metrics.md, "Prometheus", says what each series is.

Counters and gauges are families of a `prometheus_client` registry; the histograms write their own
text (exporters/histogram.py). The client library has no native histograms to observe with
(0.26 parses and writes them, no more), so the buckets are classic ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exporters.histogram import Histogram, grid
from exporters.turns import Load
from measure.health import Health
from measure.ledger import Header
from measure.record import FAILURE_KINDS, UNSENT, Level, TurnRecord
from measure.tally import ANSWERED, prompt_tokens

# Quantiles of these are read off, so 5% is the most that they may be off by.
FINE = 1.05
TIMES_S = grid(0.0095, 600.0, FINE)  # 10 ms, above the first bound, to 10 min
SPEEDS_TPS = grid(0.5, 2000.0, FINE)  # 2 s to 0.5 ms a token
TPOT_S = grid(0.0005, 2.0, FINE)
# These tell how something is spread.
COARSE = 1.5
GAPS_S = grid(0.0005, 60.0, COARSE)
LATENESS_S = grid(0.0005, 600.0, COARSE)
STAMP_LAG_S = grid(0.00001, 10.0, COARSE)
SIZES_TOKENS = grid(10, 1e6, COARSE)

# The page holds so many levels, so that the number of series has a bound; Prometheus keeps more.
LEVELS_KEPT = 4
NO_LEVEL = "none"
# What every profile sends.
USUAL_KINDS = ("start", "tool", "user")

_TOKENS = {
    "planned": "Planned prompt tokens of turns answered",
    "answered": "Prompt tokens of turns answered: the server's count, else the planned one",
    "ideal_cached": "Prompt tokens that an endless cache would have held, of turns answered",
    "cached": "Prompt tokens that the server says it took from its cache, of turns answered",
    "cache_reported": "Prompt tokens of turns answered with a known number of cached tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose page it is. merged: it sees every turn of the run (a master, or the only process)."""

    process: str
    merged: bool


def short_target(header: Header) -> str:
    """The engine where it is known, else the host's name: a label, never the URL."""
    return header.target.engine or header.target.url.split("//")[-1].split("/")[0].split(":")[0]


class RunPage:
    """A run's series. `turn` and `level` are listeners of a `TurnFeed`."""

    def __init__(
        self,
        header: Header,
        origin: Origin,
        *,
        load: Callable[[], Load | None],
        lost_records: Callable[[], int | None],
        mean_prompt_tokens: float,
    ) -> None:
        """load: what is under way, None where unknown; lost_records: None but on a master;
        mean_prompt_tokens: what the profile promises."""
        self._labels = {
            "role": "run" if origin.merged else "worker",
            "process": origin.process,
            "target": short_target(header),
            "simulated": "true" if header.target.simulated else "false",
            "profile": header.fingerprint.profile,
        }
        self._header = header
        self._merged = origin.merged
        self._load = load
        self._lost_records = lost_records
        self._mean_prompt_tokens = mean_prompt_tokens
        self._level: Level | None = None
        self._ends = Counter({(kind, "ok"): 0 for kind in USUAL_KINDS})
        self._failures = Counter({(kind,): 0 for kind in FAILURE_KINDS})
        self._tokens = Counter(dict.fromkeys(_TOKENS, 0))
        self._unsent_tokens = self._output_tokens = 0
        self._chunks = self._coalesced_reads = 0
        self._stamped = Counter({("kernel",): 0, ("clock",): 0})
        self._reports_cached = False
        self._cache_unknown_tokens = 0  # of ok turns, until the first that reports cached tokens
        self._make_histograms()
        if not origin.merged:
            self._begin_histograms()

    def _make_histograms(self) -> None:
        def histogram(name: str, what: str, bounds: tuple[float, ...], *own: str) -> Histogram:
            made = Histogram(f"tokenswarm_{name}", what, bounds, self._labels, own)
            self._histograms.append(made)
            return made

        by_level = ("level",) if self._merged else ()
        self._histograms: list[Histogram] = []
        self._ttft = histogram(
            "ttft_seconds", "First byte sent to first output", TIMES_S, *by_level, "kind"
        )
        self._decode_tps = histogram(
            "decode_tokens_per_second", "Decode speed of one user", SPEEDS_TPS, *by_level
        )
        self._visible_ttft = histogram(
            "visible_ttft_seconds", "First byte sent to first visible output", TIMES_S
        ).at()
        self._ttft_from_schedule = histogram(
            "ttft_from_schedule_seconds", "Due time to first output", TIMES_S
        ).at()
        self._e2e = histogram(
            "e2e_seconds", "First byte sent to the end of the answer, ok turns", TIMES_S
        ).at()
        self._tpot = histogram("tpot_seconds", "Time per output token after the first", TPOT_S).at()
        self._gaps = histogram("chunk_gap_seconds", "Raw gaps between output chunks", GAPS_S).at()
        self._prompt = histogram(
            "turn_prompt_tokens", "Prompt tokens of turns sent", SIZES_TOKENS
        ).at()
        self._output = histogram(
            "turn_output_tokens", "Output tokens of ok turns", SIZES_TOKENS
        ).at()
        self._lateness = histogram(
            "lateness_seconds", "Due time to first byte sent", LATENESS_S
        ).at()
        self._generator_lateness = histogram(
            "generator_lateness_seconds", "Due and a developer free to first byte sent", LATENESS_S
        ).at()
        self._stamp_lag = histogram(
            "stamp_lag_seconds", "Clock less kernel stamp, the largest of a turn", STAMP_LAG_S
        ).at()

    # Listeners

    def turn(self, record: TurnRecord) -> None:
        outcome = "failed" if record.failed else record.outcome
        self._ends[record.kind, outcome] += 1
        if record.kind == UNSENT:
            self._unsent_tokens += record.planned_prompt_tokens
            return
        if record.failed:
            self._failures[record.outcome,] += 1
        else:
            self._time(record)
        if record.outcome in ANSWERED:
            self._answered(record)
        self._see(record)

    def level(self, level: Level) -> None:
        if level.ended_at_s is not None:
            self._level = None
            return
        self._level = level
        if self._merged:
            self._begin_histograms(str(level.index))
            self._ttft.keep(lambda values: self._is_kept(values[0]))
            self._decode_tps.keep(lambda values: self._is_kept(values[0]))

    def _begin_histograms(self, *by_level: str) -> None:
        """At 0, so that the first `rate` loses nothing."""
        for kind in USUAL_KINDS:
            self._ttft.at(*by_level, kind)
        self._decode_tps.at(*by_level)

    def _is_kept(self, level: str) -> bool:
        newest = self._level.index if self._level else 0
        return level == NO_LEVEL or int(level) > newest - LEVELS_KEPT

    def _by_level(self, record: TurnRecord) -> tuple[str, ...]:
        if not self._merged:
            return ()
        level = NO_LEVEL if record.level is None else str(record.level)
        return (level if self._is_kept(level) else NO_LEVEL,)

    def _time(self, record: TurnRecord) -> None:
        """How long a turn took that did not fail."""
        by_level = self._by_level(record)
        if (ttft_s := record.ttft_s) is not None:
            self._ttft.at(*by_level, record.kind).observe(ttft_s)
        self._visible_ttft.observe(record.visible_ttft_s)
        self._ttft_from_schedule.observe(record.ttft_from_schedule_s)
        if (tps := record.decode_tps) is not None:
            self._decode_tps.at(*by_level).observe(tps)
            self._tpot.observe(1 / tps)
        self._gaps.observe_all(record.chunk_gaps_s)
        if record.outcome == "ok":
            self._e2e.observe(record.e2e_s)
            self._output.observe(record.output_tokens)

    def _answered(self, record: TurnRecord) -> None:
        tokens = self._tokens
        tokens["planned"] += record.planned_prompt_tokens
        tokens["ideal_cached"] += record.ideal_cached_tokens
        tokens["answered"] += prompt_tokens(record)
        self._output_tokens += record.output_tokens or 0
        if record.prompt_tokens is None:
            return
        if record.cached_tokens is not None:
            tokens["cached"] += record.cached_tokens
            self._reports_cached = True
        elif record.outcome != "ok":
            return
        # A server that reports cached tokens at all, and none now, missed (measure.tally).
        self._cache_unknown_tokens += record.prompt_tokens
        if self._reports_cached:
            tokens["cache_reported"] += self._cache_unknown_tokens
            self._cache_unknown_tokens = 0

    def _see(self, record: TurnRecord) -> None:
        """How well a turn was seen that was sent."""
        self._chunks += record.output_chunks
        self._coalesced_reads += record.coalesced_reads
        if record.sent_at_s is None:
            return
        self._prompt.observe(prompt_tokens(record))
        self._lateness.observe(record.lateness_s)
        self._generator_lateness.observe(record.generator_lateness_s)
        self._stamped[record.stamps,] += 1
        if record.stamps == "kernel":
            self._stamp_lag.observe(record.stamp_lag_s)

    # The page

    def families(self) -> Iterator[Metric]:
        """Counters and gauges, as of now."""
        yield from self._token_families()
        yield self._counter("turns", "Turns that ended", ("kind", "outcome"), self._ends)
        yield self._counter("failures", "Failed turns by kind", ("failure",), self._failures)
        yield self._counter(
            "stamped_turns", "Turns sent, by what stamped them", ("stamps",), self._stamped
        )
        yield self._total("output_chunks", "Chunks with output", self._chunks)
        yield self._total("coalesced_reads", "Reads with several of them", self._coalesced_reads)
        yield from self._load_families()
        yield from self._lost_families()
        yield from self._level_families()
        yield from self._run_families()

    def histograms(self) -> Iterable[str]:
        """Their text, a piece for each label set."""
        for histogram in self._histograms:
            yield from histogram.texts()

    def _token_families(self) -> Iterator[Metric]:
        for name, what in _TOKENS.items():
            yield self._total(f"{name}_prompt_tokens", what, self._tokens[name])
        yield self._total("output_tokens", "Output tokens reported", self._output_tokens)

    def _load_families(self) -> Iterator[Metric]:
        load = self._load()
        if load is None:
            return
        offered = load.sent_prompt_tokens + self._unsent_tokens
        yield self._total("offered_prompt_tokens", "Planned prompt tokens of turns due", offered)
        yield self._gauge("in_flight_turns", "Turns under way", load.in_flight)
        yield self._gauge("open_sessions", "Developers in a session", load.open_sessions)
        if load.waiting_tickets is not None:
            yield self._gauge("waiting_tickets", "Tickets due, not taken", load.waiting_tickets)

    def _lost_families(self) -> Iterator[Metric]:
        if (lost := self._lost_records()) is not None:
            yield self._total("records_lost", "Turns that workers sent and that got lost", lost)

    def _level_families(self) -> Iterator[Metric]:
        level = self._level
        if level is None:
            return
        yield self._gauge("level", "Index of the level that is on", level.index)
        if level.target_tpm is not None:
            yield self._gauge("target_tpm", "Input tokens per minute asked for", level.target_tpm)
        if level.developers is not None:
            yield self._gauge("target_developers", "Developers asked for", level.developers)

    def _run_families(self) -> Iterator[Metric]:
        header = self._header
        yield self._gauge("speed", "Engine seconds per wall second", header.speed)
        yield self._gauge(
            "profile_mean_prompt_tokens", "Of the profile, as simulated", self._mean_prompt_tokens
        )
        if header.target.gpus is not None:
            yield self._gauge("gpus", "GPUs behind the target, as declared", header.target.gpus)
        own = {
            "run": header.run,
            "mode": header.fingerprint.mode,
            "version": header.fingerprint.version,
        }
        info = GaugeMetricFamily("tokenswarm_run_info", "The run", labels=(*self._labels, *own))
        info.add_metric((*self._labels.values(), *own.values()), 1)
        yield info

    def _total(self, name: str, what: str, count: float) -> Metric:
        return self._counter(name, what, (), {(): count})

    def _counter(
        self, name: str, what: str, own: tuple[str, ...], counts: Mapping[Any, float]
    ) -> Metric:
        family = CounterMetricFamily(f"tokenswarm_{name}", what, labels=(*self._labels, *own))
        for values, count in counts.items():
            family.add_metric((*self._labels.values(), *values), count)
        return family

    def _gauge(self, name: str, what: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"tokenswarm_{name}", what, labels=tuple(self._labels))
        family.add_metric(tuple(self._labels.values()), value)
        return family


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """A master's view of its workers. by_state: how many are ready, spawning, running, missing;
    lost: heartbeats that stopped, since the start; without_page: connected, and not to be scraped;
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
            CounterMetricFamily, "workers_lost", "Workers whose heartbeats stopped", workers.lost
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
