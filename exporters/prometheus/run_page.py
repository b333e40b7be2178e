"""The series of a run in one process: docs/metrics.md, "Prometheus", says what each one is.

Counters and gauges are families of `prometheus_client`; the histograms write their own text
(exporters/prometheus/buckets.py). The library has no native histograms to observe with (0.26 parses
and writes them, no more), so the buckets are classic ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from exporters.prometheus.run_histograms import USUAL_KINDS, RunHistograms
from exporters.turns import Load
from tokenswarm.measure.ledger import Header
from tokenswarm.measure.record import FAILURE_KINDS, UNSENT, Level, TurnRecord
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.tally import ANSWERED, prompt_tokens

_TOKENS = {
    "planned": "Planned prompt tokens of turns answered",
    "answered": "Prompt tokens of turns answered: the server's count, else the planned one",
    "ideal_cached": "Prompt tokens that an endless cache would have held, of turns answered",
    "cached": "Prompt tokens that the server says it took from its cache, of turns answered",
    "cache_reported": "Prompt tokens of turns answered with a known number of cached tokens",
}


def _asked(level: Level) -> str:
    """What a level asks for, in words."""
    if level.target_tpm is not None:
        return f"{level.target_tpm / 1e6:.3g}M TPM"
    return "" if level.developers is None else f"{level.developers} developers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose page it is. merged: it sees every turn of the run (a master, or the only process)."""

    process: str
    merged: bool


_PORTS = {"http": 80, "https": 443}


def target_label(header: Header) -> str:
    """`host:port` of the target, so that two servers of one host stay apart: never the URL, which
    may hold a name and a password, or a key in its path."""
    parts = urlsplit(header.target.url)
    host = parts.hostname or "unknown"
    port = parts.port or _PORTS.get(parts.scheme)
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


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
        objectives: Sequence[Slo] = (),
    ) -> None:
        """load: what is under way, None where unknown; lost_records: None but on a master;
        mean_prompt_tokens: what the profile promises; objectives: of --slo."""
        self._labels = {
            "role": "run" if origin.merged else "worker",
            "process": origin.process,
            "run": header.run,
            "target": target_label(header),
            "simulated": "true" if header.target.simulated else "false",
            "profile": header.fingerprint.profile,
        }
        self._header = header
        self._load = load
        self._lost_records = lost_records
        self._mean_prompt_tokens = mean_prompt_tokens
        self._objectives = objectives
        self._level: Level | None = None
        self._ends = Counter({(kind, "ok"): 0 for kind in USUAL_KINDS})
        self._failures = Counter({(kind,): 0 for kind in FAILURE_KINDS})
        self._tokens = Counter(dict.fromkeys(_TOKENS, 0))
        self._unsent_tokens = self._output_tokens = 0
        self._chunks = self._coalesced_chunks = 0
        self._stamped = Counter({("kernel",): 0, ("clock",): 0})
        self._reports_cached = False
        self._cache_unknown_tokens = 0  # of ok turns, until the first that reports cached tokens
        self._histograms = RunHistograms(self._labels, by_level=origin.merged)

    def turn(self, record: TurnRecord) -> None:
        self._ends[record.kind, "failed" if record.failed else record.outcome] += 1
        if record.kind == UNSENT:
            self._unsent_tokens += record.planned_prompt_tokens
            return
        if record.failed:
            self._failures[record.outcome,] += 1
        if record.outcome in ANSWERED:
            self._answered(record)
        self._chunks += record.output_chunks
        self._coalesced_chunks += record.coalesced_chunks or 0
        if record.sent_at_s is not None:
            self._stamped[record.stamps,] += 1
        self._histograms.turn(record)

    def level(self, level: Level) -> None:
        self._level = level if level.ended_at_s is None else None
        if self._level is not None:
            self._histograms.level(level)

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

    def families(self) -> Iterator[Metric]:
        """Counters and gauges, as of now."""
        yield from self._token_families()
        yield self._counter("turns", "Turns that ended", ("kind", "outcome"), self._ends)
        yield self._counter("failures", "Failed turns by kind", ("failure",), self._failures)
        yield self._counter(
            "stamped_turns", "Turns sent, by what stamped them", ("stamps",), self._stamped
        )
        yield self._total("output_chunks", "Chunks with output", self._chunks)
        yield self._total(
            "coalesced_chunks", "Of them with the stamp of the one before", self._coalesced_chunks
        )
        yield from self._load_families()
        yield from self._lost_families()
        yield from self._level_families()
        yield from self._run_families()

    def histograms(self) -> Iterable[str]:
        """Their text, a piece for each label set."""
        pieces: Iterable[str] = self._histograms.texts()
        return pieces

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
        yield self._gauge("told_to_wait", "Developers kept away by Retry-After", load.told_to_wait)
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
        asked = {"level": str(level.index), "asked": _asked(level)}
        yield self._info("level_info", "The level that is on, and what it asks for", asked)
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
            "engine": header.target.engine or "",
            "mode": header.fingerprint.mode,
            "version": header.fingerprint.version,
        }
        yield self._info("run_info", "The run", own)
        yield from self._objective_families()

    def _objective_families(self) -> Iterator[Metric]:
        if not self._objectives:
            return
        own = ("objective", "metric", "percent")
        family = GaugeMetricFamily(
            "tokenswarm_objective", "Threshold of --slo", labels=(*self._labels, *own)
        )
        for slo in self._objectives:
            percent = "" if slo.percent is None else str(slo.percent)
            family.add_metric(
                (*self._labels.values(), slo.text, slo.metric, percent), slo.threshold
            )
        yield family

    def _info(self, name: str, what: str, own: Mapping[str, str]) -> Metric:
        family = GaugeMetricFamily(f"tokenswarm_{name}", what, labels=(*self._labels, *own))
        family.add_metric((*self._labels.values(), *own.values()), 1)
        return family

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
